"""Progress for people: smooth, and at most twice a second."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from payload.model.event import Monitor, Progress

PAUSE = 0.5  # seconds between two events
WINDOW = 20  # events whose span the rate is taken over


class Meter:
    """Counts one stage. Any thread may add to it."""

    def __init__(
        self,
        stage: str,
        total: int,
        done: int,
        monitor: Monitor,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._stage, self._total, self._done = stage, total, done
        self._monitor = monitor
        self._clock = clock
        self._lock = threading.Lock()
        self._points: deque[tuple[float, int]] = deque([(clock(), done)], maxlen=WINDOW)

    def add(self, name: str, done: int, total: int, length: int, sent: int) -> None:
        """`length` bytes more. `done` and `total` are the region's, `sent` is all on the wire."""
        with self._lock:
            self._done += length
            now = self._clock()
            # The end of a region is told however short ago the last event was: its bar stays.
            if now - self._points[-1][0] < PAUSE and done < total and self._done < self._total:
                return
            self._points.append((now, self._done))
            event = self._event(name, done, total, sent)
        self._monitor(event)

    def _event(self, name: str, done: int, total: int, sent: int) -> Progress:
        (start, before), (now, after) = self._points[0], self._points[-1]
        rate = (after - before) / max(now - start, 1e-3)
        return Progress(
            stage=self._stage,
            region=name,
            done=done,
            total=total,
            all_done=self._done,
            all_total=self._total,
            sent=sent,
            rate=rate,
            remaining=(self._total - self._done) / rate if rate else 0.0,
        )
