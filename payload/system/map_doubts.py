"""What a file system says against its own map of used blocks, in the little that is read at once.

It is asked while a machine is looked at, so that the plan can say it. Whoever reads the map looks
again, and more closely.
"""

import struct

from payload.model.errors import ToolError
from payload.model.map_kinds import UNCLEAN
from payload.model.plan import SWAP_HEADER
from payload.system import jfs, reiserfs
from payload.system.filesystems import EXT_KINDS, ReadAt, look_with, needs_recovery
from payload.system.host import Host

_BTRFS_DEVICES = 65536 + 0x88  # u64 in its superblock, btrfs_tree.h
_XFS_CLEAN = "state: <CLEAN>"  # of xfs_logprint -t
# struct swap_header, include/linux/swap.h: version and last page behind 1 KiB for boot code; the
# signature ends the first page, whose size is that of the machine that made it.
_SWAP_INFO, _SWAP_SIGNATURE = 1024, b"SWAPSPACE2"
_PAGES = (4096, 8192, 16384, 32768, 65536)  # bytes


def find_doubt(host: Host, node: str, start: int, size: int, kind: str) -> str:
    """Why the map of the file system of that kind in this range cannot be relied on, to be put
    behind "because"; "" when nothing is known against it, or it could not be read."""
    try:
        if kind == "xfs":
            with host.blocks.view(node, start, size) as device:
                done = host.run(["xfs_logprint", "-t", device])
            return "" if _XFS_CLEAN in done.stdout else UNCLEAN
        return look_with(
            node,
            lambda read_at: doubt_of(
                lambda offset, length: read_at(start + offset, length), size, kind
            ),
        )
    except ToolError:
        return ""


def doubt_of(read_at: ReadAt, size: int, kind: str) -> str:
    """The same, by the superblock alone."""
    if kind == "swap":
        return _doubt_of_swap(read_at, size)
    if kind == "btrfs":
        count = read_at(_BTRFS_DEVICES, 8)
        if len(count) == 8 and struct.unpack("<Q", count)[0] != 1:
            return "it is one of several devices of a btrfs"
    if kind == "reiserfs":
        return reiserfs.find_doubt(read_at)
    if kind == "jfs":
        return jfs.find_doubt(read_at)
    if kind in EXT_KINDS or kind == "btrfs":
        return UNCLEAN if needs_recovery(read_at, kind) else ""
    return ""


def _doubt_of_swap(read_at: ReadAt, size: int) -> str:
    """What lies behind a swap area is no swap. Its last SWAP_HEADER bytes are copied anyway."""
    for page in _PAGES:
        if read_at(page - len(_SWAP_SIGNATURE), len(_SWAP_SIGNATURE)) == _SWAP_SIGNATURE:
            version, last_page = struct.unpack("<II", read_at(_SWAP_INFO, 8))
            if version == 1 and (last_page + 1) * page + SWAP_HEADER >= size:
                return ""
    return "it is not said that all of it is swap"
