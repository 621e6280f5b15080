"""Pseudo terminals that stand for a screen or a serial line."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.waiting import PATIENCE

Terminal = tuple[int, str]  # our end, and the path of the other


@contextmanager
def pseudo_terminal() -> Iterator[Terminal]:
    """Both ends stay open until the end."""
    ours, theirs = os.openpty()
    try:
        yield ours, os.ttyname(theirs)
    finally:
        os.close(theirs)
        os.close(ours)


def read_until(descriptor: int, word: bytes) -> bytes:
    """What comes out until `word` does."""
    end = time.monotonic() + PATIENCE
    got = b""
    while word not in got and time.monotonic() < end:
        if select.select([descriptor], [], [], 0.1)[0]:
            got += os.read(descriptor, 65536)
    assert word in got, got
    return got
