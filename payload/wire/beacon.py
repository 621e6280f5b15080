"""Beacons: small Ethernet frames that say which card sent them, and with which VLAN tag.

A wire is whatever carries one from a card of the source to a card of the target. Each holds a
keyed digest, so nobody without the key of this session can claim a wire; an old one played back
elsewhere only says that there is a way between the two wires, which is then true.
"""

import secrets
import struct
from dataclasses import dataclass

from blake3 import blake3

ETHER_TYPE = 0x88B5  # IEEE 802, "local experimental": no switch or host does anything with it
VLAN_TYPE = 0x8100
SHORTEST = 60  # bytes of a frame; cards drop shorter ones
_EVERYBODY = b"\xff" * 6
_MAGIC = b"UGSF\x01"
_DIGEST = 32
_PURPOSE = "UGS-Failover 2026 beacon of one session"


@dataclass(frozen=True)
class Beacon:
    """`mac` is the permanent one of the card that sent it, `vlan` its tag, 0 for none."""

    mac: str
    vlan: int = 0


def beacon_key(source_run: str, target_run: str) -> bytes:
    """The key of two runs, whose names both machines told each other inside TLS."""
    words = f"{source_run} {target_run}".encode()
    return blake3(words, derive_key_context=_PURPOSE).digest()


def pack_beacon(beacon: Beacon, key: bytes) -> bytes:
    body = _MAGIC + bytes.fromhex(beacon.mac.replace(":", "")) + struct.pack("!H", beacon.vlan)
    return body + blake3(body, key=key).digest()


def unpack_beacon(payload: bytes, key: bytes) -> Beacon | None:
    """None for whatever is not a beacon made with that key; what follows it is padding."""
    size = len(_MAGIC) + 8
    body, digest = payload[:size], payload[size : size + _DIGEST]
    if not body.startswith(_MAGIC) or len(digest) != _DIGEST:
        return None
    if not secrets.compare_digest(blake3(body, key=key).digest(), digest):
        return None
    return Beacon(body[-8:-2].hex(":"), int.from_bytes(body[-2:], "big"))


def ethernet_frame(payload: bytes, sender: bytes, vlan: int = 0) -> bytes:
    """To everybody, from the MAC `sender`, tagged where `vlan` is not 0."""
    tag = struct.pack("!HH", VLAN_TYPE, vlan) if vlan else b""
    frame = _EVERYBODY + sender + tag + struct.pack("!H", ETHER_TYPE) + payload
    return frame.ljust(SHORTEST, b"\0")
