"""Where to knock: each machine announces itself by multicast DNS on each of its cards.

Nothing heard here is believed. It gives addresses to try and words for people; who really
answers there is proven by TLS.

Each card has an mDNS instance of its own. On Linux a socket hears the multicast groups that any
other socket has joined on any card, so an instance would also answer questions from a neighbour's
wire with addresses that do not hold there, and a link-local address heard on the wrong card leads
nowhere. So every socket is bound to its card.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from zeroconf import Error as ZeroconfError
from zeroconf import (
    IPVersion,
    ServiceBrowser,
    ServiceInfo,
    ServiceListener,
    Zeroconf,
)

from payload.model.errors import ToolError

SERVICE = "_ugs-failover._tcp.local."
LIFETIME = 60  # seconds a word is good for when its speaker is not heard again
QUESTION = 1000  # milliseconds an announced machine has to tell its addresses
PERIOD = 2.0  # seconds until it is asked again
TEXT_LIMIT = 100  # characters of a hostile word that may reach a screen
NAMES_LIMIT = 64  # per card; a flood of names is no reason to run out of memory


@dataclass(frozen=True)
class Announcement:
    """What a machine says of itself. Of another machine: what it claims."""

    machine_id: str
    role: str
    site: str  # fingerprint of the site's certificate
    name: str  # for people
    port: int
    protocol: int


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
        self, card: str, addresses: Sequence[str], announcement: Announcement
    ) -> "Neighbourhood":
        """Announce on a card, with the addresses it has there, and listen. Takes a second or two.

        Raises ToolError when the card cannot do it (any more).
        """
        return Neighbourhood(card, tuple(addresses), announcement)


class Neighbourhood(ServiceListener):
    """Everybody heard on one card, until closed."""

    def __init__(self, card: str, addresses: tuple[str, ...], announcement: Announcement) -> None:
        self.card = card
        self._guard = threading.Lock()
        self._names: dict[str, bool] = {}  # heard of; True: its addresses are to be found out
        self._sightings: dict[str, Sighting] = {}
        self._news = threading.Event()
        self._closed = False
        self._own = _describe(card, addresses, announcement)
        try:
            self._zeroconf = _open(card, addresses)
        except (OSError, RuntimeError, ZeroconfError) as error:
            raise ToolError(f"No multicast DNS on {card}: {error}.") from error
        try:
            # Nobody else has our machine id and card in its name: no need to probe for it.
            self._zeroconf.register_service(self._own, cooperating_responders=True)
            self._browser = ServiceBrowser(self._zeroconf, SERVICE, self)
        except (OSError, RuntimeError, ZeroconfError) as error:
            self.close()
            raise ToolError(f"No multicast DNS on {card}: {error}.") from error
        threading.Thread(target=self._find_out, name=f"mdns {card}", daemon=True).start()

    def sightings(self) -> tuple[Sighting, ...]:
        """Who is there now, ourselves left out."""
        with self._guard:
            return tuple(self._sightings.values())

    def close(self) -> None:
        """Say goodbye and stop listening."""
        self._closed = True
        self._news.set()
        with contextlib.suppress(OSError, RuntimeError, ZeroconfError):
            self._zeroconf.close()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Called by zeroconf: a name was heard, or something new about it."""
        with self._guard:
            known = name in self._names or len(self._names) < NAMES_LIMIT
            if known and name != self._own.name:
                self._names[name] = True
        self._news.set()

    update_service = add_service

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Called by zeroconf: it said goodbye, or was not heard for LIFETIME."""
        with self._guard:
            self._names.pop(name, None)
            self._sightings.pop(name, None)

    def _find_out(self) -> None:
        """Ask for the addresses behind the names, again and again: a word may get lost. Those
        that told everything at once do not have to wait for those that do not answer."""
        while not self._closed:
            self._news.wait(PERIOD)
            self._news.clear()
            with self._guard:
                unknown = [name for name, is_open in self._names.items() if is_open]
            told = [name for name in unknown if self._is_cached(name)]
            for name in told:
                self._look_up(name)
            for name in unknown:
                if self._closed or self._news.is_set():
                    break
                if name not in told:
                    self._look_up(name)

    def _is_cached(self, name: str) -> bool:
        try:
            return ServiceInfo(SERVICE, name).load_from_cache(self._zeroconf)
        except ZeroconfError:  # not a name at all
            return False

    def _look_up(self, name: str) -> None:
        try:
            info = self._zeroconf.get_service_info(SERVICE, name, timeout=QUESTION)
        except (OSError, RuntimeError, ZeroconfError):
            return
        sighting = _believe_nothing(self.card, info) if info else None
        with self._guard:
            if sighting and name in self._names:
                self._names[name] = False
                self._sightings[name] = sighting


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


def _describe(card: str, addresses: tuple[str, ...], announcement: Announcement) -> ServiceInfo:
    """Card by card under another name, so that no cache mixes what holds on one wire only."""
    label = f"{announcement.machine_id[:32]}-{card}".replace(".", "-")
    return ServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        port=announcement.port,
        server=f"{label}.local.",
        parsed_addresses=list(addresses),
        properties={
            "id": announcement.machine_id,
            "role": announcement.role,
            "site": announcement.site,
            "name": announcement.name[:TEXT_LIMIT],
            "protocol": str(announcement.protocol),
        },
        host_ttl=LIFETIME,
        other_ttl=LIFETIME,
    )


def _believe_nothing(card: str, info: ServiceInfo) -> Sighting | None:
    """What a stranger claims, cut to size; None when there is nowhere to knock."""
    addresses = tuple(info.parsed_addresses())[:8]
    if not addresses or not info.port:
        return None
    claims = {_text(key): _text(value) for key, value in list(info.properties.items())[:16]}
    protocol = claims.get("protocol", "")
    announcement = Announcement(
        machine_id=claims.get("id", ""),
        role=claims.get("role", ""),
        site=claims.get("site", ""),
        name=claims.get("name", ""),
        port=info.port,
        protocol=int(protocol) if protocol.isdecimal() and protocol.isascii() else 0,
    )
    return Sighting(announcement, card, addresses)


def _text(value: bytes | None) -> str:
    """Printable characters only: nothing that could repaint a console."""
    text = (value or b"")[: 4 * TEXT_LIMIT].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable())[:TEXT_LIMIT]
