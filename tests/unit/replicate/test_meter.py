"""What people are told while it runs: steady figures, and what holds the work up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.event import Event, Progress
from payload.model.plan import Method, Region
from payload.replicate.ledger import Ledger
from payload.replicate.limiter import Account
from payload.replicate.meter import CALM, EARLY, Meter, Remaining

LEDGER = Ledger(Region(0, 0, 1, 0, 1 << 20, Method.ALL), 512)


def test_progress_is_steady_and_never_floods() -> None:
    events: list[Event] = []
    now = [0.0]
    meter = Meter("copy", 1000, 0, Account(), events.append, lambda: now[0])
    for step in range(1000):
        now[0] = step / 100
        meter.add(LEDGER, step + 1, 1000, 1, 1)
    progress = [event for event in events if isinstance(event, Progress)]
    assert 15 <= len(progress) <= 21  # ten seconds, twice a second, and the last
    assert progress[-1].all_done == 1000 and progress[-1].remaining == 0
    assert all(95 < one.rate < 105 and 95 < one.average < 105 for one in progress)
    assert all(abs(one.remaining - (1000 - one.all_done) / 100) < 1 for one in progress)


def test_the_rate_is_of_now_and_the_average_of_all() -> None:
    events: list[Event] = []
    now = [0.0]
    meter = Meter("copy", 10_000, 0, Account(), events.append, lambda: now[0])
    for second in range(1, 101):
        now[0] = float(second)
        meter.add(LEDGER, 1, 2, 10 if second <= 50 else 90, 1)
    last = events[-1]
    assert isinstance(last, Progress)
    assert last.rate == pytest.approx(90) and last.average == pytest.approx(50)


@given(st.lists(st.floats(1e6, 1e9), min_size=2, max_size=100))
def test_the_remaining_time_does_not_jump(rates: list[float]) -> None:
    """Once it runs, half a second moves it by a small part of the new estimate, however the rate
    changes."""
    remaining, left, before = Remaining(), 10**12, 0.0
    remaining.at(-CALM * EARLY, left, rates[0])
    for step, rate in enumerate(rates):
        told = remaining.at(step / 2, left, rate)
        if step:
            assert told <= before + 0.03 * left / rate
            assert told >= (before - 0.5) * 0.97
        before = told


def test_a_slow_first_moment_is_soon_forgotten() -> None:
    """The first chunk of a copy comes when the connections stand: its rate says nothing."""
    remaining, left = Remaining(), 10**9
    assert remaining.at(0.0, left, 5e4) == 20_000
    for step in range(1, 11):
        told = remaining.at(step / 2, left, 1e7)
    assert told == pytest.approx(100, rel=0.1)


def test_the_remaining_time_follows_a_new_rate_and_ends_at_nothing() -> None:
    remaining = Remaining()
    assert remaining.at(0.0, 10**9, 1e6) == 1000.0
    for step in range(1, 400):
        told = remaining.at(step / 2, 10**9, 1e7)
    assert told == pytest.approx(100, rel=0.2)
    assert remaining.at(300.0, 0, 1e7) == 0.0
    assert remaining.at(300.0, 10, 0.0) == 0.0
