"""The bitmaps of a reiserfs: what they call used is copied; nothing hostile is believed."""

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.reiserfs import SUPERBLOCK
from payload.formats.disk.reiserfs_map import read_reiserfs_map
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.disk import MIB
from payload.model.runs import Run
from payload.system.map_doubts import doubt_of

UNIT = 1024  # bytes of a block
BITS = UNIT * 8  # blocks that a bitmap tells of
BLOCKS = 3 * BITS - 100
SIZE = BLOCKS * UNIT
FIRST = SUPERBLOCK // UNIT + 1  # the first bitmap
JOURNAL, JOURNAL_SIZE = FIRST + 1, 60
HEADER = JOURNAL + JOURNAL_SIZE
ROOT = HEADER + 1
DATA = (ROOT + 1, BITS + 5000, BITS + 5001, 3 * BITS - 101)


@dataclass
class ReiserfsImage:
    """What is not zero of it, by block. The fields may be changed before `write`."""

    magic: bytes = b"ReIsEr2Fs"
    blocks: int = BLOCKS
    block_size: int = UNIT
    state: int = 1
    faults: int = 0
    device: int = 0
    bitmaps: int = 3
    root: int = ROOT
    journal: int = JOURNAL
    journal_size: int = JOURNAL_SIZE
    flushed: tuple[int, int] = (70, 7)  # id of the last transaction, where the next one goes
    transactions: dict[int, int] = field(default_factory=lambda: {3: 70, 7: 12})  # place: id
    used: set[int] = field(default_factory=lambda: {*range(ROOT + 1), BITS, 2 * BITS, *DATA})
    free: int = -1
    content: bytearray = field(default_factory=lambda: bytearray(SIZE))

    def write(self) -> "ReiserfsImage":
        free = BLOCKS - len(self.used) if self.free < 0 else self.free
        journal = (self.journal, self.device, self.journal_size)
        struct.pack_into("<6I", self.content, SUPERBLOCK, self.blocks, free, self.root, *journal)
        struct.pack_into("<H", self.content, SUPERBLOCK + 44, self.block_size)
        words = struct.pack("<H10sH", self.state, self.magic, self.faults)
        self.content[SUPERBLOCK + 50 : SUPERBLOCK + 64] = words
        struct.pack_into("<H", self.content, SUPERBLOCK + 70, self.bitmaps)
        for number, place in enumerate((FIRST, BITS, 2 * BITS)):
            set_bits = (1 << one - number * BITS for one in self.used if one // BITS == number)
            bitmap = sum(set_bits) | ((1 << BITS) - (1 << BITS - 100) if number == 2 else 0)
            self.content[place * UNIT : (place + 1) * UNIT] = bitmap.to_bytes(UNIT, "little")
        struct.pack_into("<II", self.content, HEADER * UNIT, *self.flushed)
        for place, number in self.transactions.items():
            start = (JOURNAL + place) * UNIT
            struct.pack_into("<I", self.content, start, number)
            self.content[start + UNIT - 12 : start + UNIT - 4] = b"ReIsErLB"
        return self

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self.content[offset : offset + length])

    def map(self, size: int = SIZE) -> list[Run]:
        return list(read_reiserfs_map(self.read_at, size))

    @property
    def doubt(self) -> str:
        return doubt_of(self.read_at, "reiserfs", SIZE)


def test_what_is_in_use_is_found_in_every_stretch() -> None:
    image = ReiserfsImage().write()
    assert image.doubt == ""
    assert image.map() == [
        (0, (ROOT + 2) * UNIT),
        (BITS * UNIT, UNIT),
        ((BITS + 5000) * UNIT, 2 * UNIT),
        (2 * BITS * UNIT, UNIT),
        ((3 * BITS - 101) * UNIT, UNIT),
    ]


