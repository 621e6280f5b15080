"""Two machines become a pair: the target calls, the source listens, TLS says who is who."""

import contextlib
import itertools
import queue
import socket
import threading
from collections.abc import Sequence

from payload.connect.discovery import Address
from payload.connect.places import Caller, choose_evicted
from payload.model.errors import LinkError, PeerError, SettingsError, ToolError
from payload.model.event import Level, Monitor, Note
from payload.system.links import Links
from payload.wire.channel import Channel, name_address, tune
from payload.wire.tls import Credentials

CONNECT = 3.0  # seconds for TCP; on one wire it takes milliseconds or for ever
HANDSHAKE = 10.0  # seconds for TLS, on the slowest of machines
PATIENCE = 1.5  # seconds until the next address is called beside one that has not answered yet
AT_ONCE = 8  # addresses of a machine called at a time
BACKLOG = 512  # connections the kernel keeps until we accept them
ADDRESSES_LIMIT = 64  # remembered, from which machines of the site proved themselves
NOTES_LIMIT = 100  # sentences about callers that were refused


CROWD = (
    "Many connect to this machine without a proof that they belong to its site. Those that wait "
    "longest are turned away; machines of the site still come in."
)


class Listener:
    """The source's door: everybody may knock, only machines of our site come in.

    Each caller is dealt with in a thread of its own, so one that says nothing, or garbage, is
    dropped after HANDSHAKE seconds and disturbs nobody; when there are too many of them, earlier
    (`connect.places`).
    """

    def __init__(self, credentials: Credentials, port: int, monitor: Monitor) -> None:
        """Listen on all addresses, also later ones. Raises SettingsError if the port is taken."""
        self._credentials = credentials
        self._monitor = monitor
        self._callers: queue.Queue[Channel] = queue.Queue()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[Caller, socket.socket] = {}  # by handles of our own to end them
        self._proven: dict[str, None] = {}  # addresses, the one that proved itself last behind
        self._refused: set[str] = set()
        self._closed = threading.Event()
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, name="listener", daemon=True).start()

    def accept(self, timeout: float) -> Channel | None:
        """The next caller of our site, None when none came within `timeout` seconds."""
        try:
            return self._callers.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Let nobody in any more. Channels that were accepted live on."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._socket.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._callers.get_nowait().close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                connection, address = self._socket.accept()
                caller = self._give_place(connection, name_address(address))
            except OSError:
                if not self._closed.wait(0.1):  # out of descriptors, or the caller is gone again
                    continue
                return
            threading.Thread(
                target=self._welcome, args=(connection, caller), name="handshake", daemon=True
            ).start()

    def _give_place(self, connection: socket.socket, address: str) -> Caller:
        """Let a newcomer wait for its proof, instead of another if need be. Raises OSError."""
        caller, handle = Caller(next(self._numbers), address), connection.dup()
        with self._lock:
            evicted = choose_evicted(tuple(self._waiting), address, self._proven)
            if evicted is not None:
                _hang_up(self._waiting.pop(evicted))  # its thread sees an end of the connection
            self._waiting[caller] = handle
        if evicted is not None:
            self._note_refusal(CROWD)
        return caller

    def _welcome(self, connection: socket.socket, caller: Caller) -> None:
        try:
            channel = _open_channel(connection, self._credentials, caller.address, calling=False)
        except PeerError as error:
            if self._leave_place(caller):
                self._note_refusal(f"A caller was turned away. {error}")
            return
        self._leave_place(caller, proven=True)
        self._callers.put(channel)
        if self._closed.is_set():
            self.close()

    def _leave_place(self, caller: Caller, *, proven: bool = False) -> bool:
        """False when it was taken away before."""
        with self._lock:
            handle = self._waiting.pop(caller, None)
            if proven:
                self._proven.pop(caller.address, None)
                self._proven[caller.address] = None
                if len(self._proven) > ADDRESSES_LIMIT:
                    del self._proven[next(iter(self._proven))]
        if handle is not None:
            handle.close()
        return handle is not None

    def _note_refusal(self, sentence: str) -> None:
        """Once: whoever knocks in vain knocks again and again."""
        with self._lock:
            is_new = sentence not in self._refused and len(self._refused) < NOTES_LIMIT
            if is_new:
                self._refused.add(sentence)
        if is_new:
            self._monitor(Note(sentence, Level.WARNING))


def _hang_up(handle: socket.socket) -> None:
    """End a connection, whoever else holds it."""
    with handle, contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


