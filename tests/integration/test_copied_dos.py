"""NTFS and FAT, copied onto disks full of something else: as clean as the source, file by file.

What ntfsresize counts of an NTFS is every cluster that its files hold against its bitmap.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from payload.system.command import run
from tests.support.ntfs_images import restart_page
from tests.support.server_image import MIB, make_image, tool
from tests.support.streamed_copy import overwrite, read
from tests.support.used_file_systems import (
    digests,
    filled_copy,
    findings,
    is_equal,
    is_planned_whole,
    notes,
    treatment,
    use,
)

pytestmark = pytest.mark.root

SIZE = 32 * MIB
NTFS_CHECKS = (("ntfsfix", "-n"), ("ntfsresize", "--info", "--force", "--no-progress-bar"))
NTFS = {
    "as mkntfs makes it": [],
    "clusters of 512": ["-c", "512"],
    "clusters of 64 KiB": ["-c", "65536"],
    "compressed": ["-C"],
}
RECORD, MIRROR = 1024, 3  # bytes of a record of the MFT; the number of $Volume


@contextmanager
def mounted(image: Path, options: str) -> Iterator[Path]:
    """By ntfs-3g, since the kernel may know no NTFS."""
    with TemporaryDirectory(dir=image.parent) as directory:
        run(["ntfs-3g", "-o", options, str(image), directory])
        try:
            yield Path(directory)
        finally:
            run(["umount", directory])


def make_ntfs(directory: Path, options: list[str]) -> Path:
    image = make_image(directory / "ntfs.img", SIZE)
    tool("mkntfs", "-q", "-F", "-Q", *options, str(image))
    return image


def ntfs_findings(image: Path) -> list[tuple[int, str]]:
    return [findings(image, *check) for check in NTFS_CHECKS]


@pytest.mark.parametrize("name", NTFS)
def test_an_ntfs_is_as_clean_as_its_source(name: str, tmp_path: Path) -> None:
    image = make_ntfs(tmp_path, NTFS[name])
    with mounted(image, "rw,compression") as root:
        use(root)
        wanted = digests(root)
    copy, there = filled_copy(tmp_path, image)
    assert "blocks in use" in treatment(copy) and notes(copy) == []
    before = ntfs_findings(image)
    assert [code for code, _ in before] == [0, 0], before
    assert ntfs_findings(there) == before
    assert not is_equal(image, there), "what is free was not copied"
    with mounted(there, "ro") as root:
        assert digests(root) == wanted


def clusters(image: Path) -> tuple[int, int, int]:
    """Bytes of a cluster, and where the MFT and its mirror begin."""
    boot = read(image, 0, 512)
    size = int.from_bytes(boot[11:13], "little") * boot[13]
    table, mirror = (int.from_bytes(boot[at : at + 8], "little") for at in (0x30, 0x38))
    return size, table * size, mirror * size


def test_an_ntfs_marked_as_dirty_is_copied_whole(tmp_path: Path) -> None:
    image = make_ntfs(tmp_path, [])
    _, table, mirror = clusters(image)
    record = bytearray(read(image, table + MIRROR * RECORD, RECORD))
    attribute = record.index(b"\x70\0\0\0", 0x38)
    record[attribute + 0x18 + 10] |= 1  # VOLUME_IS_DIRTY
    for place in (table, mirror):
        overwrite(image, place + MIRROR * RECORD, bytes(record))
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "it is marked as dirty") and notes(copy) == []
    assert is_equal(image, there) and ntfs_findings(there) == ntfs_findings(image)


def test_an_ntfs_whose_log_is_open_is_copied_whole(tmp_path: Path) -> None:
    """As Windows leaves it when the power fails; partclone does not look at it."""
    image = make_ntfs(tmp_path, [])
    size, table, _ = clusters(image)
    record = read(image, table + 2 * RECORD, RECORD)
    attribute = record.index(b"\x80\0\0\0", 0x38)
    runs = attribute + int.from_bytes(record[attribute + 0x20 : attribute + 0x22], "little")
    length, width = record[runs] & 15, record[runs] >> 4
    first = int.from_bytes(record[runs + 1 + length : runs + 1 + length + width], "little")
    overwrite(image, first * size, restart_page(9, in_use=True) * 2)
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "it was not unmounted cleanly") and notes(copy) == []
    assert is_equal(image, there) and ntfs_findings(there) == ntfs_findings(image)


# --- FAT


FAT_CHECK = ("fsck.vfat", "-n")


def make_fat(directory: Path, bits: int, size: int) -> Path:
    """With files in it, and room where others were. A FAT knows no sparse files."""
    image, files = make_image(directory / "fat.img", size), directory / "files"
    tool("mkfs.vfat", "-F", str(bits), str(image))
    files.mkdir()
    use(files)
    late = files / "into the holes"
    early = sorted(one for one in files.iterdir() if one != late and "sparse" not in one.name)
    tool("mcopy", "-s", "-Q", "-i", str(image), *map(str, early), "::")
    tool("mdel", "-i", str(image), "::directory1/*")
    tool("mcopy", "-i", str(image), str(late), "::")
    return image


def fat_digests(image: Path) -> dict[str, str]:
    with TemporaryDirectory(dir=image.parent) as directory:
        tool("mcopy", "-s", "-Q", "-n", "-i", str(image), "::*", directory)
        return digests(Path(directory))


@pytest.mark.parametrize(("bits", "size"), [(12, 16), (16, 32), (32, 48)])
def test_a_small_fat_is_copied_whole(bits: int, size: int, tmp_path: Path) -> None:
    image = make_fat(tmp_path, bits, size * MIB)
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "a FAT this small is not relied on")
    assert is_equal(image, there)


@pytest.mark.parametrize("bits", [16, 32])
def test_a_large_fat_is_as_clean_as_its_source(bits: int, tmp_path: Path) -> None:
    image = make_fat(tmp_path, bits, 260 * MIB)
    copy, there = filled_copy(tmp_path, image)
    assert "blocks in use" in treatment(copy) and notes(copy) == []
    before = findings(image, *FAT_CHECK)
    assert before[0] == 0, before
    assert findings(there, *FAT_CHECK) == before
    assert fat_digests(there) == fat_digests(image)


def test_a_fat_marked_as_dirty_is_copied_whole(tmp_path: Path) -> None:
    image = make_image(tmp_path / "fat.img", 260 * MIB)
    tool("mkfs.vfat", "-F", "32", str(image))
    reserved = int.from_bytes(read(image, 14, 2), "little")
    overwrite(image, reserved * 512 + 4, b"\xff\xff\xff\x07")  # without ClnShutBitMask
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "it is marked as dirty") and notes(copy) == []
    assert findings(there, *FAT_CHECK) == findings(image, *FAT_CHECK)
    assert is_equal(image, there)
