"""One connection between the two machines: messages in, messages out, an error when it is cut.

Any number of threads may send while one receives. OpenSSL does not allow two threads in one
connection at a time, so the socket never blocks: every call into it is short and under a lock,
and the waiting is done outside.

A cut cable is noticed in two ways. While nothing is under way, TCP keepalive probes the other
end. While bytes are under way, we look whether the other kernel still answers: TCP_USER_TIMEOUT
would do that too, but it also ends a connection whose other end is merely busy with a slow disk.
The socket buffers are left to the kernel, which grows them as the link needs.
"""

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from functools import partial

from payload.model.errors import LinkError, PeerError
from payload.model.message import Message
from payload.wire.frames import Decoder, encode
from payload.wire.tls import peer_id

SILENCE = 15.0  # seconds the other end's kernel may leave bytes unanswered
LOOK = 1.0  # seconds between two looks whether it still answers
LINGER = 0.5  # seconds that what was said last has to get through when we close
_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
# struct tcp_info: busy_time and rwnd_limited, microseconds.
_TIMES = struct.Struct("=QQ")
_TIMES_END = 184


class _LateError(LinkError):
    """Not in time; the connection itself may be well."""


def tune(connection: socket.socket) -> None:
    """Set up a TCP connection for prompt messages and quick notice of a cut."""
    for level, option, value in _OPTIONS:
        connection.setsockopt(level, option, value)


def name_address(address: tuple[object, ...]) -> str:
    """The host of a socket address as people write it: "fe80::1%eth0" or "192.0.2.7"."""
    host = str(address[0]).removeprefix("::ffff:")
    scope = address[3] if len(address) == 4 else 0
    if scope and isinstance(scope, int) and "%" not in host:
        with contextlib.suppress(OSError):  # the card may be gone by now
            host = f"{host}%{socket.if_indextoname(scope)}"
    return host


