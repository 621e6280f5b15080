"""An ext4 of a few small groups, put together by hand: what the readers of its map are tried on.

Layout: Linux, Documentation/filesystems/ext4.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from payload.formats.disk.ext_layout import checksum, seed_of

UNIT = 1024  # bytes of a block
PER_GROUP = 256  # blocks
BLOCKS = 1 + 3 * PER_GROUP + 100  # four groups, the last one shorter
SIZE = BLOCKS * UNIT
GROUPS = 4
INODE_TABLE = 2  # blocks
DESCRIPTORS = 2  # the block that holds them
UUID = bytes(range(16))
SPARSE, GROUP_CHECKSUMS, CHECKSUMS = 0x1, 0x10, 0x400  # read-only compatible features


def begin_of(group: int) -> int:
    return 1 + group * PER_GROUP


def heads_of(group: int) -> int:
    """Blocks of superblock and descriptors: a group of a power of 3, 5 or 7 has copies."""
    return 0 if group == 2 else 2


def metadata_of(group: int) -> tuple[int, int, int]:
    """Block bitmap, inode bitmap, inode table: right behind its heads."""
    first = begin_of(group) + heads_of(group)
    return first, first + 1, first + 2


RESERVED = frozenset(
    block
    for group in range(GROUPS)
    for block in range(begin_of(group), metadata_of(group)[2] + INODE_TABLE)
)
DATA = frozenset({100, 101, 256, begin_of(1) + 99, begin_of(2) + 200, BLOCKS - 1})


@dataclass
class ExtImage:
    """The fields may be changed before it is read."""

    state: int = 1
    revision: int = 1
    log_size: int = 0
    first: int = 1
    blocks: int = BLOCKS
    per_group: int = PER_GROUP
    inodes_each: int = 16
    compatible: int = 0
    incompatible: int = 0x2
    read_only: int = SPARSE | CHECKSUMS
    descriptor: int = 0
    used: set[int] = field(default_factory=lambda: {*RESERVED, *DATA})
    free: dict[int, int] = field(default_factory=dict)  # by group, where it is told wrongly
    unwritten: set[int] = field(default_factory=set)  # groups whose bitmap was never written
    bad: tuple[int, ...] = ()  # blocks in inode 1

    def superblock(self) -> bytes:
        block = bytearray(1024)
        struct.pack_into("<II", block, 0, 64, self.blocks)
        words = (self.first, self.log_size, 0, self.per_group, 0, self.inodes_each)
        struct.pack_into("<6I", block, 0x14, *words)
        struct.pack_into("<HH", block, 0x38, 0xEF53, self.state)
        struct.pack_into("<I", block, 0x4C, self.revision)
        features = (self.compatible, self.incompatible, self.read_only)
        struct.pack_into("<HHIII", block, 0x58, 128, 0, *features)
        block[0x68:0x78] = UUID
        struct.pack_into("<H", block, 0xFE, self.descriptor)
        return bytes(block)

    def bitmap(self, group: int) -> bytes:
        begin = begin_of(group)
        length = min(PER_GROUP, BLOCKS - begin)
        bits = sum(1 << one - begin for one in self.used if begin <= one < begin + length)
        bits |= (1 << PER_GROUP) - (1 << length)  # behind the end all bits are set
        return bits.to_bytes(PER_GROUP // 8, "little")

    def group(self, number: int) -> bytes:
        """Its descriptor, with checksums of the bitmap and of itself."""
        begin = begin_of(number)
        length = min(PER_GROUP, BLOCKS - begin)
        free = length - sum(begin <= one < begin + length for one in self.used)
        free = self.free.get(number, free)
        flags = 2 if number in self.unwritten else 0
        content = bytearray(32)
        struct.pack_into("<IIIHHHH", content, 0, *metadata_of(number), free, 8, 0, flags)
        seed = seed_of(UUID)
        struct.pack_into("<H", content, 0x18, checksum(seed, self.bitmap(number)) & 0xFFFF)
        own = checksum(checksum(seed, struct.pack("<I", number)), bytes(content)) & 0xFFFF
        struct.pack_into("<H", content, 0x1E, own)
        return bytes(content)

    def content(self) -> bytearray:
        image = bytearray(SIZE)
        image[1024:2048] = self.superblock()
        groups = b"".join(self.group(number) for number in range(GROUPS))
        image[DESCRIPTORS * UNIT : DESCRIPTORS * UNIT + len(groups)] = groups
        for number in range(GROUPS):
            place = metadata_of(number)[0] * UNIT
            if number not in self.unwritten:
                image[place : place + PER_GROUP // 8] = self.bitmap(number)
        inode = metadata_of(0)[2] * UNIT
        struct.pack_into(f"<{len(self.bad)}I", image, inode + 40, *self.bad)
        return image

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self.content()[offset : offset + length])

    def write(self, path: Path) -> str:
        path.write_bytes(self.content())
        return str(path)
