"""Two machines, two cards each: seen by mDNS, called over IPv6 link-local, proven by TLS."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from payload.connect import pairing, places
from payload.connect.discovery import Address, Candidate, Discovery
from payload.connect.pairing import Listener, call, local_card
from payload.model.announcement import Announcement
from payload.model.errors import LinkError, PeerError, SettingsError
from payload.model.event import Event, Note
from payload.model.message import Alive, Chunk, Encoding, Stop
from payload.model.plan import CHUNK_SIZE
from payload.model.settings import Settings
from payload.system import mdns
from payload.system.mdns import Mdns
from payload.wire import channel as wire_channel
from payload.wire.channel import Channel
from payload.wire.tls import Site, load_site, make_site_key
from tests.support.machine_bench import slow_down, speed_up
from tests.support.network_namespaces import Machine, namespace_links, network
from tests.support.strangers import silent_callers
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.root, pytest.mark.waits]

SOURCE = "5" * 32
TARGET = "7" * 32
PORT = 10000
TCP_INFO_SIZE = 184  # bytes of struct tcp_info up to and with tcpi_rwnd_limited


def link_local(machine: Machine, card: str) -> str:
    with machine.inside():
        return next(
            address for address in namespace_links().addresses(card) if address.startswith("fe80:")
        )


def is_addressed(machine: Machine) -> bool:
    with machine.inside():
        return all(namespace_links().addresses(card) for card in machine.cards)


def announcement(machine_id: str, role: str) -> Announcement:
    return Announcement(machine_id, role, f"server {role}", PORT, 1)


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Machine, Machine]]:
    with network(2, cards=2) as (source, target):
        for machine in (source, target):
            for card in machine.cards:
                machine.ip("link", "set", card, "up")
        wait_until(lambda: is_addressed(source) and is_addressed(target))
        yield source, target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("site")
    make_site_key(directory)
    return load_site(directory)


@pytest.fixture
def other_site(tmp_path: Path) -> Site:
    make_site_key(tmp_path)
    return load_site(tmp_path)


class Door:
    """A listening source, and what it told people."""

    def __init__(self, machine: Machine, site: Site) -> None:
        self.events: list[Event] = []
        with machine.inside():
            self.listener = Listener(site.credentials(SOURCE), PORT, self.events.append)

    def accept(self) -> Channel:
        channel = self.listener.accept(PATIENCE)
        assert channel is not None
        return channel

    def has_noted(self, words: str) -> bool:
        return words in self.notes

    @property
    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))


@pytest.fixture
def door(machines: tuple[Machine, Machine], site: Site) -> Iterator[Door]:
    made = Door(machines[0], site)
    yield made
    made.listener.close()


def discovery(stack: ExitStack, machine: Machine, own: Announcement, site: Site) -> Discovery:
    events: list[Event] = []
    with machine.inside():
        made = Discovery(
            namespace_links(), Mdns(), own, site.announcement_key, Settings(), events.append
        )
    stack.callback(made.close)
    return made


def candidate(view: Discovery, machine_id: str, addresses: int = 2) -> Candidate | None:
    for one in view.candidates():
        if one.machine_id == machine_id and len(one.addresses) == addresses:
            return one
    return None


def test_every_wire_is_seen_and_none_mixed_with_another(
    machines: tuple[Machine, Machine], site: Site, other_site: Site, door: Door
) -> None:
    source, target = machines
    with ExitStack() as stack:
        view = discovery(stack, target, announcement(TARGET, "target"), site)
        source_view = discovery(stack, source, announcement(SOURCE, "source"), site)
        stranger_view = discovery(stack, source, announcement("9" * 32, "source"), other_site)
        wait_until(lambda: candidate(view, SOURCE))
        wait_until(view.hears_strangers)
        seen = candidate(view, SOURCE)
        assert seen is not None
        assert set(seen.addresses) == {
            Address(link_local(source, card), PORT, card) for card in source.cards
        }
        assert (seen.role, seen.name) == ("source", "server source")
        assert [one.machine_id for one in view.candidates()] == [
            SOURCE
        ]  # neither a stranger, nor us
        check_calls(seen, machines, site, door)
        source_view.close()
        stranger_view.close()
        wait_until(lambda: not view.candidates())


def check_calls(seen: Candidate, machines: tuple[Machine, Machine], site: Site, door: Door) -> None:
    """Every address leads to the source, over the card it was seen on, and both ends know."""
    for address in seen.addresses:
        with machines[1].inside():
            calling = call([address], site.credentials(TARGET), SOURCE)
            links = namespace_links()
            wanted = {card.name: card.mac for card in links.cards()}[address.card]
            assert local_card(calling, links) == wanted
            assert calling.remote_address == str(address)
        called = door.accept()
        with machines[0].inside():
            links = namespace_links()
            wanted = {card.name: card.mac for card in links.cards()}[address.card]
            assert local_card(called, links) == wanted
        called.close()
        calling.close()


def test_a_goodbye_that_a_stranger_says_takes_nobody_out_of_sight(
    machines: tuple[Machine, Machine], site: Site
) -> None:
    """It is what an attentive stranger can repeat: our own words, with no time to live."""
    source, target = machines
    with ExitStack() as stack:
        view = discovery(stack, target, announcement(TARGET, "target"), site)
        own = discovery(stack, source, announcement(SOURCE, "source"), site)
        wait_until(lambda: candidate(view, SOURCE))
        end = time.monotonic() + mdns.FAREWELL + mdns.PERIOD
        while time.monotonic() < end:
            for wire in own._wires.values():
                spoken = wire.neighbourhood
                spoken._zeroconf.send(spoken._zeroconf.generate_service_broadcast(spoken._own, 0))
            time.sleep(0.2)
            assert candidate(view, SOURCE)


def test_named_peer_needs_no_announcement_and_stands_alone(
    machines: tuple[Machine, Machine], site: Site, door: Door
) -> None:
    source, target = machines
    peer = f"{link_local(source, 'eth1')}%eth1"
    with target.inside():
        view = Discovery(
            namespace_links(),
            Mdns(),
            announcement(TARGET, "target"),
            site.announcement_key,
            Settings(peer=peer, port=PORT),
            lambda event: None,
        )
        (seen,) = view.candidates()
        channel = call(seen.addresses, site.credentials(TARGET))
        assert (seen.machine_id, channel.peer_id) == ("", SOURCE)
        view.recognise(channel.peer_id)
        assert view.candidates()[0].machine_id == SOURCE
        view.close()
    channel.close()
    door.accept().close()


def address_of(machine: Machine, card: str = "eth0") -> Address:
    return Address(link_local(machine, card), PORT, card)


def plain_call(machines: tuple[Machine, Machine]) -> socket.socket:
    """A caller that speaks TCP only."""
    with machines[1].inside():
        return pairing._connect(address_of(machines[0]))


def test_garbage_silence_and_strangers_disturb_nobody(
    machines: tuple[Machine, Machine],
    site: Site,
    other_site: Site,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairing, "HANDSHAKE", PATIENCE)
    lasting = plain_call(machines)
    wait_until(lambda: count_handshakes() == 1)
    monkeypatch.setattr(pairing, "HANDSHAKE", 1.0)
    silent, garbage, leaver = (plain_call(machines) for _ in range(3))
    garbage.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 50)
    leaver.close()
    with machines[1].inside():
        with pytest.raises(PeerError, match="another site") as caught:
            call([address_of(machines[0])], other_site.credentials(TARGET))
        assert type(caught.value) is PeerError
        channel = call([address_of(machines[0])], site.credentials(TARGET), SOURCE)
        second = call([address_of(machines[0], "eth1")], site.credentials(TARGET), SOURCE)
    assert count_handshakes() >= 1  # while a silent one still holds the line
    called = [door.accept(), door.accept()]
    for number, calling in enumerate((channel, second)):
        calling.send(Stop(str(number)))
    assert [one.receive(PATIENCE) for one in called] == [Stop("0"), Stop("1")]
    silent.settimeout(PATIENCE)
    assert silent.recv(1) == b""  # dropped
    for sentence in ("no UGS-Failover machine", "another site", "did not answer within 1 seconds"):
        wait_until(partial(door.has_noted, sentence))
    for caller in (lasting, silent, garbage):
        caller.close()
    for one in (channel, second, *called):
        one.close()


@pytest.mark.parametrize("addresses", [1, 40])
def test_a_flood_of_silent_callers_keeps_nobody_out(
    machines: tuple[Machine, Machine], site: Site, door: Door, addresses: int
) -> None:
    """More than there are places, new ones all the time, of one address or of many."""
    before = count_handshakes()
    with ExitStack() as stack:
        with machines[1].inside():
            flood = stack.enter_context(
                silent_callers(address_of(machines[0]), strangers(stack, machines, addresses))
            )
        wait_until(lambda: flood.called > 2 * places.LIMIT)
        assert count_handshakes() - before <= 2 * places.LIMIT  # some are about to end
        for _ in range(5):
            wait_until(lambda: gets_in(machines, site, door))
        assert door.notes.count("without a proof") == 1


def gets_in(machines: tuple[Machine, Machine], site: Site, door: Door) -> bool:
    """One call, as a target repeats it every few seconds: a busy processor may be late for one."""
    with machines[1].inside():
        if not answers(machines, site):
            return False
    channel = door.listener.accept(pairing.HANDSHAKE)
    if channel is not None:
        channel.close()
    return channel is not None


def strangers(stack: ExitStack, machines: tuple[Machine, Machine], count: int) -> list[str]:
    """Addresses of a stranger, none of which is the one that the other machine calls from."""
    own = [f"fe80::bad:{number:x}" for number in range(1, count + 1)]
    for address in own:
        machines[1].ip("address", "add", f"{address}/64", "dev", "eth0", "nodad")
        stack.callback(machines[1].ip, "address", "del", f"{address}/64", "dev", "eth0")
    return own


def count_handshakes() -> int:
    return sum(thread.name == "handshake" for thread in threading.enumerate())


def answers(machines: tuple[Machine, Machine], site: Site) -> bool:
    try:
        call([address_of(machines[0])], site.credentials(TARGET)).close()
    except LinkError:
        return False
    return True


def test_wrong_machine_and_no_machine_are_told_apart(
    machines: tuple[Machine, Machine], site: Site, door: Door
) -> None:
    nobody = Address("fe80::dead", PORT, "eth0")
    closed = replace(address_of(machines[0]), port=PORT + 1)
    with machines[1].inside():
        with pytest.raises(PeerError, match="55555555, not 99999999 as agreed") as caught:
            call([address_of(machines[0])], site.credentials(TARGET), "9" * 32)
        assert type(caught.value) is PeerError
        with pytest.raises(LinkError, match=r"No answer from fe80::dead%eth0.*refused"):
            call([nobody, closed], site.credentials(TARGET))
        with pytest.raises(LinkError, match="not 99999999 as agreed"):  # may come back elsewhere
            call([address_of(machines[0]), closed], site.credentials(TARGET), "9" * 32)
        with pytest.raises(PeerError, match="very id of this one"):
            call([address_of(machines[0])], site.credentials(SOURCE))
        call([closed, address_of(machines[0])], site.credentials(TARGET), SOURCE).close()
        with pytest.raises(LinkError, match="no address"):
            call([], site.credentials(TARGET))


def test_second_listener_on_the_port_is_told(
    machines: tuple[Machine, Machine], site: Site, door: Door
) -> None:
    with machines[0].inside(), pytest.raises(SettingsError, match=r"failover\.port="):
        Listener(site.credentials(SOURCE), PORT, door.events.append)


def test_cut_is_noticed_on_both_ends_idle_or_busy_and_a_new_call_works(
    machines: tuple[Machine, Machine], site: Site, door: Door
) -> None:
    """The cable is out in the middle of a chunk; after it is back the same call works again."""
    source, target = machines
    with target.inside():
        ends = [call([address_of(source)], site.credentials(TARGET)) for _ in range(2)]
    called = [door.accept() for _ in range(2)]
    body = memoryview(bytearray(CHUNK_SIZE))
    noticed: list[str] = []
    streamed = threading.Event()

    def stream() -> None:
        while True:
            called[0].send(Chunk(0, 0, CHUNK_SIZE, bytes(32), Encoding.RAW, body))

    def take() -> None:
        ends[0].receive()
        streamed.set()

    def until_cut(name: str, act: Callable[[], object]) -> None:
        try:
            while True:
                act()
        except LinkError:
            noticed.append(name)

    acts: dict[str, Callable[[], object]] = {
        "source sends": stream,
        "target takes": take,
        "source waits": called[1].receive,
        "target waits": ends[1].receive,
    }
    threads = [threading.Thread(target=until_cut, args=item) for item in acts.items()]
    for thread in threads:
        thread.start()
    assert streamed.wait(PATIENCE)
    target.unplug("eth0")
    try:
        for thread in threads:
            thread.join(PATIENCE)  # after 17 seconds; without our care it would be a quarter hour
        assert sorted(noticed) == sorted(acts)
    finally:
        target.plug("eth0")
    for channel in (*ends, *called):
        channel.close()
    with target.inside():
        wait_until(lambda: answers(machines, site))
    door.accept().close()


def test_short_cut_costs_nothing(machines: tuple[Machine, Machine], site: Site, door: Door) -> None:
    source, target = machines
    with target.inside():
        channel = call([address_of(source)], site.credentials(TARGET))
    called = door.accept()
    for end in (channel, called):  # or on a busy machine keepalive ends it before anything is sent
        end._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(PATIENCE))
    target.unplug("eth0")
    channel.send(Alive())
    wait_until(channel._is_unanswered)  # sent again, and nobody heard it
    target.plug("eth0")
    assert called.receive(PATIENCE) == Alive()
    channel.close()
    called.close()


def test_what_holds_bytes_up_is_the_network_or_the_reader(
    machines: tuple[Machine, Machine], site: Site, door: Door
) -> None:
    """A wire of 8 Mbit/s takes two seconds for 2 MiB; a reader that sleeps is not the wire."""
    with machines[1].inside():
        ends = [call([address_of(machines[0])], site.credentials(TARGET)) for _ in range(2)]
    called = [door.accept() for _ in range(2)]
    chunk = Chunk(0, 0, CHUNK_SIZE, bytes(32), Encoding.RAW, bytes(CHUNK_SIZE))

    def send(channel: Channel, count: int) -> threading.Thread:
        def work() -> None:
            for _ in range(count):
                channel.send(chunk)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    slow_down(machines[1], "eth0")
    try:
        send(ends[0], 2)
        assert [called[0].receive(PATIENCE) for _ in range(2)] and ends[0].network_time > 1
    finally:
        speed_up(machines[1], "eth0")
    thread = send(called[1], 16)
    wait_until(lambda: held_up_by_the_reader(called[1]) > 2)
    assert thread.is_alive() and called[1].network_time < held_up_by_the_reader(called[1]) / 2
    for _ in range(16):
        ends[1].receive(PATIENCE)
    thread.join(PATIENCE)
    for channel in (*ends, *called):
        channel.close()
    assert called[1].network_time == 0.0


def held_up_by_the_reader(channel: Channel) -> float:
    """Seconds in which the other end had no room for more, as the kernel counts them."""
    info = channel._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
    limited: int = struct.unpack_from("=Q", info, TCP_INFO_SIZE - 8)[0]  # tcpi_rwnd_limited
    return limited / 1e6


def test_busy_reader_is_not_taken_for_a_cut(
    machines: tuple[Machine, Machine],
    site: Site,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A target whose disk takes its time leaves the window shut; its kernel still answers."""
    monkeypatch.setattr(wire_channel, "SILENCE", 1.0)
    with machines[1].inside():
        channel = call([address_of(machines[0])], site.credentials(TARGET))
    called = door.accept()
    chunk = Chunk(0, 0, CHUNK_SIZE, bytes(32), Encoding.RAW, bytes(CHUNK_SIZE))
    sent: list[int] = []

    def send() -> None:
        for number in range(16):
            called.send(chunk)
            sent.append(number)

    thread = threading.Thread(target=send)
    thread.start()
    wait_until(lambda: held_up_by_the_reader(called) > 4 * wire_channel.SILENCE)
    assert len(sent) < 16 and thread.is_alive()  # stuck, but not given up
    for _ in range(16):
        assert isinstance(channel.receive(PATIENCE), Chunk)
    thread.join(PATIENCE)
    assert len(sent) == 16
    channel.close()
    called.close()