def call(
    addresses: Sequence[Address], credentials: Credentials, expected_id: str | None = None
) -> Channel:
    """Call a machine at the addresses it may have, the first that answers as it should.

    They are called one after the other, but none is waited for longer than PATIENCE before the
    next one is called, too (as RFC 8305 does it): where a stranger keeps silent, nobody waits.
    Raises LinkError when it may answer later; PeerError when at every address there is somebody,
    but nobody of our site or not machine `expected_id`.
    """
    if not addresses:
        raise LinkError("There is no address to call.")
    return _Race(addresses, credentials, expected_id).run()


class _Race:
    """Calls side by side, of which one wins."""

    def __init__(
        self, addresses: Sequence[Address], credentials: Credentials, expected_id: str | None
    ) -> None:
        self._addresses = addresses
        self._credentials = credentials
        self._expected_id = expected_id
        self._lock = threading.Lock()
        self._is_over = False
        self._results: queue.SimpleQueue[tuple[int, Channel | PeerError]] = queue.SimpleQueue()

    def run(self) -> Channel:
        """The winner's channel. Raises LinkError, PeerError."""
        faults: dict[int, PeerError] = {}
        begun = 0
        while len(faults) < len(self._addresses):
            if begun < len(self._addresses) and begun - len(faults) < AT_ONCE:
                self._start(begun)
                begun += 1
            may_begin = begun < len(self._addresses) and begun - len(faults) < AT_ONCE
            try:
                number, result = self._results.get(timeout=PATIENCE if may_begin else None)
            except queue.Empty:
                continue
            if isinstance(result, Channel):
                self._end()
                return result
            faults[number] = result
        sentences = dict.fromkeys(str(fault) for _, fault in sorted(faults.items()))
        kind = (
            LinkError if any(isinstance(one, LinkError) for one in faults.values()) else PeerError
        )
        raise kind(" ".join(sentences))

    def _start(self, number: int) -> None:
        threading.Thread(target=self._call, args=(number,), name="call", daemon=True).start()

    def _call(self, number: int) -> None:
        result: Channel | PeerError
        try:
            result = _call_one(self._addresses[number], self._credentials, self._expected_id)
        except PeerError as error:
            result = error
        with self._lock:
            if not self._is_over:
                self._results.put((number, result))
                return
        if isinstance(result, Channel):
            result.close()

    def _end(self) -> None:
        """Close what answered besides, now or later."""
        with self._lock:
            self._is_over = True
        with contextlib.suppress(queue.Empty):
            while True:
                _, result = self._results.get_nowait()
                if isinstance(result, Channel):
                    result.close()


def local_card(channel: Channel, links: Links) -> str:
    """The permanent MAC of the card this connection runs over. Raises LinkError."""
    host, _, name = channel.local_address.partition("%")
    with contextlib.suppress(ToolError):  # a card may vanish between two questions
        for card in links.cards():
            if card.name == name or (not name and host in links.addresses(card.name)):
                return card.mac
    raise LinkError(f"No network card has the address {channel.local_address} any more.")


def _call_one(address: Address, credentials: Credentials, expected_id: str | None) -> Channel:
    try:
        connection = _connect(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise LinkError(f"No answer from {address} ({reason}).") from error
    channel = _open_channel(connection, credentials, str(address), calling=True)
    if channel.peer_id == credentials.machine_id:
        fault = f"At {address} there is a machine with the very id of this one: it is not called."
    elif expected_id is not None and channel.peer_id != expected_id:
        fault = (
            f"At {address} there is machine {channel.peer_id[:8]}, not {expected_id[:8]} as "
            "agreed. It was left alone."
        )
    else:
        return channel
    channel.close()
    raise PeerError(fault)


def _open_channel(
    connection: socket.socket, credentials: Credentials, address: str, *, calling: bool
) -> Channel:
    try:
        tune(connection)
        proven = credentials.shake_hands(connection, address, calling=calling, timeout=HANDSHAKE)
        return Channel(proven)
    except OSError as error:
        connection.close()
        raise LinkError(f"The connection to {address} broke ({error}).") from error


def _connect(address: Address) -> socket.socket:
    """A TCP connection that leaves by the card the address was seen on, and by no other."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT)
        place: tuple[str, int] | tuple[str, int, int, int] = (address.host, address.port)
        if address.card:
            card = address.card.encode()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card)
        if address.card and family == socket.AF_INET6:
            place = (*place[:2], 0, socket.if_nametoindex(address.card))
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


def _listen(port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("::", port))
        door.listen(BACKLOG)
    except OSError as error:
        door.close()
        raise SettingsError(
            f"TCP port {port} cannot be listened on ({error.strerror}). Choose another on both "
            "machines with failover.port=."
        ) from error
    return door
