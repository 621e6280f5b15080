"""Disks drawn at random, with tables or without, and with lies in them.

Partitions have some MiB; gaps are small, or too large to be looked at.
"""

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from payload.model.disk import (
    MIB,
    Content,
    Disk,
    FileSystem,
    Partition,
    PartitionTable,
    Remnant,
)
from payload.model.gap import GAP_LIMIT, backup_size, find_gaps
from tests.support.sized_machines import SECTOR, hardware, partition

KINDS = ("ext4", "swap", "", "xfs", "LVM2_member", "linux_raid_member", "vfat", "crypto_LUKS")
SIGNATURES = ("dos", "gpt", "PMBR", "vfat", "linux_raid_member", "isw_raid_member", "zfs_member")


@dataclass(frozen=True)
class DrawnDisk:
    """A source disk, and how large the disk it is copied onto is."""

    disk: Disk
    target_size: int


@st.composite
def tables(draw: st.DrawFn) -> tuple[PartitionTable, int]:
    """A sound table, and the size of a disk that holds it."""
    is_gpt = draw(st.booleans())
    position = 40 if is_gpt else draw(st.sampled_from([1, 63, 2048]))
    parts: list[Partition] = []
    for number in draw(st.permutations(range(1, 5)))[: draw(st.integers(1, 3))]:
        position += draw(gaps)
        size = draw(st.integers(1, 9000))
        part = _partition(number, position, size, draw(st.sampled_from(KINDS)), is_gpt=is_gpt)
        parts.append(replace(part, file_system=draw(shortened(part.file_system, part.size))))
        position += size
    if not is_gpt and draw(st.booleans()):
        box, inside = draw(logical_partitions(position + draw(gaps)))
        unused = min({1, 2, 3, 4} - {part.number for part in parts})
        start, end = box
        parts += [partition(unused, start * SECTOR, (end - start) * SECTOR, "", "5"), *inside]
        position = end
    end = position + draw(gaps) + 40
    table = PartitionTable("gpt" if is_gpt else "dos", "id", tuple(parts), 34 if is_gpt else 0)
    return table, end * SECTOR + backup_size(table, SECTOR)


# Sectors. What is between a few MiB and GAP_LIMIT is like the former, and takes longer.
gaps = st.sampled_from([0, 0, 1, 63, 2048, 5000, 10_000, GAP_LIMIT // SECTOR + 20_000])


@st.composite
def logical_partitions(
    draw: st.DrawFn, start: int
) -> tuple[tuple[int, int], tuple[Partition, ...]]:
    """First and last sector of an extended partition, and what is in it."""
    position, inside = start, []
    for number in range(5, 5 + draw(st.integers(1, 3))):
        position += 1 + draw(gaps)
        size = draw(st.integers(1, 9000))
        inside.append(
            _partition(number, position, size, draw(st.sampled_from(KINDS)), is_gpt=False)
        )
        position += size
    return (start, position + draw(gaps)), tuple(inside)


@st.composite
def shortened(draw: st.DrawFn, system: FileSystem | None, size: int) -> FileSystem | None:
    """A file system that may end before its place does."""
    if system is None or system.kind not in ("ext4", "xfs"):
        return system
    return replace(system, behind=draw(st.integers(0, size // 2)))


def _partition(number: int, start: int, size: int, kind: str, *, is_gpt: bool) -> Partition:
    return partition(number, start * SECTOR, size * SECTOR, kind, "0fc6" if is_gpt else "83")


@st.composite
def divided_disks(draw: st.DrawFn) -> DrawnDisk:
    """A disk with a table, beside which more may be seen."""
    table, size = draw(tables())
    needed = max(table.end, MIB) + backup_size(table, SECTOR)
    size = max(size, needed)
    large = [gap for gap in find_gaps(table, size, SECTOR) if gap.size > GAP_LIMIT]
    remnants = tuple(Remnant(gap.start, "ext4") for gap in large if draw(st.booleans()))
    signatures = tuple(draw(st.lists(st.sampled_from(SIGNATURES), max_size=2, unique=True)))
    content = Content(False, "seen", table, None, signatures, remnants=remnants)
    targets = st.sampled_from([needed, size, size + SECTOR, size + 40 * MIB])
    return DrawnDisk(Disk(hardware("B", size, 2), content), max(draw(targets), needed))


@st.composite
def whole_disks(draw: st.DrawFn) -> DrawnDisk:
    """A disk without partitions, of which sfdisk may tell a table all the same."""
    size = draw(st.integers(2, 90_000)) * SECTOR
    kind = draw(st.sampled_from(KINDS))
    table = PartitionTable(draw(st.sampled_from(["dos", "gpt", "sun"])), "id", ())
    signatures = tuple(draw(st.lists(st.sampled_from(SIGNATURES), max_size=2, unique=True)))
    system = draw(shortened(FileSystem(kind) if kind else None, size))
    content = Content(False, "seen", draw(st.sampled_from([None, table])), system, signatures)
    return DrawnDisk(Disk(hardware("B", size, 2), content), size + draw(st.sampled_from([0, MIB])))
