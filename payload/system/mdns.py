"""Where to knock: each machine announces itself by multicast DNS on each of its cards.

Nothing heard here is believed. It gives addresses to try and words for people; who really
answers there is proven by TLS.

Each card has mDNS instances of its own. On Linux a socket hears the multicast groups that any
other socket has joined on any card, so an instance would also answer questions from a neighbour's
wire with addresses that do not hold there, and a link-local address heard on the wrong card leads
nowhere. So every socket is bound to its card.

A machine says again and again who it is, so nobody has to ask, and what counts is each TXT record
as it arrives: whatever else a stranger says, and however much of it, takes no room in which that
of a machine of ours could be missing.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zeroconf import Error as ZeroconfError
from zeroconf import (
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    Zeroconf,
)
from zeroconf._dns import DNSText  # the package does not export it

from payload.model.announcement import Announcement, Claim
from payload.model.errors import ToolError

SERVICE = "_ugs-failover._tcp.local."
PERIOD = 3.0  # seconds between two announcements; equal packets within one second are dropped
LIFETIME = 60  # seconds a word is good for when its speaker is not heard again
FAREWELL = 10.0  # seconds the same after a goodbye: a stranger can say it, and the speaker go on
SIGHTINGS_LIMIT = 64  # per card and family; the one that was heard longest ago goes first


@dataclass(frozen=True)
class Saying:
    """What one instance says: its name, its port and the strings of its TXT record."""

    label: str
    port: int
    words: Mapping[str, bytes]


# The claim that bytes of a TXT record make, None if no machine of our site has made it.
Judge = Callable[[bytes], Claim | None]


@dataclass(frozen=True)
class Sighting:
    """An announcement, heard on a card, and where its machine says it can be reached there."""

    announcement: Announcement
    card: str
    addresses: tuple[str, ...]


class Mdns:
    """The adapter: `join` is all there is."""

    def __init__(self) -> None:
        # What it warns of, cards that come and go, is no news to anybody.
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)

    def join(
        self, card: str, addresses: Sequence[str], saying: Saying, judge: Judge
    ) -> "Neighbourhood":
        """Announce on a card, with addresses it has there, and listen. Takes a second or two.

        Raises ToolError when the card cannot do it (any more).
        """
        return Neighbourhood(card, tuple(addresses), saying, judge)


class Neighbourhood(RecordUpdateListener):
    """Everybody heard on one card, until closed."""

    def __init__(self, card: str, addresses: tuple[str, ...], saying: Saying, judge: Judge) -> None:
        super().__init__()
        self.card = card
        self._judge = judge
        self._guard = threading.Lock()
        self._sightings: dict[Sighting, float] = {}  # good until when; heard last stands last
        self._strangers_until = 0.0
        self._closing = threading.Event()
        self._own = _describe(addresses, saying)
        try:
            self._zeroconf = _open(card, addresses)
        except (OSError, RuntimeError, ZeroconfError) as error:
            raise ToolError(f"No multicast DNS on {card}: {error}.") from error
        try:
            self._zeroconf.add_listener(self, None)
            # Nobody else has our machine id and card in its name: no need to probe for it.
            self._zeroconf.register_service(self._own, cooperating_responders=True)
        except (OSError, RuntimeError, ZeroconfError) as error:
            self.close()
            raise ToolError(f"No multicast DNS on {card}: {error}.") from error
        threading.Thread(target=self._repeat, name=f"mdns {card}", daemon=True).start()

    def sightings(self) -> tuple[Sighting, ...]:
        """Machines of our site that are there now, ourselves as well if we hear us; the one that
        was heard last comes first."""
        now = time.monotonic()
        with self._guard:
            seen = [sighting for sighting, until in self._sightings.items() if until > now]
        return tuple(reversed(seen))

    def hears_strangers(self) -> bool:
        """Does somebody use our service's name who is not of our site?"""
        with self._guard:
            return self._strangers_until > time.monotonic()

    def close(self) -> None:
        """Say goodbye and stop listening."""
        self._closing.set()
        with contextlib.suppress(OSError, RuntimeError, ZeroconfError):
            self._zeroconf.close()

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """Called by zeroconf, in a thread of its own, with all that was heard, new or not."""
        for update in records:
            record = update.new
            if isinstance(record, DNSText) and record.name.lower().endswith(SERVICE):
                self._hear(record.text, lasting=record.ttl > 0)

    def _hear(self, text: bytes, *, lasting: bool) -> None:
        claim, now = self._judge(text), time.monotonic()
        with self._guard:
            if claim is None:
                self._strangers_until = now + LIFETIME
                return
            sighting = Sighting(claim.announcement, self.card, claim.addresses)
            known = self._sightings.pop(sighting, now)
            self._sightings[sighting] = now + LIFETIME if lasting else min(known, now + FAREWELL)
            if len(self._sightings) > SIGHTINGS_LIMIT:
                del self._sightings[next(iter(self._sightings))]

    def _repeat(self) -> None:
        while not self._closing.wait(PERIOD):
            with contextlib.suppress(OSError, RuntimeError, ZeroconfError):
                self._zeroconf.send(self._zeroconf.generate_service_broadcast(self._own, None))


class _CardZeroconf(Zeroconf):
    """An instance that neither hears nor speaks on any other card."""

    def __init__(self, card: str, interfaces: list[str | int], version: IPVersion) -> None:
        self._card = card
        super().__init__(interfaces, ip_version=version)

    def start(self) -> None:
        """Called when the sockets are open and nothing was read yet; what came in by then may
        be of another card, and once read it would stay in the cache."""
        for one in (self.engine._listen_socket, *self.engine._respond_sockets):
            if one is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._card.encode())
                with contextlib.suppress(BlockingIOError):
                    while True:
                        one.recv(1, socket.MSG_DONTWAIT)
        super().start()


def _open(card: str, addresses: tuple[str, ...]) -> Zeroconf:
    ipv4 = [address for address in addresses if ":" not in address]
    ipv6 = [socket.if_nametoindex(card)] if len(ipv4) < len(addresses) else []
    versions = {(True, False): IPVersion.V4Only, (False, True): IPVersion.V6Only}
    version = versions.get((bool(ipv4), bool(ipv6)), IPVersion.All)
    return _CardZeroconf(card, [*ipv6, *ipv4], version)


def _describe(addresses: tuple[str, ...], saying: Saying) -> ServiceInfo:
    """The label differs card by card, so that no cache mixes what holds on one wire only."""
    label = saying.label.replace(".", "-")
    return ServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        port=saying.port,
        server=f"{label}.local.",
        parsed_addresses=list(addresses),
        properties=dict(saying.words),
        host_ttl=LIFETIME,
        other_ttl=LIFETIME,
    )
