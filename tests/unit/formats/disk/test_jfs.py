"""The superblock of a jfs, and what it says of its last use. Its map is tried in test_jfs_map.py.

Layout: Linux 6.1, fs/jfs/jfs_superblock.h.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.jfs import SUPERBLOCK, Superblock, find_doubt, read_superblock
from payload.formats.disk.superblocks import ReadAt
from payload.model.map_kinds import UNCLEAN


def superblock(
    magic: bytes = b"JFS1",
    version: int = 1,
    size: int = 80_000,
    block_size: int = 4096,
    sector: int = 512,
    state: int = 0,
) -> bytes:
    head = struct.pack("<4sIQI", magic, version, size, block_size)
    words = struct.pack("<HHIHHIIII", 12, 3, sector, 9, 0, 8192, 0, state, 0)
    # s_ait2 and s_aim2: 24 bits of length and the upper 8 of the address, then its lower 32.
    return head + words + struct.pack("<IIII", 1 << 24 | 4, 50, 2, 8292)


def disk(block: bytes) -> ReadAt:
    def read(offset: int, length: int) -> bytes:
        assert offset == SUPERBLOCK
        return block[:length]

    return read


def test_a_superblock_tells_its_blocks_state_and_copies() -> None:
    found = read_superblock(disk(superblock(state=2)))
    assert found == Superblock(10_000, 2, (((1 << 32) + 50, 4), (8292, 2)))
    larger = read_superblock(disk(superblock(sector=4096)))
    assert larger and larger.blocks == 80_000, "its size is counted in sectors of the device"


@pytest.mark.parametrize(
    "block",
    [
        superblock(magic=b"JFS2"),
        superblock(version=0),
        superblock(version=3),
        superblock(block_size=2048),
        superblock(block_size=0),
        superblock(sector=0),
        superblock(sector=8192),
        superblock()[:63],
        b"",
    ],
)
def test_what_cannot_be_is_no_superblock_and_a_doubt(block: bytes) -> None:
    assert read_superblock(disk(block)) is None
    assert find_doubt(disk(block)) == "its superblock is damaged"


@pytest.mark.parametrize("state", [1, 2, 4, 8, 0xFFFFFFFF])
def test_every_state_but_the_clean_one_is_a_doubt(state: int) -> None:
    """FM_MOUNT, FM_DIRTY, FM_LOGREDO, FM_EXTENDFS."""
    assert find_doubt(disk(superblock(state=state))) == UNCLEAN
    assert find_doubt(disk(superblock())) == ""
    assert find_doubt(disk(superblock(version=2))) == ""


@given(st.binary(max_size=80), st.integers(0, 64))
def test_any_bytes_are_a_superblock_or_none(noise: bytes, place: int) -> None:
    for block in (noise, superblock()[:place] + noise + superblock()[place + len(noise) :]):
        found = read_superblock(disk(block))
        assert (find_doubt(disk(block)) == "its superblock is damaged") is (found is None)
        assert found is None or all(0 <= at < 1 << 40 for at, _ in found.copies)
