"""Two machines become a pair: the target calls, the source listens, TLS says who is who."""

import contextlib
import queue
import socket
import threading
from collections.abc import Sequence

from payload.connect.discovery import Address
from payload.model.errors import LinkError, PeerError, SettingsError, ToolError
from payload.model.event import Level, Monitor, Note
from payload.system.links import Links
from payload.wire.channel import Channel, name_address, tune
from payload.wire.tls import Credentials

CONNECT = 3.0  # seconds for TCP; on one wire it takes milliseconds or for ever
HANDSHAKE = 10.0  # seconds for TLS, on the slowest of machines
WAITING_LIMIT = 64  # callers in their handshake at a time; more are turned away
NOTES_LIMIT = 100  # sentences about callers that were refused


class Listener:
    """The source's door: everybody may knock, only machines of our site come in.

    Each caller is dealt with in a thread of its own, so one that says nothing, or garbage, is
    dropped after HANDSHAKE seconds and disturbs nobody.
    """

    def __init__(self, credentials: Credentials, port: int, monitor: Monitor) -> None:
        """Listen on all addresses, also later ones. Raises SettingsError if the port is taken."""
        self._credentials = credentials
        self._monitor = monitor
        self._callers: queue.Queue[Channel] = queue.Queue()
        self._places = threading.BoundedSemaphore(WAITING_LIMIT)
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
            except OSError:
                if not self._closed.wait(0.1):  # out of descriptors, or the caller is gone again
                    continue
                return
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            arguments = (connection, name_address(address))
            threading.Thread(
                target=self._welcome, args=arguments, name="handshake", daemon=True
            ).start()

    def _welcome(self, connection: socket.socket, address: str) -> None:
        try:
            self._callers.put(_open_channel(connection, self._credentials, address, calling=False))
        except PeerError as error:
            self._note_refusal(str(error))
        finally:
            self._places.release()
        if self._closed.is_set():
            self.close()

    def _note_refusal(self, sentence: str) -> None:
        """Once: whoever knocks in vain knocks again and again."""
        if sentence not in self._refused and len(self._refused) < NOTES_LIMIT:
            self._refused.add(sentence)
            self._monitor(Note(f"A caller was turned away. {sentence}", Level.WARNING))


def call(
    addresses: Sequence[Address], credentials: Credentials, expected_id: str | None = None
) -> Channel:
    """Call a machine at the addresses it may have, the first that answers as it should.

    Raises LinkError when it may answer later; PeerError when at every address there is somebody,
    but nobody of our site or not machine `expected_id`.
    """
    faults: list[PeerError] = []
    for address in addresses:
        try:
            return _call_one(address, credentials, expected_id)
        except PeerError as error:
            faults.append(error)
    kind = LinkError if any(isinstance(fault, LinkError) for fault in faults) else PeerError
    if not faults:
        raise LinkError("There is no address to call.")
    raise kind(" ".join(dict.fromkeys(str(fault) for fault in faults)))


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
        door.listen(WAITING_LIMIT)
    except OSError as error:
        door.close()
        raise SettingsError(
            f"TCP port {port} cannot be listened on ({error.strerror}). Choose another on both "
            "machines with failover.port=."
        ) from error
    return door
