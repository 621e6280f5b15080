"""Channels over loopback: whole messages or an error, never half of one."""

import collections
import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from blake3 import blake3

from payload.model.errors import LinkError, PeerError
from payload.model.message import Alive, Chunk, Encoding, MapRequest, Stop
from payload.model.plan import CHUNK_SIZE
from payload.wire import channel as channel_module
from payload.wire.channel import Channel, name_address, tune
from payload.wire.frames import HEADER, encode
from payload.wire.tls import Credentials, load_site, make_site_key
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.waits

SOURCE = "5" * 32
TARGET = "7" * 32


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> tuple[Credentials, Credentials]:
    directory = tmp_path_factory.mktemp("site")
    make_site_key(directory)
    site = load_site(directory)
    return site.credentials(SOURCE), site.credentials(TARGET)


def connect() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        calling = socket.create_connection(server.getsockname())
        called, _ = server.accept()
    tune(calling)
    tune(called)
    return called, calling


@pytest.fixture
def ends(credentials: tuple[Credentials, Credentials]) -> Iterator[tuple[Channel, Channel]]:
    called, calling = connect()
    channels: list[Channel] = []

    def answer() -> None:
        proven = credentials[0].shake_hands(called, "caller", calling=False, timeout=PATIENCE)
        channels.append(Channel(proven))

    thread = threading.Thread(target=answer)
    thread.start()
    proven = credentials[1].shake_hands(calling, "called", calling=True, timeout=PATIENCE)
    thread.join()
    channels.append(Channel(proven))
    yield channels[0], channels[1]
    for channel in channels:
        channel.close()


def below(channel: Channel) -> socket.socket:
    """The TCP connection without TLS, for faults."""
    return socket.socket(fileno=os.dup(channel._socket.fileno()))


def big_chunk(number: int) -> Chunk:
    body = bytes([number % 251]) * CHUNK_SIZE
    return Chunk(0, number << 20, CHUNK_SIZE, blake3(body).digest(), Encoding.RAW, body)


