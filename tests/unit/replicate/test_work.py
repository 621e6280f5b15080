"""Work that is shared: what one thread took and could not do, another gets."""

import threading
from collections.abc import Callable

import pytest

from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.replicate.ledger import Item, Ledger
from payload.replicate.work import Work
from tests.support.waiting import PATIENCE

LEDGER = Ledger(Region(0, 0, 1, 1 << 20, 8 * CHUNK_SIZE, Method.ALL), 512)


class Plain:
    """A schedule that gives these items in order."""

    def __init__(self, count: int = 1) -> None:
        self.items = [Item(LEDGER, n, n * CHUNK_SIZE, CHUNK_SIZE) for n in range(1, count + 1)]

    def hand(self) -> Callable[[], Item | None]:
        return lambda: self.items.pop(0) if self.items else None

    def stop(self) -> None:
        self.items = []


class Waiter:
    """A thread that waits for one item. `looked` is set when the schedule had none for it."""

    def __init__(self, work: Work) -> None:
        self.looked = threading.Event()
        self.seen: list[Item | None] = []
        self._work = work
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        self.seen.append(self._work.take(self._nothing, wait=True))

    def _nothing(self) -> Item | None:
        self.looked.set()
        return None

    def end(self) -> list[Item | None]:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.seen


def test_an_item_given_back_is_taken_by_who_waits_for_it() -> None:
    work = Work(Plain())
    one, other = work.hand(), work.hand()
    item = one.take(wait=False)
    assert item is not None and other.take(wait=False) is None
    waiter = Waiter(work)
    assert waiter.looked.wait(PATIENCE)
    assert not work.wait_for_end(0.01)
    one.give_back([item])
    assert waiter.end() == [item]
    other.finish()
    assert one.take(wait=True) is None and work.wait_for_end(0)


def test_nobody_waits_for_work_that_was_stopped() -> None:
    work = Work(Plain())
    assert work.hand().take(wait=False) is not None
    work.stop()
    assert work.hand().take(wait=True) is None and work.wait_for_end(0)


def test_who_waits_already_is_sent_home_by_a_stop() -> None:
    work = Work(Plain())
    assert work.hand().take(wait=False) is not None
    waiter = Waiter(work)
    assert waiter.looked.wait(PATIENCE)
    work.stop()
    assert waiter.end() == [None]


def test_who_waits_is_sent_home_when_the_last_item_is_done() -> None:
    work = Work(Plain())
    hand = work.hand()
    assert hand.take(wait=False) is not None
    waiter = Waiter(work)
    assert waiter.looked.wait(PATIENCE)
    hand.finish()
    assert waiter.end() == [None]


def test_what_was_given_back_comes_before_what_nobody_had() -> None:
    hand = Work(Plain(3)).hand()
    first, second = hand.take(wait=False), hand.take(wait=False)
    assert first is not None and second is not None
    hand.give_back([first, second])
    assert [hand.take(wait=False) for _ in range(2)] == [first, second]
    third = hand.take(wait=False)
    assert third is not None and third.index == 3


def test_nothing_is_over_before_somebody_found_out_that_there_is_no_more() -> None:
    """An item that was put off is done for its thread, and back in the schedule."""
    schedule = Plain()
    work = Work(schedule)
    hand = work.hand()
    assert not work.wait_for_end(0)
    item = hand.take(wait=False)
    assert item is not None and work.hand().take(wait=False) is None
    schedule.items.append(item)
    hand.finish()
    assert not work.wait_for_end(0)
    assert hand.take(wait=False) is item
    hand.finish()
    assert hand.take(wait=False) is None and work.wait_for_end(0)


def test_what_is_given_back_is_not_over() -> None:
    work = Work(Plain())
    hand = work.hand()
    item = hand.take(wait=False)
    assert item is not None and hand.take(wait=False) is None
    hand.give_back([item])
    assert not work.wait_for_end(0)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_item_is_done_once_though_each_is_given_back_once(threads: int) -> None:
    count = 40
    work = Work(Plain(count))
    done: list[int] = []
    tried: set[int] = set()
    lock = threading.Lock()

    def labour() -> None:
        hand = work.hand()
        while (item := hand.take(wait=True)) is not None:
            with lock:
                fresh = item.index not in tried
                tried.add(item.index)
                done.extend([] if fresh else [item.index])
            if fresh:
                hand.give_back(iter([item]))
            else:
                hand.finish()

    crew = [threading.Thread(target=labour, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(PATIENCE)
    assert sorted(done) == list(range(1, count + 1))
    assert work.wait_for_end(0)
