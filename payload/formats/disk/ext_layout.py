"""The superblock and the group descriptors of an ext2, ext3 or ext4, and their checksums.

They are few and lie close together, so they are read when a machine is looked at as well as when
its map of used blocks is. Layout and checksums: Linux, Documentation/filesystems/ext4.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from crc32c import crc32c

from payload.formats.disk.superblocks import ReadAt
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError

SUPERBLOCK, SUPERBLOCK_SIZE = 1024, 1024  # bytes
_MAGIC = 0xEF53
_CLEAN = 1  # state: unmounted cleanly, and no error was seen
_SPARSE_SUPER2 = 0x200  # compatible feature
_META_BG, _64BIT, _CHECKSUM_SEED = 0x10, 0x80, 0x2000  # incompatible ones
# File types, extents, 64 bit, MMP, flex_bg, EA inodes, checksum seed, large directories, inline
# data, encryption, case folding. Not: compression, a journal in need of replay, journal devices.
_INCOMPATIBLE = 0x3E7C2 | _META_BG
_SPARSE_SUPER, _GDT_CSUM, _METADATA_CSUM = 0x1, 0x10, 0x400
# Also large and huge files, many links, large inodes, quota, read-only, projects, verity, orphans.
_READ_ONLY = 0x1B57F
_BLOCK_UNINIT = 2  # flag of a group: its bitmap was never written
_DYNAMIC = 1  # revision from which the superblock names features
_MOST_GROUPS = 1 << 20
_ONES = 0xFFFFFFFF
_CHECKSUM = 0x1E  # within a descriptor, 16 bits


@dataclass(frozen=True)
class Superblock:
    """The numbers that tell where everything lies. Blocks, unless they say otherwise."""

    block_size: int  # bytes
    blocks: int
    first: int  # the block at which the first group begins
    per_group: int
    inode_table: int  # of one group
    descriptor: int  # bytes
    reserved: int  # behind the descriptors, for growing
    first_meta_group: int  # descriptor blocks from here on lie in the groups they tell of
    sparse: bool  # only some groups have a copy of the superblock
    has_uninit: bool
    seed: int | None  # of checksums; None when there are none

    @property
    def groups(self) -> int:
        return -(-(self.blocks - self.first) // self.per_group)

    @property
    def per_block(self) -> int:
        """Descriptors in one block."""
        return self.block_size // self.descriptor

    @property
    def descriptor_blocks(self) -> int:
        return -(-self.groups // self.per_block)

    def begin(self, group: int) -> int:
        return self.first + group * self.per_group

    def group_of(self, block: int) -> int:
        return max(0, block - self.first) // self.per_group

    def length(self, group: int) -> int:
        return min(self.per_group, self.blocks - self.begin(group))

    def has_copy(self, group: int) -> bool:
        """Is there a superblock in this group?"""
        return not self.sparse or group <= 1 or any(_is_power(group, one) for one in (3, 5, 7))

    def place_of_descriptors(self, number: int) -> int:
        """The block that holds that block of group descriptors."""
        if number < self.first_meta_group:
            return self.first + 1 + number
        group = number * self.per_block
        return self.begin(group) + self.has_copy(group)


@dataclass(frozen=True)
class Group:
    """A group's descriptor. Blocks."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    free: int
    uninit: bool
    descriptor: bytes


def read_layout(read_at: ReadAt, size: int) -> tuple[Superblock, list[Group]]:
    """The superblock and all groups of a file system on a device of that many bytes. Raises
    UnknownLayoutError."""
    superblock = parse_superblock(read_exactly(read_at, SUPERBLOCK, SUPERBLOCK_SIZE))
    if superblock.blocks * superblock.block_size > size:
        raise UnknownLayoutError("it reaches beyond the end of the device")
    return superblock, list(_read_groups(read_at, superblock))


def read_exactly(read_at: ReadAt, offset: int, length: int) -> bytes:
    """All of a range. Raises UnknownLayoutError where the device ends before."""
    content = read_at(offset, length)
    if len(content) != length:
        raise UnknownLayoutError(f"byte {offset} cannot be read")
    return content


