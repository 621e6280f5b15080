"""A btrfs of a few blocks, put together by hand: what the readers of its trees are tried on."""

import struct
from dataclasses import dataclass, field

from crc32c import crc32c

from payload.formats.disk.btrfs_tree import (
    CHUNK_ITEM,
    EXTENT_TREE,
    ROOT_ITEM,
    SUPERBLOCK,
    SUPERBLOCK_SIZE,
    Key,
)

MIB = 1 << 20
SIZE = 64 * MIB
NODE = 4096  # bytes, of a sector as well
_ID = bytes(range(16))
_DEVICE = 1
# Logical start, length, where it lies: twice, twice, once.
SYSTEM = (20 * MIB, MIB, (4 * MIB, 6 * MIB))
METADATA = (30 * MIB, 4 * MIB, (8 * MIB, 16 * MIB))
DATA = (40 * MIB, 8 * MIB, (32 * MIB,))
_DUP = 0x20
_EXTENT, _METADATA_EXTENT, _BLOCK_GROUP = 168, 169, 192
DATA_EXTENTS = ((DATA[0], 12288), (DATA[0] + 3 * MIB, 2 * MIB), (DATA[0] + 8 * MIB - 4096, 4096))
CHUNK_ROOT, ROOT, EXTENT_ROOT = SYSTEM[0], METADATA[0], METADATA[0] + NODE


def sealed(block: bytearray) -> bytes:
    """With its checksum in front."""
    block[:4] = struct.pack("<I", crc32c(memoryview(block)[32:]))
    return bytes(block)


def leaf(address: int, items: list[tuple[Key, bytes]]) -> bytes:
    block = bytearray(NODE)
    block[32:48] = _ID
    struct.pack_into("<Q", block, 48, address)
    struct.pack_into("<QQI", block, 80, 7, 0, len(items))
    end = NODE - 101
    for number, (key, content) in enumerate(items):
        end -= len(content)
        struct.pack_into("<QBQII", block, 101 + 25 * number, *key, end, len(content))
        block[101 + end : 101 + end + len(content)] = content
    return sealed(block)


def node(address: int, level: int, below: list[tuple[Key, int]]) -> bytes:
    block = bytearray(leaf(address, []))
    block[100] = level
    struct.pack_into("<I", block, 96, len(below))
    for number, (key, place) in enumerate(below):
        struct.pack_into("<QBQQQ", block, 101 + 33 * number, *key, place, 7)
    return sealed(block)


def chunk_item(length: int, places: tuple[int, ...], kind: int = 0, device: int = _DEVICE) -> bytes:
    profile = kind or (_DUP if len(places) > 1 else 0)
    head = struct.pack("<4Q3I2H", length, 2, 65536, profile, NODE, NODE, NODE, len(places), 1)
    return head + b"".join(struct.pack("<QQ16s", device, place, _ID) for place in places)


def root_item(address: int, level: int = 0) -> bytes:
    content = bytearray(439)
    struct.pack_into("<Q", content, 176, address)
    content[238] = level
    return bytes(content)


@dataclass
class BtrfsImage:
    """What is not zero of it, by place. The fields may be changed before `write`."""

    chunks: list[tuple[int, bytes]] = field(
        default_factory=lambda: [
            (start, chunk_item(length, places))
            for start, length, places in (SYSTEM, METADATA, DATA)
        ]
    )
    extents: list[tuple[int, int]] = field(default_factory=lambda: list(DATA_EXTENTS))
    used: int | None = None
    devices: int = 1
    log: int = 0
    features: tuple[int, int] = (0, 0x341)  # read-only compatible, incompatible
    checksum: int = 0
    blocks: dict[int, bytes] = field(default_factory=dict)

    def write(self) -> "BtrfsImage":
        """Lay out all blocks anew."""
        first = (EXTENT_ROOT + NODE, self.metadata_items())
        second = (EXTENT_ROOT + 2 * NODE, self.data_items())
        self.blocks = {}
        self.put(SYSTEM, CHUNK_ROOT, leaf(CHUNK_ROOT, self.chunk_items()))
        root = [((EXTENT_TREE, ROOT_ITEM, 0), root_item(EXTENT_ROOT, 1))]
        self.put(METADATA, ROOT, leaf(ROOT, root))
        for address, items in (first, second):
            self.put(METADATA, address, leaf(address, items))
        below = [(items[0][0], address) for address, items in (first, second)]
        self.put(METADATA, EXTENT_ROOT, node(EXTENT_ROOT, 1, below))
        self.blocks[SUPERBLOCK] = self.superblock()
        return self

    def put(self, chunk: tuple[int, int, tuple[int, ...]], address: int, block: bytes) -> None:
        """A block, in all copies of its chunk."""
        for place in chunk[2]:
            self.blocks[place + address - chunk[0]] = block

    def chunk_items(self) -> list[tuple[Key, bytes]]:
        device = ((1, 216, _DEVICE), bytes(98))
        return [device, *(((256, CHUNK_ITEM, start), item) for start, item in self.chunks)]

    def metadata_items(self) -> list[tuple[Key, bytes]]:
        blocks = [CHUNK_ROOT, ROOT, *(EXTENT_ROOT + NODE * number for number in range(3))]
        items: list[tuple[Key, bytes]] = [((one, _METADATA_EXTENT, 0), bytes(33)) for one in blocks]
        group = ((METADATA[0], _BLOCK_GROUP, METADATA[1]), bytes(24))
        return sorted([*items, group])

    def data_items(self) -> list[tuple[Key, bytes]]:
        return [((start, _EXTENT, length), bytes(53)) for start, length in self.extents]

    def superblock(self) -> bytes:
        block = bytearray(SUPERBLOCK_SIZE)
        used = 5 * NODE + sum(length for _, length in self.extents)
        block[0x20:0x30] = _ID
        struct.pack_into("<QQ8sQ", block, 0x30, SUPERBLOCK, 1, b"_BHRfS_M", 7)
        addresses = (ROOT, CHUNK_ROOT, self.log, 0, SIZE)
        used = used if self.used is None else self.used
        struct.pack_into("<8Q", block, 0x50, *addresses, used, 6, self.devices)
        system = struct.pack("<QBQ", 256, CHUNK_ITEM, SYSTEM[0]) + dict(self.chunks)[SYSTEM[0]]
        struct.pack_into("<5I", block, 0x90, NODE, NODE, NODE, NODE, len(system))
        struct.pack_into("<QQH", block, 0xB4, *self.features, self.checksum)
        struct.pack_into("<QQ", block, 0xC9, _DEVICE, SIZE)
        block[0x32B : 0x32B + len(system)] = system
        return sealed(block)

    def read_at(self, offset: int, length: int) -> bytes:
        """As of a device of SIZE bytes."""
        content = bytearray(max(0, min(length, SIZE - offset)))
        for place, block in self.blocks.items():
            first, end = max(place, offset), min(place + len(block), offset + len(content))
            if first < end:
                content[first - offset : end - offset] = block[first - place : end - place]
        return bytes(content)
