"""Cards are cared for one by one, and nothing is guessed."""

import threading
from collections.abc import Iterable
from dataclasses import replace

import pytest

from payload.connect import addressing
from payload.connect.addressing import Addressing, card_for_address, chosen_cards
from payload.model.errors import ToolError
from payload.model.event import Event, Level, Note
from payload.model.machine import Card
from payload.model.settings import Settings
from tests.support.waiting import wait_until

ETH0 = Card("eth0", "52:54:00:00:00:0a", "e1000", carrier=True, speed=1000)
ETH1 = Card("eth1", "52:54:00:00:00:0b")


class PaperLinks:
    """Cards on paper; what is done to them is written down."""

    def __init__(self, *cards: Card, broken: str = "") -> None:
        self.now = cards
        self.broken = broken
        self.done: list[tuple[str, ...]] = []

    def cards(self) -> tuple[Card, ...]:
        return self.now

    def wait_carrier(self, names: Iterable[str], timeout: float) -> frozenset[str]:
        return frozenset(names)

    def up(self, name: str) -> None:
        if name == self.broken:
            raise ToolError(f"The kernel refused to switch {name} on.")
        self.done.append(("up", name))

    def lease(self, name: str) -> None:
        self.done.append(("lease", name))

    def add_address(self, name: str, address: str) -> None:
        self.done.append(("address", name, address))

    def add_gateway(self, name: str, gateway: str) -> None:
        self.done.append(("gateway", name, gateway))

    def release(self) -> None:
        self.done.append(("release",))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addressing, "PERIOD", 0.01)


def begin(links: PaperLinks, settings: Settings = Settings()) -> tuple[Addressing, list[str]]:  # noqa: B008
    notes: list[str] = []

    def monitor(event: Event) -> None:
        assert isinstance(event, Note)
        notes.append(f"{'! ' if event.level is Level.WARNING else ''}{event.text}")

    care = Addressing(links, settings, monitor)  # type: ignore[arg-type]
    care.begin()
    return care, notes


def test_all_cards_go_up_and_get_a_lease_and_give_it_back() -> None:
    links = PaperLinks(ETH0, ETH1)
    care, notes = begin(links)
    assert links.done == [("up", "eth0"), ("up", "eth1"), ("lease", "eth0"), ("lease", "eth1")]
    assert notes == ["Network card eth0 (e1000, 1000 Mbit/s) has a link."]
    care.close()
    assert links.done[4:] == [("release",)]
    assert not any(thread.name == "addressing" for thread in threading.enumerate())


def test_late_card_and_late_cable_are_used_and_told_once() -> None:
    links = PaperLinks(replace(ETH0, carrier=False))
    care, notes = begin(links)
    assert notes == ["! No network card has a link. Plug in a cable: it is used at once."]
    links.now = (ETH0, ETH1)
    wait_until(lambda: ("lease", "eth1") in links.done)
    links.now = (replace(ETH0, carrier=False), ETH1)
    wait_until(lambda: len(notes) == 3)
    care.close()
    assert notes[1:] == [
        "Network card eth0 (e1000, 1000 Mbit/s) has a link.",
        "! Network card eth0 lost its link.",
    ]
    assert links.done.count(("up", "eth0")) == 1


def test_broken_card_does_not_stop_the_others() -> None:
    links = PaperLinks(ETH0, ETH1, broken="eth0")
    care, notes = begin(links)
    care.close()
    assert ("up", "eth1") in links.done and ("lease", "eth1") in links.done
    assert "! The kernel refused to switch eth0 on." in notes


@pytest.mark.parametrize("name", ["eth1", "52:54:00:00:00:0B"])
def test_only_the_named_card_is_touched(name: str) -> None:
    links = PaperLinks(ETH0, ETH1)
    care, _ = begin(links, Settings(interface=name))
    care.close()
    assert links.done == [("up", "eth1"), ("lease", "eth1"), ("release",)]


def test_no_card_is_told_with_its_name() -> None:
    care, notes = begin(PaperLinks(ETH0), Settings(interface="eth7"))
    care.close()
    assert notes[0].startswith("! There is no network card eth7, which failover.interface= names")
    care, notes = begin(PaperLinks())
    care.close()
    assert notes[0].startswith("! No network card was found.")


def test_fixed_address_goes_to_the_only_card_with_a_link() -> None:
    links = PaperLinks(ETH0, ETH1)
    care, _ = begin(links, Settings(ip="192.0.2.7/24", gateway="192.0.2.1"))
    care.close()
    assert links.done[2:] == [
        ("address", "eth0", "192.0.2.7/24"),
        ("gateway", "eth0", "192.0.2.1"),
        ("lease", "eth1"),
        ("release",),
    ]


def test_fixed_address_waits_until_it_is_clear_where_it_belongs() -> None:
    links = PaperLinks(ETH0, replace(ETH1, carrier=True))
    care, notes = begin(links, Settings(ip="192.0.2.7/24"))
    assert links.done == [("up", "eth0"), ("up", "eth1")]
    assert any("not clear for which card" in note for note in notes)
    links.now = (ETH0, ETH1)
    wait_until(lambda: ("address", "eth0", "192.0.2.7/24") in links.done)
    care.close()


def test_card_for_address() -> None:
    dark = replace(ETH0, carrier=False)
    assert card_for_address((dark,)) is dark
    assert card_for_address((dark, ETH1)) is None
    assert card_for_address((ETH0, ETH1)) is ETH0
    assert card_for_address(()) is None


def test_chosen_cards() -> None:
    links = PaperLinks(ETH0, ETH1)
    assert chosen_cards(links, Settings()) == (ETH0, ETH1)  # type: ignore[arg-type]
    assert chosen_cards(links, Settings(interface="ETH0")) == (ETH0,)  # type: ignore[arg-type]
