"""Volume groups and arrays on image files, without a kernel that has device-mapper or md.

LVM's own tools make the groups, on loop devices; the logical volumes come from a text, as they do
when metadata is restored. Superblocks of MD are written by hand and judged by mdadm.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from payload.system.command import run
from payload.system.device import view
from tests.integration.volumes_image import lvm

SECTOR = 512
EXTENT = 1 << 20  # bytes
MAGIC = 0xA92B4EFC
ARRAY = bytes.fromhex("0123456789abcdef0123456789abcdef")

Range = tuple[Path, int, int]  # image, start, size: bytes


@dataclass(frozen=True)
class Stripes:
    """One segment: `count` extents that begin at extent `first` of member number `member`."""

    member: int
    first: int
    count: int


def make_group(
    name: str, members: Sequence[Range], volumes: Mapping[str, Sequence[Stripes]]
) -> None:
    """A volume group on these ranges with these volumes. Each is as large as its segments."""
    with ExitStack() as stack:
        loops = [
            stack.enter_context(view(run, str(one), *at, writable=True)) for one, *at in members
        ]
        lvm(loops, "pvcreate", "-q", "-y", *loops)
        lvm(loops, "vgcreate", "-q", "-s", f"{EXTENT}b", name, *loops)
        backup = members[0][0].with_name(f"{name}.backup")
        lvm(loops, "vgcfgbackup", "-q", "-f", str(backup), name)
        text = backup.read_text()
        order = [text.index(f'"{loop}"') for loop in loops]
        names = [re.findall(r"(pv\d+) \{", text[:place])[-1] for place in order]
        end = text.rindex("}")
        sections = "".join(
            _section(number, one, segments, names)
            for number, (one, segments) in enumerate(volumes.items())
        )
        backup.write_text(f"{text[:end]}logical_volumes {{\n{sections}}}\n}}\n")
        lvm(loops, "vgcfgrestore", "-q", "-f", str(backup), name)


def _section(number: int, name: str, segments: Sequence[Stripes], members: Sequence[str]) -> str:
    position, text = 0, ""
    for count, one in enumerate(segments, 1):
        text += (
            f"segment{count} {{\nstart_extent = {position}\nextent_count = {one.count}\n"
            'type = "striped"\nstripe_count = 1\n'
            f'stripes = ["{members[one.member]}", {one.first}]\n}}\n'
        )
        position += one.count
    head = f'id = "{volume_uuid(number)}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
    return f"{name} {{\n{head}segment_count = {len(segments)}\n{text}}}\n"


def volume_uuid(number: int) -> str:
    return f"LV{number:04}-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"


# --- MD


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
    struct.pack_into("<QQQ", block, 192, 1, events, (1 << 64) - 1)
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
) -> bytes:
    """Version 0.90, to be written at `old_place`. All disks are in sync."""
    words = [0] * 1024
    words[:3] = MAGIC, 0, 90
    words[5], words[13], words[14], words[15] = struct.unpack("<4I", uuid)
    words[6:13] = 1, level & 0xFFFFFFFF, size // 1024, disks, disks, minor, 0
    words[32:41] = 1, 1, disks, disks, 0, 0, 0, events & 0xFFFFFFFF, events >> 32
    for number in range(disks):
        words[128 + 32 * number : 133 + 32 * number] = number, 8, 1, number, 6
    words[992:997] = device, 8, 1, device, 6
    total = sum(words)
    words[38] = ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF
    return struct.pack("<1024I", *words)


def old_place(size: int) -> int:
    """Where a superblock of version 0.90 lies on a member of that size."""
    return size // 65536 * 65536 - 65536


def put(image: Path, place: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(place)
        file.write(content)
