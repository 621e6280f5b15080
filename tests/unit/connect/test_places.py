"""Who goes when there is no place left before the door: never who was proven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.connect.places import ADDRESS_LIMIT, LIMIT, PROVEN_LIMIT, Caller, choose_evicted

STRANGERS = [f"fe80::{number:x}%eth0" for number in range(LIMIT)]
OURS = "fe80::cafe%eth0"
STAYS = 60  # newcomers that a first call of ours outlives, however many addresses they have


def crowd(*addresses: str) -> list[Caller]:
    return [Caller(number, address) for number, address in enumerate(addresses)]


def test_while_there_is_room_nobody_goes() -> None:
    assert choose_evicted([], OURS, ()) is None
    assert choose_evicted(crowd(*STRANGERS[1:]), OURS, ()) is None
    half = crowd(*STRANGERS[:1] * (ADDRESS_LIMIT - 1))
    assert choose_evicted(half, STRANGERS[0], ()) is None


def test_the_oldest_goes() -> None:
    assert choose_evicted(crowd(*STRANGERS), OURS, ()) == Caller(0, STRANGERS[0])


def test_a_flood_from_one_address_costs_that_address_only() -> None:
    waiting = [*crowd(OURS), *crowd(OURS, *STRANGERS[:1] * ADDRESS_LIMIT)[1:]]
    assert choose_evicted(waiting, STRANGERS[0], ()) == Caller(1, STRANGERS[0])


def test_of_a_few_addresses_that_with_most_places_gives_one() -> None:
    flood = [STRANGERS[number % 4] for number in range(LIMIT - 1)]
    waiting = crowd(OURS, *flood)
    assert choose_evicted(waiting, STRANGERS[9], ()) == Caller(1, STRANGERS[0])


def test_who_was_proven_has_places_of_its_own() -> None:
    waiting = crowd(OURS, *STRANGERS)
    assert choose_evicted(waiting, OURS, {OURS}) is None
    assert choose_evicted(waiting, "fe80::ffff%eth0", {OURS}) == Caller(1, STRANGERS[0])


def simulate(addresses: list[str], proven: set[str]) -> tuple[list[Caller], list[Caller]]:
    """Who waits, and who was evicted, when nobody ever proves himself."""
    waiting: list[Caller] = []
    gone: list[Caller] = []
    for newcomer in crowd(*addresses):
        evicted = choose_evicted(waiting, newcomer.address, proven)
        if evicted is not None:
            waiting.remove(evicted)
            gone.append(evicted)
        waiting.append(newcomer)
    return waiting, gone


@given(st.lists(st.sampled_from([OURS, *STRANGERS]), max_size=400))
def test_any_flood_is_bounded_and_costs_no_proven_one(addresses: list[str]) -> None:
    waiting, gone = simulate(addresses, {OURS})
    assert len(waiting) <= LIMIT + PROVEN_LIMIT
    ours = addresses.count(OURS)
    assert sum(caller.address == OURS for caller in gone) == max(0, ours - ADDRESS_LIMIT)


@pytest.mark.parametrize("addresses", [1, 2, 7, LIMIT])
def test_a_first_call_outlives_many_newcomers(addresses: int) -> None:
    flood = [STRANGERS[number % addresses] for number in range(2 * LIMIT)]
    _, gone = simulate([*flood, OURS, *flood[:STAYS]], set())
    assert gone and all(caller.address != OURS for caller in gone)