def parse_superblock(block: bytes) -> Superblock:
    """Raises UnknownLayoutError."""
    inodes, low = struct.unpack_from("<II", block)
    first, log_block, _, blocks_each, _, inodes_each = struct.unpack_from("<6I", block, 0x14)
    magic, state = struct.unpack_from("<HH", block, 0x38)
    (revision,) = struct.unpack_from("<I", block, 0x4C)
    inode_size, _, compatible, incompatible, read_only = struct.unpack_from("<HHIII", block, 0x58)
    (reserved,) = struct.unpack_from("<H", block, 0xCE)
    (descriptor,) = struct.unpack_from("<H", block, 0xFE)
    (first_meta_group,) = struct.unpack_from("<I", block, 0x104)
    (high,) = struct.unpack_from("<I", block, 0x150)
    if magic != _MAGIC or state != _CLEAN or revision != _DYNAMIC:
        raise UnknownLayoutError("it is no clean ext file system of a known revision")
    if incompatible & ~_INCOMPATIBLE or read_only & ~_READ_ONLY or compatible & _SPARSE_SUPER2:
        raise UnknownLayoutError("it has features that are not known here")
    if log_block > 6 or not inode_size or not inodes_each or not inodes:
        raise UnknownLayoutError("its superblock is damaged")
    block_size = 1024 << log_block
    is_64bit = bool(incompatible & _64BIT)
    superblock = Superblock(
        block_size=block_size,
        blocks=low | (high << 32 if is_64bit else 0),
        first=first,
        per_group=blocks_each,
        inode_table=-(-inodes_each * inode_size // block_size),
        descriptor=descriptor if is_64bit else 32,
        reserved=reserved,
        first_meta_group=first_meta_group if incompatible & _META_BG else _MOST_GROUPS,
        sparse=bool(read_only & _SPARSE_SUPER),
        has_uninit=bool(read_only & (_GDT_CSUM | _METADATA_CSUM)),
        seed=_seed(block, incompatible) if read_only & _METADATA_CSUM else None,
    )
    _check(superblock)
    return superblock


def _seed(block: bytes, incompatible: int) -> int:
    if incompatible & _CHECKSUM_SEED:
        return int(struct.unpack_from("<I", block, 0x270)[0])
    return seed_of(block[0x68:0x78])


def _check(superblock: Superblock) -> None:
    size = superblock.block_size
    if (
        superblock.first != (1 if size == 1024 else 0)
        or not superblock.first < superblock.blocks
        or superblock.descriptor not in (32, 64)
        or not 0 < superblock.per_group <= 8 * size
        or superblock.per_group % 8
        or superblock.groups > _MOST_GROUPS
        or superblock.inode_table > superblock.per_group
    ):
        raise UnknownLayoutError("its superblock is damaged")


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


# --- groups


def _read_groups(read_at: ReadAt, superblock: Superblock) -> Iterator[Group]:
    number = 0
    for index in range(superblock.descriptor_blocks):
        place = superblock.place_of_descriptors(index)
        block = read_exactly(read_at, place * superblock.block_size, superblock.block_size)
        for start in range(0, superblock.per_block * superblock.descriptor, superblock.descriptor):
            if number < superblock.groups:
                told = block[start : start + superblock.descriptor]
                if superblock.seed is not None:
                    check_descriptor(superblock.seed, number, told)
                yield _parse_group(superblock, told)
            number += 1


def _parse_group(superblock: Superblock, told: bytes) -> Group:
    low = struct.unpack_from("<IIIHHHH", told)
    high = (0, 0, 0, 0)
    if superblock.descriptor == 64:
        high = struct.unpack_from("<IIIH", told, 32)
    block_bitmap, inode_bitmap, inode_table = (
        below | above << 32 for below, above in zip(low[:3], high[:3], strict=True)
    )
    group = Group(
        block_bitmap,
        inode_bitmap,
        inode_table,
        free=low[3] | high[3] << 16,
        uninit=superblock.has_uninit and bool(low[6] & _BLOCK_UNINIT),
        descriptor=told,
    )
    for place in (block_bitmap, inode_bitmap, inode_table):
        if not superblock.first <= place < superblock.blocks:
            raise UnknownLayoutError("a group's metadata lies nowhere")
    return group


# --- checksums


def seed_of(uuid: bytes) -> int:
    """Where the checksums of this file system begin, unless its superblock names a seed."""
    return checksum(_ONES, uuid)


def checksum(seed: int, content: bytes) -> int:
    """ext4 and its kin never invert at the end, as the standard does."""
    return crc32c(content, seed ^ _ONES) ^ _ONES


def check_descriptor(seed: int, number: int, descriptor: bytes) -> None:
    """Raises ContradictionError."""
    without = descriptor[:_CHECKSUM] + bytes(2) + descriptor[_CHECKSUM + 2 :]
    wanted = checksum(checksum(seed, struct.pack("<I", number)), without) & 0xFFFF
    if struct.unpack_from("<H", descriptor, _CHECKSUM)[0] != wanted:
        raise ContradictionError(f"the descriptor of group {number} has a wrong checksum")