def test_each_end_knows_the_other(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    assert (source.peer_id, target.peer_id) == (TARGET, SOURCE)
    assert source.local_address == target.remote_address == "127.0.0.1"


def test_both_ways_at_once_from_many_threads(ends: tuple[Channel, Channel]) -> None:
    """Far more than the socket buffers hold, so every thread has to wait for room and bytes."""
    source, target = ends
    count, senders = 12, 3
    faults: list[str] = []

    def send(channel: Channel, first: int) -> None:
        for number in range(first, first + count):
            channel.send(big_chunk(number))

    def receive(channel: Channel) -> None:
        seen = []
        for _ in range(count * senders):
            chunk = channel.receive(PATIENCE)
            assert isinstance(chunk, Chunk)
            if blake3(chunk.body).digest() != chunk.digest:
                faults.append(f"chunk {chunk.offset}")
            seen.append(chunk.offset >> 20)
        if sorted(seen) != list(range(count * senders)):
            faults.append(f"{sorted(seen)}")

    threads = [threading.Thread(target=receive, args=(channel,)) for channel in ends]
    for channel in (source, target):
        threads += [
            threading.Thread(target=send, args=(channel, number * count))
            for number in range(senders)
        ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert faults == [] and not any(thread.is_alive() for thread in threads)


def test_late_is_no_fault(ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for less than the time between two looks at the other end does not wait for one."""
    source, target = ends
    monkeypatch.setattr(channel_module, "LOOK", PATIENCE)
    begun = time.monotonic()
    with pytest.raises(LinkError, match=r"Nothing came from 127\.0\.0\.1 in time"):
        target.receive(0.1)
    assert time.monotonic() - begun < PATIENCE
    source.send(Alive())
    assert target.receive(PATIENCE) == Alive()


def test_end_is_a_link_error_after_everything_said_before(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    target.send(Alive())  # left unread: the kernel would throw away what it has to send
    source.send(big_chunk(1))
    source.send(Stop("enough"))
    source.close()
    assert isinstance(target.receive(PATIENCE), Chunk)
    assert target.receive(PATIENCE) == Stop("enough")
    for _ in range(2):
        with pytest.raises(LinkError, match=r"The machine at 127\.0\.0\.1 ended the connection\."):
            target.receive(PATIENCE)


def test_cut_in_the_middle_of_a_frame_is_a_link_error(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    with source._engine:  # half a frame, as no Channel would ever send it
        source._socket.send(HEADER.pack(4, 50) + b'{"sentence":')
    source.close()
    with pytest.raises(LinkError, match="in the middle of a message"):
        target.receive(PATIENCE)


def test_connection_cut_below_tls_is_a_link_error(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    with below(source) as plain:
        plain.shutdown(socket.SHUT_RDWR)
    with pytest.raises(LinkError):
        target.receive(PATIENCE)


def test_broken_protocol_ends_the_connection_for_good(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    with source._engine:
        source._socket.send(HEADER.pack(4, 1 << 31))
    for _ in range(2):
        with pytest.raises(PeerError, match="broke the protocol") as caught:
            target.receive(PATIENCE)
        assert type(caught.value) is PeerError
    with pytest.raises(PeerError, match="broke the protocol"):
        target.send(Alive())


def test_bytes_outside_tls_are_a_peer_error(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    with below(source) as plain:
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"not encrypted with our key at all")
    with pytest.raises(PeerError, match="broke the encryption") as caught:
        target.receive(PATIENCE)
    assert type(caught.value) is PeerError


class Waits:
    """How many threads wait at a channel for bytes (`select.POLLIN`) or for room (`POLLOUT`)."""

    def __init__(self, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way: collections.Counter[int] = collections.Counter()
        self._really = channel._wait
        monkeypatch.setattr(channel, "_wait", self._wait)

    def _wait(self, events: int, seconds: float) -> None:
        self.under_way[events] += 1
        self._really(events, seconds)
        self.under_way[events] -= 1


def test_close_wakes_who_waits(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = ends
    monkeypatch.setattr(channel_module, "LOOK", 2 * PATIENCE)  # nobody looks up by himself
    waits, errors = Waits(source, monkeypatch), list[Exception]()

    def wait() -> None:
        try:
            source.receive()
        except LinkError as error:
            errors.append(error)

    def fill() -> None:
        try:
            while True:
                source.send(big_chunk(0))
        except LinkError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait), threading.Thread(target=fill)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waits.under_way == {select.POLLIN: 1, select.POLLOUT: 1})
    source.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(errors) == 2 and all("closed on this side" in str(error) for error in errors)
    with pytest.raises(LinkError):
        source.send(MapRequest(0))
    source.close()


def test_addresses_read_as_people_write_them() -> None:
    assert name_address(("192.0.2.7", 5)) == "192.0.2.7"
    assert name_address(("::ffff:192.0.2.7", 5, 0, 0)) == "192.0.2.7"
    assert name_address(("2001:db8::1", 5, 0, 0)) == "2001:db8::1"
    assert name_address(("fe80::1", 5, 0, socket.if_nametoindex("lo"))) == "fe80::1%lo"
    assert name_address(("fe80::1", 5, 0, 1 << 30)) == "fe80::1"


def test_a_peer_that_stalls_in_the_middle_of_a_frame_is_late_and_named(
    ends: tuple[Channel, Channel],
) -> None:
    source, target = ends
    head, body = (memoryview(buffer) for buffer in encode(big_chunk(3)))
    half = len(body) // 2
    source._send_all(head)
    source._send_all(body[:half])
    for _ in range(2):
        with pytest.raises(LinkError, match=r"Nothing came from 127\.0\.0\.1 in time"):
            target.receive(0.2)
    source._send_all(body[half:])  # it was only slow
    message = target.receive(PATIENCE)
    assert isinstance(message, Chunk) and bytes(message.body) == bytes(body)


def test_a_peer_that_sends_faster_than_we_take_fills_no_memory(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held up by TCP: only what the two kernels hold is ahead of us."""
    source, target = ends
    waits, sent = Waits(source, monkeypatch), list[int]()

    def flood() -> None:
        with contextlib.suppress(LinkError):
            for number in range(4096):
                source.send(big_chunk(number))
                sent.append(number)

    thread = threading.Thread(target=flood)
    thread.start()
    ahead = []
    for taken in range(1, 40):
        target.receive(PATIENCE)
        wait_until(lambda: waits.under_way[select.POLLOUT])
        ahead.append(len(sent) - taken)
    target.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert max(ahead) <= 24  # MiB; Linux lets a socket grow to 6 and 4


def test_who_breaks_the_protocol_is_named(ends: tuple[Channel, Channel]) -> None:
    source, target = ends
    source._send_all(memoryview(HEADER.pack(99, 0)))
    with pytest.raises(
        PeerError, match=r"no message of type 99.*It is the machine at 127\.0\.0\.1"
    ):
        target.receive(PATIENCE)
