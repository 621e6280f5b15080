"""Disks in memory that a firmware could start from, by the bytes of their loader."""

from payload.formats.boot.boot_sector import ReadDisk
from payload.model.disk import MIB, Partition, PartitionTable

ONE_PARTITION = PartitionTable("dos", "0x1", (Partition(1, 63 * 512, 8 * MIB, "83"),))


def boot_disk(*parts: tuple[int, bytes]) -> ReadDisk:
    """A disk of 64 sectors with these bytes at these places, and the signature of sector 0."""
    content = bytearray(64 * 512)
    content[510:512] = b"\x55\xaa"
    for place, part in parts:
        content[place : place + len(part)] = part
    return lambda offset, length: bytes(content[offset : offset + length])
