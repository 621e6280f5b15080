"""Which bytes of a disk are copied, and in which way: its layout, cut into regions."""

from collections.abc import Iterator, Sequence

from payload.decide.disks import content_of, label_of, table_of
from payload.model.disk import Content, Disk, FileSystem, Hardware, PartitionTable
from payload.model.errors import PlanError
from payload.model.gap import (
    GAP_END,
    GAP_LIMIT,
    Gap,
    backup_size,
    boot_area_end,
    find_gaps,
    table_end,
)
from payload.model.inventory import Inventory
from payload.model.map_kinds import MAPPED, MEMBERS, why_whole
from payload.model.plan import CopyMode, DiskPair, Method, Region

TABLES = frozenset({"dos", "gpt", "PMBR"})  # signatures of partition tables, in libblkid's words
# Signatures of RAID that firmware makes, in libblkid's words (libblkid/src/superblocks/*_raid.c).
FIRMWARE_RAID = frozenset(
    f"{maker}_raid_member"
    for maker in (
        "adaptec", "ddf", "hpt37x", "hpt45x", "isw", "jmicron", "lsi_mega", "nvidia",
        "promise_fasttrack", "silicon_medley", "via",
    )
)  # fmt: skip


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
    end = table_end(table, sector)
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
    """The regions of all disks, each disk's in its order."""
    regions: list[Region] = []
    for index, (pair, disk) in enumerate(zip(pairs, disks, strict=True)):
        pieces = _cut_whole(disk, mode) if pair.table is None else _cut(pair, disk, mode)
        regions += [Region(len(regions) + at, index, *piece) for at, piece in enumerate(pieces)]
    return tuple(regions)


# Method, file system, why every block of that, and how much of the room is behind it.
Way = tuple[Method, str, str, int]
Cut = tuple[int, int, int, *Way]  # number, start and size, then the way
_PLAIN = ("", "", 0)


def _cut_whole(disk: Disk, mode: CopyMode) -> Iterator[Cut]:
    system = _whole_system(content_of(disk))
    yield 0, 0, disk.hardware.size, *_treat(system, disk.hardware.size, mode)


def _treat(system: FileSystem | None, size: int, mode: CopyMode) -> Way:
    method = choose_method(system, size, mode)
    why = why_whole(system, size) if mode is CopyMode.USED else ""
    behind = system.behind if system and method is Method.USED else 0
    return method, system.kind if system else "", why, behind


def _cut(pair: DiskPair, disk: Disk, mode: CopyMode) -> list[Cut]:
    """Boot area, partitions and gaps."""
    assert pair.table is not None
    if contradictions(disk):
        mode = CopyMode.EXACT
    pieces: list[Cut] = [(0, 0, boot_area_end(pair.table), Method.BOOT, *_PLAIN)]
    for part in pair.table.partitions:
        if not part.is_extended:
            treatment = _treat(part.file_system, part.size, mode)
            pieces.append((part.number, part.start, part.size, *treatment))
    gaps = enumerate(_cut_gaps(pair, disk, mode), 1)
    pieces += [(number, gap.start, gap.size, Method.GAP, *_PLAIN) for number, gap in gaps]
    return sorted(pieces, key=lambda piece: piece[1])


def _cut_gaps(pair: DiskPair, disk: Disk, mode: CopyMode) -> Iterator[Gap]:
    """What is copied of the room that no partition holds, as far as the target's disk goes."""
    assert pair.table is not None
    sector = pair.source.sector_size
    limit = pair.target.size - backup_size(pair.table, sector)
    remnants = {remnant.start for remnant in content_of(disk).remnants}
    for gap in find_gaps(pair.table, pair.source.size, sector):
        size = min(gap.end, limit) - gap.start
        if size <= 0:
            continue
        is_read = mode is CopyMode.EXACT or gap.size <= GAP_LIMIT or gap.start in remnants
        if is_read or size <= 2 * GAP_END:
            yield Gap(gap.start, size)
        else:
            yield Gap(gap.start, GAP_END)
            yield Gap(gap.start + size - GAP_END, GAP_END)


def contradictions(disk: Disk) -> tuple[str, ...]:
    """Signatures of content on the whole disk beside a table with partitions: what they are of may
    lie anywhere, whatever the table says. RAID of firmware keeps its signature behind the disk's
    content, of which the table is part."""
    if table_of(disk) is None:
        return ()
    signatures = content_of(disk).signatures
    return tuple(sorted({*signatures} - TABLES - FIRMWARE_RAID))


def _whole_system(content: Content) -> FileSystem | None:
    """The file system on a whole disk; None where signatures of others make its map doubtful.
    Those beside a member are of what is in it."""
    system = content.file_system
    if system is None:
        return None
    others = {*content.signatures} - {*TABLES, system.kind}
    return None if others and system.kind not in MEMBERS else system


def choose_method(system: FileSystem | None, size: int, mode: CopyMode) -> Method:
    """How such content of that size is copied."""
    if mode is CopyMode.EXACT or system is None:
        return Method.ALL
    if why_whole(system, size):
        return Method.ALL
    if system.kind == "swap":
        return Method.HEADER
    return Method.USED if system.kind in MAPPED | MEMBERS else Method.ALL
