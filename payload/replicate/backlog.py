"""Chunks between those who write and the one who reads back while they go on writing.

A disk without moving heads reads and writes at the same time, so most of a copy is proven by the
time the last chunk comes. What does not fit in here is read back at the end: memory is bounded.
"""

import threading

from payload.replicate.ledger import Item

BATCH = 128  # chunks between two flushes
LIMIT = 32 * BATCH


class Backlog:
    """Filled by those who joined, emptied by one reader until the last of them left."""

    def __init__(self) -> None:
        self._writers = 0
        self._items: list[Item] = []
        self._changed = threading.Condition()

    def add(self, item: Item) -> None:
        """Written just now. Forgotten when there are too many already."""
        with self._changed:
            if len(self._items) < LIMIT:
                self._items.append(item)
            if len(self._items) == BATCH:
                self._changed.notify()

    def join(self) -> None:
        """One writer more."""
        with self._changed:
            self._writers += 1

    def leave(self) -> None:
        """One writer less, done or failed."""
        with self._changed:
            self._writers -= 1
            self._changed.notify()

    @property
    def over(self) -> bool:
        """True when the last writer left: what is left is for all threads together."""
        return not self._writers

    def take(self) -> list[Item]:
        """All there are, once they are BATCH; none when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) >= BATCH or self.over)
            taken, self._items = self._items, []
            return [] if self.over else taken
