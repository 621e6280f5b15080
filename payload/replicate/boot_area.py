"""The bytes in front of the first partition: what is boot code and what is the table's own.

The table is written by sfdisk on the target, never copied as bytes, since a GPT knows the size of
its disk. Boot code is what lies in front of and behind it.
"""

from payload.model.disk import PartitionTable

CODE_END = 440  # bytes of boot code in the first sector; then signature, entries, 55 AA
MBR_END = 512
_GPT_ENTRY = 128  # bytes


def table_range(table: PartitionTable, sector_size: int) -> tuple[int, int]:
    """First byte of the table and first byte behind it."""
    if table.label != "gpt":
        return CODE_END, MBR_END
    entries = -(-(table.table_length or 128) * _GPT_ENTRY // sector_size)
    return CODE_END, (2 + entries) * sector_size


def without_table(area: memoryview, table: PartitionTable, sector_size: int) -> None:
    """Zero what belongs to the table, in place: what both sides call the boot area's content."""
    first, end = table_range(table, sector_size)
    end = min(end, len(area))
    area[first:end] = bytes(end - first)


def with_table_of(area: bytes, disk: bytes, table: PartitionTable, sector_size: int) -> bytes:
    """The boot area's content, with the table that is on the disk now."""
    first, end = table_range(table, sector_size)
    return area[:first] + disk[first:end] + area[end:]
