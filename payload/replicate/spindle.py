"""Keeps threads from fighting over a disk with moving heads.

Whoever wants to read or write there waits for a turn; the lowest place comes first, so that the
heads go one way. SSDs are not held back: they are fast only when much is asked at once.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

TURNS = 2  # at once: the next one is known to the disk when the first is done


class Spindle:
    """One for each disk and machine, shared by all its threads."""

    def __init__(self, *, rotational: bool) -> None:
        self._rotational = rotational
        self._waiting: list[tuple[int, int]] = []  # place and thread
        self._busy = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, offset: int) -> Iterator[None]:
        """For one read or write at that byte of the disk."""
        if not self._rotational:
            yield
            return
        self._enter((offset, threading.get_ident()))
        try:
            yield
        finally:
            self._leave()

    def _enter(self, mine: tuple[int, int]) -> None:
        with self._changed:
            self._waiting.append(mine)
            self._changed.wait_for(lambda: self._busy < TURNS and mine == min(self._waiting))
            self._waiting.remove(mine)
            self._busy += 1
            self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()
