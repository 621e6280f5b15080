"""Messages over a connection of paper: what comes and goes whole, and what each fault is called.

Closing, the kernel's account and a cut cable need real connections: `tests/integration`.
"""

import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from payload.model.errors import LinkError, PeerError
from payload.model.message import Alive, Attach, Message, Stop
from payload.wire.channel import Channel, name_address, tune
from payload.wire.frames import HEADER, encode
from payload.wire.tls import ID_PREFIX

PEER = "7" * 32
HERE, THERE = "192.0.2.1", "192.0.2.9"
BROKEN = ssl.SSLError(1, "bad record mac")
BROKEN.reason = "BAD_RECORD_MAC"  # as OpenSSL's errors have
HUNG_UP = ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF)")


class Paper:
    """A proven connection: what its other end says, in pieces of this size, and what it hears.

    An error among what is said is raised when its turn comes. Bytes are always waiting below TLS.
    """

    def __init__(self, said: list[bytes | OSError], piece: int = 1 << 20) -> None:
        self.said = deque(said)
        self.heard = b""
        self.piece = piece
        self.room: deque[int | OSError] = deque()  # what the next calls to send take
        self._waiting = os.eventfd(1)

    def getsockname(self) -> tuple[str, int]:
        return HERE, 4711

    def getpeername(self) -> tuple[str, int]:
        return THERE, 50000

    def getpeercert(self) -> dict[str, Any]:
        return {"subjectAltName": (("URI", ID_PREFIX + PEER),)}

    def setblocking(self, blocking: bool) -> None:
        assert not blocking, "a call into OpenSSL is under a lock"

    def fileno(self) -> int:
        return self._waiting

    def getsockopt(self, *_: int) -> bytes:
        return bytes(4)  # nothing is unanswered

    def recv_into(self, buffer: memoryview) -> int:
        if not self.said:
            raise ssl.SSLWantReadError
        first = self.said.popleft()
        if isinstance(first, OSError):
            raise first
        count = min(len(first), len(buffer), self.piece)
        buffer[:count] = first[:count]
        if first[count:]:
            self.said.appendleft(first[count:])
        return count

    def send(self, data: memoryview) -> int:
        room = self.room.popleft() if self.room else len(data)
        if isinstance(room, OSError):
            raise room
        self.heard += bytes(data[:room])
        return min(room, len(data))

    def forget(self) -> None:
        os.close(self._waiting)


@pytest.fixture
def papers() -> Iterator[list[Paper]]:
    papers: list[Paper] = []
    yield papers
    for paper in papers:
        paper.forget()


@pytest.fixture
def connect(papers: list[Paper]) -> Any:
    def make(*said: bytes | OSError, piece: int = 1 << 20) -> tuple[Channel, Paper]:
        papers.append(Paper(list(said), piece))
        return Channel(cast(Any, papers[-1])), papers[-1]

    return make


def frame(message: Message) -> bytes:
    return b"".join(bytes(buffer) for buffer in encode(message))


def test_both_ends_are_named_and_the_peer_is_who_its_certificate_says(connect: Any) -> None:
    channel, _ = connect()
    assert (channel.local_address, channel.remote_address) == (HERE, THERE)
    assert channel.peer_id == PEER and not channel.closed


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
def test_messages_come_whole_in_whatever_pieces(connect: Any, piece: int) -> None:
    wanted: list[Message] = [Alive(), Stop("enough"), Attach("secret")]
    channel, _ = connect(b"".join(frame(message) for message in wanted), piece=piece)
    assert [channel.receive(9) for _ in wanted] == wanted


def test_a_message_goes_out_whole_though_little_is_taken_at_a_time(connect: Any) -> None:
    channel, paper = connect()
    paper.room.extend([1, ssl.SSLWantWriteError(), 2, ssl.SSLWantReadError(), 5])
    channel.send(Stop("enough"))
    channel.send(Alive())
    assert paper.heard == frame(Stop("enough")) + frame(Alive())


