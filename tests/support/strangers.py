"""Strangers on the network of a copy: each attack goes on until it is ended.

`python -m tests.support.strangers ATTACK CARD HOST ID` runs one on the machine it is started on;
HOST is the source's link-local address and ID what everybody knows of it, its machine id. None
has the site's key.
"""

import contextlib
import itertools
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv6Address, ip_address

from zeroconf import ServiceInfo
from zeroconf._dns import DNSAddress, DNSPointer, DNSRecord, DNSService, DNSText
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing

from payload.connect.discovery import Address
from payload.system.mdns import SERVICE
from payload.wire.beacon import ETHER_TYPE
from tests.support.network_namespaces import Machine, namespace_links

PORT = 10000
HELD = 160  # silent connections at a time, more than any door has places for
CALL_PACE = 0.005  # seconds between two calls
MDNS_PACE = 0.02  # seconds between two packets
MDNS_GROUP, MDNS_PORT = "ff02::fb", 5353
RESPONSE = 0x8400  # QR and AA of RFC 6762, 18
CLASS_UNIQUE = 0x8001  # IN, with the bit that flushes what others said; RFC 6762, 10.2
TYPE_PTR, TYPE_TXT, TYPE_SRV, TYPE_AAAA = 12, 16, 33, 28
PATIENCE = 30.0  # seconds for the kernel to find out that an address is nobody else's
CARD_ADDRESSES = 40  # that a stranger gives his card


class SilentCallers:
    """Connections that never say a word. One that is ended by the door is called anew."""

    def __init__(self, address: Address, own: Sequence[str]) -> None:
        self.called = 0
        self._address = address
        self._own = itertools.cycle(own)
        self._held: dict[int, socket.socket] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.flood, name="stranger", daemon=True)

    def flood(self) -> None:
        while not self._ended.wait(CALL_PACE):
            self._drop_ended()
            if len(self._held) < HELD:
                with contextlib.suppress(OSError):
                    self._call()

    def _call(self) -> None:
        scope = socket.if_nametoindex(self._address.card)
        caller = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._held[caller.fileno()] = caller
        caller.bind((next(self._own), 0, 0, scope))
        with contextlib.suppress(BlockingIOError):
            caller.connect((self._address.host, self._address.port, 0, scope))
        self.called += 1

    def _drop_ended(self) -> None:
        poll = select.poll()
        for number in self._held:
            poll.register(number, select.POLLIN | select.POLLRDHUP)
        for number, _ in poll.poll(0):
            self._held.pop(number).close()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for caller in self._held.values():
            caller.close()


@contextmanager
def silent_callers(address: Address, own: Sequence[str]) -> Iterator[SilentCallers]:
    """A flood by a thread of this process, from the addresses `own` of this machine."""
    flood = SilentCallers(address, own)
    flood._thread.start()
    try:
        yield flood
    finally:
        flood.close()


def card_addresses(machine: Machine, card: str = "eth0") -> list[str]:
    """Give a stranger's card many addresses; they are his to answer or to keep silent at."""
    own = [f"fe80::bad:{number:x}" for number in range(1, CARD_ADDRESSES + 1)]
    for address in own:
        machine.ip("address", "add", f"{address}/64", "dev", card, "nodad")
    return own


def own_addresses() -> list[str]:
    return [f"fe80::bad:{number:x}" for number in range(1, CARD_ADDRESSES + 1)]


def link_local(machine: Machine) -> str:
    """The source's address, which everybody can find out."""
    machine.ip("link", "set", "eth0", "up")
    end = time.monotonic() + PATIENCE
    with machine.inside():
        while True:
            for address in namespace_links().addresses("eth0"):
                if address.startswith("fe80:"):
                    return address
            assert time.monotonic() < end, "the kernel gave it no address"
            time.sleep(0.1)


# --- the door


def flood_door(card: str, host: str, _source_id: str) -> None:
    """Silent connections, of as many addresses as one stranger has."""
    SilentCallers(Address(host, PORT, card), own_addresses()).flood()


