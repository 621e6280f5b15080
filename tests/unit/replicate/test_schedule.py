"""Who gets which chunk: disks side by side, each in order, sick places last."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.errors import SourceDiskError
from payload.model.message import Chunk, Encoding, MapAnswer
from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.replicate import schedule as scheduling
from payload.replicate.fetching import Take
from payload.replicate.ledger import Item, Ledger, State
from payload.replicate.schedule import Schedule

SECTOR = 512


def ledger_of(chunks: int, pair: int = 0, index: int = 0) -> Ledger:
    region = Region(index, pair, index + 1, 1 << 20, chunks * CHUNK_SIZE, Method.ALL)
    ledger = Ledger(region, SECTOR)
    numbers: list[int] = []
    for number in range(chunks):
        numbers += (number * CHUNK_SIZE, CHUNK_SIZE)
    ledger.add(MapAnswer(index, tuple(numbers), last=True))
    return ledger


def schedule_of(*ledgers: Ledger) -> Schedule:
    labels = ["Disk S0", "Disk S1", "Disk S2"]
    return Schedule(ledgers, labels, State.MISSING, head=False)


def place(item: Item | None) -> tuple[int, int, int]:
    assert item is not None
    return item.ledger.region.pair, item.ledger.region.index, item.index


def written(item: Item) -> None:
    chunk = Chunk(0, item.offset, item.length, bytes(32), Encoding.ZERO)
    item.ledger.record(item, chunk)


def work(schedule: Schedule, is_bad: Callable[[Item], bool]) -> list[Item]:
    """One thread to the end: every chunk that was asked for, in that order."""
    take, asked = schedule.hand(), []
    while (item := take()) is not None:
        asked.append(item)
        if is_bad(item) and not item.thorough:
            schedule.put_off(item)
        else:
            written(item)
            schedule.done(item)
    return asked


def test_threads_are_shared_out_among_the_disks_and_stay_there() -> None:
    ledgers = [ledger_of(9, 0, 0), ledger_of(9, 1, 1), ledger_of(9, 0, 2)]
    schedule = schedule_of(*ledgers)
    hands: list[Take] = [schedule.hand() for _ in range(4)]
    places = [[place(hand()) for _ in range(4)] for hand in hands]
    assert [{pair for pair, _, _ in of_one} for of_one in places] == [{0}, {1}, {0}, {1}]
    in_order = sorted(one for of_one in places for one in of_one if one[0] == 0)
    assert in_order == [(0, 0, n) for n in range(1, 9)], "both threads of a disk take turns"
    assert place(hands[0]()) == (0, 2, 1), "the next partition comes when the first is done"


def test_who_is_done_with_one_disk_helps_with_the_one_that_has_the_fewest() -> None:
    schedule = schedule_of(ledger_of(3, 0, 0), ledger_of(30, 1, 1), ledger_of(30, 2, 2))
    hands = [schedule.hand() for _ in range(4)]
    first = [place(hand())[0] for hand in hands]
    assert first == [0, 1, 2, 0]
    assert place(hands[0]())[0] == 1
    assert place(hands[3]())[0] == 2


def test_a_slow_disk_holds_up_no_other() -> None:
    schedule = schedule_of(ledger_of(30, 0, 0), ledger_of(30, 1, 1))
    slow, fast = schedule.hand(), schedule.hand()
    assert place(slow())[0] == 0
    assert [place(fast())[0] for _ in range(29)] == [1] * 29
    assert place(fast()) == (0, 0, 2)


def test_nobody_gets_anything_after_a_stop() -> None:
    schedule = schedule_of(ledger_of(9))
    take = schedule.hand()
    assert take() is not None
    schedule.stop()
    assert take() is None and schedule.hand()() is None


def test_bad_places_come_last_and_what_was_jumped_over_before_them() -> None:
    bad = range(100, 140)
    asked = work(schedule_of(ledger_of(400)), lambda item: item.index in bad)
    quick = [item.index for item in asked if not item.thorough]
    assert sorted(quick) == list(range(1, 400))
    first_pass = quick[: quick.index(max(quick)) + 1]
    assert len([index for index in first_pass if index in bad]) == 6  # 100 101 103 107 115 131
    thorough = [item.index for item in asked if item.thorough]
    assert sorted(thorough) == list(bad)
    assert [item.thorough for item in asked] == [False] * len(quick) + [True] * len(bad)


@given(st.sets(st.integers(1, 299), max_size=120), st.sampled_from([1, 64, 256]))
def test_each_chunk_is_asked_for_once_and_each_bad_one_twice(bad: set[int], share: int) -> None:
    ledgers = [ledger_of(200, 0, 0), ledger_of(100, 0, 1)]
    schedule = schedule_of(*ledgers)
    try:
        asked = work(schedule, lambda item: item.index + 200 * item.ledger.region.index in bad)
    except SourceDiskError:
        assert len(bad) > scheduling.FEW
        return
    numbers = [(item.index + 200 * item.ledger.region.index, item.thorough) for item in asked]
    wanted = set(range(1, 300)) - {200}  # the heads are held back
    assert sorted(numbers) == sorted(
        [*((n, False) for n in wanted), *((n, True) for n in bad & wanted)]
    )


def test_a_disk_that_fails_nearly_everywhere_ends_the_run_soon() -> None:
    asked: list[int] = []

    def is_bad(item: Item) -> bool:
        asked.append(item.index)
        return item.index > 500

    with pytest.raises(SourceDiskError, match=r"Disk S0 cannot be read in most places: \d+ of"):
        work(schedule_of(ledger_of(30_000)), is_bad)
    assert len([index for index in asked if index > 500]) < 100


def test_a_small_disk_that_fails_nearly_everywhere_is_not_worked_through() -> None:
    with pytest.raises(SourceDiskError, match="Disk S0"):
        work(schedule_of(ledger_of(60)), lambda item: item.index > 20)


def test_what_was_sick_before_the_link_broke_is_still_last() -> None:
    ledger = ledger_of(20)
    before = schedule_of(ledger)
    take = before.hand()
    items = [take() for _ in range(3)]
    assert items[1] is not None
    before.put_off(items[1])
    asked = work(schedule_of(ledger), lambda _: False)
    assert [item.index for item in asked] == [1, *range(3, 20), 2]
    assert asked[-1] == replace(items[1], thorough=True)
