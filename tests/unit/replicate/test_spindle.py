"""Threads at a disk with moving heads take turns; at an SSD they do not."""

import threading

import pytest

from payload.replicate.spindle import TURNS, Spindle
from tests.support.waiting import PATIENCE


def test_few_at_a_time_and_the_lowest_place_first() -> None:
    spindle = Spindle(rotational=True)
    inside: list[int] = []
    order: list[int] = []
    most, lock, go = [0], threading.Lock(), threading.Event()

    def read(offset: int) -> None:
        with spindle.turn(offset):
            with lock:
                inside.append(offset)
                order.append(offset)
                most[0] = max(most[0], len(inside))
            assert go.wait(5.0)
            with lock:
                inside.remove(offset)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in (9, 8)]
    for thread in threads:
        thread.start()
    while len(order) < TURNS:
        assert threads[0].is_alive()
    more = [threading.Thread(target=read, args=(offset,)) for offset in (5, 3, 7, 1)]
    for thread in more:
        thread.start()
    while len(spindle._waiting) < 4:
        assert threads[0].is_alive()
    go.set()
    for thread in (*threads, *more):
        thread.join(5.0)
    assert most == [TURNS]
    assert set(order[:2]) == {8, 9} and set(order[2:4]) == {1, 3} and set(order[4:]) == {5, 7}


def test_an_ssd_is_asked_for_all_at_once() -> None:
    spindle = Spindle(rotational=False)
    together = threading.Barrier(5)

    def read(offset: int) -> None:
        with spindle.turn(offset):
            together.wait(5.0)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    together.wait(5.0)
    for thread in threads:
        thread.join(5.0)


def test_a_failed_read_gives_its_turn_back() -> None:
    spindle = Spindle(rotational=True)
    for _ in range(2 * TURNS):
        with pytest.raises(OSError, match="bad"), spindle.turn(0):
            raise OSError("bad")


def test_a_turn_waits_for_no_other_disk() -> None:
    busy, other = Spindle(rotational=True), Spindle(rotational=True)
    with busy.turn(0), busy.turn(1), other.turn(0):
        entered = threading.Event()

        def read() -> None:
            with busy.turn(2):
                entered.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        assert not entered.wait(0.05), "two have their turn already"
    assert entered.wait(PATIENCE)
    thread.join(PATIENCE)
