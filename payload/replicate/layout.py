"""Which bytes of a disk are copied, and in which way: its layout, cut into regions."""

from collections.abc import Iterator, Sequence

from payload.model.disk import MIB, Content, Disk, Hardware, PartitionTable
from payload.model.errors import PlanError
from payload.model.inventory import Inventory
from payload.model.plan import CopyMode, DiskPair, Method, Region
from payload.replicate.disks import content_of, label_of, table_of

# File systems whose own map of used blocks can be read and, by a look at the journal, trusted.
MAPPED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs", "jfs", "ntfs", "vfat"})
# Members of LVM and MD, which are looked into (replicate/volume_map.py).
MEMBERS = frozenset({"LVM2_member", "linux_raid_member"})
# partclone's map of a FAT12 misses clusters in use. None is larger than this: at most 4084 clusters
# of 64 KiB.
FAT12_LIMIT = 256 * MIB
# Boot loaders of the BIOS are loaded in real mode, below 640 KiB: more of the gap is not theirs.
BOOT_LIMIT = MIB
TABLES = frozenset({"dos", "gpt", "PMBR"})  # signatures of partition tables, in libblkid's words
GPT_ENTRY = 128  # bytes


def check_layout(source: Inventory, disk: Disk) -> None:
    """A table that overlaps itself or leaves the disk is damaged; no copy of it would be right."""
    table = table_of(disk)
    if table is None:
        return
    fault = _fault(table, disk.hardware)
    if fault:
        raise PlanError(
            f"The partition table of disk {label_of(disk.hardware)} of the source "
            f"{source.machine.label} is damaged: {fault}. Repair the table first."
        )


def _fault(table: PartitionTable, hardware: Hardware) -> str:
    sector = hardware.sector_size
    numbers = [partition.number for partition in table.partitions]
    if table.label not in ("dos", "gpt"):
        return f"its kind {table.label!r} is not supported"
    if len(set(numbers)) < len(numbers) or min(numbers, default=1) < 1:
        return "partition numbers occur twice"
    end = _table_end(table, sector)
    for partition in sorted(table.partitions, key=lambda one: (one.start, -one.size)):
        name = f"partition {partition.number}"
        if partition.start % sector or partition.size % sector or partition.size <= 0:
            return f"{name} does not consist of whole sectors"
        if partition.end > hardware.size:
            return f"{name} reaches behind the end of the disk"
        if not partition.is_extended:
            if partition.start < end:
                return f"{name} overlaps the table or another partition"
            end = partition.end
    return _extended_fault(table, sector)


def _table_end(table: PartitionTable, sector: int) -> int:
    """Where the table itself ends and content may begin."""
    if table.label == "dos":
        return sector
    entries = (table.table_length or 128) * GPT_ENTRY
    return 2 * sector + -(-entries // sector) * sector


def _extended_fault(table: PartitionTable, sector: int) -> str:
    if table.label == "gpt":
        return ""
    boxes = [partition for partition in table.partitions if partition.is_extended]
    if len(boxes) > 1 or any(box.number > 4 or box.start < sector for box in boxes):
        return "the extended partition is not where one can be"
    for partition in table.partitions:
        inside = any(box.start < partition.start and partition.end <= box.end for box in boxes)
        touches = any(partition.start < box.end and box.start < partition.end for box in boxes)
        if partition.number > 4 and not inside:
            return f"logical partition {partition.number} is not inside the extended one"
        if partition.number <= 4 and not partition.is_extended and touches:
            return f"partition {partition.number} overlaps the extended one"
    return ""


def cut_regions(
    pairs: Sequence[DiskPair], disks: Sequence[Disk], mode: CopyMode
) -> tuple[Region, ...]:
    regions: list[Region] = []
    for pair, disk in enumerate(disks):
        for number, start, size, method, kind in _pieces(disk, mode):
            regions.append(Region(len(regions), pair, number, start, size, method, kind))
    return tuple(regions)


def _pieces(disk: Disk, mode: CopyMode) -> Iterator[tuple[int, int, int, Method, str]]:
    """(partition number, start, size, method, file system) in the order of the disk."""
    table = table_of(disk)
    if table is None:
        kind = _whole_kind(content_of(disk))
        yield 0, 0, disk.hardware.size, choose_method(kind, disk.hardware.size, mode), kind
        return
    parts = sorted(table.partitions, key=lambda partition: partition.start)
    yield 0, 0, min(parts[0].start, BOOT_LIMIT), Method.BOOT, ""
    for partition in parts:
        if not partition.is_extended:
            kind = partition.file_system.kind if partition.file_system else ""
            yield (
                partition.number,
                partition.start,
                partition.size,
                choose_method(kind, partition.size, mode),
                kind,
            )


def _whole_kind(content: Content) -> str:
    """The file system on a whole disk; "" where signatures of others make its map doubtful. Those
    beside a member are of what is in it."""
    kind = content.file_system.kind if content.file_system else ""
    others = {*content.signatures} - {*TABLES, kind}
    return "" if others and kind not in MEMBERS else kind


def choose_method(kind: str, size: int, mode: CopyMode) -> Method:
    """How content of that kind and size is copied."""
    if mode is CopyMode.EXACT:
        return Method.ALL
    if kind == "swap":
        return Method.HEADER
    if kind == "vfat" and size <= FAT12_LIMIT:
        return Method.ALL
    return Method.USED if kind in MAPPED | MEMBERS else Method.ALL
