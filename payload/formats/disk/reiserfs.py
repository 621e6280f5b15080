"""The superblock and the journal of a reiserfs, as far as they tell whether its bitmaps are right.

Layout: Linux 6.1, fs/reiserfs/reiserfs.h, super.c and journal.c. Numbers are little-endian.
"""

import struct
from dataclasses import dataclass

from payload.formats.disk.superblocks import ReadAt
from payload.model.map_kinds import UNCLEAN

SUPERBLOCK = 64 * 1024  # byte
_SUPERBLOCK_SIZE = 76  # bytes of struct reiserfs_super_block_v1, which every format has
# Where 3.5 kept it up to 3.5.10, with its bitmaps in another place. The kernel looks there first.
_OLD_SUPERBLOCK = 8 * 1024
_MAGIC_OFFSET, _MAGIC_LENGTH = 52, 10
# 3.5, 3.6, and either of them with a journal of another size or place.
_MAGICS = (b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs")
_VALID = 1  # s_umount_state
_BLOCK_SIZES = (512, 1024, 2048, 4096, 8192)
_LONGEST_JOURNAL = 1 << 16  # blocks; mkreiserfs makes none of more than 32749
_DESCRIPTOR_MAGIC = b"ReIsErLB"  # 12 bytes before the end of a transaction's first block


@dataclass(frozen=True)
class Superblock:
    """Blocks, unless they say otherwise."""

    block_size: int  # bytes
    blocks: int
    free: int
    root: int
    journal: int
    journal_size: int  # without the header behind it
    journal_device: int  # 0: this one
    state: int
    faults: int  # found by fsck
    bitmaps: int  # 0 where there are too many for 16 bits

    @property
    def bits(self) -> int:
        """Blocks that one bitmap block tells of."""
        return self.block_size * 8

    @property
    def first_bitmap(self) -> int:
        return SUPERBLOCK // self.block_size + 1


def read_superblock(read_at: ReadAt) -> Superblock | None:
    """None when there is none, or one that cannot be."""
    block = read_at(SUPERBLOCK, _SUPERBLOCK_SIZE)
    if not _has_magic(block):
        return None
    blocks, free, root, journal, device, journal_size = struct.unpack_from("<6I", block)
    (block_size,) = struct.unpack_from("<H", block, 44)
    (state,) = struct.unpack_from("<H", block, 50)
    (faults,) = struct.unpack_from("<H", block, 62)
    (bitmaps,) = struct.unpack_from("<H", block, 70)
    superblock = Superblock(
        block_size, blocks, free, root, journal, journal_size, device, state, faults, bitmaps
    )
    return superblock if _is_sound(superblock) else None


def _has_magic(block: bytes) -> bool:
    magic = block[_MAGIC_OFFSET : _MAGIC_OFFSET + _MAGIC_LENGTH]
    return len(block) == _SUPERBLOCK_SIZE and magic.rstrip(b"\0") in _MAGICS


def _is_sound(superblock: Superblock) -> bool:
    if superblock.block_size not in _BLOCK_SIZES:
        return False
    bitmaps = -(-superblock.blocks // superblock.bits)
    return (
        superblock.first_bitmap < superblock.blocks
        and superblock.free < superblock.blocks
        and superblock.root < superblock.blocks
        and superblock.journal_size <= _LONGEST_JOURNAL
        and (superblock.journal > superblock.first_bitmap or bool(superblock.journal_device))
        and superblock.journal + superblock.journal_size < superblock.blocks
        and superblock.bitmaps == (bitmaps if bitmaps < 1 << 16 else 0)
    )


def find_doubt(read_at: ReadAt) -> str:
    """Why its bitmaps cannot be relied on, to be put behind "because"; "" when nothing is known
    against them."""
    if _has_magic(read_at(_OLD_SUPERBLOCK, _SUPERBLOCK_SIZE)):
        return "it is a reiserfs of the oldest format"
    superblock = read_superblock(read_at)
    if superblock is None:
        return "its superblock is damaged"
    if superblock.journal_device:
        return "its journal lies on another device"
    if superblock.faults:
        return "its checker found faults in it"
    unclean = superblock.state != _VALID or _has_unflushed(read_at, superblock)
    return UNCLEAN if unclean else ""


def _has_unflushed(read_at: ReadAt, superblock: Superblock) -> bool:
    """Whether the journal holds a transaction that is not known to be in its place: where the next
    one goes, there is one that is younger than the last to be flushed. Mounting writes to the
    superblock by the journal, so one that says "valid" alone proves nothing."""
    last, first = _read_header(read_at, superblock)
    if last and first < superblock.journal_size:
        return _transaction_id(read_at, superblock, first) > last
    # A journal whose header tells nothing is searched from end to end, as by the kernel.
    return any(
        _transaction_id(read_at, superblock, number) >= 0
        for number in range(superblock.journal_size)
    )


def _read_header(read_at: ReadAt, superblock: Superblock) -> tuple[int, int]:
    """The id of the last transaction that is in its place, and the block of the journal at which
    the next one begins: struct reiserfs_journal_header, right behind the journal."""
    place = superblock.journal + superblock.journal_size
    header = read_at(place * superblock.block_size, 8)
    last, first = struct.unpack("<II", header) if len(header) == 8 else (0, 0)
    return last, first


def _transaction_id(read_at: ReadAt, superblock: Superblock, number: int) -> int:
    """The id of the transaction that begins at that block of the journal, -1 when none does."""
    size = superblock.block_size
    block = read_at((superblock.journal + number) * size, size)
    if len(block) < size or not block[-12:].startswith(_DESCRIPTOR_MAGIC):
        return -1
    return int.from_bytes(block[:4], "little")
