"""What holds the work up: measured while it runs, told with every progress.

A chunk passes through several hands one after the other, and each connection has its own. Whatever
is slowest is busy nearly all the time, and the others wait for it. So seconds are added up where
they are spent, on both machines, and the largest sum of the last while names the limiter.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from time import perf_counter

from payload.model.event import Limiter
from payload.model.message import Spent


@dataclass(frozen=True)
class Effort:
    """Seconds of all threads."""

    source_disk: float = 0.0
    source_processor: float = 0.0
    network: float = 0.0
    target_disk: float = 0.0
    target_processor: float = 0.0
    waiting: float = 0.0  # of the target, for the source's answers


class Account:
    """Where the seconds go. Any thread may add to it."""

    def __init__(self) -> None:
        self._effort = Effort()
        self._lock = threading.Lock()

    @property
    def effort(self) -> Effort:
        return self._effort

    @contextmanager
    def target_disk(self) -> Iterator[None]:
        """Around a read or a write."""
        begun = perf_counter()
        yield
        self._add(Effort(target_disk=perf_counter() - begun))

    @contextmanager
    def target_processor(self) -> Iterator[None]:
        """Around a digest or unpacking."""
        begun = perf_counter()
        yield
        self._add(Effort(target_processor=perf_counter() - begun))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for an answer."""
        begun = perf_counter()
        yield
        self._add(Effort(waiting=perf_counter() - begun))

    def source(self, spent: Spent) -> None:
        """What the source said a chunk took."""
        self._add(Effort(spent.disk / 1e6, spent.processor / 1e6, spent.network / 1e6))

    def _add(self, more: Effort) -> None:
        with self._lock:
            sums = zip(astuple(self._effort), astuple(more), strict=True)
            self._effort = Effort(*(old + new for old, new in sums))


def find_limiter(before: Effort, after: Effort) -> Limiter | None:
    """What was busiest between the two; None when nothing was done."""
    spent = Effort(*(new - old for new, old in zip(astuple(after), astuple(before), strict=True)))
    # What the target waits longer than the source works is the way between them: the kernel's
    # account of a chunk comes with the next one, and does not know of a long way.
    on_the_way = spent.waiting - spent.source_disk - spent.source_processor
    sums = {
        Limiter.SOURCE_DISK: spent.source_disk,
        Limiter.WIRE: max(spent.network, on_the_way),
        Limiter.TARGET_DISK: spent.target_disk,
        Limiter.PROCESSOR: max(spent.source_processor, spent.target_processor),
    }
    busiest = max(sums, key=sums.__getitem__)
    return busiest if sums[busiest] > 0 else None