# --- what is announced


class Speaker:
    """Says mDNS answers on a card, and hears what others say."""

    def __init__(self, card: str) -> None:
        index = socket.if_nametoindex(card)
        self._group = (MDNS_GROUP, MDNS_PORT, 0, index)
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
        member = socket.inet_pton(socket.AF_INET6, MDNS_GROUP) + struct.pack("@I", index)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        self.socket.bind(("::", MDNS_PORT))

    def say(self, *records: DNSRecord) -> None:
        out = DNSOutgoing(RESPONSE)
        for record in records:
            out.add_answer_at_time(record, 0)
        for packet in out.packets():
            with contextlib.suppress(OSError):
                self.socket.sendto(packet, self._group)


def service(
    label: str, machine_id: str, role: str, addresses: Sequence[str], ttl: int = 60
) -> list[DNSRecord]:
    """All that mDNS has about a machine, as it would say it itself without the site's key."""
    name, server = f"{label}.{SERVICE}", f"{label}.local."
    words = {
        "id": machine_id,
        "role": role,
        "site": "0" * 64,
        "name": "press F and type failover.role=source",
        "protocol": "1",
        "port": str(PORT),
        "addresses": b"".join(ip_address(one).packed for one in addresses),
        "digest": os.urandom(32),
    }
    text = ServiceInfo(SERVICE, name, port=PORT, properties=words).text
    return [
        DNSPointer(SERVICE, TYPE_PTR, 1, ttl, name),
        DNSService(name, TYPE_SRV, CLASS_UNIQUE, ttl, 0, 0, PORT, server),
        DNSText(name, TYPE_TXT, CLASS_UNIQUE, ttl, text),
        *(
            DNSAddress(server, TYPE_AAAA, CLASS_UNIQUE, ttl, IPv6Address(one).packed)
            for one in addresses
        ),
    ]


def claim_role(card: str, _host: str, source_id: str) -> None:
    """The source's id, heard before the source, with a role that nobody calls."""
    speaker, own = Speaker(card), own_addresses()[:4]
    for label in itertools.cycle((f"{source_id}-x", f"{source_id}-eth0", f"{source_id}-eth0-ipv6")):
        speaker.say(*service(label, source_id, "target", own))
        time.sleep(MDNS_PACE)


def invent_names(card: str, _host: str, _source_id: str) -> None:
    """More names than any list has room for, each time others."""
    speaker, own = Speaker(card), own_addresses()[:1]
    for number in itertools.count():
        speaker.say(*service(f"name{number}", f"{number:032x}", "source", own))
        time.sleep(MDNS_PACE)


def set_tar_pits(card: str, _host: str, _source_id: str) -> None:
    """A few sources with ids before all others, and at each of their addresses nobody speaks."""
    listen_silently(card)
    speaker, own = Speaker(card), own_addresses()
    for number in itertools.cycle(range(4)):
        addresses = own[8 * number : 8 * number + 8]
        speaker.say(*service(f"pit{number}", f"{number:032x}", "source", addresses))
        time.sleep(MDNS_PACE)


def crowd_out(card: str, _host: str, source_id: str) -> None:
    """The source's id at 16 addresses that are not its own, where nobody speaks."""
    listen_silently(card)
    speaker, own = Speaker(card), own_addresses()
    for number in itertools.cycle(range(2)):
        addresses = own[8 * number : 8 * number + 8]
        speaker.say(*service(f"crowd{number}", source_id, "source", addresses))
        time.sleep(MDNS_PACE)


def listen_silently(card: str) -> None:
    """Take every call, and never say a word."""
    pit = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    pit.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
    pit.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # two attacks at once share them
    pit.bind(("::", PORT))
    pit.listen(4096)  # who is never accepted is connected all the same

    def take() -> None:
        held = []
        while True:
            with contextlib.suppress(OSError):
                held.append(pit.accept()[0])

    threading.Thread(target=take, daemon=True).start()


