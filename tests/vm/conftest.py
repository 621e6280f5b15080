"""What every test with whole machines needs: the ISO of this checkout."""

from pathlib import Path

import pytest

import payload

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def iso() -> Path:
    """The built ISO. `make test` builds it first; there is no test without it."""
    path = PROJECT / "build" / f"ugs-failover-{payload.__version__}-amd64.iso"
    assert path.is_file(), f"There is no {path}: run `make iso` first."
    return path
