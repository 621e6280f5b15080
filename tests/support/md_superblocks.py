"""Superblocks of MD, as mdadm writes them, from their fields."""

import struct
from collections.abc import Sequence

SECTOR = 512
MAGIC = 0xA92B4EFC
ARRAY = bytes.fromhex("0123456789abcdef0123456789abcdef")  # the UUID of an array


def new_superblock(
    *,
    device: int,
    size: int,
    place: int = 4096,
    level: int = 1,
    disks: int = 2,
    name: str = "server:0",
    data_start: int = 1 << 20,
    data_size: int = 0,
    events: int = 17,
    roles: Sequence[int] = (0, 1),
    features: int = 0,
    recovered: int = 0,
    chunk: int = 0,
    uuid: bytes = ARRAY,
    clean: bool = True,
) -> bytes:
    """Version 1.x, to be written at byte `place` of the member. Bytes; `recovered`: sectors."""
    block = bytearray(4096)
    struct.pack_into("<IIII16s32s", block, 0, MAGIC, 1, features, 0, uuid, name.encode())
    struct.pack_into(
        "<QIIQII", block, 64, 1, level & 0xFFFFFFFF, 0, size // SECTOR, chunk // SECTOR, disks
    )
    data = (data_start // SECTOR, (data_size or size) // SECTOR, place // SECTOR, recovered, device)
    struct.pack_into("<QQQQI", block, 128, *data)
    block[168:184] = bytes([device + 1]) * 16
    struct.pack_into("<QQQ", block, 192, 1, events, (1 << 64) - 1 if clean else 0)
    struct.pack_into("<I", block, 220, 128)
    struct.pack_into("<128H", block, 256, *roles, *[0xFFFF] * (128 - len(roles)))
    total = sum(struct.unpack_from("<128I", block))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    return bytes(block)


def old_superblock(
    *,
    device: int,
    size: int,
    level: int = 1,
    minor: int = 0,
    events: int = 17,
    disks: int = 2,
    uuid: bytes = ARRAY,
    clean: bool = True,
) -> bytes:
    """Version 0.90, to be written at `old_place`. All disks are in sync."""
    words = [0] * 1024
    words[:3] = MAGIC, 0, 90
    words[5], words[13], words[14], words[15] = struct.unpack("<4I", uuid)
    words[6:13] = 1, level & 0xFFFFFFFF, size // 1024, disks, disks, minor, 0
    words[32:38] = 1, int(clean), disks, disks, 0, 0
    words[39:41] = events & 0xFFFFFFFF, events >> 32
    for number in range(disks):
        words[128 + 32 * number : 133 + 32 * number] = number, 8, 1, number, 6
    words[992:997] = device, 8, 1, device, 6
    total = sum(words)
    words[38] = ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF
    return struct.pack("<1024I", *words)


def old_place(size: int) -> int:
    """Where a superblock of version 0.90 lies on a member of that size."""
    return size // 65536 * 65536 - 65536
