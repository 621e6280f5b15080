"""The superblock of a jfs, as far as it tells whether its block allocation map is right.

Layout: Linux 6.1, fs/jfs/jfs_superblock.h and jfs_filsys.h. Numbers are little-endian.
"""

import struct
from dataclasses import dataclass

from payload.formats.disk.superblocks import ReadAt
from payload.model.map_kinds import UNCLEAN

SUPERBLOCK = 0x8000  # byte
BLOCK = 4096  # bytes; Linux knows no other size
_SUPERBLOCK_SIZE = 64  # bytes of struct jfs_superblock that are looked at
_MAGIC = b"JFS1"
_CLEAN = 0  # s_state; all others: mounted, dirty, its log not replayed, being enlarged


@dataclass(frozen=True)
class Superblock:
    blocks: int  # without the log and the work space of fsck, which lie behind
    state: int
    copies: tuple[tuple[int, int], ...]  # first block and length of the second inode table and map


def read_superblock(read_at: ReadAt) -> Superblock | None:
    """None when there is none, or one that cannot be."""
    block = read_at(SUPERBLOCK, _SUPERBLOCK_SIZE)
    if len(block) < _SUPERBLOCK_SIZE or block[:4] != _MAGIC:
        return None
    version, size, block_size = struct.unpack_from("<IQI", block, 4)
    (sector,) = struct.unpack_from("<I", block, 24)
    (state,) = struct.unpack_from("<I", block, 40)
    if version not in (1, 2) or block_size != BLOCK or sector not in (512, 1024, 2048, 4096):
        return None
    copies = (_extent(block, 48), _extent(block, 56))
    return Superblock(size * sector // BLOCK, state, copies)


def _extent(block: bytes, place: int) -> tuple[int, int]:
    """Of a pxd_t: 24 bits of length, then 40 of address, their upper 8 first."""
    length, address = struct.unpack_from("<II", block, place)
    return (length >> 24) << 32 | address, length & 0xFFFFFF


def find_doubt(read_at: ReadAt) -> str:
    """Why its map cannot be relied on, to be put behind "because"; "" when nothing is known
    against it. The state is written before anything else, and last of all when it is unmounted."""
    superblock = read_superblock(read_at)
    if superblock is None:
        return "its superblock is damaged"
    return UNCLEAN if superblock.state != _CLEAN else ""
