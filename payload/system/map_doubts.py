"""What a file system says against its own map of used blocks, in the little that is read at once.

It is asked while a machine is looked at, so that the plan can say it, and again before the map is
read. What only the map itself can contradict (bitmaps, a tree of extents) is found out then.
"""

import struct
from collections.abc import Callable, Mapping

from payload.formats.disk import jfs, reiserfs
from payload.formats.disk.btrfs_tree import (
    SUPERBLOCK,
    SUPERBLOCK_SIZE,
    parse_superblock,
    read_chunks,
)
from payload.formats.disk.ext_layout import read_layout
from payload.formats.disk.ntfs_state import has_open_log, is_dirty
from payload.formats.disk.superblocks import (
    EXT_KINDS,
    ReadAt,
    has_ext_clusters,
    has_ext_errors,
    look_with,
    needs_recovery,
)
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.errors import ToolError
from payload.model.map_kinds import MAPPED, UNCLEAN
from payload.model.plan import SWAP_HEADER
from payload.system.host import Host

UNREADABLE = "what it says of its last use cannot be read"
ERRORS = "it noted errors in itself, and was not checked since"
CLUSTERS = "its map tells of clusters of blocks (bigalloc), which neither we nor partclone read"
DIRTY = "it is marked as dirty, which only a check by its own system clears"
_BTRFS_DEVICES = SUPERBLOCK + 0x88  # u64 in its superblock, btrfs_tree.h
_XFS_CLEAN = "state: <CLEAN>"  # of xfs_logprint -t
# Of the second entry of a FAT: unmounted cleanly, no error met (Microsoft's FAT specification,
# ClnShutBitMask and HrdErrBitMask). partclone refuses a FAT without them.
_FAT32_GOOD, _FAT16_GOOD = 0x0C000000, 0xC000
# struct swap_header, include/linux/swap.h: version and last page behind 1 KiB for boot code; the
# signature ends the first page, whose size is that of the machine that made it.
_SWAP_INFO, _SWAP_SIGNATURE = 1024, b"SWAPSPACE2"
_PAGES = (4096, 8192, 16384, 32768, 65536)  # bytes


def find_doubt(host: Host, node: str, start: int, size: int, kind: str) -> str:
    """Why the map of the file system of that kind in this range cannot be relied on, to be put
    behind "because"; "" when nothing is known against it."""
    try:
        if kind == "xfs":
            with host.blocks.view(node, start, size) as device:
                return read_doubt(host, device, size, kind)
        return look_with(
            node,
            lambda read_at: doubt_of(
                lambda offset, length: read_at(start + offset, length), kind, size
            ),
        )
    except ToolError:
        return UNREADABLE if kind in MAPPED or kind == "swap" else ""


def read_doubt(host: Host, device: str, size: int, kind: str) -> str:
    """The same of a device that holds nothing else. Raises ToolError when it cannot be read."""
    if kind == "xfs":
        done = host.run(["xfs_logprint", "-t", device])
        return "" if _XFS_CLEAN in done.stdout else UNCLEAN
    return look_with(device, lambda read_at: doubt_of(read_at, kind, size))


def doubt_of(read_at: ReadAt, kind: str, size: int) -> str:
    """The same, by superblock, group descriptors and chunks alone."""
    reader = _READERS.get(kind)
    return reader(read_at, kind, size) if reader else ""


def _ext_doubt(read_at: ReadAt, kind: str, size: int) -> str:
    is_unclean = needs_recovery(read_at, kind)
    if is_unclean is None:
        return UNREADABLE
    if is_unclean:
        return UNCLEAN
    if has_ext_errors(read_at):
        return ERRORS
    if has_ext_clusters(read_at):
        return CLUSTERS
    try:
        read_layout(read_at, size)
    except ContradictionError as error:
        return f"its own map cannot be relied on: {error}"
    except UnknownLayoutError:
        pass  # partclone may know it
    return ""


def _btrfs_doubt(read_at: ReadAt, _kind: str, size: int) -> str:
    is_unclean = needs_recovery(read_at, "btrfs")
    if is_unclean is None:
        return UNREADABLE
    if struct.unpack("<Q", read_at(_BTRFS_DEVICES, 8))[0] != 1:
        return "it is one of several devices of a btrfs"
    if is_unclean:
        return UNCLEAN
    try:
        read_chunks(read_at, parse_superblock(read_at(SUPERBLOCK, SUPERBLOCK_SIZE), size))
    except UnknownLayoutError as error:
        return f"its map is not read: {error}"
    return ""


def _ntfs_doubt(read_at: ReadAt, _kind: str, _size: int) -> str:
    marked, is_open = is_dirty(read_at), has_open_log(read_at)
    if marked is None or is_open is None:
        return UNREADABLE
    if is_open:
        return UNCLEAN
    return DIRTY if marked else ""


def _fat_doubt(read_at: ReadAt, _kind: str, _size: int) -> str:
    """Of a FAT16 or FAT32, since the map of a FAT12 is not used."""
    block = read_at(0, 512)
    if len(block) < 512:
        return UNREADABLE
    sector, _, reserved = struct.unpack_from("<HBH", block, 11)
    is_32 = not struct.unpack_from("<H", block, 22)[0]  # BPB_FATSz16
    width, good = (4, _FAT32_GOOD) if is_32 else (2, _FAT16_GOOD)
    entry = read_at(sector * reserved + width, width)
    if len(entry) < width:
        return UNREADABLE
    return "" if int.from_bytes(entry, "little") & good == good else DIRTY


def _swap_doubt(read_at: ReadAt, _kind: str, size: int) -> str:
    """What lies behind a swap area is no swap. Its last SWAP_HEADER bytes are copied anyway."""
    for page in _PAGES:
        if read_at(page - len(_SWAP_SIGNATURE), len(_SWAP_SIGNATURE)) == _SWAP_SIGNATURE:
            version, last_page = struct.unpack("<II", read_at(_SWAP_INFO, 8))
            if version == 1 and (last_page + 1) * page + SWAP_HEADER >= size:
                return ""
    return "it is not said that all of it is swap"


_READERS: Mapping[str, Callable[[ReadAt, str, int], str]] = {
    **dict.fromkeys(EXT_KINDS, _ext_doubt),
    "btrfs": _btrfs_doubt,
    "ntfs": _ntfs_doubt,
    "vfat": _fat_doubt,
    "reiserfs": lambda read_at, _kind, _size: reiserfs.find_doubt(read_at),
    "jfs": lambda read_at, _kind, _size: jfs.find_doubt(read_at),
    "swap": _swap_doubt,
}