def say_goodbye(card: str, _host: str, _source_id: str) -> None:
    """Whatever any machine announces is taken back, by the stranger, at once."""
    speaker = Speaker(card)
    while True:
        packet, sender = speaker.socket.recvfrom(9000)
        message = DNSIncoming(packet)
        if sender[0].split("%")[0] in own_addresses() or not message.valid:
            continue
        said = [record for record in message.answers() if record.ttl > 1]
        for record in said:
            record.ttl = 0
        if said:
            speaker.say(*said)


# --- who gives addresses


def advertise_routers(card: str, _host: str, _source_id: str) -> None:
    """IPv6 router advertisements of ever other networks, each given up after seconds."""
    index = socket.if_nametoindex(card)
    router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # RFC 4861, 4.2
    router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    for number in itertools.count():
        # Type 134, then hop limit, flags, router lifetime; RFC 4861, 4.2 and 4.6.2.
        head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
        prefix = IPv6Address(f"2001:db8:{number % 65536:x}::").packed
        option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 10, 5, 0) + prefix
        with contextlib.suppress(OSError):
            router.sendto(head + option, ("ff02::1", 0, 0, index))
        time.sleep(0.2)


def serve_dhcp(card: str, _host: str, _source_id: str) -> None:
    """Gives everybody who asks, also twice, another address, the next one to two machines."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
    server.bind(("", 67))
    for number in itertools.count():
        question = server.recv(2048)
        kind = question[question.index(b"\x35\x01") + 2]  # option 53; RFC 2132, 9.6
        answer = {1: 2, 3: 5}.get(kind)  # DISCOVER: OFFER, REQUEST: ACK
        if answer is None:
            continue
        given = bytes([192, 0, 2, 100 + number // 8 % 100])
        head = b"\x02" + question[1:16] + given + bytes([192, 0, 2, 66]) + question[24:236]
        options = b"\x63\x82\x53\x63" + bytes([53, 1, answer, 54, 4, 192, 0, 2, 66])
        options += bytes([51, 4, 0, 0, 0, 10, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 66, 255])
        with contextlib.suppress(OSError):
            server.sendto(head + options, ("255.255.255.255", 68))


# --- beacons


def send_beacons(card: str, _host: str, _source_id: str) -> None:
    """Frames like the source's, of a key that is not the session's."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    port.bind((card, ETHER_TYPE))
    sender = os.urandom(6)
    head = b"\xff" * 6 + bytes([sender[0] & 0xFC | 2]) + sender[1:] + struct.pack("!H", ETHER_TYPE)
    while True:
        for _ in range(20):
            body = b"UGSF\x01" + os.urandom(6) + bytes(2) + os.urandom(32)
            with contextlib.suppress(OSError):
                port.send((head + body).ljust(60, b"\0"))
        time.sleep(MDNS_PACE)


ATTACKS: dict[str, Callable[[str, str, str], None]] = {
    "door": flood_door,
    "role": claim_role,
    "names": invent_names,
    "tar pits": set_tar_pits,
    "crowd": crowd_out,
    "goodbyes": say_goodbye,
    "routers": advertise_routers,
    "dhcp": serve_dhcp,
    "beacons": send_beacons,
}


@contextmanager
def attacking(
    machine: Machine, attacks: Sequence[str], host: str, source_id: str
) -> Iterator[tuple[int, ...]]:
    """Each attack is a process of its own on the stranger's machine; none of them ever ends. Yields
    their process ids."""
    with ExitStack() as stack:
        running = []
        for attack in attacks:
            argv = [
                sys.executable,
                "-m",
                "tests.support.strangers",
                attack,
                "eth0",
                host,
                source_id,
            ]
            process = machine.start(argv)
            running.append((attack, process))
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield tuple(process.pid for _, process in running)
        ended = [attack for attack, process in running if process.poll() is not None]
        assert not ended, f"these attacks broke off: {ended}"


if __name__ == "__main__":
    ATTACKS[sys.argv[1]](*sys.argv[2:])
