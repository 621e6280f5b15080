"""Why every block of a file system is copied: known before the copy, and said in the plan."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.layout import choose_method
from payload.formats.disk.ext_layout import checksum, seed_of
from payload.formats.disk.superblocks import ReadAt
from payload.model.disk import FileSystem
from payload.model.plan import SWAP_HEADER, CopyMode, Method
from payload.system.map_doubts import doubt_of
from tests.support.btrfs_images import DATA, METADATA, MIB, SIZE, SYSTEM, BtrfsImage, chunk_item
from tests.support.ntfs_images import EMPTY_LOG, NtfsImage, file_record, resident, restart_page

GB = 1 << 30


def ext(state: int, incompatible: int, read_only: int = 0) -> ReadAt:
    block = bytearray(2048)
    struct.pack_into("<H", block, 1024 + 0x38, 0xEF53)
    struct.pack_into("<H", block, 1024 + 0x3A, state)
    struct.pack_into("<I", block, 1024 + 0x60, incompatible)
    struct.pack_into("<I", block, 1024 + 0x64, read_only)
    return lambda offset, length: bytes(block[offset : offset + length])


def test_a_clean_ext_has_no_doubt_and_one_in_need_of_recovery_has() -> None:
    assert doubt_of(ext(1, 0x2C2), "ext4", GB) == ""
    assert "not unmounted cleanly" in doubt_of(ext(1, 0x2C6), "ext4", GB)
    assert "not unmounted cleanly" in doubt_of(ext(0, 0x2), "ext2", GB)


def test_an_ext_that_saw_errors_is_doubted() -> None:
    """partclone refuses it, too: so the plan has to say it."""
    assert "errors" in doubt_of(ext(3, 0x2C2), "ext4", GB)


def test_an_ext4_of_clusters_is_doubted() -> None:
    """partclone ends with "bitmap error at 0 group"."""
    assert "bigalloc" in doubt_of(ext(1, 0x2C2, 0x67B), "ext4", GB)


def ext_with_descriptor(change: int) -> ReadAt:
    """Of one group, whose descriptor has a right checksum before one of its bytes is changed."""
    block = bytearray(4096)
    struct.pack_into("<II", block, 1024, 64, 1024)
    struct.pack_into("<6I", block, 1024 + 0x14, 1, 0, 0, 8192, 8192, 64)
    struct.pack_into("<HH", block, 1024 + 0x38, 0xEF53, 1)
    struct.pack_into("<I", block, 1024 + 0x4C, 1)
    struct.pack_into("<HHIII", block, 1024 + 0x58, 128, 0, 0, 0x2, 0x400)
    block[1024 + 0x68 : 1024 + 0x78] = bytes(range(16))
    struct.pack_into("<IIIHHHH", block, 2048, 3, 4, 5, 900, 50, 1, 0)
    seed = checksum(seed_of(bytes(range(16))), struct.pack("<I", 0))
    struct.pack_into("<H", block, 2048 + 0x1E, checksum(seed, bytes(block[2048:2080])) & 0xFFFF)
    block[2048 + 8] ^= change
    return lambda offset, length: bytes(block[offset : offset + length])


def test_a_descriptor_with_a_wrong_checksum_is_seen_before_the_copy() -> None:
    assert doubt_of(ext_with_descriptor(0), "ext4", GB) == ""
    assert "group 0 has a wrong checksum" in doubt_of(ext_with_descriptor(1), "ext4", GB)


def btrfs(image: BtrfsImage) -> str:
    return doubt_of(image.write().read_at, "btrfs", SIZE)


def test_a_btrfs_on_several_devices_or_with_a_log_is_doubted() -> None:
    assert btrfs(BtrfsImage()) == ""
    assert "several devices" in btrfs(BtrfsImage(devices=2))
    assert "not unmounted cleanly" in btrfs(BtrfsImage(log=4096))


def test_a_btrfs_of_which_superblock_or_chunks_are_not_known_is_doubted() -> None:
    assert "checksums are of a kind that is not known" in btrfs(BtrfsImage(checksum=1))
    assert "features that are not known" in btrfs(BtrfsImage(features=(0, 0x1341)))
    raid0 = (DATA[0], chunk_item(DATA[1], DATA[2], kind=0x8))
    known = [(start, chunk_item(length, places)) for start, length, places in (SYSTEM, METADATA)]
    assert "spread over devices" in btrfs(BtrfsImage(chunks=[*known, raid0]))


def ntfs(image: NtfsImage) -> str:
    return doubt_of(image.read_at, "ntfs", MIB)


def test_an_ntfs_whose_log_is_empty_or_closed_has_no_doubt() -> None:
    closed = restart_page(9, in_use=False)
    assert ntfs(NtfsImage()) == ""
    assert ntfs(NtfsImage(log=closed * 2)) == ""
    assert ntfs(NtfsImage(log=restart_page(9, in_use=True, clean=True) * 2)) == ""
    assert ntfs(NtfsImage(log=restart_page(9, in_use=False, magic=b"CHKD") * 2)) == ""
    assert ntfs(NtfsImage(log=restart_page(8, in_use=True) + closed)) == "", "the newer one counts"
    torn = bytearray(restart_page(10, in_use=True))
    torn[1022] ^= 1
    assert ntfs(NtfsImage(log=bytes(torn) + closed)) == "", "one that was not written wholly"


def test_an_ntfs_that_is_dirty_or_whose_log_is_open_is_doubted() -> None:
    """After a loss of power Windows replays the log and does not set the flag."""
    assert "marked as dirty" in ntfs(NtfsImage(flags=1))
    opened = restart_page(9, in_use=True)
    assert "not unmounted cleanly" in ntfs(NtfsImage(log=opened * 2))
    older = restart_page(8, in_use=False)
    assert "not unmounted cleanly" in ntfs(NtfsImage(log=older + opened))
    assert "not unmounted cleanly" in ntfs(NtfsImage(log=b"RCRD" + EMPTY_LOG[4:]))


@pytest.mark.parametrize("number", [2, 3])
def test_an_ntfs_whose_records_are_damaged_is_doubted(number: int) -> None:
    for record in (bytes(1024), b"FILE" + b"\xff" * 1020, file_record(resident(0x10, b""))):
        assert "cannot be read" in ntfs(NtfsImage(records={number: record}))


@given(st.binary(max_size=1024), st.integers(2, 3))
def test_any_record_of_an_ntfs_is_a_reason_or_none(content: bytes, number: int) -> None:
    record = content.ljust(1024, b"\0")
    assert isinstance(ntfs(NtfsImage(records={number: record})), str)


def fat(entry: int, *, is_32: bool) -> ReadAt:
    block = bytearray(4096)
    struct.pack_into("<HBH", block, 11, 512, 8, 2)
    struct.pack_into("<H", block, 22, 0 if is_32 else 200)
    struct.pack_into("<I" if is_32 else "<H", block, 2 * 512 + (4 if is_32 else 2), entry)
    return lambda offset, length: bytes(block[offset : offset + length])


def test_a_fat_that_is_marked_as_dirty_is_doubted() -> None:
    for clean, dirty, failed, is_32 in (
        (0x0FFFFFFF, 0x07FFFFFF, 0x0BFFFFFF, True),
        (0xFFFF, 0x7FFF, 0xBFFF, False),
    ):
        assert doubt_of(fat(clean, is_32=is_32), "vfat", GB) == ""
        assert "marked as dirty" in doubt_of(fat(dirty, is_32=is_32), "vfat", GB)
        assert "marked as dirty" in doubt_of(fat(failed, is_32=is_32), "vfat", GB)


def swap(page: int, last_page: int, version: int = 1) -> ReadAt:
    block = bytearray(65536)
    struct.pack_into("<II", block, 1024, version, last_page)
    block[page - 10 : page] = b"SWAPSPACE2"
    return lambda offset, length: bytes(block[offset : offset + length])


@pytest.mark.parametrize("page", [4096, 65536])
def test_a_swap_area_that_does_not_fill_its_place_is_doubted(page: int) -> None:
    whole = GB // page - 1
    near = whole - SWAP_HEADER // page
    assert doubt_of(swap(page, whole), "swap", GB) == ""
    assert doubt_of(swap(page, near), "swap", GB) == "", "the rest is copied as its end"
    for unclear in (swap(page, near - 1), swap(page, whole, version=0), lambda *_: b""):
        doubt = doubt_of(unclear, "swap", GB)
        assert choose_method(FileSystem("swap", doubt=doubt), GB, CopyMode.USED) is Method.ALL


def test_a_doubt_is_no_part_of_what_a_file_system_is() -> None:
    system = FileSystem("ext4", "uuid")
    assert replace(system, doubt="a reason") == system


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "ntfs", "vfat"])
def test_a_superblock_that_cannot_be_read_is_a_doubt(kind: str) -> None:
    assert "cannot be read" in doubt_of(lambda _offset, _length: b"", kind, GB)


@pytest.mark.parametrize("kind", ["zfs_member", ""])
def test_what_has_no_map_that_is_used_is_not_doubted(kind: str) -> None:
    assert doubt_of(lambda _offset, _length: b"", kind, GB) == ""
