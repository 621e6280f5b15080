"""One card, frame by frame, on a socket of paper: which frames are asked for, and their VLANs."""

import ctypes
import errno
import socket
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.model.errors import ToolError
from payload.system import packets
from payload.system.packets import PacketPort

BEACON = 0x88B5
SOL_PACKET, PACKET_AUXDATA = 263, 8  # include/linux/socket.h, include/uapi/linux/if_packet.h
VLAN_VALID = 1 << 4  # TP_STATUS_VLAN_VALID
HEADER = bytes(12) + struct.pack("!H", BEACON)


class Kernel:
    """A packet socket: remembers what it was set to, and hands out frames."""

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], Any] = {}
        self.bound: tuple[str, int] | None = None
        self.frames: list[tuple[bytes, list[tuple[int, int, bytes]]]] = []
        self.sent: list[bytes] = []
        self.refuses = ""
        self.closed = False
        self.filter: list[tuple[int, int, int, int]] = []

    def _act(self, name: str) -> None:
        if self.refuses == name:
            raise OSError(errno.ENETDOWN, "Network is down")

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._act("setsockopt")
        self.options[level, option] = value
        if (level, option) == (socket.SOL_SOCKET, 26):  # SO_ATTACH_FILTER: struct sock_fprog
            count, place = struct.unpack("@HP", value)
            program = ctypes.string_at(place, 8 * count)
            self.filter = list(struct.iter_unpack("=HBBI", program))

    def bind(self, address: tuple[str, int]) -> None:
        self._act("bind")
        self.bound = address

    def getsockname(self) -> tuple[object, ...]:
        return "eth0", 3, 0, 1, b"\x52\x54\x00\xab\xcd\xef\x00\x00"

    def send(self, frame: bytes) -> None:
        self._act("send")
        self.sent.append(frame)

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        self._act("recvmsg")
        if not self.frames:
            raise BlockingIOError
        return (*self.frames.pop(0), 0, None)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    names = {
        name: getattr(socket, name)
        for name in ("AF_PACKET", "SOCK_RAW", "SOL_SOCKET", "MSG_DONTWAIT")
    }
    paper = SimpleNamespace(socket=lambda *_: kernel, if_nametoindex=lambda _: 7, **names)
    monkeypatch.setattr(packets, "socket", paper)
    return kernel


def passes(program: list[tuple[int, int, int, int]], frame: bytes) -> int:
    """Bytes of a frame that a filter lets through (bpf of linux/filter.h)."""
    at = value = 0
    while True:
        code, then, otherwise, word = program[at]
        at += 1
        if code == 0x28:  # load a half word
            (value,) = struct.unpack_from("!H", frame, word)
        elif code == 0x15:  # jump if equal
            at += then if value == word else otherwise
        elif code == 0x06:  # return
            return word
        else:
            raise AssertionError(f"an instruction nobody needs: {code:#x}")


def test_who_listens_gets_frames_of_one_type_alone(kernel: Kernel) -> None:
    PacketPort("eth0", BEACON, listening=True)
    assert kernel.bound == ("eth0", 3), "ETH_P_ALL: else frames of unknown VLANs lose their tag"
    assert passes(kernel.filter, HEADER) >= 1518
    for other in (0x0800, 0x86DD, 0x8100, BEACON + 1, 0):
        assert passes(kernel.filter, bytes(12) + struct.pack("!H", other)) == 0
    assert kernel.options[SOL_PACKET, PACKET_AUXDATA] == 1


def test_who_only_sends_hears_nothing(kernel: Kernel) -> None:
    PacketPort("eth0", BEACON, listening=False)
    assert kernel.bound == ("eth0", 0) and kernel.options == {}


def test_a_card_that_listens_hears_vlans_that_nobody_set_up(kernel: Kernel) -> None:
    """PACKET_ADD_MEMBERSHIP with PACKET_MR_PROMISC: struct packet_mreq."""
    PacketPort("eth0", BEACON, listening=True)
    index, kind, *_ = struct.unpack("=iHH8s", kernel.options[SOL_PACKET, 1])
    assert (index, kind) == (7, 1)


def auxdata(status: int, tag: int) -> list[tuple[int, int, bytes]]:
    """struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid."""
    return [(SOL_PACKET, PACKET_AUXDATA, struct.pack("=IIIHHHH", status, 0, 0, 0, 0, tag, 0x8100))]


@pytest.mark.parametrize(
    ("extra", "vlan"),
    [
        ([], 0),
        (auxdata(VLAN_VALID, 10), 10),
        (auxdata(VLAN_VALID, 0xE00A), 10),  # a priority is no part of the id
        (auxdata(0, 10), 0),
        ([(1, PACKET_AUXDATA, bytes(20)), *auxdata(VLAN_VALID | 1, 4094)], 4094),
        ([(SOL_PACKET, PACKET_AUXDATA, b"\xff" * 3)], 0),
    ],
)
def test_a_frame_comes_without_its_header_and_with_its_vlan(
    kernel: Kernel, extra: list[tuple[int, int, bytes]], vlan: int
) -> None:
    port = PacketPort("eth0", BEACON, listening=True)
    kernel.frames.append((HEADER + b"beacon", extra))
    assert port.receive() == (b"beacon", vlan)
    assert port.receive() is None, "none is waiting"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.binary(max_size=40))
def test_any_frame_with_any_account_of_it_is_taken(
    kernel: Kernel, frame: bytes, account: bytes
) -> None:
    port = PacketPort("eth0", BEACON, listening=True)
    kernel.frames.append((frame, [(SOL_PACKET, PACKET_AUXDATA, account)]))
    heard = port.receive()
    assert heard is not None and heard[0] == frame[14:] and 0 <= heard[1] < 4096


def test_the_card_s_own_address_and_what_it_sends(kernel: Kernel) -> None:
    with PacketPort("eth0", BEACON, listening=False) as port:
        assert port.mac == b"\x52\x54\x00\xab\xcd\xef"
        port.send(HEADER + b"beacon")
    assert kernel.sent == [HEADER + b"beacon"] and kernel.closed


@pytest.mark.parametrize("refuses", ["bind", "setsockopt"])
def test_a_card_that_cannot_be_opened_is_named_and_left_closed(
    kernel: Kernel, refuses: str
) -> None:
    kernel.refuses = refuses
    with pytest.raises(ToolError, match=r"open the network card eth0 .*: Network is down"):
        PacketPort("eth0", BEACON, listening=True)
    assert kernel.closed


@pytest.mark.parametrize(
    ("refuses", "goal"), [("send", "send a frame"), ("recvmsg", "hear frames")]
)
def test_a_card_without_a_link_is_a_tool_error(kernel: Kernel, refuses: str, goal: str) -> None:
    port = PacketPort("eth0", BEACON, listening=True)
    kernel.refuses = refuses
    with pytest.raises(ToolError, match=f"refused to {goal} by the network card eth0"):
        port.send(b"") if refuses == "send" else port.receive()
