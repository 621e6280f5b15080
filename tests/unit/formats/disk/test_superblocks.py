"""Superblocks, on bytes: the fields, and whatever a damaged disk may hold instead."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.superblocks import (
    ReadAt,
    needs_recovery,
    parse_usage,
    read_has_pending_journal,
    xfs_sizes,
)
from payload.model.errors import ToolError
from payload.model.marker import Usage


def reader(content: bytes) -> ReadAt:
    return lambda offset, length: content[offset : offset + length]


def ext(count: int = 0, time: int = 0, state: int = 1, incompatible: int = 0) -> bytes:
    block = bytearray(1024)
    struct.pack_into("<I", block, 0x2C, time & 0xFFFFFFFF)
    struct.pack_into("<HHHH", block, 0x34, count, 0xFFFF, 0xEF53, state)
    struct.pack_into("<I", block, 0x60, incompatible)
    block[0x275] = time >> 32
    return bytes(1024) + bytes(block)


def btrfs(generation: int = 0, log_root: int = 0) -> bytes:
    block = bytearray(4096)
    block[0x40:0x48] = b"_BHRfS_M"
    struct.pack_into("<Q", block, 0x48, generation)
    struct.pack_into("<Q", block, 0x60, log_root)
    return bytes(65536) + bytes(block)


def test_ext_counts_mounts_and_knows_times_beyond_2038() -> None:
    late = 1 << 33 | 5
    assert parse_usage(reader(ext(7, late)), "ext3") == Usage("ext3", 7, late)


def test_btrfs_counts_generations() -> None:
    assert parse_usage(reader(btrfs(1234)), "btrfs") == Usage("btrfs", 1234)


def xfs(blocks: int, rounds: int, written: int) -> bytes:
    """An xfs of nothing but a log that lies in its second group; the ring's round `rounds` has
    come as far as block `written`."""
    block = bytearray(4096)
    block[:4] = b"XFSB"
    struct.pack_into(">I", block, 4, 4096)
    struct.pack_into(">Q", block, 48, 1 << 8 | 3)  # group 1, block 3
    struct.pack_into(">II", block, 84, 10, 2)  # blocks of a group, groups
    struct.pack_into(">I", block, 96, blocks // 8)
    block[124] = 8  # bits of a group's block number
    log = bytearray()
    for number in range(blocks):
        words = (0xFEEDBABE, rounds) if number % 2 == 0 else (rounds, 7)
        older = (0xFEEDBABE, rounds - 1) if number % 2 == 0 else (rounds - 1, 7)
        log += struct.pack(">II", *(words if number < written else older)).ljust(512, b"\0")
    return bytes(block) + bytes(12 * 4096) + bytes(log)


@given(st.integers(1, 64), st.integers(1, 1000))
def test_xfs_tells_how_far_its_log_was_written(written: int, rounds: int) -> None:
    expected = Usage("xfs", rounds << 32 | written)
    assert parse_usage(reader(xfs(64, rounds, written)), "xfs") == expected


def test_an_xfs_that_keeps_its_log_elsewhere_or_is_damaged_says_nothing() -> None:
    whole = bytearray(xfs(64, 3, 5))
    whole[48:56] = bytes(8)
    assert parse_usage(reader(bytes(whole)), "xfs") == Usage("xfs")
    assert parse_usage(reader(xfs(64, 3, 5)[:4096]), "xfs") == Usage("xfs")
    assert parse_usage(reader(xfs(64, 0xFFFFFFFF, 5)), "xfs") == Usage("xfs")


def test_what_counts_nothing_says_so() -> None:
    assert parse_usage(reader(ext(7)), "xfs") == Usage("xfs", -1, 0)
    assert parse_usage(reader(ext(7)), "jfs") == Usage("jfs", -1, 0)


def test_a_dirty_journal_or_a_missing_clean_mark_needs_recovery() -> None:
    assert needs_recovery(reader(ext()), "ext4") is False
    assert needs_recovery(reader(ext(incompatible=0x4)), "ext4") is True
    assert needs_recovery(reader(ext(state=0)), "ext2") is True
    assert needs_recovery(reader(btrfs(log_root=4096)), "btrfs") is True
    assert needs_recovery(reader(btrfs()), "btrfs") is False
    assert needs_recovery(reader(ext()), "xfs") is None


@given(st.sampled_from(["ext2", "ext4", "btrfs"]), st.integers(0, 2048))
def test_a_cut_superblock_says_nothing(kind: str, missing: int) -> None:
    whole = btrfs(5) if kind == "btrfs" else ext(5)
    cut = reader(whole[: len(whole) - missing])
    assert parse_usage(cut, kind).counter == (-1 if missing else 5)
    assert needs_recovery(cut, kind) is (None if missing else False)


@given(st.sampled_from(["ext2", "ext3", "ext4", "btrfs", "xfs"]), st.binary(max_size=4096))
def test_any_bytes_give_an_answer(kind: str, noise: bytes) -> None:
    for content in (
        noise,
        b"XFSB" + noise,
        xfs(8, 1, 1)[:56] + noise,
        bytes(1024) + noise,
        bytes(65536) + noise,
    ):
        assert parse_usage(reader(content), kind).counter >= -1
        assert needs_recovery(reader(content), kind) in (True, False, None)


def test_what_an_xfs_has_in_use_is_what_it_does_not_call_free() -> None:
    block = bytearray(512)
    block[:4] = b"XFSB"
    struct.pack_into(">IQ", block, 4, 4096, 1000)
    struct.pack_into(">Q", block, 144, 400)
    assert xfs_sizes(lambda _offset, _length: bytes(block)) == (1000 * 4096, 600 * 4096)
    assert xfs_sizes(lambda _offset, _length: bytes(512)) == (0, 0)
    assert xfs_sizes(lambda _offset, _length: b"XFSB") == (0, 0)


def test_a_file_system_that_lies_on_no_device_has_no_journal() -> None:
    assert not read_has_pending_journal("none", "tmpfs")
    with pytest.raises(ToolError, match="What /nowhere says of itself could not be read"):
        read_has_pending_journal("/nowhere", "ext4")
