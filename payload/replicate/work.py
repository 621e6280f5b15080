"""Work that is shared by threads which may fail: what one took and could not do, another gets."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from payload.replicate.fetching import Take
from payload.replicate.ledger import Item


class Plenty(Protocol):
    """Where the items come from: `replicate.schedule.Schedule`, or its like."""

    def hand(self) -> Take: ...

    def stop(self) -> None: ...


class Work:
    """The items of a schedule. Any thread may ask, by a hand of its own."""

    def __init__(self, schedule: Plenty) -> None:
        self._schedule = schedule
        self._returned: deque[Item] = deque()
        self._under_way = 0
        self._exhausted = False
        self._stopped = False
        self._changed = threading.Condition()

    def hand(self) -> "WorkHand":
        """For one thread."""
        return WorkHand(self, self._schedule.hand())

    def take(self, fresh: Take, *, wait: bool) -> Item | None:
        """See `WorkHand.take`; `fresh` gives what nobody had yet."""
        with self._changed:
            while not self._stopped:
                item = self._returned.popleft() if self._returned else fresh()
                if item is not None:
                    self._under_way += 1
                    return item
                self._exhausted = True
                self._changed.notify_all()
                if not (wait and self._under_way):
                    return None
                self._changed.wait()
            return None

    def finish(self) -> None:
        """One item that was taken is done, or back in the schedule."""
        with self._changed:
            self._under_way -= 1
            self._exhausted = False  # whoever asks next finds out
            self._changed.notify_all()

    def give_back(self, items: Iterable[Item]) -> None:
        """These were taken, and are not done."""
        with self._changed:
            before = len(self._returned)
            self._returned.extend(items)
            self._under_way -= len(self._returned) - before
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody gets anything more."""
        self._schedule.stop()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_for_end(self, timeout: float) -> bool:
        """True as soon as all is done or somebody called `stop`, False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self._is_over, timeout)

    def _is_over(self) -> bool:
        left = self._returned or self._under_way or not self._exhausted
        return self._stopped or not left


class WorkHand:
    """One thread's access to the work."""

    def __init__(self, work: Work, fresh: Callable[[], Item | None]) -> None:
        self._work = work
        self._fresh = fresh

    def take(self, *, wait: bool) -> Item | None:
        """The next item. None when there is none now; with `wait`, only when there will be none:
        as long as others have items under way, they may give them back."""
        return self._work.take(self._fresh, wait=wait)

    def finish(self) -> None:
        """One item that was taken is done, or was put off."""
        self._work.finish()

    def give_back(self, items: Iterable[Item]) -> None:
        """These were taken, and are not done."""
        self._work.give_back(items)
