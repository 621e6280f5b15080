"""The superblock and the journal of a reiserfs. Its bitmaps are tried in test_reiserfs_map.py.

Layout: Linux 6.1, fs/reiserfs/reiserfs.h.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.reiserfs import SUPERBLOCK, Superblock, find_doubt, read_superblock
from payload.formats.disk.superblocks import ReadAt
from payload.model.map_kinds import UNCLEAN

SMALL = Superblock(
    block_size=1024, blocks=9000, free=500, root=200, journal=66, journal_size=60,
    journal_device=0, state=1, faults=0, bitmaps=2,
)  # fmt: skip
MAGIC = b"ReIsEr2Fs"


def packed(superblock: Superblock, magic: bytes = MAGIC) -> bytes:
    one = superblock
    block = bytearray(76)
    journal = (one.journal, one.journal_device, one.journal_size)
    struct.pack_into("<6I", block, 0, one.blocks, one.free, one.root, *journal)
    struct.pack_into("<H", block, 44, one.block_size)
    struct.pack_into("<H10sH", block, 50, one.state, magic, one.faults)
    struct.pack_into("<H", block, 70, one.bitmaps)
    return bytes(block)


def disk(parts: Mapping[int, bytes], end: int = 1 << 40) -> ReadAt:
    """With these bytes at these places, zeros elsewhere, and an end."""

    def read(offset: int, length: int) -> bytes:
        assert offset >= 0 and length <= 8192, "no more than a block at a time"
        content = bytearray(max(0, min(length, end - offset)))
        for place, part in parts.items():
            first, behind = max(place, offset), min(place + len(part), offset + len(content))
            if first < behind:
                content[first - offset : behind - offset] = part[first - place : behind - place]
        return bytes(content)

    return read


def journal(
    superblock: Superblock, header: tuple[int, int], transactions: Mapping[int, int]
) -> ReadAt:
    """A disk with a journal: id and place of what its header tells, id by block."""
    unit = superblock.block_size
    parts = {SUPERBLOCK: packed(superblock)}
    parts[(superblock.journal + superblock.journal_size) * unit] = struct.pack("<II", *header)
    for number, transaction in transactions.items():
        block = struct.pack("<I", transaction).ljust(unit - 12, b"\0") + b"ReIsErLB" + bytes(4)
        parts[(superblock.journal + number) * unit] = block
    return disk(parts)


@pytest.mark.parametrize("magic", [b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs"])
def test_a_superblock_of_each_format_is_read(magic: bytes) -> None:
    read = disk({SUPERBLOCK: packed(SMALL, magic)})
    assert read_superblock(read) == SMALL
    assert (SMALL.bits, SMALL.first_bitmap) == (8192, 65)
    assert find_doubt(read) == ""


def test_too_many_bitmaps_for_sixteen_bits_are_told_as_none() -> None:
    """A file system of 4 KiB blocks and more than 8 TiB."""
    large = replace(SMALL, block_size=4096, journal=18, blocks=(1 << 31) + 1, bitmaps=0)
    assert read_superblock(disk({SUPERBLOCK: packed(large)})) == large
    assert read_superblock(disk({SUPERBLOCK: packed(replace(large, bitmaps=1))})) is None


@pytest.mark.parametrize(
    "change",
    [
        {"block_size": 0},
        {"block_size": 3000},
        {"block_size": 16384},
        {"blocks": 65},
        {"free": 9000},
        {"root": 9000},
        {"journal": 65},
        {"journal": 8940},
        {"journal_size": (1 << 16) + 1, "blocks": 1 << 20},
        {"bitmaps": 1},
        {"bitmaps": 0},
    ],
)
def test_what_cannot_be_is_no_superblock(change: dict[str, int]) -> None:
    read = disk({SUPERBLOCK: packed(replace(SMALL, **change))})
    assert read_superblock(read) is None
    assert find_doubt(read) == "its superblock is damaged"


@pytest.mark.parametrize("magic", [b"", b"ReIsEr4", b"ReIsEr2Fx", b"reiser2fs", b"ReIsEr2FsX"])
def test_another_magic_is_no_superblock(magic: bytes) -> None:
    assert read_superblock(disk({SUPERBLOCK: packed(SMALL, magic)})) is None


def test_a_superblock_that_ends_before_its_end_is_none() -> None:
    parts = {SUPERBLOCK: packed(SMALL)}
    assert read_superblock(disk(parts, SUPERBLOCK + 76)) == SMALL
    assert read_superblock(disk(parts, SUPERBLOCK + 75)) is None


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"journal_device": 0x803}, "its journal lies on another device"),
        ({"journal_device": 0x803, "journal": 0}, "its journal lies on another device"),
        ({"faults": 1}, "its checker found faults in it"),
        ({"state": 2}, UNCLEAN),
        ({"state": 0}, UNCLEAN),
    ],
)
def test_what_speaks_against_the_bitmaps(change: dict[str, int], doubt: str) -> None:
    assert find_doubt(disk({SUPERBLOCK: packed(replace(SMALL, **change))})) == doubt


def test_the_oldest_format_is_looked_for_first() -> None:
    parts = {SUPERBLOCK: packed(SMALL), 8192: packed(SMALL, b"ReIsErFs")}
    assert find_doubt(disk(parts)) == "it is a reiserfs of the oldest format"


@pytest.mark.parametrize(
    ("header", "transactions", "doubt"),
    [
        ((0, 0), {}, ""),
        ((70, 7), {}, ""),
        ((70, 7), {7: 12}, ""),  # of the round before
        ((70, 7), {7: 70}, ""),
        ((70, 7), {7: 71}, UNCLEAN),
        ((70, 7), {8: 71}, ""),  # not where the next one goes
        ((0, 0), {59: 1}, UNCLEAN),
        ((0, 7), {0: 0}, UNCLEAN),
        ((70, 60), {3: 1}, UNCLEAN),
        ((70, 60), {}, ""),
        ((70, 0xFFFFFFFF), {}, ""),
        ((70, 7), {7: 0xFFFFFFFF}, UNCLEAN),
    ],
)
def test_a_transaction_that_was_not_flushed_is_a_doubt(
    header: tuple[int, int], transactions: dict[int, int], doubt: str
) -> None:
    assert find_doubt(journal(SMALL, header, transactions)) == doubt


@given(st.integers(0, 75), st.binary(min_size=1, max_size=24), st.integers(0, 1 << 17))
def test_any_superblock_gives_an_answer(place: int, noise: bytes, end: int) -> None:
    block = bytearray(packed(SMALL))
    block[place : place + len(noise)] = noise
    for size in (SUPERBLOCK + end, 1 << 40):
        read = disk({SUPERBLOCK: bytes(block[:76])}, size)
        found, doubt = read_superblock(read), find_doubt(read)
        assert isinstance(doubt, str)
        if found is not None:
            assert found.journal + found.journal_size < found.blocks
            assert found.first_bitmap < found.blocks
        else:
            assert "damaged" in doubt
