"""The guard of tests/unit/conftest.py, against each way around it."""

import _socket
import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from payload.system.command import run


@pytest.fixture
def refused(refused_acts: list[str]) -> Iterator[list[str]]:
    """What the guard refused; emptied afterwards, so that the test passes."""
    yield refused_acts
    refused_acts.clear()


@pytest.mark.parametrize(
    "act",
    [
        lambda: subprocess.run(["true"], check=False),
        lambda: run(["true"]),
        lambda: os.system("true"),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        os.fork,
    ],
)
def test_no_process_is_started(act: Callable[[], object], refused: list[str]) -> None:
    with pytest.raises(AssertionError, match="A unit test may not start a process"):
        act()
    assert len(refused) == 1


@pytest.mark.parametrize("act", [socket.socket, socket.socketpair, _socket.socket])
def test_no_socket_is_opened(act: Callable[[], object], refused: list[str]) -> None:
    with pytest.raises(AssertionError, match="A unit test may not open a socket"):
        act()
    assert len(refused) == 1


def test_code_that_catches_everything_hides_no_attempt(refused: list[str]) -> None:
    with contextlib.suppress(Exception):
        socket.create_connection(("192.0.2.1", 9))
    assert "open a socket" in refused[0]
