"""The trees of a btrfs on one device: superblock, chunks, and the items of a tree in order.

Whatever is read may be damaged or hostile: every block has to carry its own address, its file
system's id, its level and its checksum, and keys have to ascend over a whole tree, so that no walk
can go round in circles. Layout: Linux, include/uapi/linux/btrfs_tree.h.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from crc32c import crc32c

from payload.formats.disk.superblocks import ReadAt
from payload.formats.disk.unknown_layout import UnknownLayoutError

Key = tuple[int, int, int]  # object, type, offset: in this order items are sorted

SUPERBLOCK, SUPERBLOCK_SIZE = 65536, 4096  # bytes
# btrfs_sb_offset(): 16 KiB << 12 * mirror, as far as the device goes.
SUPERBLOCKS = (SUPERBLOCK, 64 << 20, 256 << 30)
CHUNK_ITEM, ROOT_ITEM = 228, 132
EXTENT_TREE = 2
_MAGIC = b"_BHRfS_M"
_CHECKSUM = 32  # bytes in front of a block that hold its checksum
# Mixed back references, default subvolume, mixed groups, LZO, zstd, large metadata, extended
# references, RAID 5 and 6 (its chunks are looked at), skinny metadata, no holes, metadata UUID,
# RAID 1 with more copies. Not: zoned devices, extent tree v2, stripe tree.
_INCOMPATIBLE = 0xFFF
_METADATA_UUID = 0x400
_READ_ONLY = 0xF  # free space tree and its validity, verity, block group tree
_DUP = 0x20
_PROFILES = 0x7F8  # bits of a chunk's type that say how it is spread over devices
_HEADER, _ITEM, _POINTER = 101, 25, 33  # bytes
_SYSTEM_CHUNKS, _SYSTEM_CHUNKS_SIZE = 0x32B, 2048
_CHUNK, _STRIPE, _KEY = 48, 32, 17  # bytes
_DEEPEST = 7  # BTRFS_MAX_LEVEL - 1
_MOST_CHUNKS = 1 << 20


@dataclass(frozen=True)
class Superblock:
    """Addresses are logical, but for those of the superblock itself."""

    id: bytes  # that blocks of trees carry
    root: int
    root_level: int
    chunk_root: int
    chunk_root_level: int
    bytes_used: int  # by extents, each counted once however often it is kept
    device_size: int  # bytes
    device: int  # its number
    sector: int
    node_size: int
    checksum: int  # its kind
    system_chunks: bytes


@dataclass(frozen=True)
class Chunk:
    """A range of logical addresses. All of it is at each of the `places`, bytes of the device."""

    start: int
    length: int
    places: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + self.length


# --- superblock


def parse_superblock(block: bytes, size: int) -> Superblock:
    """The superblock of a btrfs on a device of that many bytes. Raises UnknownLayoutError."""
    if len(block) != SUPERBLOCK_SIZE or block[0x40:0x48] != _MAGIC:
        raise UnknownLayoutError("its superblock is not that of a btrfs")
    (own,) = struct.unpack_from("<Q", block, 0x30)
    root, chunk_root, log, _, _, used, _, devices = struct.unpack_from("<8Q", block, 0x50)
    sector, node_size, _, _, length = struct.unpack_from("<5I", block, 0x90)
    read_only, incompatible, checksum = struct.unpack_from("<QQH", block, 0xB4)
    device, device_size = struct.unpack_from("<QQ", block, 0xC9)
    if devices != 1:
        raise UnknownLayoutError(f"it lies on {devices} devices")
    if log:
        raise UnknownLayoutError("its log has to be replayed")
    if incompatible & ~_INCOMPATIBLE or read_only & ~_READ_ONLY:
        raise UnknownLayoutError("it has features that are not known here")
    uuid = 0x23B if incompatible & _METADATA_UUID else 0x20
    superblock = Superblock(
        id=block[uuid : uuid + 16],
        root=root,
        root_level=block[0xC6],
        chunk_root=chunk_root,
        chunk_root_level=block[0xC7],
        bytes_used=used,
        device_size=device_size,
        device=device,
        sector=sector,
        node_size=node_size,
        checksum=checksum,
        system_chunks=block[_SYSTEM_CHUNKS : _SYSTEM_CHUNKS + length],
    )
    is_sane = (
        own == SUPERBLOCK
        and length <= _SYSTEM_CHUNKS_SIZE
        and sector in (4096, 8192, 16384, 32768, 65536)
        and node_size in (4096, 8192, 16384, 32768, 65536)
        and sector <= node_size
        and has_checksum(block, checksum)
    )
    if not is_sane:
        raise UnknownLayoutError("its superblock is damaged")
    if device_size > size:
        raise UnknownLayoutError("it reaches beyond the end of the device")
    return superblock


def has_checksum(block: bytes, kind: int) -> bool:
    """Whether a block has the checksum that stands in front of it. Raises UnknownLayoutError."""
    content = memoryview(block)[_CHECKSUM:]
    if kind == 0:
        digest = struct.pack("<I", crc32c(content))
    elif kind == 2:
        digest = hashlib.sha256(content).digest()
    elif kind == 3:
        digest = hashlib.blake2b(content, digest_size=32).digest()
    else:  # 1 is xxhash64
        raise UnknownLayoutError("its checksums are of a kind that is not known here")
    return block[: len(digest)] == digest


# --- chunks


class Chunks:
    """All chunks, by their logical addresses. Raises UnknownLayoutError when they overlap, there
    or on the device, or leave it."""

    def __init__(self, chunks: list[Chunk], superblock: Superblock) -> None:
        self.all = sorted(chunks, key=lambda chunk: chunk.start)
        self._starts = [chunk.start for chunk in self.all]
        if any(one.end > other.start for one, other in pairwise(self.all)):
            raise UnknownLayoutError("its chunks overlap")
        places = sorted((place, chunk.length) for chunk in self.all for place in chunk.places)
        ends = [place + length for place, length in places]
        if any(end > following for end, (following, _) in zip(ends, places[1:], strict=False)):
            raise UnknownLayoutError("its chunks overlap on the device")
        if ends and ends[-1] > superblock.device_size:
            raise UnknownLayoutError("its chunks reach beyond the end of the device")

    def index_of(self, start: int, length: int) -> int:
        """The number of the chunk that holds this range. Raises UnknownLayoutError."""
        index = bisect_right(self._starts, start) - 1
        if index < 0 or start + length > self.all[index].end:
            raise UnknownLayoutError(f"no chunk holds the {length} bytes at {start}")
        return index


def _parse_chunk(start: int, item: bytes, superblock: Superblock) -> Chunk:
    if len(item) < _CHUNK + _STRIPE:
        raise UnknownLayoutError("a chunk is damaged")
    length, _, _, kind = struct.unpack_from("<4Q", item)
    (count,) = struct.unpack_from("<H", item, 44)
    profile = kind & _PROFILES
    if profile not in (0, _DUP) or count != (2 if profile else 1):
        raise UnknownLayoutError("a chunk is spread over devices in a way not known here")
    if len(item) != _CHUNK + count * _STRIPE or not length:
        raise UnknownLayoutError("a chunk is damaged")
    if start % superblock.sector or length % superblock.sector:
        raise UnknownLayoutError("a chunk is damaged")
    places = []
    for number in range(count):
        device, place = struct.unpack_from("<QQ", item, _CHUNK + number * _STRIPE)
        if device != superblock.device:
            raise UnknownLayoutError("a chunk lies on another device")
        if place % superblock.sector:
            raise UnknownLayoutError("a chunk is damaged")
        places.append(place)
    return Chunk(start, length, tuple(places))


def _system_chunks(superblock: Superblock) -> Iterator[Chunk]:
    """Those in the superblock itself: enough to read the tree with all of them."""
    content = superblock.system_chunks
    position = 0
    while position < len(content):
        behind = position + _KEY + _CHUNK
        if behind > len(content):
            raise UnknownLayoutError("the chunks in its superblock are damaged")
        _, kind, start = struct.unpack_from("<QBQ", content, position)
        (count,) = struct.unpack_from("<H", content, behind - 4)
        end = behind + count * _STRIPE
        if kind != CHUNK_ITEM or end > len(content):
            raise UnknownLayoutError("the chunks in its superblock are damaged")
        yield _parse_chunk(start, content[position + _KEY : end], superblock)
        position = end


def read_chunks(read_at: ReadAt, superblock: Superblock) -> Chunks:
    """Raises UnknownLayoutError."""
    system = Chunks(list(_system_chunks(superblock)), superblock)
    tree = Tree(read_at, superblock, system)
    chunks: list[Chunk] = []
    for (_, kind, start), item in tree.walk(superblock.chunk_root, superblock.chunk_root_level):
        if kind == CHUNK_ITEM:
            chunks.append(_parse_chunk(start, item, superblock))
        if len(chunks) > _MOST_CHUNKS:
            raise UnknownLayoutError("it has too many chunks")
    if not {*system.all}.issubset(chunks):
        raise UnknownLayoutError("its superblock and its chunk tree disagree")
    return Chunks(chunks, superblock)


# --- trees


class Tree:
    """Reads blocks of trees by their logical addresses."""

    def __init__(self, read_at: ReadAt, superblock: Superblock, chunks: Chunks) -> None:
        self._read_at = read_at
        self._superblock = superblock
        self._chunks = chunks

    def walk(self, address: int, level: int) -> Iterator[tuple[Key, bytes]]:
        """Every item of the tree with that root, in the order of their keys. Raises
        UnknownLayoutError."""
        if level > _DEEPEST:
            raise UnknownLayoutError("a tree is too deep")
        last: Key = (-1, 0, 0)
        for key, item in self._walk(address, level, None):
            if key <= last:
                raise UnknownLayoutError("the items of a tree are out of order")
            last = key
            yield key, item

    def _walk(
        self, address: int, level: int, promised: tuple[Key, int] | None
    ) -> Iterator[tuple[Key, bytes]]:
        """`promised` are the first key and the generation that the block above tells."""
        block = self._read(address, level)
        (generation,) = struct.unpack_from("<Q", block, 80)
        (count,) = struct.unpack_from("<I", block, 96)
        step = _POINTER if level else _ITEM
        if _HEADER + count * step > len(block) or (not count and promised):
            raise UnknownLayoutError(f"the block at {address} is damaged")
        keys = [struct.unpack_from("<QBQ", block, _HEADER + n * step) for n in range(count)]
        if promised and promised != (keys[0], generation):
            raise UnknownLayoutError(f"the block at {address} is another than the tree says")
        for number, key in enumerate(keys):
            place = _HEADER + number * step + _KEY
            if level:
                below, born = struct.unpack_from("<QQ", block, place)
                yield from self._walk(below, level - 1, (key, born))
            else:
                start, size = struct.unpack_from("<II", block, place)
                if _HEADER + start + size > len(block):
                    raise UnknownLayoutError(f"the block at {address} is damaged")
                yield key, block[_HEADER + start : _HEADER + start + size]

    def _read(self, address: int, level: int) -> bytes:
        """The block there, of whichever copy is whole."""
        size = self._superblock.node_size
        chunk = self._chunks.all[self._chunks.index_of(address, size)]
        for place in chunk.places:
            block = self._read_at(place + address - chunk.start, size)
            if len(block) == size and self._is_whole(block, address, level):
                return block
        raise UnknownLayoutError(f"the block at {address} is damaged")

    def _is_whole(self, block: bytes, address: int, level: int) -> bool:
        return (
            block[32:48] == self._superblock.id
            and struct.unpack_from("<Q", block, 48)[0] == address
            and block[100] == level
            and has_checksum(block, self._superblock.checksum)
        )
