"""The bytes in front of the first partition: what is boot code and what is the table's own.

A GPT knows the size of its disk: it is written by sfdisk on the target, never copied as bytes, and
boot code is what lies in front of and behind it. An MBR is bytes like others.
"""

from payload.model.disk import BOOT_CODE_SIZE, PartitionTable
from payload.model.gap import table_end

MBR_END = 512


def table_range(table: PartitionTable, sector_size: int) -> tuple[int, int]:
    """First byte of what the target makes anew, and first byte behind it."""
    if table.label != "gpt":
        return BOOT_CODE_SIZE, BOOT_CODE_SIZE
    return BOOT_CODE_SIZE, table_end(table, sector_size)


def without_table(area: memoryview, table: PartitionTable, sector_size: int) -> None:
    """Zero what belongs to the table, in place: what both sides call the boot area's content."""
    first, end = table_range(table, sector_size)
    end = min(end, len(area))
    area[first:end] = bytes(end - first)


def with_table_of(area: bytes, disk: bytes, table: PartitionTable, sector_size: int) -> bytes:
    """The boot area's content, with the table that is on the disk now."""
    first, end = table_range(table, sector_size)
    return area[:first] + disk[first:end] + area[end:]
