"""RAID arrays and volume groups on image files, without a kernel that assembles them.

Volume groups are made by lvm2's own tools, on loop devices and without device-mapper: a volume
is restored as the text of a backup that names it. Nothing like that exists for MD, so its
superblocks are packed here, as Linux's md_p.h lays them out.
"""

import os
import struct
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from payload.system import device
from payload.system.command import run

MIB = 1 << 20
SECTOR = 512
EXTENT = MIB
_MD_MAGIC = 0xA92B4EFC
_CREATED = 1_172_750_400  # 2007-03-01


@dataclass(frozen=True)
class Place:
    """A range of an image. Bytes."""

    image: Path
    start: int
    size: int

    def within(self, start: int, size: int) -> "Place":
        return Place(self.image, self.start + start, size)

    def read(self, length: int = -1) -> bytes:
        with self.image.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size if length < 0 else length)

    def write(self, content: bytes, offset: int = 0) -> None:
        assert offset + len(content) <= self.size
        with self.image.open("r+b") as file:
            file.seek(self.start + offset)
            file.write(content)


# --- MD


@dataclass(frozen=True)
class Array:
    """What every member's superblock says alike. `version` is 0.90, 1.0, 1.1 or 1.2; `name` is
    "HOST:NUMBER", of which 0.90 keeps the number."""

    members: int
    version: str = "1.2"
    level: int = 1
    name: str = "groupware:0"
    id: bytes = uuid.UUID("0f0e0d0c-1111-4222-8333-444455556666").bytes
    clean: bool = True

    def superblock_at(self, size: int) -> int:
        """Byte of a member of that many bytes at which its superblock begins."""
        if self.version == "0.90":
            return size // 65536 * 65536 - 65536
        at_end = (size // SECTOR - 16) // 8 * 8 * SECTOR
        return {"1.0": at_end, "1.1": 0, "1.2": 4096}[self.version]

    def data(self, member: Place) -> Place:
        """The range of a member that holds the array's content."""
        if self.version in ("0.90", "1.0"):
            return member.within(0, self.superblock_at(member.size) // 65536 * 65536)
        return member.within(MIB, (member.size - MIB) // 65536 * 65536)


def add_to_array(array: Array, number: int, member: Place, events: int = 40) -> Place:
    """Make the range member `number` of the array. Returns where the array's content lies."""
    pack = _pack_old if array.version == "0.90" else _pack_new
    member.write(pack(array, number, member, events), array.superblock_at(member.size))
    return array.data(member)


def _pack_new(array: Array, number: int, member: Place, events: int) -> bytes:
    data = array.data(member)
    roles = [*range(array.members), *[0xFFFF] * (128 - array.members)]
    block = bytearray(256) + struct.pack("<128H", *roles)
    struct.pack_into("<III", block, 0, _MD_MAGIC, 1, 0)
    struct.pack_into("<16s32s", block, 16, array.id, array.name.encode())
    struct.pack_into("<QiI", block, 64, _CREATED, array.level, 0)
    struct.pack_into("<QII", block, 80, data.size // SECTOR, 0, array.members)
    where = (data.start - member.start, data.size, array.superblock_at(member.size), 0)
    struct.pack_into("<QQQQ", block, 128, *(place // SECTOR for place in where))
    of_disk = uuid.uuid5(uuid.UUID(bytes=array.id), str(number)).bytes
    struct.pack_into("<II16s", block, 160, number, 0, of_disk)
    resynced = (1 << 64) - 1 if array.clean else 0
    struct.pack_into("<QQQII", block, 192, _CREATED, events, resynced, 0, 128)
    words = struct.unpack(f"<{len(block) // 4}I", block)
    struct.pack_into("<I", block, 216, _folded(sum(words)))
    return bytes(block)


def _pack_old(array: Array, number: int, member: Place, events: int) -> bytes:
    first, *others = struct.unpack("<4I", array.id)
    words = [0] * 1024
    blocks = array.data(member).size // 1024
    words[0:8] = [_MD_MAGIC, 0, 90, 0, 0, first, _CREATED, array.level]
    minor = int(array.name.rpartition(":")[2])
    words[8:16] = [blocks, array.members, array.members, minor, 0, *others]
    words[32:38] = [_CREATED, int(array.clean), array.members, array.members, 0, 0]
    words[39:44] = [events, 0, events, 0, 0xFFFFFFFF if array.clean else 0]
    in_sync = 1 << 1 | 1 << 2
    for other in range(array.members):
        words[128 + 32 * other : 128 + 32 * other + 5] = [other, 8, 16 * other, other, in_sync]
    words[992:997] = [number, 8, 16 * number, number, in_sync]
    words[38] = _folded(sum(words))
    return struct.pack("<1024I", *words)


def _folded(total: int) -> int:
    return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


# --- LVM


@dataclass(frozen=True)
class Extents:
    """`count` extents of a physical volume, from its extent `first` on."""

    physical: int
    first: int
    count: int


Volumes = Mapping[str, Sequence[Extents]]  # linear logical volumes, by name


def make_volume_group(
    name: str, physical: Sequence[Place], volumes: Volumes
) -> dict[str, list[Place]]:
    """A volume group on those ranges. Returns where the pieces of each volume lie, in order."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        nodes = [
            stack.enter_context(
                device.view(run, str(one.image), one.start, one.size, writable=True)
            )
            for one in physical
        ]
        backup = Path(directory, "backup")
        lvm(nodes, "pvcreate", "--quiet", "--force", "--yes", *nodes)
        lvm(nodes, "vgcreate", "--physicalextentsize", f"{EXTENT}b", name, *nodes)
        lvm(nodes, "vgcfgbackup", "--file", str(backup), name)
        text = backup.read_text()
        backup.write_text(_with_volumes(text, volumes))
        lvm(nodes, "vgcfgrestore", "--force", "--file", str(backup), name)
        start = _number(text, "pe_start") * SECTOR
    return {
        volume: [
            physical[piece.physical].within(start + piece.first * EXTENT, piece.count * EXTENT)
            for piece in pieces
        ]
        for volume, pieces in volumes.items()
    }


def lvm(nodes: Sequence[str], *argv: str) -> str:
    """What one of lvm2's tools says of these devices alone, without device-mapper or udev."""
    accepted = ", ".join(f'"a|^{node}$|"' for node in nodes)
    settings = (
        f'devices {{ filter=[{accepted}, "r|.*|"] scan_lvs=0 use_devicesfile=0'
        ' obtain_device_list_from_udev=0 external_device_info_source="none" }'
        " activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }"
    )
    return run(["lvm", *argv, "--config", settings, "--nolocking"]).stdout


def _number(text: str, key: str) -> int:
    return int(text.partition(f"{key} = ")[2].split()[0])


def _with_volumes(backup: str, volumes: Volumes) -> str:
    """The backup of an empty group, with logical volumes in it."""
    texts = [_volume_text(name, pieces) for name, pieces in volumes.items()]
    group, _, rest = backup.rstrip().rpartition("}")
    return f"{group}\tlogical_volumes {{\n{''.join(texts)}\t}}\n}}{rest}\n"


def _volume_text(name: str, pieces: Sequence[Extents]) -> str:
    segments, start = [], 0
    for number, piece in enumerate(pieces, start=1):
        segments.append(
            f"segment{number} {{\nstart_extent = {start}\nextent_count = {piece.count}\n"
            'type = "striped"\nstripe_count = 1\n'
            f'stripes = ["pv{piece.physical}", {piece.first}]\n}}\n'
        )
        start += piece.count
    return (
        f'{name} {{\nid = "{_lvm_id()}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
        f"segment_count = {len(pieces)}\n{''.join(segments)}}}\n"
    )


def _lvm_id() -> str:
    letters = os.urandom(16).hex()
    return "-".join((letters[:6], *(letters[at : at + 4] for at in range(6, 26, 4)), letters[26:]))
