"""Which card of the target is on the wire of which card of the source: asked by beacons.

The source sends one by every card, plain and with each VLAN tag that the copied system uses there,
again and again: a switch may take half a minute to let a port speak. The target listens on every
card. Nothing depends on it: where no beacon arrives, the names go by what else is known.
"""

import contextlib
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice, repeat

from payload.connect.addressing import chosen_cards
from payload.model.errors import ToolError
from payload.model.event import Monitor, Note
from payload.model.machine import Card
from payload.model.network import Arrival
from payload.model.settings import Settings
from payload.system.links import Links
from payload.system.packets import PacketPort
from payload.wire.beacon import ETHER_TYPE, Beacon, ethernet_frame, pack_beacon, unpack_beacon

# Seconds between two rounds of beacons, and how many such rounds; then the last for good.
PACE = ((0.25, 20), (1.0, 40), (10.0, 0))
LOOK = 2.0  # seconds between two looks at which cards there are
ETHERNET_MAC = len("00:00:00:00:00:00")  # InfiniBand has longer ones
MOST_TAGS = 32  # VLANs tried by one card
MOST_AT_ONCE = 256  # frames of one card; whoever floods the wire must not keep us from the rest
MOST_ARRIVALS = 4096  # more pairs of cards and VLANs no two machines have


class Beaconing:
    """The source's part: a thread that sends until closed. `tags` tells a card's VLAN ids."""

    def __init__(
        self,
        links: Links,
        settings: Settings,
        key: bytes,
        tags: Callable[[Card], Iterable[int]],
        monitor: Monitor,
    ) -> None:
        self._links, self._settings, self._key, self._tags = links, settings, key, tags
        self._closing = threading.Event()
        self._notes = _Notes(monitor)
        self._thread = threading.Thread(target=self._repeat, name="beacons", daemon=True)
        self._thread.start()

    def _repeat(self) -> None:
        for pause in _pauses():
            self._notes.try_(self._send_round)
            if self._closing.wait(pause):
                return

    def _send_round(self) -> None:
        for card in chosen_cards(self._links, self._settings):
            if card.carrier and len(card.mac) == ETHERNET_MAC:
                self._notes.try_(partial(self._send, card))

    def _send(self, card: Card) -> None:
        tags = sorted({0, *self._tags(card)})[: MOST_TAGS + 1]
        with PacketPort(card.name, ETHER_TYPE, listening=False) as port:
            for tag in tags:
                payload = pack_beacon(Beacon(card.mac, tag), self._key)
                port.send(ethernet_frame(payload, port.mac, tag))

    def close(self) -> None:
        self._closing.set()
        self._thread.join()


def _pauses() -> Iterator[float]:
    for seconds, rounds in PACE:
        yield from repeat(seconds, rounds) if rounds else repeat(seconds)


class Listening:
    """The target's part: a thread that hears until closed, and what it heard so far."""

    def __init__(self, links: Links, settings: Settings, key: bytes, monitor: Monitor) -> None:
        self._links, self._settings, self._key = links, settings, key
        self._closing = threading.Event()
        self._notes = _Notes(monitor)
        self._heard: set[Arrival] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="listening", daemon=True)
        self._thread.start()

    def arrivals(self) -> tuple[Arrival, ...]:
        """Every way that a beacon took, each once."""
        with self._lock:
            return tuple(sorted(self._heard, key=lambda one: (one.source, one.target, one.sent)))

    def _listen(self) -> None:
        with ExitStack() as stack:
            ports: dict[str, tuple[PacketPort, str]] = {}
            while not self._closing.is_set():
                self._notes.try_(partial(self._open, stack, ports))
                self._hear(ports)

    def _open(self, stack: ExitStack, ports: dict[str, tuple[PacketPort, str]]) -> None:
        """Open the cards that appeared since the last look."""
        for card in chosen_cards(self._links, self._settings):
            if card.name not in ports:
                with contextlib.suppress(ToolError):  # it vanished again
                    port = stack.enter_context(PacketPort(card.name, ETHER_TYPE, listening=True))
                    ports[card.name] = (port, card.mac)

    def _hear(self, ports: dict[str, tuple[PacketPort, str]]) -> None:
        end = time.monotonic() + LOOK
        while not self._closing.is_set() and (left := end - time.monotonic()) > 0:
            if not ports:
                self._closing.wait(left)
            by_number = {port.fileno(): name for name, (port, _) in ports.items()}
            for number in select.select(list(by_number), [], [], min(left, 0.5))[0]:
                name = by_number[number]
                try:
                    self._take(*ports[name])
                except ToolError:  # the card is gone; the next look tells whether it is back
                    ports.pop(name)[0].close()

    def _take(self, port: PacketPort, mac: str) -> None:
        for payload, tag in islice(iter(port.receive, None), MOST_AT_ONCE):
            beacon = unpack_beacon(payload, self._key)
            if beacon is not None and len(self._heard) < MOST_ARRIVALS:
                with self._lock:
                    self._heard.add(Arrival(beacon.mac, mac, beacon.vlan, tag))

    def close(self) -> None:
        self._closing.set()
        self._thread.join()


class _Notes:
    """A failing card is told once and hinders nothing."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._said: set[str] = set()

    def try_(self, act: Callable[[], None]) -> None:
        try:
            act()
        except ToolError as error:
            if str(error) not in self._said:
                self._said.add(str(error))
                self._monitor(Note(f"{error} The cards are paired without it."))
