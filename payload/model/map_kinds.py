"""Of which content a map of used blocks can be had, and why not of others."""

from payload.model.disk import MIB, FileSystem

# File systems whose own map of used blocks can be read and, by a look at the journal, trusted.
MAPPED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "ntfs", "vfat", "reiserfs", "jfs"})
# Members of LVM and MD, which are looked into (replicate/volume_map.py).
MEMBERS = frozenset({"LVM2_member", "linux_raid_member"})
# partclone's map of a FAT12 misses clusters in use. None is larger than this: at most 4084 clusters
# of 64 KiB.
FAT12_LIMIT = 256 * MIB
UNCLEAN = "it was not unmounted cleanly, and its journal may know of blocks its map does not"
_UNREAD = frozenset({"f2fs", "exfat"})  # they have a map; nothing here reads it


def why_whole(system: FileSystem | None, size: int) -> str:
    """Why every block of a file system of so many bytes is copied, for people, to be put behind
    "because"; "" where its map is used, and for what has no map."""
    if system is None:
        return ""
    if system.doubt:
        return system.doubt
    if system.kind in _UNREAD:
        return f"the map of a {system.kind} is not read"
    if system.kind == "vfat" and size <= FAT12_LIMIT:
        return "the map of a FAT this small is not relied on"
    return ""
