"""What else an ext2, ext3 or ext4 says of its blocks, to hold its bitmaps against.

Layout and checksums: Linux, Documentation/filesystems/ext4.
"""

import struct
from collections.abc import Callable, Iterator

from payload.formats.disk.ext_layout import checksum
from payload.formats.disk.unknown_layout import ContradictionError

_ONES = 0xFFFFFFFF
_BLOCKS = 40  # within an inode: 12 numbers of blocks, then one of a block with numbers, and so on
_FLAGS, _HAS_EXTENTS = 32, 0x80000
_DIRECT = 12


def check_bitmap(seed: int, number: int, descriptor: bytes, bitmap: bytes) -> None:
    """Raises ContradictionError."""
    (low,) = struct.unpack_from("<H", descriptor, 0x18)
    wanted, mask = low, 0xFFFF
    if len(descriptor) >= 0x3A:
        wanted, mask = low | struct.unpack_from("<H", descriptor, 0x38)[0] << 16, _ONES
    if checksum(seed, bitmap) & mask != wanted:
        raise ContradictionError(f"the bitmap of group {number} has a wrong checksum")


def find_bad_blocks(
    inode: bytes, block_size: int, blocks: int, read_block: Callable[[int], bytes]
) -> Iterator[int]:
    """The blocks that inode 1 keeps from being used, and those that list them. Raises
    ContradictionError when one lies nowhere, or when there are more than blocks."""
    if struct.unpack_from("<I", inode, _FLAGS)[0] & _HAS_EXTENTS:
        raise ContradictionError("its list of bad blocks cannot be read")
    numbers = struct.unpack_from("<15I", inode, _BLOCKS)
    left = blocks

    def walk(number: int, depth: int) -> Iterator[int]:
        nonlocal left
        if not number:
            return
        left -= 1
        if number >= blocks or left < 0:
            raise ContradictionError("its list of bad blocks is damaged")
        yield number
        if depth:
            content = read_block(number)
            for below in struct.unpack(f"<{block_size // 4}I", content):
                yield from walk(below, depth - 1)

    for place, number in enumerate(numbers):
        yield from walk(number, max(0, place - _DIRECT + 1))
