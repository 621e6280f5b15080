"""Disks whose content lies on the disk itself, although the first sector looks like a table."""

import os
import struct
from pathlib import Path

import pytest

from payload.model.map_kinds import FAT12_LIMIT
from payload.model.plan import CopyMode, Method
from tests.support.second_disk import copy_of
from tests.support.server_image import MIB, make_image, tool
from tests.support.stream_disks import SECTOR, place_ext
from tests.support.streamed_copy import overwrite, read

pytestmark = pytest.mark.root
ONE_FILE = os.urandom(3 * MIB + 17)


def make_fat(path: Path, size: int) -> None:
    make_image(path, size)
    tool("mkfs.vfat", str(path))
    file = path.with_suffix(".file")
    file.write_bytes(ONE_FILE)
    for number in range(4):
        tool("mcopy", "-i", str(path), str(file), f"::f{number}")


def make_boot_sector(path: Path, size: int, name: bytes) -> None:
    """As mkfs writes it: a jump, the name of the format, 55 AA, and content all over the disk."""
    make_image(path, size)
    sector = bytearray(SECTOR)
    sector[:3] = b"\xeb\x52\x90"
    sector[3:11] = name
    sector[11:14] = struct.pack("<HB", SECTOR, 8)
    sector[510:] = b"\x55\xaa"
    overwrite(path, 0, bytes(sector))
    for offset in range(2 * MIB, size, 7 * MIB):
        overwrite(path, offset, os.urandom(70_000))


def files_of_fat(path: Path, directory: Path) -> list[bytes]:
    contents = []
    for number in range(4):
        back = directory / f"back{number}"
        tool("mcopy", "-n", "-i", str(path), f"::f{number}", str(back))
        contents.append(back.read_bytes())
    return contents


@pytest.mark.parametrize("mode", CopyMode)
@pytest.mark.parametrize("size", [40 * MIB, FAT12_LIMIT + 40 * MIB])
def test_a_fat_on_the_whole_disk_is_copied_with_every_file(
    tmp_path: Path, mode: CopyMode, size: int
) -> None:
    """sfdisk calls its boot sector an MBR without partitions, because it ends in 55 AA."""
    make_fat(tmp_path / "fat.img", size)
    copy, its = copy_of(tmp_path, tmp_path / "fat.img", mode)
    region = copy.plan.regions[-1]
    assert (region.number, region.start, region.size, region.file_system) == (0, 0, size, "vfat")
    assert copy.plan.disks[1].table is None
    assert files_of_fat(its, tmp_path) == [ONE_FILE] * 4
    if region.method is Method.ALL:
        assert read(its, 0, size) == read(tmp_path / "fat.img", 0, size)


@pytest.mark.parametrize("name", [b"NTFS    ", b"EXFAT   ", b"UNKNOWN "])
def test_whatever_ends_its_first_sector_like_a_table_is_copied_whole(
    tmp_path: Path, name: bytes
) -> None:
    make_boot_sector(tmp_path / "data.img", 40 * MIB, name)
    copy, its = copy_of(tmp_path, tmp_path / "data.img")
    assert copy.plan.regions[-1].size == 40 * MIB
    assert read(its, 0, 40 * MIB) == read(tmp_path / "data.img", 0, 40 * MIB)


def test_a_table_without_partitions_over_content_is_copied_whole(tmp_path: Path) -> None:
    data = make_image(tmp_path / "data.img", 40 * MIB)
    tool("sfdisk", "-q", str(data), stdin="label: dos\n")
    overwrite(data, 20 * MIB, b"only here")
    _, its = copy_of(tmp_path, data)
    assert read(its, 0, 40 * MIB) == read(data, 0, 40 * MIB)


def test_a_file_system_beside_an_empty_table_is_copied_by_its_map(tmp_path: Path) -> None:
    data = make_image(tmp_path / "data.img", 40 * MIB)
    place_ext(tmp_path, data, 0, 40 * MIB // SECTOR)
    tool("sfdisk", "-q", "--wipe=never", str(data), stdin="label: dos\n")
    copy, its = copy_of(tmp_path, data)
    assert copy.plan.regions[-1].method is Method.USED
    assert copy.receiver.reports()[-1].used < 40 * MIB
    tool("e2fsck", "-fn", str(its))
    assert read(its, 0, MIB) == read(data, 0, MIB)
