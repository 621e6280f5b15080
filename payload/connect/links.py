"""All links between the two machines, not only the one they met over.

Each machine tells its peer, inside the conversation they trust, which cards it has and at which
addresses they answer. The target tries every pair of an own card and a card of the source, leaving
by that very card, and uses what answers with the source's certificate: a pair of cards that are
not in use yet, or one whose other end still has something to give. What does not answer is tried
again from time to time, and nobody waits for it.
"""

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from payload.connect.addressing import chosen_cards
from payload.connect.discovery import Address
from payload.connect.pairing import call
from payload.model.errors import LinkError, PeerError, ToolError
from payload.model.machine import Card
from payload.model.message import Reach
from payload.model.settings import Settings
from payload.system.links import Links
from payload.wire.channel import Channel
from payload.wire.tls import Credentials

LIMIT = 4  # links used at a time
RETRY = 10.0  # seconds until a pair that did not answer, or was lost, is tried again
SETTLE = 5.0  # seconds in which a link that was given away is opened, or was not wanted
CARDS_LIMIT = 16  # of each machine
ADDRESSES_LIMIT = 4  # tried for each pair, one after the other
PAIRS_LIMIT = 256  # remembered, however often the peer says something else
PROBES_LIMIT = 32  # pairs tried at a time
NO_CARRIER = 3.0  # seconds without a link after which a card's connections end, if others live


@dataclass(frozen=True, order=True)
class Pair:
    """One of our cards, by name, and one of the peer's, by permanent MAC ("" if unknown)."""

    own: str
    peer: str


Pairs = Mapping[Pair, tuple[Address, ...]]


def own_reach(links: Links, settings: Settings) -> tuple[Reach, ...]:
    """What this machine tells of itself. Nothing when the kernel does not tell either."""
    try:
        return tuple(
            Reach(card.mac, links.addresses(card.name))
            for card in [one for one in chosen_cards(links, settings) if one.carrier][:CARDS_LIMIT]
        )
    except ToolError:  # a card may vanish between two questions; it is asked again soon
        return ()


def possible_pairs(cards: Iterable[Card], reach: Sequence[Reach], port: int) -> Pairs:
    """Every card of ours that has a link with every card of the peer's, and where to call.
    Link-local IPv6 comes first: it needs no server, and no router can lead it elsewhere."""
    hosts = {theirs.card: _hosts(theirs) for theirs in reach[:CARDS_LIMIT]}
    return {
        Pair(card.name, peer): tuple(Address(host, port, card.name) for host in addresses)
        for card in cards
        if card.carrier
        for peer, addresses in hosts.items()
        if addresses
    }


def _hosts(reach: Reach) -> list[str]:
    """The best of the addresses, if they are any: nobody's names are looked up."""
    return sorted(filter(_is_host, reach.addresses), key=_rank)[:ADDRESSES_LIMIT]


