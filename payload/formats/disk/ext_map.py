"""Which blocks of an ext2, ext3 or ext4 are in use: its own bitmaps, read group by group.

partclone holds a bit for each block and looks at every one of them: a quarter of a GiB and fifteen
seconds for 4 TiB. Here one bitmap at a time is in memory. For any feature that is not known here
the caller falls back to partclone. A bitmap that the file system itself contradicts is no map at
all, for partclone neither: a group has not as many free blocks as its descriptor says, a checksum
is wrong, or what has to be in use is called free (metadata, or a block in the list of bad ones).
Layout: Linux, Documentation/filesystems/ext4.
"""

import os
from collections.abc import Iterator
from functools import partial

from payload.formats.disk.bitmap import bits_of, runs_of
from payload.formats.disk.ext_layout import Group, Superblock, read_exactly, read_layout
from payload.formats.disk.ext_proof import check_bitmap, find_bad_blocks
from payload.formats.disk.superblocks import ReadAt
from payload.formats.disk.unknown_layout import ContradictionError
from payload.model.runs import behind


def read_ext_map(device: str, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of what is in use, bytes, ascending; what a MiB of a group has in use is one
    run. What is behind the file system's end, up to `size`, is the last. Raises
    UnknownLayoutError, also in the middle, and OSError."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        read_at = partial(_read, descriptor)
        superblock, groups = read_layout(read_at, size)
        metadata = _metadata(superblock, groups)
        for block in _bad_blocks(read_at, superblock, groups[0]):
            metadata[superblock.group_of(block)].append((block, 1))
        for number, group in enumerate(groups):
            bitmap = _bitmap(read_at, superblock, number, group, metadata)
            start = superblock.begin(number) * superblock.block_size
            yield from runs_of(bitmap, superblock.per_group, superblock.block_size, start)
        yield from behind(superblock.blocks * superblock.block_size, size)
    finally:
        os.close(descriptor)


def _read(descriptor: int, offset: int, length: int) -> bytes:
    return os.pread(descriptor, length, offset)


def _bad_blocks(read_at: ReadAt, superblock: Superblock, group: Group) -> Iterator[int]:
    """Of inode 1, the first in the table of the first group."""
    size = superblock.block_size
    inode = read_exactly(read_at, group.inode_table * size, 128)
    return find_bad_blocks(
        inode, size, superblock.blocks, lambda block: read_exactly(read_at, block * size, size)
    )


def _metadata(superblock: Superblock, groups: list[Group]) -> dict[int, list[tuple[int, int]]]:
    """Bitmaps and inode tables by the group they lie in, which need not be their own."""
    found: dict[int, list[tuple[int, int]]] = {number: [] for number in range(len(groups))}
    for group in groups:
        for place, length in (
            (group.block_bitmap, 1),
            (group.inode_bitmap, 1),
            (group.inode_table, superblock.inode_table),
        ):
            first = (place - superblock.first) // superblock.per_group
            last = (place + length - 1 - superblock.first) // superblock.per_group
            for number in range(first, last + 1):
                if number in found:
                    found[number].append((place, length))
    return found


def _bitmap(
    read_at: ReadAt,
    superblock: Superblock,
    number: int,
    group: Group,
    metadata: dict[int, list[tuple[int, int]]],
) -> int:
    """The blocks of a group that are in use, the first in the lowest bit."""
    blocks = superblock.length(number)
    if group.uninit:
        bitmap = _unwritten_bitmap(superblock, number, metadata[number])
    else:
        place = group.block_bitmap * superblock.block_size
        content = read_exactly(read_at, place, superblock.per_group // 8)
        if superblock.seed is not None:
            check_bitmap(superblock.seed, number, group.descriptor, content)
        bitmap = int.from_bytes(content, "little")
        if _unwritten_bitmap(superblock, number, metadata[number]) & ~bitmap:
            raise ContradictionError(f"group {number} calls free what is in use")
    bitmap &= (1 << blocks) - 1  # behind the end of the last group all bits are set
    if blocks - bitmap.bit_count() != group.free:
        raise ContradictionError(f"group {number} has not as many free blocks as it says")
    return bitmap


def _unwritten_bitmap(superblock: Superblock, number: int, metadata: list[tuple[int, int]]) -> int:
    """A group in which nothing was ever allocated holds metadata only."""
    begin = superblock.begin(number)
    return bits_of(((begin, _head(superblock, number)), *metadata), begin, superblock.per_group)


def _head(superblock: Superblock, number: int) -> int:
    """Blocks of the superblock's copy and of descriptors, at the begin of a group."""
    copy = superblock.has_copy(number)
    count = superblock.descriptor_blocks
    if number // superblock.per_block >= superblock.first_meta_group:
        within = number % superblock.per_block
        return copy + (within in (0, 1, superblock.per_block - 1))
    if not copy:
        return 0
    return 1 + min(count, superblock.first_meta_group) + superblock.reserved
