"""What a file system says of itself in its superblock, read without mounting it.

Mounting is never free of traces: even a look may replay a journal. The few numbers the program
decides by (has anybody used this copy, is its journal dirty) stand at fixed places, so they are
read there. Input may be damaged or hostile: whatever is short or does not carry the magic number
of its kind says nothing, which is told apart from saying "unused".
"""

import os
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from payload.model.errors import ToolError
from payload.model.marker import Usage

T = TypeVar("T")
ReadAt = Callable[[int, int], bytes]  # offset, length -> the bytes there, fewer at the end

EXT_KINDS = frozenset({"ext2", "ext3", "ext4"})
_EXT_SUPERBLOCK = 1024
_EXT_MAGIC = 0xEF53
_EXT_VALID = 0x1  # s_state: unmounted cleanly (file systems without a journal)
_EXT_ERRORS = 0x2  # s_state: the kernel met what cannot be
_EXT_BIGALLOC = 0x200  # s_feature_ro_compat
_EXT_RECOVER = 0x4  # s_feature_incompat: the journal holds what is not yet in place

_BTRFS_SUPERBLOCK = 65536
_BTRFS_MAGIC = b"_BHRfS_M"

_XFS_MAGIC = b"XFSB"
_XFS_RECORD = 0xFEEDBABE  # stands in front of the round where a record of the log begins
_XFS_LOG_BLOCK = 512


def _ext_superblock(read_at: ReadAt) -> bytes | None:
    block = read_at(_EXT_SUPERBLOCK, 1024)
    if len(block) < 1024 or struct.unpack_from("<H", block, 0x38)[0] != _EXT_MAGIC:
        return None
    return block


def _btrfs_superblock(read_at: ReadAt) -> bytes | None:
    block = read_at(_BTRFS_SUPERBLOCK, 4096)
    if len(block) < 4096 or block[0x40:0x48] != _BTRFS_MAGIC:
        return None
    return block


def ext_usage(read_at: ReadAt, kind: str = "ext4") -> Usage | None:
    """Mount count and time of the last mount for writing; None when this is no ext2/3/4."""
    block = _ext_superblock(read_at)
    if block is None:
        return None
    (mounted,) = struct.unpack_from("<I", block, 0x2C)
    (count,) = struct.unpack_from("<H", block, 0x34)
    return Usage(kind, count, mounted | block[0x275] << 32)  # s_mtime_hi: seconds beyond 2038


def btrfs_usage(read_at: ReadAt) -> Usage | None:
    """The generation, which every commit raises; None when this is no btrfs."""
    block = _btrfs_superblock(read_at)
    if block is None:
        return None
    (generation,) = struct.unpack_from("<Q", block, 0x48)
    return Usage("btrfs", generation if generation < 1 << 63 else -1)


@dataclass(frozen=True)
class _XfsLog:
    """Where the log inside an xfs lies, in bytes and in its own blocks of 512."""

    start: int
    blocks: int


