"""Where a file system ends, by its superblock: what lies behind it is told before the copy."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.room_behind import end_of, find_room_behind
from payload.model.disk import MIB
from tests.support.btrfs_images import SIZE, BtrfsImage

FAT = bytes(11) + (512).to_bytes(2, "little") + bytes(6) + (4096).to_bytes(2, "little")
KINDS = ("ext3", "xfs", "btrfs", "ntfs", "vfat", "reiserfs", "jfs", "")


def test_room_that_is_copied_anyway_is_not_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(512) + FAT.ljust(512, b"\0"))

    def room(size: int) -> int:
        return find_room_behind(str(disk), 512, size, "vfat")

    assert room(2 * MIB) == room(3 * MIB) == 0
    assert room(3 * MIB + 512) == MIB + 512
    assert room(MIB) == 0, "a lie"
    assert find_room_behind(str(tmp_path / "nothing"), 0, 9 * MIB, "vfat") == 0


def test_the_end_of_a_btrfs_is_that_of_its_device() -> None:
    assert end_of(BtrfsImage().write().read_at, "btrfs") == SIZE


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_ends_nowhere(kind: str) -> None:
    assert end_of(lambda _offset, _length: b"", kind) == 0


@given(st.sampled_from(KINDS), st.binary(min_size=512, max_size=512), st.integers(0, 1024))
def test_a_lying_superblock_has_some_end(kind: str, content: bytes, length: int) -> None:
    block = (content * 2)[:length]
    assert end_of(lambda _offset, size: block[:size], kind) >= 0
