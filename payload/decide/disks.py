"""Disks as a plan sees them: where they are plugged in, what people call them, what is on them."""

from collections.abc import Sequence

from payload.model.disk import Content, Disk, Hardware, PartitionTable
from payload.model.errors import PlanError


def content_of(disk: Disk) -> Content:
    if disk.content is None:
        raise PlanError(
            f"Disk {label_of(disk.hardware)} was not looked at. Boot both machines again."
        )
    return disk.content


def table_of(disk: Disk) -> PartitionTable | None:
    """The table that divides the disk; None when none does, and all of the disk is one region.

    A table without partitions is none: sfdisk calls the boot sector of a FAT or an NTFS that, since
    it ends in 55 AA, and what lies behind an empty table would belong to nothing.
    """
    table = content_of(disk).table
    return table if table and table.partitions else None


def place(disk: Disk) -> tuple[list[tuple[int, str]], str]:
    """Sorts as the firmware counts."""
    return disk.hardware.position, disk.id


def amount(size: int) -> str:
    """As the sticker counts: powers of ten."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def label_of(hardware: Hardware) -> str:
    """What a person finds on the disk's sticker. Kernel names mean nothing on another boot."""
    words = (hardware.model, hardware.serial or hardware.id, amount(hardware.size))
    return " ".join(word for word in words if word)


def labels_of(disks: Sequence[Disk]) -> str:
    return ", ".join(label_of(disk.hardware) for disk in disks)
