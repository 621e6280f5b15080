"""Which chunk is worked on next: disks side by side, each in its own order, its bad places last.

Whoever works stays with one disk while there is work for it, and then helps where the fewest are,
so that each disk is read in its order and none waits for a slower one.

As ddrescue does, the good parts of a sick disk are made safe first: a chunk that cannot be read at
once is put off, and with every failure in a row more behind it is jumped over. What was jumped
over comes next, what failed comes last, and is then read sector by sector.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from payload.model.errors import SourceDiskError
from payload.replicate.fetching import Take
from payload.replicate.ledger import Item, Ledger, State

RECENT = 64  # answers of a disk that count
HOPELESS = 48  # failures among them that end the run
FEW = 16  # failures that say nothing yet about a disk that was asked less often
JUMP = 64  # chunks; of a large disk more
JUMP_SHARE = 256  # of all its chunks at most one in so many


class Schedule:
    """The chunks of all disks that are in `state`. Any thread may ask."""

    def __init__(
        self, ledgers: Sequence[Ledger], labels: Sequence[str], state: State, *, head: bool
    ) -> None:
        """`labels` are the source disks' names for people, by pair."""
        pairs: dict[int, list[Ledger]] = {}
        for ledger in ledgers:
            pairs.setdefault(ledger.region.pair, []).append(ledger)
        self._queues = {
            pair: _Queue(labels[pair], on_disk, state, head=head) for pair, on_disk in pairs.items()
        }
        self._hands = dict.fromkeys(self._queues, 0)
        self._lock = threading.Lock()
        self._stopped = False

    def hand(self) -> Take:
        """For one thread: gives its next chunk, or None when there is none now, or somebody called
        `stop`. Whoever puts a chunk off must ask again."""
        pair: int | None = None

        def take() -> Item | None:
            nonlocal pair
            with self._lock:
                pair, item = (None, None) if self._stopped else self._next(pair)
            return item

        return take

    def _next(self, pair: int | None) -> tuple[int | None, Item | None]:
        """The disk to stay with and the chunk to work on."""
        if pair is not None:
            item = self._queues[pair].take()
            if item is not None:
                return pair, item
            self._hands[pair] -= 1
        for other in sorted(self._hands, key=self._hands.__getitem__):
            item = self._queues[other].take()
            if item is not None:
                self._hands[other] += 1
                return other, item
        return None, None

    def stop(self) -> None:
        """Nobody gets anything any more."""
        self._stopped = True

    def done(self, item: Item) -> None:
        """The source could read that chunk."""
        with self._lock:
            self._queues[item.ledger.region.pair].succeeded(item)

    def put_off(self, item: Item) -> None:
        """The source could not read that chunk at once. Raises SourceDiskError when it can read
        next to nothing."""
        with self._lock:
            item.ledger.put_off(item)
            self._queues[item.ledger.region.pair].failed(item)


class _Queue:
    """The chunks of one disk."""

    def __init__(self, label: str, ledgers: Sequence[Ledger], state: State, *, head: bool) -> None:
        self._label = label
        self._state, self._head = state, head
        self._items = chain.from_iterable(ledger.items(state, head=head) for ledger in ledgers)
        self._skipped: list[tuple[Ledger, int, int]] = []  # first and last index
        self._sick = deque(
            item
            for ledger in ledgers
            for item in (ledger.items(State.SICK, head=head) if state is State.MISSING else ())
        )
        self._most = max(JUMP, sum(ledger.count for ledger in ledgers) // JUMP_SHARE)
        self._jump = 0
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._tried = self._failed = 0

    def take(self) -> Item | None:
        item = next(self._items, None)
        while item is None and self._skipped:
            skipped, self._skipped, self._jump = self._skipped, [], 0
            self._items = chain.from_iterable(
                ledger.items(self._state, head=self._head, first=first, last=last)
                for ledger, first, last in skipped
            )
            item = next(self._items, None)
        if item is None and self._sick:
            self._check(self._failed > FEW and 2 * self._failed > self._tried)
            return replace(self._sick.popleft(), thorough=True)
        return item

    def succeeded(self, item: Item) -> None:
        if not item.thorough:
            self._jump = 0
            self._tried += 1
            self._recent.append(False)

    def failed(self, item: Item) -> None:
        self._sick.append(item)
        self._tried += 1
        self._failed += 1
        self._recent.append(True)
        self._check(sum(self._recent) > HOPELESS)
        self._jump = min(2 * self._jump or 1, self._most)
        self._skip()

    def _check(self, hopeless: bool) -> None:
        if hopeless:
            raise SourceDiskError(
                f"Source disk {self._label} cannot be read in most places: {self._failed} of "
                f"{self._tried} MiB asked for failed. Check the disk's cable, "
                "or take the disk to a data rescuer."
            )

    def _skip(self) -> None:
        for _ in range(self._jump):
            item = next(self._items, None)
            if item is None:
                return
            last = self._skipped[-1] if self._skipped else None
            if last is not None and last[0] is item.ledger:
                self._skipped[-1] = (item.ledger, last[1], item.index)
            else:
                self._skipped.append((item.ledger, item.index, item.index))