def _is_host(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    nobody = address.is_loopback or address.is_multicast or address.is_unspecified
    return not nobody and "%" not in text  # a scope is ours to choose


def _rank(host: str) -> tuple[bool, bool]:
    return (not Address(host, 0).is_link_local, ":" not in host)


def choose_pairs(
    answered: Collection[Pair], used: Collection[Pair], *, waiting: bool
) -> list[Pair]:
    """Those worth using beside the used ones. Two fresh cards are taken at once; a pair with one
    fresh card only when no better answer is waited for. Two used cards give nothing more."""
    chosen = list(used)
    for wanted in (2,) if waiting else (2, 1):
        for pair in sorted(answered):
            if len(chosen) < LIMIT and fresh_ends(pair, chosen) == wanted:
                chosen.append(pair)
    return [pair for pair in chosen if pair not in used]


def fresh_ends(pair: Pair, used: Iterable[Pair]) -> int:
    """How many of the two cards no used pair has."""
    used = tuple(used)
    return (pair.own not in {one.own for one in used}) + (
        pair.peer not in {one.peer for one in used}
    )


class Ways:
    """The target's view of the links to its source. Any thread may ask; one looks."""

    def __init__(
        self, links: Links, settings: Settings, credentials: Credentials, peer_id: str
    ) -> None:
        self._links = links
        self._settings = settings
        self._credentials = credentials
        self._peer_id = peer_id
        self._pairs: Pairs = {}
        self._channels: list[tuple[Pair, Channel]] = []
        self._dark: dict[str, float] = {}  # cards without a link, and since when
        self._given: dict[Pair, float] = {}
        self._due: dict[Pair, float] = {}
        self._probing: set[Pair] = set()
        self._answered: set[Pair] = set()
        self._lock = threading.Lock()

    def took(self, channel: Channel, reach: Sequence[Reach]) -> None:
        """This connection is in use, however its address was found."""
        host = channel.remote_address.partition("%")[0]
        peer = next((theirs.card for theirs in reach if host in theirs.addresses), "")
        with self._lock:
            self._channels.append((Pair(self._own_card(channel), peer), channel))

    def _own_card(self, channel: Channel) -> str:
        host, _, name = channel.local_address.partition("%")
        try:
            cards = () if name else self._links.cards()
            return name or next(c.name for c in cards if host in self._links.addresses(c.name))
        except (ToolError, StopIteration):
            return ""

    def addresses(self) -> tuple[Address, ...]:
        """Where the peer has been said to answer, over each of our cards."""
        return tuple(address for addresses in self._pairs.values() for address in addresses)

    def open(self, pair: Pair) -> Channel:
        """A connection over a link that `look` returned. Raises LinkError, also when somebody else
        answers there now: it is this link's fault, not the source's."""
        try:
            channel = call(self._pairs.get(pair, ()), self._credentials, self._peer_id)
        except PeerError as error:
            raise LinkError(str(error)) from error
        with self._lock:
            self._channels.append((pair, channel))
        return channel

    def look(self, reach: Sequence[Reach]) -> list[Pair]:
        """Further links that answer now. Never waits for an answer: what comes is returned by a
        later call."""
        try:
            cards = chosen_cards(self._links, self._settings)
        except ToolError:  # a card may vanish between two questions; it is asked again soon
            return []
        self._leave_dark(cards)
        present = possible_pairs(cards, reach, self._settings.port)
        now = time.monotonic()
        with self._lock:
            self._remember(present)
            used = self._used(now)
            self._answered &= present.keys()
            chosen = choose_pairs(self._answered, used, waiting=bool(self._probing))
            self._answered.difference_update(chosen)
            for pair in chosen:
                self._given[pair], self._due[pair] = now, now + RETRY
            due = [pair for pair in present if self._is_due(pair, [*used, *chosen], now)]
            due = due[: PROBES_LIMIT - len(self._probing)]
            self._probing.update(due)
        for pair in due:
            thread = threading.Thread(target=self._probe, args=(pair,), name="probe", daemon=True)
            thread.start()
        return chosen

    def _remember(self, present: Pairs) -> None:
        """Also what was there before: a link that is lost now may be the first to come back."""
        pairs = list({**self._pairs, **present}.items())
        self._pairs = dict(pairs[-PAIRS_LIMIT:])
        for times in (self._given, self._due):
            for pair in times.keys() - self._pairs.keys():
                del times[pair]

    def _used(self, now: float) -> set[Pair]:
        self._channels = [(pair, one) for pair, one in self._channels if not one.closed]
        given = {pair for pair, since in self._given.items() if now - since < SETTLE}
        return given | {pair for pair, _ in self._channels}

    def _is_due(self, pair: Pair, used: Collection[Pair], now: float) -> bool:
        busy = pair in self._probing or pair in self._answered
        return not busy and fresh_ends(pair, used) > 0 and self._due.get(pair, 0.0) <= now

    def _probe(self, pair: Pair) -> None:
        """Find out whether this pair leads to the very source."""
        try:
            call(self._pairs.get(pair, ()), self._credentials, self._peer_id).close()
            answers = True
        except PeerError:  # nobody there, or somebody else
            answers = False
        with self._lock:
            self._probing.discard(pair)
            self._due[pair] = time.monotonic() + RETRY
            if answers:
                self._answered.add(pair)

    def _leave_dark(self, cards: Iterable[Card]) -> None:
        """A card whose cable is out for a while: its connections end now, not when TCP notices,
        if there are others to take over their work."""
        now = time.monotonic()
        dark = {card.name for card in cards if not card.carrier}
        self._dark = {name: self._dark.get(name, now) for name in dark}
        gone = {name for name, since in self._dark.items() if now - since >= NO_CARRIER}
        with self._lock:
            living = [one for pair, one in self._channels if pair.own not in dark]
            ending = [one for pair, one in self._channels if pair.own in gone]
        if any(not one.closed for one in living):
            for one in ending:
                one.close()
