"""Which machines may be our peer: a live view, fed by mDNS on every card that has a link.

Only what a machine of our site said is a candidate. It may have been said long ago, or elsewhere:
`pairing.call` finds out who really answers.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from payload.connect.addressing import chosen_cards
from payload.model.announcement import Announcement
from payload.model.errors import ToolError
from payload.model.event import Level, Monitor, Note
from payload.model.machine import Card
from payload.model.settings import Settings
from payload.system.links import Links
from payload.system.mdns import Mdns, Neighbourhood, Saying, Sighting
from payload.wire.announcement import pack_announcement, unpack_announcement

PERIOD = 1.0  # seconds between two looks at the cards
ADDRESSES_LIMIT = 32  # per machine; they are called side by side


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
    """A machine that may be the peer. `role` and `name` are for people: nothing follows from them.

    `machine_id` and `role` are "" for the address of `failover.peer=` until `recognise`.
    """

    machine_id: str
    role: str
    name: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True)
class _Wire:
    """One family of addresses of a card we announce on. They are apart because one changes at any
    DHCP server's word, the other, link-local IPv6, at nobody's."""

    addresses: tuple[str, ...]
    neighbourhood: Neighbourhood


class Discovery:
    """Announces this machine and watches for others, until closed. Any thread may ask."""

    def __init__(
        self,
        links: Links,
        mdns: Mdns,
        announcement: Announcement,
        key: bytes,
        settings: Settings,
        monitor: Monitor,
    ) -> None:
        """`key` is the site's, by which its announcements are known (`wire.announcement`)."""
        self._key = key
        self._links = links
        self._mdns = mdns
        self._announcement = announcement
        self._settings = settings
        self._monitor = monitor
        self._guard = threading.Lock()
        self._wires: dict[tuple[str, str], _Wire] = {}  # by card and family
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

    def hears_strangers(self) -> bool:
        """Does a machine announce itself that is not of our site, or somebody who plays one?"""
        with self._guard:
            return any(wire.neighbourhood.hears_strangers() for wire in self._wires.values())

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
        families = announced_addresses(self._links.addresses(card.name))
        with self._guard:
            self._speeds[card.name] = card.speed
            before = {way: wire.addresses for way, wire in self._wires.items()}
        for family, addresses in families.items():
            way = (card.name, family)
            if before.get(way, ()) != addresses:
                self._leave(way)
                if addresses:
                    self._join(way, addresses)

    def _join(self, way: tuple[str, str], addresses: tuple[str, ...]) -> None:
        own, (card, family) = self._announcement, way
        saying = Saying(
            f"{own.machine_id[:32]}-{card}-{family}",
            own.port,
            pack_announcement(own, addresses, self._key),
        )
        judge = partial(unpack_announcement, key=self._key)
        try:
            neighbourhood = self._mdns.join(card, addresses, saying, judge)
        except ToolError as error:  # tried again in the next round
            self._warn(str(error))
            return
        with self._guard:
            self._wires[way] = _Wire(addresses, neighbourhood)

    def _leave_all_but(self, cards: set[str]) -> None:
        for way in list(self._wires):
            if way[0] not in cards:
                self._leave(way)

    def _leave(self, way: tuple[str, str]) -> None:
        with self._guard:
            wire = self._wires.pop(way, None)
        if wire is not None:
            wire.neighbourhood.close()

    def _warn(self, sentence: str) -> None:
        """Once: the same is found again in every round."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._monitor(Note(sentence, Level.WARNING))


def announced_addresses(addresses: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Those to announce on their own wire, by family. Global IPv6 only where there is no
    link-local one: any router advertisement adds and removes them."""
    ipv6 = [address for address in sorted(addresses) if ":" in address]
    link_local = [address for address in ipv6 if Address(address, 0).is_link_local]
    ipv4 = [address for address in sorted(addresses) if ":" not in address]
    return {"ipv6": tuple(link_local or ipv6), "ipv4": tuple(ipv4)}


def fixed_candidate(settings: Settings) -> Candidate | None:
    """The machine at `failover.peer=`, which needs no mDNS and suffers no other beside it."""
    if not settings.peer:
        return None
    host, _, card = settings.peer.partition("%")
    address = Address(host, settings.port, card)
    return Candidate("", "", f"failover.peer={settings.peer}", (address,))


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
    return tuple(_candidate(seen, speeds) for _, seen in sorted(machines.items()))


def _candidate(seen: list[Sighting], speeds: dict[str, int]) -> Candidate:
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
    )
