"""The block allocation map of a jfs: what it calls used is copied; nothing hostile is believed."""

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.jfs import BLOCK, SUPERBLOCK
from payload.formats.disk.jfs_map import BLOCKS, read_jfs_map
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.disk import MIB
from payload.model.runs import Run
from payload.system.map_doubts import doubt_of

COUNT = 2 * BLOCKS + 1000
SIZE = COUNT * BLOCK
INODE = 0xB000 + 2 * 512
# Of the map, in two pieces: four pages in front of the first dmap, then the others.
EXTENTS = ((0, 16, 5), (5, BLOCKS + 40, 2))
SECOND_TABLE, SECOND_MAP = (50, 4), (BLOCKS + 100, 2)
RESERVED = {*range(21), *range(50, 54), BLOCKS + 40, BLOCKS + 41, BLOCKS + 100, BLOCKS + 101}
DATA = (600, 2 * BLOCKS - 1, COUNT - 1)


@dataclass
class JfsImage:
    """What is not zero of it, by byte. The fields may be changed before `write`."""

    count: int = COUNT
    state: int = 0
    block_size: int = BLOCK
    flags: int = 0x83  # of the root of the map's extents
    used: set[int] = field(default_factory=lambda: {*RESERVED, *DATA})
    committed: set[int] = field(default_factory=lambda: {*RESERVED, *DATA})
    free: int = -1
    content: dict[int, bytes] = field(default_factory=dict)

    def write(self) -> "JfsImage":
        head = struct.pack("<4sIQI", b"JFS1", 1, self.count * 8, self.block_size)
        extents = [
            struct.pack("<II", n | at >> 32 << 24, at) for at, n in (SECOND_TABLE, SECOND_MAP)
        ]
        words = struct.pack("<HHIHHIIII", 12, 3, 512, 9, 0, BLOCKS, 0, self.state, 0)
        self.content[SUPERBLOCK] = head + words + b"".join(extents)
        tree = bytearray(18 * 16)
        tree[16] = self.flags
        struct.pack_into("<H", tree, 18, 2 + len(EXTENTS))
        for number, (offset, address, length) in enumerate(EXTENTS, 2):
            struct.pack_into("<4I", tree, number * 16, 0, offset, length, address)
        self.content[INODE + 224] = bytes(tree)
        free = COUNT - len(self.used) if self.free < 0 else self.free
        self.content[16 * BLOCK] = struct.pack("<QQ", COUNT, free)
        for number, place in enumerate((20, BLOCKS + 40, BLOCKS + 41)):
            self.content[place * BLOCK] = self.dmap(number * BLOCKS)
        return self

    def dmap(self, begin: int) -> bytes:
        blocks = min(BLOCKS, COUNT - begin)
        free = blocks - sum(begin <= one < begin + blocks for one in self.used)
        page = bytearray(BLOCK)
        struct.pack_into("<IIQ", page, 0, blocks, free, begin)
        for place, used in ((2048, self.used), (3072, self.committed)):
            words = [0] * 256
            for one in (*used, *range(COUNT, 3 * BLOCKS)):  # behind the end all bits are set
                if begin <= one < begin + BLOCKS:
                    words[(one - begin) // 32] |= 1 << 31 - (one - begin) % 32
            struct.pack_into("<256I", page, place, *words)
        return bytes(page)

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length > SIZE:
            return b""
        answer = bytearray(length)
        for place, content in self.content.items():
            first, end = max(place, offset), min(place + len(content), offset + length)
            if first < end:
                answer[first - offset : end - offset] = content[first - place : end - place]
        return bytes(answer)

    def map(self, size: int = SIZE) -> list[Run]:
        return list(read_jfs_map(self.read_at, size))

    @property
    def doubt(self) -> str:
        return doubt_of(self.read_at, "jfs", SIZE)


def blocks_of(runs: list[Run]) -> set[int]:
    return {
        block
        for start, length in runs
        for block in range(start // BLOCK, (start + length) // BLOCK)
    }


def test_what_is_in_use_is_found_on_every_page() -> None:
    image = JfsImage().write()
    assert image.doubt == ""
    assert image.map() == [
        (0, 54 * BLOCK),
        (600 * BLOCK, BLOCK),
        ((BLOCKS + 40) * BLOCK, 62 * BLOCK),
        ((2 * BLOCKS - 1) * BLOCK, BLOCK),
        ((COUNT - 1) * BLOCK, BLOCK),
    ]


def test_what_only_one_of_the_bitmaps_calls_used_is_in_use() -> None:
    image = JfsImage()
    image.committed |= {3000}
    image.used |= {9000}
    assert {3000, 9000} <= blocks_of(image.write().map())


def test_the_log_behind_the_file_system_is_in_use() -> None:
    assert JfsImage().write().map(SIZE + 5 * MIB)[-1] == (SIZE, 5 * MIB)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (JfsImage(state=1), "not unmounted cleanly"),
        (JfsImage(state=8), "not unmounted cleanly"),
        (JfsImage(block_size=2048), "superblock is damaged"),
    ],
)
def test_what_is_in_doubt_is_said_before_the_copy_and_has_no_map(
    image: JfsImage, reason: str
) -> None:
    assert reason in image.write().doubt
    with pytest.raises(UnknownLayoutError, match=reason):
        image.map()


@pytest.mark.parametrize("block", [0, 15, 16, 50, BLOCKS + 41, BLOCKS + 101])
def test_a_map_that_calls_free_what_is_in_use_is_no_map(block: int) -> None:
    image = JfsImage()
    image.used.remove(block)
    image.committed.remove(block)
    with pytest.raises(ContradictionError, match="calls free what is in use"):
        image.write().map()


def test_a_map_that_does_not_add_up_is_no_map() -> None:
    with pytest.raises(ContradictionError, match="as many free blocks"):
        JfsImage(free=5).write().map()
    with pytest.raises(ContradictionError, match="of another size"):
        JfsImage(count=COUNT - 8).write().map()
    image = JfsImage().write()
    page = bytearray(image.content[20 * BLOCK])
    page[2048 + 700] |= 1
    image.content[20 * BLOCK] = bytes(page)
    with pytest.raises(ContradictionError, match="for block 0 is damaged"):
        image.map()


def test_what_is_not_understood_or_cannot_be_read_is_refused() -> None:
    with pytest.raises(UnknownLayoutError, match="too many pieces"):
        JfsImage(flags=0x85).write().map()
    with pytest.raises(UnknownLayoutError, match="beyond the end"):
        JfsImage().write().map(SIZE - BLOCK)
    image = JfsImage().write()
    tree = bytearray(image.content[INODE + 224])
    struct.pack_into("<I", tree, 3 * 16 + 12, COUNT)
    image.content[INODE + 224] = bytes(tree)
    with pytest.raises(UnknownLayoutError, match="page 5 of its map cannot be read"):
        image.map()


@given(
    st.sampled_from([SUPERBLOCK, INODE + 224, 16 * BLOCK, 20 * BLOCK, (BLOCKS + 40) * BLOCK]),
    st.integers(0, 300),
    st.binary(min_size=1, max_size=16),
)
def test_a_lie_is_refused_or_the_map_lies_inside(block: int, place: int, lie: bytes) -> None:
    image = JfsImage().write()
    content = bytearray(image.content[block].ljust(BLOCK // 8, b"\0"))
    content[place : place + len(lie)] = lie
    image.content[block] = bytes(content)
    try:
        runs = image.map()
    except UnknownLayoutError:
        return
    assert runs == sorted(runs)
    assert all(0 <= start < start + length <= SIZE for start, length in runs)
    assert blocks_of(runs) >= RESERVED
