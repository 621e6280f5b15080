"""Progress for people: smooth, and at most twice a second."""

import threading
from collections import deque
from collections.abc import Callable
from math import exp
from time import monotonic

from payload.model.event import Monitor, Progress
from payload.replicate.ledger import Ledger
from payload.replicate.limiter import Account, Effort, find_limiter

PAUSE = 0.5  # seconds between two events
WINDOW = 20  # events whose span the rate and the limiter are taken over
CALM = 20.0  # seconds in which the remaining time follows the rate
EARLY = 4.0  # the calm is this part of the time gone by: the first rates are hardly worth anything


class Meter:
    """Counts one stage. Any thread may add to it."""

    def __init__(
        self,
        stage: str,
        total: int,
        done: int,
        account: Account,
        monitor: Monitor,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`total` and `done` are bytes of content, all regions."""
        self._stage, self._total, self._done = stage, total, done
        self._account = account
        self._monitor = monitor
        self._clock = clock
        self._lock = threading.Lock()
        self._begin = (clock(), done)
        self._points: deque[tuple[float, int, Effort]] = deque(
            [(*self._begin, account.effort)], maxlen=WINDOW
        )
        self._remaining = Remaining()

    def add(self, ledger: Ledger, done: int, total: int, length: int, sent: int) -> None:
        """`length` bytes more. `done` and `total` are the region's, `sent` is all on the wire."""
        with self._lock:
            self._done += length
            now = self._clock()
            # The end of a region is told however short ago the last event was: its bar stays.
            if now - self._points[-1][0] < PAUSE and done < total and self._done < self._total:
                return
            self._points.append((now, self._done, self._account.effort))
            event = self._event(ledger, done, total, sent)
        self._monitor(event)

    def _event(self, ledger: Ledger, done: int, total: int, sent: int) -> Progress:
        (start, before, effort), (now, after, effort_now) = self._points[0], self._points[-1]
        rate = (after - before) / max(now - start, 1e-3)
        begun, at_first = self._begin
        return Progress(
            stage=self._stage,
            region=ledger.region.name,
            done=done,
            total=total,
            all_done=self._done,
            all_total=self._total,
            sent=sent,
            rate=rate,
            remaining=self._remaining.at(now, self._total - self._done, rate),
            region_sent=ledger.sent if sent else 0,
            average=(after - at_first) / max(now - begun, 1e-3),
            limiter=find_limiter(effort, effort_now),
        )


class Remaining:
    """Seconds to go, which count down steadily: a rate that jumps, as between what is the same and
    what must be sent, is followed only slowly."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None  # when, and how many then
        self._begin = 0.0

    def at(self, now: float, left: int, rate: float) -> float:
        """`left` is bytes, `rate` bytes per second."""
        if not left or not rate:
            return 0.0
        estimate = left / rate
        if self._last is not None:
            before, told = self._last
            expected = max(0.0, told - (now - before))
            calm = max(1e-3, min(CALM, (now - self._begin) / EARLY))
            estimate = expected + (estimate - expected) * (1 - exp((before - now) / calm))
        else:
            self._begin = now
        self._last = (now, estimate)
        return estimate