def test_what_is_behind_the_file_system_is_in_use() -> None:
    assert ReiserfsImage().write().map(SIZE + 5 * MIB)[-1] == (SIZE, 5 * MIB)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (ReiserfsImage(state=2), "not unmounted cleanly"),
        (ReiserfsImage(transactions={7: 71}), "not unmounted cleanly"),
        (ReiserfsImage(flushed=(0, 0), transactions={59: 1}), "not unmounted cleanly"),
        (ReiserfsImage(flushed=(70, 60)), "not unmounted cleanly"),
        (ReiserfsImage(faults=1), "its checker found faults"),
        (ReiserfsImage(device=0x803), "journal lies on another device"),
        (ReiserfsImage(magic=b"ReIsEr4"), "superblock is damaged"),
        (ReiserfsImage(block_size=3000), "superblock is damaged"),
        (ReiserfsImage(block_size=0), "superblock is damaged"),
        (ReiserfsImage(blocks=60), "superblock is damaged"),
        (ReiserfsImage(bitmaps=2), "superblock is damaged"),
        (ReiserfsImage(root=BLOCKS), "superblock is damaged"),
        (ReiserfsImage(free=BLOCKS), "superblock is damaged"),
        (ReiserfsImage(journal=BLOCKS - 60), "superblock is damaged"),
        (ReiserfsImage(journal=0), "superblock is damaged"),
        (ReiserfsImage(journal_size=1 << 17), "superblock is damaged"),
    ],
)
def test_what_is_in_doubt_is_said_before_the_copy_and_has_no_map(
    image: ReiserfsImage, reason: str
) -> None:
    assert reason in image.write().doubt
    with pytest.raises(UnknownLayoutError, match=reason):
        image.map()


@pytest.mark.parametrize("flushed", [(0, 0), (70, 60)])
def test_a_journal_that_was_never_written_to_holds_nothing(flushed: tuple[int, int]) -> None:
    image = ReiserfsImage(flushed=flushed, transactions={}).write()
    assert image.doubt == "" and image.map()


def test_the_oldest_format_is_not_taken_for_the_one_behind_it() -> None:
    """The kernel looks for it first."""
    image = ReiserfsImage().write()
    image.content[8192 : 8192 + 76] = image.content[SUPERBLOCK : SUPERBLOCK + 76]
    assert "oldest format" in image.doubt
    with pytest.raises(UnknownLayoutError, match="oldest format"):
        image.map()


@pytest.mark.parametrize("block", [0, FIRST - 1, FIRST, JOURNAL, HEADER, ROOT, BITS, 2 * BITS])
def test_a_bitmap_that_calls_free_what_is_in_use_is_no_map(block: int) -> None:
    image = ReiserfsImage()
    image.used.remove(block)
    with pytest.raises(ContradictionError, match="calls free what is in use"):
        image.write().map()


def test_a_bitmap_that_lost_a_block_is_no_map() -> None:
    free = BLOCKS - len(ReiserfsImage().used)
    image = ReiserfsImage(free=free)
    image.used.remove(DATA[1])
    with pytest.raises(ContradictionError, match="as many free blocks"):
        image.write().map()


def test_a_device_that_became_smaller_is_refused() -> None:
    image = ReiserfsImage().write()
    with pytest.raises(UnknownLayoutError, match="beyond the end"):
        image.map(SIZE - UNIT)
    del image.content[2 * BITS * UNIT :]
    with pytest.raises(UnknownLayoutError, match="bitmap 2 cannot be read"):
        image.map()


@given(st.integers(0, 75), st.binary(min_size=1, max_size=16), st.integers(0, SIZE))
def test_a_lying_superblock_is_refused_or_its_map_lies_inside(
    place: int, lie: bytes, end: int
) -> None:
    image = ReiserfsImage().write()
    image.content[SUPERBLOCK + place : SUPERBLOCK + place + len(lie)] = lie
    if end < SIZE // 2:  # as often as not, truncated too
        del image.content[end * 2 :]
    try:
        runs = image.map()
    except UnknownLayoutError:
        return
    assert runs == sorted(runs)
    assert all(0 <= start < start + length <= SIZE for start, length in runs)
    assert sum(length for _, length in runs) >= (len(image.used) - len(DATA)) * UNIT
