"""Beacons go out by every card that can carry them, and what is heard of them is kept once."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from payload.connect import beacons
from payload.connect.beacons import MOST_TAGS, Beaconing, Listening
from payload.model.errors import ToolError
from payload.model.event import Event, Note
from payload.model.machine import Card
from payload.model.network import Arrival
from payload.model.settings import Settings
from payload.wire.beacon import Beacon, beacon_key, ethernet_frame, pack_beacon
from tests.support.waiting import wait_until

KEY = beacon_key("a", "b")
OLD, NEW = "00:1a:64:00:00:01", "00:50:56:00:00:01"
OWN = bytes.fromhex("020000000009")  # the address that a card uses now
ETH0 = Card("eth0", "52:54:00:00:00:0a", carrier=True)
ETH1 = Card("eth1", "52:54:00:00:00:0b", carrier=True)


@dataclass
class Paper:
    """Cards, and what went out by them; cards in `broken` refuse to be opened."""

    cards_now: tuple[Card, ...] = ()
    broken: tuple[str, ...] = ()
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    looks: int = 0
    notes: list[Event] = field(default_factory=list)

    def cards(self) -> tuple[Card, ...]:
        self.looks += 1
        return self.cards_now

    @contextmanager
    def port(self, name: str, _kind: int, *, listening: bool) -> Iterator[Any]:
        if name in self.broken:
            raise ToolError(f"The kernel refused to open {name}.")
        paper = self

        class Port:
            mac = OWN

            def send(self, frame: bytes) -> None:
                paper.sent.append((name, frame))

        yield Port()

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.notes if isinstance(event, Note)]


def send(
    paper: Paper,
    monkeypatch: pytest.MonkeyPatch,
    tags: Callable[[Card], Iterable[int]] = lambda _: (),
    settings: Settings = Settings(),  # noqa: B008
) -> None:
    """Three rounds at least."""
    monkeypatch.setattr(beacons, "PacketPort", paper.port)
    monkeypatch.setattr(beacons, "PACE", ((0.0, 0),))
    links: Any = paper
    sending = Beaconing(links, settings, KEY, tags, paper.notes.append)
    wait_until(lambda: paper.looks > 3)
    sending.close()


def frame(card: Card, tag: int = 0) -> bytes:
    return ethernet_frame(pack_beacon(Beacon(card.mac, tag), KEY), OWN, tag)


def test_every_card_says_its_own_mac_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper((ETH0, ETH1))
    send(paper, monkeypatch)
    assert set(paper.sent) == {("eth0", frame(ETH0)), ("eth1", frame(ETH1))}
    assert paper.sent[:2] == paper.sent[2:4]
    assert paper.notes == []


def test_each_tag_of_a_card_is_tried_beside_none(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper((ETH0, ETH1))
    send(paper, monkeypatch, lambda card: (100, 7, 0, 100) if card == ETH0 else ())
    assert paper.sent[:4] == [
        ("eth0", frame(ETH0)),
        ("eth0", frame(ETH0, 7)),
        ("eth0", frame(ETH0, 100)),
        ("eth1", frame(ETH1)),
    ]


def test_the_number_of_tags_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper((ETH0,))
    send(paper, monkeypatch, lambda _: range(1, 4095))
    assert len(set(paper.sent)) == MOST_TAGS + 1
    assert ("eth0", frame(ETH0)) in paper.sent


@pytest.mark.parametrize(
    "card",
    [
        Card("eth2", "52:54:00:00:00:0c"),  # without a link
        Card("ib0", "80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1", carrier=True),
    ],
)
def test_a_card_that_carries_no_frames_is_left_out(
    monkeypatch: pytest.MonkeyPatch, card: Card
) -> None:
    paper = Paper((card, ETH0))
    send(paper, monkeypatch)
    assert {name for name, _ in paper.sent} == {"eth0"}
    assert paper.notes == []


def test_a_chosen_card_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper((ETH0, ETH1))
    send(paper, monkeypatch, settings=Settings(interface="eth1"))
    assert {name for name, _ in paper.sent} == {"eth1"}


def test_a_failing_card_is_told_once_and_hinders_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper((ETH0, ETH1), broken=("eth0",))
    send(paper, monkeypatch)
    assert len([name for name, _ in paper.sent if name == "eth1"]) > 1
    assert paper.texts == ["The kernel refused to open eth0. The cards are paired without it."]


# --- listening


class Port:
    """A card on paper: a pipe tells that something is to be heard, `frames` is what."""

    def __init__(self, stack: ExitStack, frames: Iterable[tuple[bytes, int]]) -> None:
        self._ready, writing = os.pipe()
        stack.callback(os.close, self._ready)
        stack.callback(os.close, writing)
        os.write(writing, b"x")  # so that there is always something to be heard
        self._frames = iter(frames)
        self.heard_all = threading.Event()

    def fileno(self) -> int:
        return self._ready

    def receive(self) -> tuple[bytes, int] | None:
        frame = next(self._frames, None)
        if frame is None:
            self.heard_all.set()
        return frame

    def close(self) -> None: ...

    def __enter__(self) -> "Port":
        return self

    def __exit__(self, *_: object) -> None: ...


def hear(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, frames: Iterable[tuple[bytes, int]]
) -> tuple[Arrival, ...]:
    port = Port(stack, frames)
    monkeypatch.setattr(beacons, "PacketPort", lambda *_, **__: port)
    links: Any = Paper((Card("eth0", NEW),))
    listening = Listening(links, Settings(), KEY, lambda _: None)
    stack.callback(listening.close)
    wait_until(port.heard_all.is_set)
    return listening.arrivals()


def test_each_way_is_kept_once_with_its_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tagged = (pack_beacon(Beacon(OLD, tag), KEY) for tag in (0, 100))
    with ExitStack() as stack:
        heard = hear(stack, monkeypatch, [(tagged, 100), (plain, 0), (plain, 0), (tagged, 0)])
    assert heard[0] == Arrival(OLD, NEW, 0, 0)
    assert set(heard[1:]) == {Arrival(OLD, NEW, 100, 100), Arrival(OLD, NEW, 100, 0)}
    assert len(heard) == 3


def test_what_is_no_beacon_of_this_session_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    other = pack_beacon(Beacon(OLD), beacon_key("b", "a"))
    with ExitStack() as stack:
        assert hear(stack, monkeypatch, [(b"noise", 0), (other, 0), (b"", 0)]) == ()


def test_the_number_of_ways_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacons, "MOST_ARRIVALS", 3)
    plain = pack_beacon(Beacon(OLD), KEY)
    with ExitStack() as stack:
        assert len(hear(stack, monkeypatch, [(plain, tag) for tag in range(9)])) == 3


def test_a_card_that_is_flooded_does_not_keep_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        port = Port(stack, iter(lambda: (b"noise", 0), None))
        monkeypatch.setattr(beacons, "PacketPort", lambda *_, **__: port)
        links: Any = Paper((Card("eth0", NEW),))
        listening = Listening(links, Settings(), KEY, lambda _: None)
        closing = threading.Thread(target=listening.close, daemon=True)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()
        assert listening.arrivals() == ()


def test_a_machine_without_cards_hears_nothing_and_can_be_closed() -> None:
    links: Any = Paper()
    listening = Listening(links, Settings(), KEY, lambda _: None)
    wait_until(lambda: links.looks > 0)
    listening.close()
    assert listening.arrivals() == ()
