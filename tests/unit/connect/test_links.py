"""Which pairs of cards are links worth using."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.connect import links as ways_module
from payload.connect.discovery import Address
from payload.connect.links import (
    LIMIT,
    PAIRS_LIMIT,
    PROBES_LIMIT,
    Pair,
    Ways,
    choose_pairs,
    fresh_ends,
    possible_pairs,
)
from payload.model.errors import LinkError
from payload.model.machine import Card
from payload.model.message import Reach
from payload.model.settings import Settings

CARDS = (Card("eth0", "a0", carrier=True), Card("eth1", "a1", carrier=True), Card("eth2", "a2"))


def pairs(words: str) -> list[Pair]:
    return [Pair(word[0], word[1]) for word in words.split()]


def test_every_card_with_a_link_meets_every_card_of_the_peer() -> None:
    reach = (Reach("b0", ("192.0.2.1", "2001:db8::1", "fe80::1")), Reach("b1", ()))
    found = possible_pairs(CARDS, (*reach, Reach("b2", ("fe80::2",))), 10000)
    assert set(found) == {Pair(own, peer) for own in ("eth0", "eth1") for peer in ("b0", "b2")}
    assert found[Pair("eth1", "b0")] == tuple(
        Address(host, 10000, "eth1") for host in ("fe80::1", "2001:db8::1", "192.0.2.1")
    )


def test_a_peer_that_tells_very_much_is_cut_short() -> None:
    reach = tuple(Reach(f"b{n}", tuple(f"fe80::{n}:{k}" for k in range(99))) for n in range(99))
    found = possible_pairs(CARDS[:1], reach, 10000)
    assert len(found) == 16 and {len(addresses) for addresses in found.values()} == {4}


@pytest.mark.parametrize(
    "text",
    ["", "server.example", "fe80::1%eth0", "127.0.0.1", "::", "ff02::1", "1.2.3", "a\0b", "é"],
)
def test_what_is_no_address_of_a_machine_is_not_called(text: str) -> None:
    assert possible_pairs(CARDS, (Reach("b0", (text,)),), 10000) == {}


@pytest.mark.parametrize(
    ("answered", "used", "waiting", "chosen"),
    [
        ("AX BY", "AX", True, "BY"),  # two cables
        ("AX AY BX BY", "AX", False, "BY"),  # all in one switch: one pair for each card
        ("AY BX", "AX", True, ""),  # something better may answer yet
        ("AY", "AX", False, "AY"),  # one card of ours to two of theirs
        ("BX", "AX", False, "BX"),  # two cards of ours to one of theirs
        ("AX BY", "", False, "AX BY"),
        ("AX", "AX", False, ""),
        ("", "AX", False, ""),
        ("BY CZ DW EV", "AX", False, "BY CZ DW"),  # LIMIT
    ],
)
def test_fresh_cards_are_worth_a_link(answered: str, used: str, waiting: bool, chosen: str) -> None:
    assert choose_pairs(pairs(answered), pairs(used), waiting=waiting) == pairs(chosen)


some_pairs = st.sets(st.builds(Pair, st.sampled_from("ABC"), st.sampled_from("XYZ")), max_size=5)


@given(some_pairs, some_pairs, st.booleans())
def test_no_card_is_left_without_need_and_no_pair_is_useless(
    answered: set[Pair], used: set[Pair], waiting: bool
) -> None:
    chosen = choose_pairs(answered, used, waiting=waiting)
    assert set(chosen) <= answered - used and len(chosen) == len(set(chosen))
    for place, pair in enumerate(chosen):
        assert fresh_ends(pair, [*used, *chosen[:place]]) > 0
    if not waiting and len(used) + len(chosen) < LIMIT:
        assert all(fresh_ends(pair, [*used, *chosen]) == 0 for pair in answered)


def test_a_peer_that_always_says_something_else_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 0

    def call(*_: object) -> None:
        nonlocal most
        most = max(most, len(ways._probing))
        time.sleep(0.005)
        raise LinkError("Nobody is there.")

    monkeypatch.setattr(ways_module, "call", call)
    links = cast(Any, SimpleNamespace(cards=lambda: CARDS))
    ways = Ways(links, Settings(), cast(Any, None), "7" * 32)
    for number in range(40):
        assert ways.look([Reach(f"b{number}-{k}", (f"192.0.2.{k + 1}",)) for k in range(16)]) == []
    assert len(ways._pairs) == PAIRS_LIMIT and len(ways._due) <= PAIRS_LIMIT
    assert 0 < most <= PROBES_LIMIT
    with pytest.raises(LinkError):
        ways.open(Pair("eth0", "b0-0"))
