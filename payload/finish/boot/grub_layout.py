"""Where GRUB 2 goes on a disk a BIOS starts, and which bytes that makes. Nothing here is written.

Sector 0 holds boot.img, which knows one sector: the first of core.img. That one (diskboot.img)
holds a list of the sectors with the rest. Bytes 440 to 511 of sector 0 are the partition table's
and never appear here.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from payload.formats.boot.boot_sector import BIOS_BOOT, ReadDisk
from payload.model.disk import BOOT_CODE_SIZE, SECTOR, PartitionTable
from payload.model.errors import AdaptError
from payload.model.volume import Layer

_CORE_SECTOR = 0x5C  # in boot.img
_DRIVE_CHECK = 0x66  # in boot.img: a jump over the code that repairs the drive number
_FIRST_BLOCK = SECTOR - 12  # in diskboot.img
_SHORT_JUMP, _NO_OPERATIONS = 0xEB, b"\x90\x90"
_MODULES = {
    "ext2": "ext2",
    "ext3": "ext2",
    "ext4": "ext2",
    "xfs": "xfs",
    "btrfs": "btrfs",
    "reiserfs": "reiserfs",
    "jfs": "jfs",
    "vfat": "fat",
}
_TABLES = {"dos": "part_msdos", "gpt": "part_gpt"}
_ARRAYS = ("mdraid09", "mdraid1x")
_LAYERS = {Layer.MD: _ARRAYS, Layer.LVM: ("lvm", *_ARRAYS)}
# What the menus of the distributions ask for, for a core whose modules are not those beside it.
_MENU_MODULES = (
    "normal", "configfile", "search", "search_label", "search_fs_file", "linux", "linux16", "chain",
    "boot", "echo", "test", "true", "regexp", "sleep", "halt", "reboot", "ls", "cat", "help",
    "minicmd", "keystatus", "serial", "terminal", "loadenv", "gzio", "xzio", "lzopio", "gettext",
    "font", "gfxterm", "gfxterm_background", "all_video", "png", "jpeg", "gfxmenu", "probe",
    "password_pbkdf2", "blscfg", "increment",
)  # fmt: skip


@dataclass(frozen=True)
class Room:
    """Where core.img may stand: whole sectors, in bytes."""

    start: int
    size: int
    name: str

    @property
    def sectors(self) -> int:
        return self.size // SECTOR


def find_room(table: PartitionTable | None, sector_size: int, disk: str) -> Room:
    """The gap behind an MBR, or a GPT's BIOS boot partition. Raises AdaptError when there is
    neither; `disk` is for people."""
    if sector_size != SECTOR:
        raise AdaptError(f"{disk} has sectors of {sector_size} bytes, from which no BIOS starts.")
    if table is None or not table.partitions:
        raise AdaptError(f"{disk} has no partitions, and so no room for a boot loader.")
    if table.label == "gpt":
        for partition in table.partitions:
            if partition.type_id == BIOS_BOOT:
                name = f"BIOS boot partition {partition.number}"
                return Room(partition.start, partition.size, name)
        raise AdaptError(
            f"{disk} has a GPT without a BIOS boot partition, the only room there for GRUB's core."
        )
    first = min(partition.start for partition in table.partitions)
    return Room(SECTOR, max(first // SECTOR * SECTOR - SECTOR, 0), "the gap before its partitions")


@dataclass(frozen=True)
class Recipe:
    """What a core is made of: the directory of its menu, the commands it begins with, its modules.

    `needed` have to be there, `wanted` are taken if they are.
    """

    directory: str
    config: str
    needed: tuple[str, ...]
    wanted: tuple[str, ...] = ()


def plan_recipe(
    directory: str, uuid: str, kind: str, label: str, layer: Layer | None = None, *, whole: bool
) -> Recipe:
    """A core that finds its menu by the file system's UUID, whatever number its disk gets.

    `kind` is the file system's, `label` that of the partition table around it, `layer` what made
    the volume it is on, an array maybe below a volume group. A `whole` core
    needs no module from the disk. Raises AdaptError for what GRUB cannot read.
    """
    if not uuid or kind not in _MODULES or label not in _TABLES:
        raise AdaptError(f"GRUB cannot search for the {kind or 'unknown'} file system of its menu.")
    config = f"search.fs_uuid {uuid} root\nset prefix=($root){directory}\n"
    layers = _LAYERS[layer] if layer else ()
    needed = ("biosdisk", _TABLES[label], *layers, _MODULES[kind], "search_fs_uuid")
    return Recipe(directory, config, needed, _MENU_MODULES if whole else ())


def lay_out(boot: bytes, core: bytes, room: Room) -> dict[int, bytes]:
    """boot.img and core.img made to find each other: byte of the disk -> bytes, sector 0 last.

    Raises AdaptError when they are no such files, or the core is too large for its room.
    """
    if len(boot) < SECTOR or len(core) <= SECTOR:
        raise AdaptError("GRUB's boot.img or core.img is cut short.")
    core += bytes(-len(core) % SECTOR)
    if len(core) > room.size:
        raise AdaptError(
            f"GRUB's core needs {len(core) // SECTOR} sectors, and {room.name} has {room.sectors}."
        )
    first = room.start // SECTOR
    code, placed = bytearray(boot[:BOOT_CODE_SIZE]), bytearray(core)
    struct.pack_into("<Q", code, _CORE_SECTOR, first)
    if code[_DRIVE_CHECK] == _SHORT_JUMP:  # some BIOSes name the disk they start as a floppy
        code[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NO_OPERATIONS
    struct.pack_into("<QH", placed, _FIRST_BLOCK, first + 1, len(core) // SECTOR - 1)
    return {room.start: bytes(placed), 0: bytes(code)}


def as_if_written(writes: Mapping[int, bytes]) -> ReadDisk:
    """What a disk would read as with these bytes and 55 AA on it, and zeros elsewhere."""
    parts = {510: b"\x55\xaa", **writes}

    def read(offset: int, length: int) -> bytes:
        content = bytearray(length)
        for place, part in parts.items():
            first, end = max(place, offset), min(place + len(part), offset + length)
            if first < end:
                content[first - offset : end - offset] = part[first - place : end - place]
        return bytes(content)

    return read
