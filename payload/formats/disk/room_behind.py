"""The room between the end of a file system and that of its partition or volume.

Where a file system ends stands in its superblock. Numbers may be hostile: whatever cannot be is not
told, and whoever reads the map copies what is behind its end in any event.
"""

import struct
from collections.abc import Callable, Mapping

from payload.formats.disk import reiserfs
from payload.formats.disk.superblocks import ReadAt, look_with
from payload.model.disk import MIB
from payload.model.errors import ToolError

_ANYWAY = MIB  # bytes at the end of each partition and volume that are copied whatever a map says
_EXT_64BIT = 0x80  # incompatible feature: the number of blocks has an upper half


def find_room_behind(node: str, start: int, size: int, kind: str) -> int:
    """Bytes behind the end of the file system of that kind in this range; 0 where they are so few
    that they are copied anyway, and where nothing tells."""
    try:
        end = look_with(
            node,
            lambda read_at: end_of(lambda offset, length: read_at(start + offset, length), kind),
        )
    except ToolError:
        return 0
    return size - end if 0 < end < size - _ANYWAY else 0


def end_of(read_at: ReadAt, kind: str) -> int:
    """Bytes that a file system takes, by its superblock; 0 where that does not tell."""
    reader = _READERS.get(kind)
    try:
        return reader(read_at) if reader else 0
    except struct.error:  # short
        return 0


def _end_of_ext(read_at: ReadAt) -> int:
    """Linux, Documentation/filesystems/ext4/super.rst."""
    block = read_at(1024, 1024)
    low, log_size, features, high = (
        struct.unpack_from("<I", block, place)[0] for place in (4, 0x18, 0x60, 0x150)
    )
    blocks = low | (high << 32 if features & _EXT_64BIT else 0)
    return int(blocks << 10 + log_size) if log_size <= 6 else 0


def _end_of_xfs(read_at: ReadAt) -> int:
    """struct xfs_dsb, fs/xfs/libxfs/xfs_format.h: block size, number of blocks."""
    size, blocks = struct.unpack_from(">IQ", read_at(0, 512), 4)
    return int(size * blocks)


def _end_of_btrfs(read_at: ReadAt) -> int:
    """total_bytes of the device in struct btrfs_super_block, include/uapi/linux/btrfs_tree.h."""
    return int(struct.unpack_from("<Q", read_at(64 * 1024, 4096), 0xD1)[0])


def _end_of_ntfs(read_at: ReadAt) -> int:
    """struct NTFS_BOOT, fs/ntfs3/ntfs.h: bytes of a sector, number of sectors."""
    block = read_at(0, 512)
    (sector,) = struct.unpack_from("<H", block, 0x0B)
    return int(sector * struct.unpack_from("<Q", block, 0x28)[0])


def _end_of_fat(read_at: ReadAt) -> int:
    """struct fat_boot_sector, include/uapi/linux/msdos_fs.h: sectors in 16 bits, else in 32."""
    block = read_at(0, 512)
    sector, few, many = (
        struct.unpack_from(layout, block, place)[0]
        for layout, place in (("<H", 0x0B), ("<H", 0x13), ("<I", 0x20))
    )
    return int(sector * (few or many))


def _end_of_reiserfs(read_at: ReadAt) -> int:
    superblock = reiserfs.read_superblock(read_at)
    return superblock.blocks * superblock.block_size if superblock else 0


# Not jfs: behind its blocks are its log and the work space of fsck.
_READERS: Mapping[str, Callable[[ReadAt], int]] = {
    "ext2": _end_of_ext,
    "ext3": _end_of_ext,
    "ext4": _end_of_ext,
    "xfs": _end_of_xfs,
    "btrfs": _end_of_btrfs,
    "ntfs": _end_of_ntfs,
    "vfat": _end_of_fat,
    "reiserfs": _end_of_reiserfs,
}
