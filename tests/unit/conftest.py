"""Unit tests start no process and open no socket: what needs one is an integration test.

CPython reports both to its audit hooks (docs.python.org/3/library/audit_events.html), however they
are asked for: by a name imported earlier, by a library, by C code of the interpreter.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

FORBIDDEN = {
    "os.exec": "start a process",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "os.posix_spawn": "start a process",
    "os.spawn": "start a process",
    "os.system": "start a process",
    "pty.spawn": "start a process",
    "subprocess.Popen": "start a process",
    "socket.__new__": "open a socket",
}


class Guard:
    """Refuses while a test runs, and remembers: code that catches every error hides nothing."""

    def __init__(self) -> None:
        self.watches = False
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watches and event in FORBIDDEN:
            self.refused.append(
                f"A unit test may not {FORBIDDEN[event]} ({event}: {arguments[:2]!r}). "
                "Hand in a substitute, or move the test to tests/integration."
            )
            raise AssertionError(self.refused[-1])


GUARD = Guard()
sys.addaudithook(GUARD)


@pytest.fixture(autouse=True)
def refused_acts() -> Iterator[list[str]]:
    """What the guard refused during this test, which fails it in any event."""
    GUARD.watches, GUARD.refused = True, []
    yield GUARD.refused
    GUARD.watches = False
    assert not GUARD.refused, GUARD.refused[0]


@pytest.fixture(autouse=True)
def files_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files a test makes stand for those of a copied system's root: its tests run as an
    ordinary user."""
    monkeypatch.setattr("payload.system.files.ROOT", os.geteuid())
    monkeypatch.setattr("payload.system.files.ROOT_GROUP", os.getegid())
