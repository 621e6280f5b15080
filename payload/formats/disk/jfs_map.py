"""Which blocks of a jfs are in use: its block allocation map, read here, since partclone cannot.

The map is a file of pages: a control page, three levels of summaries, and for each 8192 blocks a
dmap with two bitmaps: as it was committed, and as it was at work. What either calls used is. A map
that calls free what has to be in use, or that does not add up, is no map at all.
Layout: Linux 6.1, fs/jfs/jfs_dmap.h, jfs_dinode.h and jfs_xtree.h. Numbers are little-endian.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from payload.formats.disk.bitmap import bits_of, runs_of
from payload.formats.disk.jfs import BLOCK, Superblock, find_doubt, read_superblock
from payload.formats.disk.superblocks import ReadAt
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.runs import Run, behind

BLOCKS = 8192  # that a dmap tells of
_RESERVED = 16  # blocks up to the end of the second superblock: the first inode table is in them
_INODE = 0xB000 + 2 * 512  # byte: the third of the first inode table is that of the map
_TREE = 224  # bytes within an inode: the root of its tree of extents
_LEAF = 0x02  # flag of a root that holds extents itself
_ENTRIES, _ENTRY = 2, 16  # the first entry, and bytes of one
_MOST_ENTRIES = 18
_WORKING, _COMMITTED, _BITMAP = 2048, 3072, 1024  # bytes within a dmap
# Of each word of 32 bits the highest is the first block; here the lowest bit of a byte is.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Extent:
    """Blocks of a file: from which of its blocks on, at which of the device, and how many."""

    offset: int
    address: int
    length: int


def read_jfs_map(read_at: ReadAt, size: int) -> Iterator[Run]:
    """Start and length of what is in use, bytes, ascending; what a MiB of it has in use is one
    run. What is behind the file system's end, up to `size`, is the last; its log is there. Raises
    UnknownLayoutError, also in the middle, and OSError."""
    doubt = find_doubt(read_at)
    superblock = read_superblock(read_at)
    if doubt or superblock is None:
        raise UnknownLayoutError(doubt or "its superblock is damaged")
    end = superblock.blocks * BLOCK
    if end > size:
        raise UnknownLayoutError("it reaches beyond the end of the device")
    extents = _read_extents(read_at)
    free = _read_free(read_at, superblock, extents)
    for begin in range(0, superblock.blocks, BLOCKS):
        blocks = min(BLOCKS, superblock.blocks - begin)
        page = _read_page(read_at, extents, _page_of(begin))
        bitmap, page_free = _parse_dmap(page, begin, blocks)
        if bits_of(_needed(superblock, extents), begin, blocks) & ~bitmap:
            raise ContradictionError(f"its map calls free what is in use behind block {begin}")
        free -= page_free
        yield from runs_of(bitmap, blocks, BLOCK, begin * BLOCK)
    if free:
        raise ContradictionError("its map has not as many free blocks as it says")
    yield from behind(end, size)


def _read_extents(read_at: ReadAt) -> tuple[Extent, ...]:
    """Of the map: those in the inode itself. A map of more than 16 pieces is not read."""
    tree = read_at(_INODE + _TREE, _MOST_ENTRIES * _ENTRY)
    if len(tree) < _MOST_ENTRIES * _ENTRY:
        raise UnknownLayoutError("the inode of its map cannot be read")
    (behind_last,) = struct.unpack_from("<H", tree, 18)
    if not tree[16] & _LEAF or not _ENTRIES < behind_last <= _MOST_ENTRIES:
        raise UnknownLayoutError("its map is in too many pieces")
    return tuple(_parse_extent(tree, number * _ENTRY) for number in range(_ENTRIES, behind_last))


def _parse_extent(tree: bytes, place: int) -> Extent:
    """Of an xad_t: 24 bits of flags, 40 of offset, 24 of length, 40 of address."""
    flags, offset, length, address = struct.unpack_from("<4I", tree, place)
    return Extent((flags >> 24) << 32 | offset, (length >> 24) << 32 | address, length & 0xFFFFFF)


def _read_page(read_at: ReadAt, extents: tuple[Extent, ...], number: int) -> bytes:
    for extent in extents:
        if extent.offset <= number < extent.offset + extent.length:
            page = read_at((extent.address + number - extent.offset) * BLOCK, BLOCK)
            if len(page) == BLOCK:
                return page
    raise UnknownLayoutError(f"page {number} of its map cannot be read")


def _page_of(block: int) -> int:
    """BLKTODMAP: in front are the control page, three summaries, and more of these further on."""
    return (block >> 13) + (block >> 23) + (block >> 33) + 4


def _read_free(read_at: ReadAt, superblock: Superblock, extents: tuple[Extent, ...]) -> int:
    """Free blocks, by the control page of the map."""
    blocks, free = struct.unpack_from("<QQ", _read_page(read_at, extents, 0))
    if blocks != superblock.blocks:
        raise ContradictionError("its map is of another size than its superblock says")
    return int(free)


def _parse_dmap(page: bytes, begin: int, blocks: int) -> tuple[int, int]:
    """The blocks that are in use, the first in the lowest bit, and how many are free by the
    bitmap at work."""
    told_blocks, told_free, told_begin = struct.unpack_from("<IIQ", page)
    working, committed = (
        _parse_bitmap(page[place : place + _BITMAP], blocks) for place in (_WORKING, _COMMITTED)
    )
    free = blocks - working.bit_count()
    if (told_blocks, told_free, told_begin) != (blocks, free, begin):
        raise ContradictionError(f"the page of its map for block {begin} is damaged")
    return working | committed, free


def _parse_bitmap(content: bytes, blocks: int) -> int:
    words = struct.pack(">256I", *struct.unpack("<256I", content))
    return int.from_bytes(words.translate(_REVERSED), "little") & (1 << blocks) - 1


def _needed(superblock: Superblock, extents: tuple[Extent, ...]) -> Iterator[Run]:
    """Blocks that have to be in use."""
    yield 0, _RESERVED
    yield from superblock.copies
    for extent in extents:
        yield extent.address, extent.length
