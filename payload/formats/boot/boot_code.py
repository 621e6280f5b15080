"""What stands in a disk's first sectors: which boot loader, and where it looks for its next stage.

Read from the medium after all was written, so the answer is about the copy, not about what was
meant to be copied. Raises LoaderError where the chain is visibly broken; what a loader keeps to
itself (LILO's map of absolute sectors) is carried over unchanged and said to be so.
"""

import struct

from payload.formats.boot.boot_sector import EXTLINUX, LILO, UNKNOWN, BootCode, ReadDisk
from payload.formats.boot.grub_core import read_grub2
from payload.formats.boot.grub_legacy import is_stage1, read_grub_legacy
from payload.model.disk import BOOT_CODE_SIZE, SECTOR, Partition, PartitionTable
from payload.model.errors import AdaptError

_MAGIC = b"\xfe\x02\xb2\x3e"  # in both files of SYSLINUX
_CODE_BEGIN, _MAGIC_PLACE = 0x5A, 0x1F8  # in the boot sector of extlinux


def read_boot_code(read: ReadDisk, table: PartitionTable | None, name: str) -> BootCode | None:
    """The boot loader of one disk (`name` is for people), None when sector 0 holds no code.

    Raises LoaderError when its next stage is not where it says, AdaptError when the sector is
    not one a BIOS starts.
    """
    sector = read(0, SECTOR)
    if len(sector) < SECTOR or not any(sector[:BOOT_CODE_SIZE]):
        return None
    if sector[510:] != b"\x55\xaa":
        if table is None:
            return None  # a file system on the whole disk, which may begin in its first byte
        raise AdaptError(
            f"{name} has boot code but not the signature 55 AA behind it, so no BIOS starts it."
            " Start both machines again for a new copy."
        )
    code = _known(read, sector, table, name)
    active = _active_partition(table)
    if code is None and active is not None:
        code = _in_partition(read, active, table, name)
    if code is not None:
        return code
    return BootCode(UNKNOWN, ("boot code of an unknown loader is carried over",))


def _known(
    read: ReadDisk, sector: bytes, table: PartitionTable | None, name: str
) -> BootCode | None:
    if sector[0x5A:0x5C] == b"\x00\x80" and b"GRUB" in sector:
        return read_grub2(read, sector, table, name)
    if is_stage1(sector):
        return read_grub_legacy(read, sector, name)
    if sector[6:10] == b"LILO" or sector[2:6] == b"LILO":
        return BootCode(LILO, ("LILO's boot sector is carried over, its map by the same sectors",))
    if sector[3:11] in (b"EXTLINUX", b"SYSLINUX"):
        return BootCode(EXTLINUX, ("extlinux is carried over, with the sectors it knows",))
    return None


def _active_partition(table: PartitionTable | None) -> Partition | None:
    """What the boot code of DOS and its like start: the one partition marked for it."""
    active = [part for part in table.partitions if part.bootable] if table else []
    return active[0] if len(active) == 1 else None


def _in_partition(
    read: ReadDisk, part: Partition, table: PartitionTable | None, name: str
) -> BootCode | None:
    """The loader in a partition's own boot sector, which an unspecific one in sector 0 starts."""
    sector = read(part.start, SECTOR)
    if len(sector) < SECTOR or sector[510:] != b"\x55\xaa":
        return None
    where = f"partition {part.number} of {name}"
    code = _known(read, sector, table, where)
    if code is not None and code.loader == EXTLINUX:
        return BootCode(EXTLINUX, (_ldlinux(read, sector, part, where),))
    return code


def _ldlinux(read: ReadDisk, sector: bytes, part: Partition, where: str) -> str:
    """The boot sector of extlinux knows the first sector of ldlinux.sys, at a place that differs
    between its versions."""
    for at in range(_CODE_BEGIN, _MAGIC_PLACE - 3):
        (first,) = struct.unpack_from("<I", sector, at)
        if 0 < first < part.size // SECTOR and _MAGIC in read(part.start + first * SECTOR, 64):
            return f"extlinux in {where} finds ldlinux.sys in sector {first} of it"
    return f"extlinux in {where} is carried over, with the sectors it knows"
