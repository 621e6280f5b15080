"""Addresses on real cards, with the real dhcpcd: by DHCP, by RFC 3927, by hand."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from payload.connect.addressing import Addressing
from payload.connect.discovery import Discovery
from payload.model.announcement import Announcement
from payload.model.event import Event, Note
from payload.model.settings import Settings
from payload.system.mdns import Mdns
from tests.support.network_namespaces import Machine, namespace_links, network
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.root, pytest.mark.waits]

LINK_LOCAL = ip_network("169.254.0.0/16")
KEY = bytes(32)  # of the site
DHCP_COOKIE = b"\x63\x82\x53\x63"


def ipv4(machine: Machine, card: str = "eth0") -> list[str]:
    with machine.inside():
        return [one for one in namespace_links().addresses(card) if ":" not in one]


@contextmanager
def cared_for(machine: Machine, settings: Settings) -> Iterator[list[str]]:
    """The machine's cards under care; yields what people are told."""
    notes: list[str] = []

    def monitor(event: Event) -> None:
        assert isinstance(event, Note)
        notes.append(event.text)

    with machine.inside():
        care = Addressing(namespace_links(machine.run), settings, monitor)
        care.begin()
    try:
        yield notes
    finally:
        care.close()


@contextmanager
def dhcp_server(machine: Machine, given: str) -> Iterator[None]:
    """Answers DISCOVER with OFFER and REQUEST with ACK, always with the same address."""
    with machine.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        server.bind(("", 67))
        server.settimeout(0.2)
        ended = threading.Event()
        thread = threading.Thread(target=serve_dhcp, args=(server, given, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def serve_dhcp(server: socket.socket, given: str, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            question = server.recv(2048)
        except TimeoutError:
            continue
        kind = question[question.index(b"\x35\x01", 240) + 2]
        if kind in (1, 3):
            answer = dhcp_answer(question, 2 if kind == 1 else 5, given)
            server.sendto(answer, ("255.255.255.255", 68))


def dhcp_answer(question: bytes, kind: int, given: str) -> bytes:
    server = ip_address("192.0.2.1").packed
    head = struct.pack("!BBBB4sHH", 2, 1, 6, 0, question[4:8], 0, 0x8000)
    addresses = bytes(4) + ip_address(given).packed + server + bytes(4)
    options = b"\x35\x01" + bytes([kind]) + b"\x36\x04" + server + b"\x33\x04\x00\x00\x0e\x10"
    options += b"\x01\x04\xff\xff\xff\x00" + b"\x03\x04" + server + b"\xff"
    options += bytes(60)  # the shortest frame that every client takes
    return head + addresses + question[28:44] + bytes(192) + DHCP_COOKIE + options


def test_without_a_server_both_take_a_free_address_and_late_cables_are_used(
    tmp_path: Path,
) -> None:
    """Nothing is plugged in at first; then both machines get RFC 3927 addresses and are seen."""
    own = Announcement("5" * 32, "source", "groupware", 10000, 1)
    other = Announcement("7" * 32, "target", "standby", 10000, 1)
    with network(2, plugged=False) as (source, target):
        begun = time.monotonic()
        with cared_for(source, Settings()) as notes, cared_for(target, Settings()):
            assert time.monotonic() - begun < PATIENCE
            assert notes == ["No network card has a link. Plug in a cable: it is used at once."]
            with source.inside():
                view = Discovery(
                    namespace_links(source.run), Mdns(), own, KEY, Settings(), lambda _: None
                )
            with target.inside():
                other_view = Discovery(
                    namespace_links(target.run),
                    Mdns(),
                    other,
                    bytes(32),
                    Settings(),
                    lambda _: None,
                )
            try:
                source.plug("eth0")
                target.plug("eth0")
                wait_until(lambda: [one.machine_id for one in view.candidates()] == ["7" * 32])
                wait_until(lambda: ipv4(source) and ipv4(target))
                assert all(ip_address(one) in LINK_LOCAL for one in (*ipv4(source), *ipv4(target)))
                assert ipv4(source) != ipv4(target)
                wait_until(lambda: ipv4(target)[0] in str(view.candidates()))
            finally:
                view.close()
                other_view.close()
        assert notes[1].startswith("Network card eth0") and notes[1].endswith("has a link.")
        assert ipv4(source) == []  # dhcpcd is gone and took its address along


def test_server_that_answers_gives_address_and_route() -> None:
    resolver = Path("/etc/resolv.conf").read_bytes()
    with network(2) as (server, client):
        server.ip("link", "set", "eth0", "up")
        server.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
        with dhcp_server(server, "192.0.2.50"), cared_for(client, Settings()):
            wait_until(lambda: ipv4(client) == ["192.0.2.50"])
            assert "default via 192.0.2.1 dev eth0" in client.ip("route")
    assert Path("/etc/resolv.conf").read_bytes() == resolver


def test_address_and_gateway_by_hand() -> None:
    with network(1, cards=2) as (machine,):
        machine.unplug("eth1")
        settings = Settings(ip="192.0.2.7/24", gateway="192.0.2.1", interface="eth0")
        with cared_for(machine, settings) as notes:
            assert ipv4(machine) == ["192.0.2.7"]
            assert "default via 192.0.2.1 dev eth0" in machine.ip("route")
            assert "eth1" not in machine.ip("link", "show", "up")  # not the card we were told
        assert len(notes) == 1
        assert ipv4(machine) == ["192.0.2.7"]
