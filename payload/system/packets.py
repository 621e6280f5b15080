"""One network card, frame by frame: sends, and hears frames of one Ethernet type (AF_PACKET).

The kernel drops everything else before it costs anything, also while the copy fills the wire.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from payload.model.errors import ToolError

_ETH_P_ALL = 0x0003  # a socket for one type is given frames of unknown VLANs without their tag
_SO_ATTACH_FILTER = 26
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _AUXDATA, _IGNORE_OUTGOING = 1, 8, 23
_PROMISCUOUS = 1  # or the card itself drops the VLANs that nobody here has set up
_VLAN_VALID = 1 << 4
_AUXDATA_FORM = struct.Struct("=IIIHHHH")  # status, length, snapped, mac, net, vlan, its type
_HEADER = 14
_LARGEST = 2048


class PacketPort:
    """An open card. `listening`: hear frames of `ether_type`, with or without a VLAN tag."""

    def __init__(self, card: str, ether_type: int, *, listening: bool) -> None:
        """Raises ToolError."""
        with _told(f"open the network card {card} for single frames"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            try:
                self._open(card, ether_type, listening=listening)
            except BaseException:
                self._socket.close()
                raise
        self.card = card

    def _open(self, card: str, ether_type: int, *, listening: bool) -> None:
        if listening:
            self._hear_only(ether_type)
            self._socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        self._socket.bind((card, _ETH_P_ALL if listening else 0))
        if listening:
            wanted = struct.pack("=iHH8s", socket.if_nametoindex(card), _PROMISCUOUS, 0, b"")
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wanted)

    def _hear_only(self, ether_type: int) -> None:
        """A classic BPF program: load the type, compare, take the whole frame or nothing."""
        steps = (
            (0x28, 0, 0, 12),
            (0x15, 0, 1, ether_type),
            (0x06, 0, 0, _LARGEST),
            (0x06, 0, 0, 0),
        )
        program = b"".join(struct.pack("=HBBI", *step) for step in steps)
        buffer = ctypes.create_string_buffer(program, len(program))
        told = struct.pack("@HP", len(steps), ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, told)

    @property
    def mac(self) -> bytes:
        """The address the card uses now, 6 bytes."""
        return bytes(self._socket.getsockname()[4][:6])

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """Raises ToolError, also when the card has no link."""
        with _told(f"send a frame by the network card {self.card}"):
            self._socket.send(frame)

    def receive(self) -> tuple[bytes, int] | None:
        """What follows the header of the next frame, and its VLAN id (0: no tag); None when there
        is none waiting. Raises ToolError."""
        with _told(f"hear frames by the network card {self.card}"):
            try:
                frame, extra, _, _ = self._socket.recvmsg(_LARGEST, 128, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return frame[_HEADER:], _vlan(extra)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "PacketPort":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _vlan(extra: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in extra:
        if (level, kind) == (_SOL_PACKET, _AUXDATA) and len(data) >= _AUXDATA_FORM.size:
            status, *_, tag, _type = _AUXDATA_FORM.unpack_from(data)
            return tag & 0xFFF if status & _VLAN_VALID else 0
    return 0


@contextmanager
def _told(goal: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolError(f"The kernel refused to {goal}: {error.strerror or error}.") from error