def _xfs_log(read_at: ReadAt) -> _XfsLog | None:
    """None for what is no xfs, is damaged, or keeps its log on another device."""
    block = read_at(0, 512)
    if len(block) < 512 or block[:4] != _XFS_MAGIC:
        return None
    (block_size,) = struct.unpack_from(">I", block, 4)
    (start,) = struct.unpack_from(">Q", block, 48)
    (group_blocks,) = struct.unpack_from(">I", block, 84)
    (log_blocks,) = struct.unpack_from(">I", block, 96)
    group_bits = block[124]
    if not start or not log_blocks or not 512 <= block_size <= 65536 or group_bits > 31:
        return None
    place = (start >> group_bits) * group_blocks + (start & ((1 << group_bits) - 1))
    return _XfsLog(place * block_size, log_blocks * block_size // _XFS_LOG_BLOCK)


def xfs_usage(read_at: ReadAt) -> Usage | None:
    """Where the log is written next, which every mount for writing moves on; None when this is
    no xfs. The log is a ring: each block begins with the number of the round it was written in."""
    log = _xfs_log(read_at)
    if log is None:
        return None
    rounds = _xfs_round(read_at, log, 0)
    first, behind = 0, log.blocks  # the first block is of this round; where does the last end?
    while behind - first > 1:
        middle = (first + behind) // 2
        if _xfs_round(read_at, log, middle) == rounds:
            first = middle
        else:
            behind = middle
    counter = rounds << 32 | behind
    return Usage("xfs", counter if 0 < rounds < 1 << 31 else -1)


def _xfs_round(read_at: ReadAt, log: _XfsLog, block: int) -> int:
    words = read_at(log.start + block * _XFS_LOG_BLOCK, 8)
    if len(words) < 8:
        return 0
    first, second = struct.unpack(">II", words)
    return int(second if first == _XFS_RECORD else first)


def xfs_sizes(read_at: ReadAt) -> tuple[int, int]:
    """The size of an xfs that was unmounted cleanly, and how much it says it has in use, bytes;
    both 0 for what is no xfs."""
    block = read_at(0, 512)
    if len(block) < 512 or block[:4] != _XFS_MAGIC:
        return 0, 0
    (block_size, blocks) = struct.unpack_from(">IQ", block, 4)
    (free,) = struct.unpack_from(">Q", block, 144)  # sb_fdblocks, xfs_format.h
    return blocks * block_size, (blocks - free) * block_size


def parse_usage(read_at: ReadAt, kind: str) -> Usage:
    """What a file system of that kind says of its last use.

    `counter` is -1 where it says nothing (other kinds count no mounts; a damaged superblock):
    then use cannot be excluded.
    """
    found = None
    if kind in EXT_KINDS:
        found = ext_usage(read_at, kind)
    elif kind == "btrfs":
        found = btrfs_usage(read_at)
    elif kind == "xfs":
        found = xfs_usage(read_at)
    return found or Usage(kind)


def needs_recovery(read_at: ReadAt, kind: str) -> bool | None:
    """Whether mounting it for writing would first replay what a crash left over.

    None: unknown, because this kind is not told from its superblock or the superblock is damaged.
    """
    if kind in EXT_KINDS:
        block = _ext_superblock(read_at)
        if block is None:
            return None
        (state,) = struct.unpack_from("<H", block, 0x3A)
        return has_pending_journal(read_at, kind) or not state & _EXT_VALID
    if kind == "btrfs":
        return None if _btrfs_superblock(read_at) is None else has_pending_journal(read_at, kind)
    return None


def has_pending_journal(read_at: ReadAt, kind: str) -> bool:
    """Whether its journal holds what is not yet in place, as while it is mounted for writing;
    False also where the superblock of that kind does not tell."""
    if kind in EXT_KINDS and (block := _ext_superblock(read_at)):
        return bool(struct.unpack_from("<I", block, 0x60)[0] & _EXT_RECOVER)
    if kind == "btrfs" and (block := _btrfs_superblock(read_at)):
        return bool(struct.unpack_from("<Q", block, 0x60)[0])  # log_root
    return False


def has_ext_clusters(read_at: ReadAt) -> bool:
    """Whether the bitmaps of an ext4 tell of clusters of blocks (bigalloc)."""
    block = _ext_superblock(read_at)
    return bool(block and struct.unpack_from("<I", block, 0x64)[0] & _EXT_BIGALLOC)


def has_ext_errors(read_at: ReadAt) -> bool:
    """Whether an ext2/3/4 noted errors in itself that e2fsck has not looked at yet."""
    block = _ext_superblock(read_at)
    return bool(block and struct.unpack_from("<H", block, 0x3A)[0] & _EXT_ERRORS)


def read_usage(node: str, kind: str) -> Usage:
    """`parse_usage` of a device or image file. Raises ToolError when it cannot be read."""
    return look_with(node, lambda read_at: parse_usage(read_at, kind))


def read_needs_recovery(node: str, kind: str) -> bool | None:
    """`needs_recovery` of a device or image file. Raises ToolError when it cannot be read."""
    return look_with(node, lambda read_at: needs_recovery(read_at, kind))


def read_has_pending_journal(node: str, kind: str) -> bool:
    """`has_pending_journal` of a device or image file; what lies on none, as a tmpfs, has no
    journal. Raises ToolError when it cannot be read."""
    if kind not in EXT_KINDS and kind != "btrfs":
        return False
    return look_with(node, lambda read_at: has_pending_journal(read_at, kind))


def look_with(node: str, look: Callable[[ReadAt], T]) -> T:
    """What `look` makes of a device or image file. Raises ToolError when it cannot be read."""
    try:
        with closing(_Descriptor(node)) as descriptor:
            return look(descriptor.read_at)
    except OSError as error:
        raise ToolError(
            f"What {node} says of itself could not be read ({error.strerror})."
            " Check the disk and its cable."
        ) from error


class _Descriptor:
    """A device opened for reading through the page cache: what the kernel has, mounted or not."""

    def __init__(self, node: str) -> None:
        self._fd = os.open(Path(node), os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            part = os.pread(self._fd, length, offset)
            if not part:
                break
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def close(self) -> None:
        os.close(self._fd)