def test_waiting_for_bytes_is_no_fault(connect: Any) -> None:
    """TLS has bytes of its own, which make no message."""
    channel, _ = connect(ssl.SSLWantReadError(), ssl.SSLWantWriteError(), frame(Alive()))
    assert channel.receive(60) == Alive()


def test_nothing_in_time_is_a_link_error_after_which_it_goes_on(connect: Any) -> None:
    channel, paper = connect(frame(Stop("enough"))[:7])
    for _ in range(2):
        with pytest.raises(LinkError, match=f"Nothing came from {THERE} in time"):
            channel.receive(0)
    paper.said.append(frame(Stop("enough"))[7:])
    assert channel.receive(9) == Stop("enough")


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (HUNG_UP, LinkError, f"machine at {THERE} ended the connection\\."),
        (ssl.SSLEOFError(8, "EOF"), LinkError, "ended the connection\\."),
        (b"", LinkError, "ended the connection\\."),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), LinkError, "broke .reset by"),
        (BROKEN, PeerError, r"broke the encryption .BAD_RECORD_MAC.\. .*was closed"),
        (HEADER.pack(4, 1 << 31), PeerError, f"It is the machine at {THERE}"),
        (HEADER.pack(99, 0), PeerError, f"It is the machine at {THERE}"),
    ],
)
def test_a_fault_comes_after_what_was_said_before_and_stays(
    connect: Any, fault: bytes | OSError, kind: type[PeerError], words: str
) -> None:
    channel, paper = connect(frame(Alive()), fault)
    assert channel.receive(9) == Alive()
    with pytest.raises(PeerError, match=words) as caught:
        channel.receive(9)
    assert type(caught.value) is kind
    paper.said.append(frame(Alive()))
    again: Callable[[], object]
    for again in (lambda: channel.receive(9), lambda: channel.send(Alive())):
        with pytest.raises(PeerError) as repeated:
            again()
        assert (type(repeated.value), str(repeated.value)) == (kind, str(caught.value))
    assert paper.heard == b"", "nothing is said to who broke the rules"


def test_an_end_in_the_middle_of_a_message_is_told_as_such(connect: Any) -> None:
    channel, _ = connect(frame(Stop("enough"))[:-1], HUNG_UP)
    with pytest.raises(LinkError, match="in the middle of a message"):
        channel.receive(9)


def test_what_the_peer_said_before_it_left_is_read_though_sending_failed(connect: Any) -> None:
    channel, paper = connect(frame(Stop("the disk is gone")))
    paper.room.append(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    for _ in range(2):
        with pytest.raises(LinkError, match="Broken pipe"):
            channel.send(Alive())
    assert channel.receive(9) == Stop("the disk is gone")


def test_a_certificate_that_names_nobody_makes_no_channel(papers: list[Paper]) -> None:
    class Nameless(Paper):
        def getpeercert(self) -> dict[str, Any]:
            return {}

    papers.append(Nameless([]))
    with pytest.raises(PeerError, match="names no machine"):
        Channel(cast(Any, papers[-1]))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("fe80::1", 5, 0, 1), "fe80::1%lo"),  # the loopback device is always the first
        (("fe80::1%eth0", 5, 0, 1), "fe80::1%eth0"),
        (("fe80::1", 5, 0, 1 << 30), "fe80::1"),
    ],
)
def test_addresses_read_as_people_write_them(address: tuple[object, ...], name: str) -> None:
    assert name_address(address) == name


def test_a_connection_is_probed_while_nothing_is_under_way() -> None:
    options: list[tuple[int, int, int]] = []

    class Plain:
        def setsockopt(self, *option: int) -> None:
            options.append(cast(Any, option))

    tune(cast(Any, Plain()))
    set_to = {(level, option): value for level, option, value in options}
    assert set_to[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    assert set_to[socket.IPPROTO_TCP, socket.TCP_NODELAY] == 1
    seconds = (
        set_to[socket.IPPROTO_TCP, socket.TCP_KEEPIDLE]
        + set_to[socket.IPPROTO_TCP, socket.TCP_KEEPINTVL]
        * set_to[socket.IPPROTO_TCP, socket.TCP_KEEPCNT]
    )
    assert seconds < 30, "the conversation's own bound must not come first"
