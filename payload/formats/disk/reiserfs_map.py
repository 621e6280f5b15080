"""Which blocks of a reiserfs are in use: its own bitmaps, read here, since partclone cannot.

One bitmap at a time is in memory. Bitmaps that call free what has to be in use, or that have not as
many free blocks as the superblock says, are no map at all.
Layout: Linux 6.1, fs/reiserfs/bitmap.c.
"""

from collections.abc import Iterator

from payload.formats.disk.bitmap import bits_of, runs_of
from payload.formats.disk.reiserfs import Superblock, find_doubt, read_superblock
from payload.formats.disk.superblocks import ReadAt
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.runs import Run, behind


def read_reiserfs_map(read_at: ReadAt, size: int) -> Iterator[Run]:
    """Start and length of what is in use, bytes, ascending; what a MiB of it has in use is one
    run. What is behind the file system's end, up to `size`, is the last. Raises
    UnknownLayoutError, also in the middle, and OSError."""
    doubt = find_doubt(read_at)
    superblock = read_superblock(read_at)
    if doubt or superblock is None:
        raise UnknownLayoutError(doubt or "its superblock is damaged")
    end = superblock.blocks * superblock.block_size
    if end > size:
        raise UnknownLayoutError("it reaches beyond the end of the device")
    free = 0
    for number in range(-(-superblock.blocks // superblock.bits)):
        bitmap, blocks = _read_bitmap(read_at, superblock, number)
        free += blocks - bitmap.bit_count()
        start = number * superblock.bits * superblock.block_size
        yield from runs_of(bitmap, blocks, superblock.block_size, start)
    if free != superblock.free:
        raise ContradictionError("it has not as many free blocks as its superblock says")
    yield from behind(end, size)


def _read_bitmap(read_at: ReadAt, superblock: Superblock, number: int) -> tuple[int, int]:
    """The blocks of a stretch that are in use, the first in the lowest bit, and how many blocks
    the stretch has."""
    begin = number * superblock.bits
    blocks = min(superblock.bits, superblock.blocks - begin)
    content = read_at(_place(superblock, number) * superblock.block_size, superblock.block_size)
    if len(content) != superblock.block_size:
        raise UnknownLayoutError(f"bitmap {number} cannot be read")
    # Behind the end of the last stretch all bits are set.
    bitmap = int.from_bytes(content, "little") & (1 << blocks) - 1
    if _needed(superblock, number) & ~bitmap:
        raise ContradictionError(f"bitmap {number} calls free what is in use")
    return bitmap, blocks


def _place(superblock: Superblock, number: int) -> int:
    """The block of that bitmap: behind the superblock, then at the begin of each stretch."""
    return number * superblock.bits or superblock.first_bitmap


def _needed(superblock: Superblock, number: int) -> int:
    """The bits of a stretch that have to be set: all up to the first bitmap, the other bitmaps,
    the journal with its header, and the root of the tree."""
    ranges = (
        (0, superblock.first_bitmap + 1),
        (_place(superblock, number), 1),
        (superblock.journal, superblock.journal_size + 1),
        (superblock.root, 1),
    )
    return bits_of(ranges, number * superblock.bits, superblock.bits)
