"""The room of a disk that belongs to no partition, and what the table itself takes of it.

All sizes and positions are bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from payload.model.disk import MIB, PartitionTable

# Boot loaders of the BIOS are loaded in real mode, below 640 KiB: more of the room in front of the
# first partition is not theirs.
BOOT_LIMIT = MIB
GAP_LIMIT = 1 << 30  # bytes: read within seconds by any disk, so it is read and copied
# Bytes at each end of a larger gap. Metadata lies there: superblocks and bitmaps of MD (kernel,
# Documentation/driver-api/md: within the last 128 KiB and 3 MiB), of firmware RAID, of DRBD.
GAP_END = 4 * MIB
_GPT_ENTRY = 128  # bytes


@dataclass(frozen=True)
class Gap:
    """A range of a disk that is in no partition."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


def table_end(table: PartitionTable, sector_size: int) -> int:
    """Where the table itself ends and content may begin."""
    if table.label == "dos":
        return sector_size
    # UEFI specification, 5.3: protective MBR, header, entries.
    return 2 * sector_size + _entries(table, sector_size)


def backup_size(table: PartitionTable, sector_size: int) -> int:
    """How much of the disk's end a GPT takes for its second half: the entries, then the header."""
    return _entries(table, sector_size) + sector_size if table.label == "gpt" else 0


def _entries(table: PartitionTable, sector_size: int) -> int:
    return -(-(table.table_length or 128) * _GPT_ENTRY // sector_size) * sector_size


def boot_area_end(table: PartitionTable) -> int:
    """Where the boot area ends: at the first partition, or at BOOT_LIMIT."""
    return min(BOOT_LIMIT, *(partition.start for partition in table.partitions))


def find_gaps(table: PartitionTable, size: int, sector_size: int) -> Iterator[Gap]:
    """What neither the boot area, nor a partition, nor the table takes of a disk of that size, in
    its order. An extended partition holds nothing itself: what chains the logical ones is in gaps.
    """
    position = max(boot_area_end(table), table_end(table, sector_size))
    held = [(one.start, one.end) for one in table.partitions if not one.is_extended]
    end = size - backup_size(table, sector_size)
    for first, behind in (*sorted(held), (end, end)):
        if min(first, end) > position:
            yield Gap(position, min(first, end) - position)
        position = max(position, behind)
