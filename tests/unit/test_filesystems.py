"""Superblocks, on bytes: the fields, and whatever a damaged disk may hold instead."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from payload.model.marker import Usage
from payload.system.filesystems import ReadAt, needs_recovery, parse_usage


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


def test_what_counts_nothing_says_so() -> None:
    assert parse_usage(reader(ext(7)), "xfs") == Usage("xfs", -1, 0)


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


@given(st.sampled_from(["ext2", "ext3", "ext4", "btrfs"]), st.binary(max_size=4096))
def test_any_bytes_give_an_answer(kind: str, noise: bytes) -> None:
    for content in (noise, bytes(1024) + noise, bytes(65536) + noise):
        assert parse_usage(reader(content), kind).counter >= -1
        assert needs_recovery(reader(content), kind) in (True, False, None)