class Channel:
    """Owns its socket. `peer_id` is proven by the peer's certificate."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.local_address = name_address(connection.getsockname())
        self.remote_address = name_address(connection.getpeername())
        self.peer_id = peer_id(connection, self.remote_address)
        connection.setblocking(False)
        self._socket = connection
        self._decoder = Decoder()
        self._engine = threading.Lock()  # around every call into OpenSSL
        self._sending = threading.Lock()  # around every message
        self._receiving = threading.Lock()
        self._closing = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._send_fault: PeerError | None = None
        self._receive_fault: PeerError | None = None

    def send(self, message: Message) -> None:
        """Send a whole message, however long the other end takes to read it.

        Raises LinkError when the connection ended or the other end stopped answering.
        """
        buffers = encode(message)
        with self._sending:
            _repeat(self._receive_fault or self._send_fault)
            try:
                for buffer in buffers:
                    self._send_all(memoryview(buffer))
            except PeerError as error:
                self._send_fault = error
                raise

    def receive(self, timeout: float | None = None) -> Message:
        """The next message, waited for at most `timeout` seconds (None: for ever).

        The body of a Chunk is a view of a buffer of this channel: good until the next `receive`.
        Raises LinkError when nothing (or not all of it) came in time, after which receiving may
        be tried again, or when the connection ended; PeerError when the peer broke the protocol.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._receiving:
            # A send that failed is no reason to leave unread what the peer said before it left.
            _repeat(self._receive_fault)
            try:
                return self._receive_message(end)
            except _LateError:
                raise
            except PeerError as error:
                self._receive_fault = error
                raise

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closing.is_set()

    @property
    def network_time(self) -> float:
        """Seconds in which bytes of ours were under way and nothing but the network held them up:
        neither had the other end no room for more, nor was there nothing to send. Counted by the
        kernel since the connection began; 0.0 once it is closed."""
        with self._engine:
            if self._closing.is_set():
                return 0.0
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TIMES_END)
        if len(info) < _TIMES_END:
            return 0.0
        busy, no_room = map(int, _TIMES.unpack_from(info, _TIMES_END - _TIMES.size))
        return (busy - no_room) / 1e6

    def close(self) -> None:
        """End the connection; what was sent before still arrives if the link is whole.

        A thread that sends or receives gets a LinkError. Closing twice does no harm.
        """
        with self._engine:
            if self._closing.is_set():
                return
            self._closing.set()
        os.eventfd_write(self._wake, 1)
        with self._sending, self._receiving:
            _close_gently(self._socket)
            os.close(self._wake)

    def _send_all(self, rest: memoryview) -> None:
        while rest:
            # After a "want write" OpenSSL must be given the same bytes again; `_attempt` does so.
            rest = rest[self._attempt(partial(self._socket.send, rest), None) :]

    def _receive_message(self, end: float | None) -> Message:
        while True:
            count = self._attempt(partial(self._socket.recv_into, self._decoder.wanted), end)
            if not count:
                raise LinkError(self._ended_sentence())
            try:
                message = self._decoder.filled(count)
            except PeerError as error:
                raise PeerError(f"{error} It is the machine at {self.remote_address}.") from error
            if message is not None:
                return message

    def _attempt(self, call: Callable[[], int], end: float | None) -> int:
        """Repeat a call into the socket until it neither has to wait for bytes nor for room."""
        unanswered: float | None = None
        while True:
            self._check_open()
            try:
                with self._engine:
                    return call()
            except ssl.SSLWantReadError:
                events = select.POLLIN
            except ssl.SSLWantWriteError:
                events = select.POLLOUT
            except OSError as error:
                raise self._explain(error) from error
            now = time.monotonic()
            if end is not None and now >= end:
                raise _LateError(f"Nothing came from {self.remote_address} in time.")
            unanswered = (unanswered or now) if self._is_unanswered() else None
            if unanswered is not None and now - unanswered >= SILENCE:
                raise LinkError(self._silent_sentence())
            self._wait(events, LOOK if end is None else min(LOOK, end - now))

    def _wait(self, events: int, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._socket, events)
        poll.register(self._wake, select.POLLIN)
        poll.poll(seconds * 1000)

    def _is_unanswered(self) -> bool:
        """True while the kernel repeats bytes or window probes that nobody acknowledges."""
        # struct tcp_info begins with the bytes state, ca_state, retransmits, probes.
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 4)
        return bool(info[2] or info[3])

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise LinkError(f"The connection to {self.remote_address} was closed on this side.")

    def _explain(self, error: OSError) -> PeerError:
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return LinkError(self._ended_sentence())
        if isinstance(error, ssl.SSLError):
            reason = error.reason or str(error)
            return PeerError(
                f"The machine at {self.remote_address} broke the encryption ({reason}). The "
                "connection was closed."
            )
        return LinkError(f"The connection to {self.remote_address} broke ({error.strerror}).")

    def _ended_sentence(self) -> str:
        middle = "" if self._decoder.between_frames else " in the middle of a message"
        return f"The machine at {self.remote_address} ended the connection{middle}."

    def _silent_sentence(self) -> str:
        return (
            f"The machine at {self.remote_address} has not answered for {SILENCE:g} seconds: "
            "it is off, or the cable is out."
        )


def _repeat(fault: PeerError | None) -> None:
    """Nothing that comes after a fault can be trusted: every later call says the same."""
    if fault is not None:
        raise type(fault)(str(fault))


def _close_gently(connection: ssl.SSLSocket) -> None:
    """Say goodbye and read away what comes, since closing a socket with unread bytes makes the
    kernel throw away what the other end has not got yet."""
    with contextlib.suppress(OSError, ValueError):
        connection.unwrap()
    plain = socket.socket(fileno=connection.detach())
    with plain, contextlib.suppress(OSError):
        plain.setblocking(False)
        plain.shutdown(socket.SHUT_WR)
        end = time.monotonic() + LINGER
        poll = select.poll()
        poll.register(plain, select.POLLIN)
        while (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
            if not plain.recv(1 << 16):
                break
