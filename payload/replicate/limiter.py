"""What holds the work up: measured while it runs, told with every progress.

A chunk passes through several hands one after the other, and each connection has its own. Whatever
is slowest is busy nearly all the time, and the others wait for it. So seconds are added up where
they are spent, on both machines, and the largest sum of the last while names the limiter.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

    def source(self, spent: Spent) -> None:
        """What the source said a chunk took."""
        self._add(Effort(spent.disk / 1e6, spent.processor / 1e6, spent.network / 1e6))

    def _add(self, more: Effort) -> None:
        with self._lock:
            old = self._effort
            self._effort = replace(
                old,
                source_disk=old.source_disk + more.source_disk,
                source_processor=old.source_processor + more.source_processor,
                network=old.network + more.network,
                target_disk=old.target_disk + more.target_disk,
                target_processor=old.target_processor + more.target_processor,
            )


def find_limiter(before: Effort, after: Effort) -> Limiter | None:
    """What was busiest between the two; None when nothing was done."""
    sums = {
        Limiter.SOURCE_DISK: after.source_disk - before.source_disk,
        Limiter.WIRE: after.network - before.network,
        Limiter.TARGET_DISK: after.target_disk - before.target_disk,
        Limiter.PROCESSOR: max(
            after.source_processor - before.source_processor,
            after.target_processor - before.target_processor,
        ),
    }
    busiest = max(sums, key=sums.__getitem__)
    return busiest if sums[busiest] > 0 else None
