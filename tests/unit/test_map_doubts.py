"""Why every block of a file system is copied: known before the copy, and said in the plan."""

import struct
from dataclasses import replace

import pytest

from payload.model.disk import FileSystem
from payload.model.map_kinds import FAT12_LIMIT, why_whole
from payload.model.plan import SWAP_HEADER, CopyMode, Method
from payload.replicate.layout import choose_method
from payload.system.filesystems import ReadAt
from payload.system.map_doubts import doubt_of
from tests.support.btrfs_images import BtrfsImage

GB = 1 << 30


def ext(state: int, incompatible: int) -> ReadAt:
    block = bytearray(2048)
    struct.pack_into("<H", block, 1024 + 0x38, 0xEF53)
    struct.pack_into("<H", block, 1024 + 0x3A, state)
    struct.pack_into("<I", block, 1024 + 0x60, incompatible)
    return lambda offset, length: bytes(block[offset : offset + length])


@pytest.mark.parametrize(
    ("system", "size", "reason"),
    [
        (FileSystem("ext4"), GB, ""),
        (FileSystem("ext4", doubt="of a reason"), GB, "of a reason"),
        (FileSystem("vfat"), FAT12_LIMIT + 1, ""),
        (FileSystem("vfat"), FAT12_LIMIT, "a FAT this small"),
        (FileSystem("reiserfs"), GB, ""),
        (FileSystem("jfs"), GB, ""),
        (FileSystem("f2fs"), GB, "f2fs is not read"),
        (FileSystem("exfat"), GB, "exfat is not read"),
        (FileSystem("crypto_LUKS"), GB, ""),
        (None, GB, ""),
    ],
)
def test_what_is_copied_whole_has_a_reason(
    system: FileSystem | None, size: int, reason: str
) -> None:
    why = why_whole(system, size)
    assert reason in why and bool(why) is bool(reason)
    if reason:
        assert choose_method(system, size, CopyMode.USED) is Method.ALL


def test_a_clean_ext_has_no_doubt_and_one_in_need_of_recovery_has() -> None:
    assert doubt_of(ext(1, 0x2C2), GB, "ext4") == ""
    assert "not unmounted cleanly" in doubt_of(ext(1, 0x2C6), GB, "ext4")
    assert "not unmounted cleanly" in doubt_of(ext(0, 0x2), GB, "ext2")


def test_a_btrfs_on_several_devices_or_with_a_log_is_doubted() -> None:
    assert doubt_of(BtrfsImage().write().read_at, GB, "btrfs") == ""
    assert "several devices" in doubt_of(BtrfsImage(devices=2).write().read_at, GB, "btrfs")
    assert "not unmounted cleanly" in doubt_of(BtrfsImage(log=4096).write().read_at, GB, "btrfs")


def swap(page: int, last_page: int, version: int = 1) -> ReadAt:
    block = bytearray(65536)
    struct.pack_into("<II", block, 1024, version, last_page)
    block[page - 10 : page] = b"SWAPSPACE2"
    return lambda offset, length: bytes(block[offset : offset + length])


@pytest.mark.parametrize("page", [4096, 65536])
def test_a_swap_area_that_does_not_fill_its_place_is_doubted(page: int) -> None:
    whole = GB // page - 1
    near = whole - SWAP_HEADER // page
    assert doubt_of(swap(page, whole), GB, "swap") == ""
    assert doubt_of(swap(page, near), GB, "swap") == "", "the rest is copied as its end"
    for unclear in (swap(page, near - 1), swap(page, whole, version=0), lambda *_: b""):
        doubt = doubt_of(unclear, GB, "swap")
        assert choose_method(FileSystem("swap", doubt=doubt), GB, CopyMode.USED) is Method.ALL


def test_a_doubt_is_no_part_of_what_a_file_system_is() -> None:
    system = FileSystem("ext4", "uuid")
    assert replace(system, doubt="a reason") == system


@pytest.mark.parametrize("kind", ["ext4", "btrfs", ""])
def test_what_cannot_be_read_is_not_doubted(kind: str) -> None:
    assert doubt_of(lambda _offset, _length: b"", GB, kind) == ""
