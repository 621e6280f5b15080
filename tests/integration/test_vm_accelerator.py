"""A trial of KVM, with programs in QEMU's place: one that speaks, one that ends, one that stands
still."""

import contextlib
import shlex
import time
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE
from tests.vm.accelerator import Outcome, Trial, try_kernel

STILL = 2.0  # seconds of patience with one that says nothing


def program(directory: Path, *lines: str) -> list[str]:
    file = directory / "qemu"
    file.write_text("\n".join(("#!/bin/sh", f"cd {shlex.quote(str(directory))}", *lines)))
    file.chmod(0o755)
    return [str(file)]


def is_gone(directory: Path) -> bool:
    """No process is that program: by its command line while it starts, by where it is then."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            if str(directory) in (process / "cmdline").read_text(errors="replace"):
                return False
            if (process / "cwd").readlink() == directory:
                return False
    return True


def test_a_kernel_that_speaks(tmp_path: Path) -> None:
    command = program(
        tmp_path, "echo Probing EDD", "printf 'Linux ver'", "echo 'sion 6.12'", "exec sleep 600"
    )
    begin = time.monotonic()
    assert try_kernel(command, PATIENCE) == Trial(Outcome.SPOKE)
    assert time.monotonic() - begin < PATIENCE, "its end is not waited for"
    assert is_gone(tmp_path)


def test_a_qemu_that_ends(tmp_path: Path) -> None:
    command = program(tmp_path, "echo 'qemu-system-x86_64: error: no MSR' >&2", "exit 1")
    assert try_kernel(command, PATIENCE) == Trial(Outcome.ENDED, "error: no MSR")


@pytest.mark.parametrize("word", ["", "echo 'Probing EDD (edd=off to disable)... ok'"])
def test_a_guest_that_stands_still(tmp_path: Path, word: str) -> None:
    """A word of what unpacks the kernel is no word of the kernel."""
    command = program(tmp_path, word, "echo 'KVM internal error' >&2", "exec sleep 600")
    assert try_kernel(command, STILL) == Trial(Outcome.STOOD_STILL)
    assert is_gone(tmp_path)


def test_a_qemu_that_is_not_there(tmp_path: Path) -> None:
    trial = try_kernel([str(tmp_path / "missing")], PATIENCE)
    assert trial.outcome is Outcome.ENDED
    assert "missing" in trial.detail
