"""The list of bad blocks of an ext file system, and checksums of its groups."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.ext_layout import check_descriptor
from payload.formats.disk.ext_proof import check_bitmap, find_bad_blocks
from payload.formats.disk.unknown_layout import ContradictionError

BLOCK = 1024


def inode(*numbers: int, flags: int = 0) -> bytes:
    content = bytearray(128)
    struct.pack_into("<I", content, 32, flags)
    struct.pack_into(f"<{len(numbers)}I", content, 40, *numbers)
    return bytes(content)


def listing(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers).ljust(BLOCK, b"\0")


def test_bad_blocks_and_the_blocks_that_list_them_are_named() -> None:
    lists = {50: listing(7, 8), 60: listing(61), 61: listing(9)}
    numbers = [3, 4, *[0] * 10, 50, 60, 0]
    assert list(find_bad_blocks(inode(*numbers), BLOCK, 100, lists.__getitem__)) == [
        *(3, 4),
        *(50, 7, 8),
        *(60, 61, 9),
    ]
    assert list(find_bad_blocks(inode(), BLOCK, 100, lists.__getitem__)) == []


@pytest.mark.parametrize("hostile", [inode(100), inode(flags=0x80000), inode(*[0] * 12, 50)])
def test_a_list_that_cannot_be_is_a_contradiction(hostile: bytes) -> None:
    with pytest.raises(ContradictionError):
        list(find_bad_blocks(hostile, BLOCK, 100, lambda number: listing(number, 1 << 31)))


def test_a_list_that_leads_back_into_itself_ends() -> None:
    everything = listing(*[50] * (BLOCK // 4))
    with pytest.raises(ContradictionError, match="damaged"):
        list(find_bad_blocks(inode(*[0] * 14, 50), BLOCK, 1000, lambda _: everything))


@given(st.binary(min_size=128, max_size=128), st.binary(min_size=BLOCK, max_size=BLOCK))
def test_any_list_is_blocks_of_the_file_system_or_refused(content: bytes, below: bytes) -> None:
    try:
        found = list(find_bad_blocks(content, BLOCK, 1 << 12, lambda _: below))
    except ContradictionError:
        return
    assert all(0 < block < 1 << 12 for block in found)


def test_any_changed_byte_is_seen_by_its_checksum() -> None:
    """The checksums are those that mke2fs writes, as the integration tests try."""
    with pytest.raises(ContradictionError, match="descriptor of group 3"):
        check_descriptor(7, 3, bytes(range(64)))
    with pytest.raises(ContradictionError, match="bitmap of group 3"):
        check_bitmap(7, 3, bytes(range(64)), bytes(BLOCK))
