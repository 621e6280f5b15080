"""Which machines may be our peer: a live view, fed by mDNS on every card that has a link.

What is seen here is hearsay; `pairing.call` finds out who really answers.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from payload.connect.addressing import chosen_cards
from payload.model.errors import ToolError
from payload.model.event import Level, Monitor, Note
from payload.model.machine import Card
from payload.model.settings import Settings
from payload.system.links import Links
from payload.system.mdns import Announcement, Mdns, Neighbourhood, Sighting

PERIOD = 1.0  # seconds between two looks at the cards
ADDRESSES_LIMIT = 16  # per machine; each costs seconds when nobody answers there


@dataclass(frozen=True)
class Address:
    """Where to knock. `card` is ours: the name of the card to go out by, "" for any."""

    host: str  # numeric, without scope
    port: int
    card: str = ""

    @property
    def is_link_local(self) -> bool:
        """IPv6 that holds on one wire only; needs `card`."""
        return self.host.lower().startswith("fe80:")

    def __str__(self) -> str:
        return f"{self.host}%{self.card}" if self.card else self.host


@dataclass(frozen=True)
class Candidate:
    """A machine that may be the peer. All but the addresses is what it claims.

    `machine_id` and `role` are "" for the address of `failover.peer=` until `recognise`.
    """

    machine_id: str
    role: str
    name: str
    addresses: tuple[Address, ...]
    site_matches: bool


@dataclass(frozen=True)
class _Wire:
    """A card we announce on, and with which addresses."""

    addresses: tuple[str, ...]
    neighbourhood: Neighbourhood


class Discovery:
    """Announces this machine and watches for others, until closed. Any thread may ask."""

    def __init__(
        self,
        links: Links,
        mdns: Mdns,
        announcement: Announcement,
        settings: Settings,
        monitor: Monitor,
    ) -> None:
        self._links = links
        self._mdns = mdns
        self._announcement = announcement
        self._settings = settings
        self._monitor = monitor
        self._guard = threading.Lock()
        self._wires: dict[str, _Wire] = {}
        self._speeds: dict[str, int] = {}
        self._said: set[str] = set()
        self._peer = fixed_candidate(settings)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="discovery", daemon=True)
        self._thread.start()

    def candidates(self) -> tuple[Candidate, ...]:
        """Who is in sight now, in no order of merit. With `failover.peer=` that one, alone."""
        with self._guard:
            if self._peer is not None:
                return (self._peer,)
            sightings = [
                sighting
                for wire in self._wires.values()
                for sighting in wire.neighbourhood.sightings()
            ]
            return merge(sightings, self._announcement, self._speeds)

    def recognise(self, machine_id: str) -> None:
        """Give the machine at `failover.peer=` the id it has proven. Without one: no effect."""
        with self._guard:
            if self._peer is not None:
                self._peer = replace(self._peer, machine_id=machine_id)

    def close(self) -> None:
        """Say goodbye on all cards."""
        self._closing.set()
        self._thread.join()
        with self._guard:
            wires, self._wires = self._wires, {}
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda wire: wire.neighbourhood.close(), wires.values()))

    def _watch(self) -> None:
        with ThreadPoolExecutor(thread_name_prefix="mdns") as pool:
            while not self._closing.is_set():
                try:
                    cards = chosen_cards(self._links, self._settings)
                    list(pool.map(self._renew, [card for card in cards if card.carrier]))
                    self._leave_all_but({card.name for card in cards if card.carrier})
                except ToolError as error:  # a card may vanish between two questions
                    self._warn(str(error))
                self._closing.wait(PERIOD)

    def _renew(self, card: Card) -> None:
        """Announce anew on a card whose addresses are others than before."""
        addresses = tuple(sorted(self._links.addresses(card.name)))
        with self._guard:
            self._speeds[card.name] = card.speed
            wire = self._wires.get(card.name)
        if wire is None or wire.addresses != addresses:
            self._leave(card.name)
            if addresses:
                self._join(card.name, addresses)

    def _join(self, card: str, addresses: tuple[str, ...]) -> None:
        try:
            neighbourhood = self._mdns.join(card, addresses, self._announcement)
        except ToolError as error:  # tried again in the next round
            self._warn(str(error))
            return
        with self._guard:
            self._wires[card] = _Wire(addresses, neighbourhood)

    def _leave_all_but(self, cards: set[str]) -> None:
        for card in set(self._wires) - cards:
            self._leave(card)

    def _leave(self, card: str) -> None:
        with self._guard:
            wire = self._wires.pop(card, None)
        if wire is not None:
            wire.neighbourhood.close()

    def _warn(self, sentence: str) -> None:
        """Once: the same is found again in every round."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._monitor(Note(sentence, Level.WARNING))


def fixed_candidate(settings: Settings) -> Candidate | None:
    """The machine at `failover.peer=`, which needs no mDNS and suffers no other beside it."""
    if not settings.peer:
        return None
    host, _, card = settings.peer.partition("%")
    address = Address(host, settings.port, card)
    return Candidate("", "", f"failover.peer={settings.peer}", (address,), site_matches=True)


def merge(
    sightings: list[Sighting], own: Announcement, speeds: dict[str, int]
) -> tuple[Candidate, ...]:
    """One candidate per machine id; ourselves, seen over another card of ours, left out.

    The best way comes first: link-local IPv6 on the fastest card. It needs no server, and its
    card is certain.
    """
    machines: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        machine_id = sighting.announcement.machine_id
        if machine_id and machine_id != own.machine_id:
            machines.setdefault(machine_id, []).append(sighting)
    return tuple(_candidate(seen, own, speeds) for _, seen in sorted(machines.items()))


def _candidate(seen: list[Sighting], own: Announcement, speeds: dict[str, int]) -> Candidate:
    addresses = {
        Address(host, sighting.announcement.port, sighting.card): None
        for sighting in seen
        for host in sighting.addresses
    }
    ordered = sorted(
        addresses,
        key=lambda address: (
            not address.is_link_local,
            ":" not in address.host,
            -speeds.get(address.card, 0),
        ),
    )
    first = seen[0].announcement
    return Candidate(
        machine_id=first.machine_id,
        role=first.role,
        name=first.name,
        addresses=tuple(ordered[:ADDRESSES_LIMIT]),
        site_matches=any(sighting.announcement.site == own.site for sighting in seen),
    )
