"""Fixtures of every test with whole machines: the ISO of this checkout, and how to run machines."""

from pathlib import Path

import pytest

import payload
from tests.vm.accelerator import Accelerator, choose_accelerator

PROJECT = Path(__file__).resolve().parents[2]
ISO = PROJECT / "build" / f"ugs-failover-{payload.__version__}-amd64.iso"


def pytest_report_header() -> str:
    """How machines run here, said in one line at the start."""
    return f"machines: {choose_accelerator(ISO)}" if ISO.is_file() else ""


@pytest.fixture(scope="session")
def iso() -> Path:
    """The built ISO. `make test` builds it first; there is no test without it."""
    assert ISO.is_file(), f"There is no {ISO}: run `make iso` first."
    return ISO


@pytest.fixture(scope="session")
def accelerator(iso: Path) -> Accelerator:
    """KVM where it starts the ISO's kernel, else emulation."""
    return choose_accelerator(iso).accelerator
