"""The bitmaps of an ext file system: what they call used is copied; nothing hostile is believed."""

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.ext_map import read_ext_map
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.disk import MIB
from payload.model.runs import Run
from tests.support.ext_images import (
    BLOCKS,
    DATA,
    DESCRIPTORS,
    GROUP_CHECKSUMS,
    INODE_TABLE,
    RESERVED,
    SIZE,
    SPARSE,
    UNIT,
    ExtImage,
    begin_of,
    metadata_of,
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


def map_of(image: ExtImage, disk: Path, size: int = SIZE) -> list[Run]:
    return list(read_ext_map(image.write(disk), size))


def blocks_of(runs: list[Run]) -> set[int]:
    return {
        block for start, length in runs for block in range(start // UNIT, (start + length) // UNIT)
    }


def test_each_group_is_one_run_from_its_first_to_its_last_block(disk: Path) -> None:
    assert map_of(ExtImage(), disk) == [
        (1 * UNIT, 256 * UNIT),
        (257 * UNIT, 100 * UNIT),
        (513 * UNIT, 201 * UNIT),
        (769 * UNIT, 100 * UNIT),
    ]


@pytest.mark.parametrize("read_only", [0, SPARSE, SPARSE | GROUP_CHECKSUMS])
def test_every_block_in_use_is_in_the_map_of_every_kind(disk: Path, read_only: int) -> None:
    image = ExtImage(read_only=read_only)
    if not read_only & SPARSE:  # then each group has copies
        image.used |= {begin_of(2) + 4, begin_of(2) + 5}
    assert blocks_of(map_of(image, disk)) >= RESERVED | DATA


def test_what_is_behind_the_file_system_is_in_use(disk: Path) -> None:
    assert map_of(ExtImage(), disk, SIZE + 5 * MIB)[-1] == (SIZE, 5 * MIB)


def test_a_group_whose_bitmap_was_never_written_holds_its_metadata_only(disk: Path) -> None:
    image = ExtImage(unwritten={2})
    image.used -= DATA
    begin, (bitmap, _, table) = begin_of(2), metadata_of(2)
    assert bitmap == begin
    assert map_of(image, disk)[2] == (begin * UNIT, (table + INODE_TABLE - begin) * UNIT)


def test_a_group_with_a_copy_of_the_superblock_holds_that_too(disk: Path) -> None:
    image = ExtImage(unwritten={1})
    image.used -= {begin_of(1) + 99}
    assert map_of(image, disk)[1] == (begin_of(1) * UNIT, 6 * UNIT)


@pytest.mark.parametrize(
    "block", [1, 2, *metadata_of(0), *metadata_of(2), metadata_of(3)[2] + INODE_TABLE - 1]
)
def test_a_bitmap_that_calls_metadata_free_is_no_map(disk: Path, block: int) -> None:
    image = ExtImage()
    image.used.remove(block)
    with pytest.raises(ContradictionError, match="calls free what is in use"):
        map_of(image, disk)


def test_a_bad_block_is_in_use_even_if_nobody_wrote_to_it(disk: Path) -> None:
    bad = begin_of(1) + 50
    image = ExtImage(bad=(bad,))
    with pytest.raises(ContradictionError, match="group 1 calls free what is in use"):
        map_of(image, disk)
    image.used.add(bad)
    assert bad in blocks_of(map_of(image, disk))


def test_a_list_of_bad_blocks_that_cannot_be_is_no_map(disk: Path) -> None:
    with pytest.raises(ContradictionError, match="list of bad blocks is damaged"):
        map_of(ExtImage(bad=(BLOCKS,)), disk)


@pytest.mark.parametrize("wrong", [0, 5, 200, 0xFFFF])
def test_a_group_with_another_count_of_free_blocks_is_no_map(disk: Path, wrong: int) -> None:
    with pytest.raises(ContradictionError, match="group 1 has not as many free blocks"):
        map_of(ExtImage(free={1: wrong}), disk)
    with pytest.raises(ContradictionError, match="group 2 has not as many free blocks"):
        map_of(ExtImage(free={2: wrong}, unwritten={2}), disk)


def test_a_changed_bit_of_a_bitmap_is_seen_by_its_checksum(disk: Path) -> None:
    device = ExtImage().write(disk)
    with disk.open("r+b") as file:
        file.seek(metadata_of(2)[0] * UNIT + 20)
        file.write(b"\x01")
    with pytest.raises(ContradictionError, match="bitmap of group 2 has a wrong checksum"):
        list(read_ext_map(device, SIZE))


def test_a_device_that_ends_within_a_bitmap_is_refused(disk: Path) -> None:
    device = ExtImage().write(disk)
    with disk.open("r+b") as file:
        file.truncate(metadata_of(3)[0] * UNIT + 8)
    with pytest.raises(UnknownLayoutError, match="cannot be read"):
        list(read_ext_map(device, SIZE))


def test_a_device_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_ext_map(str(tmp_path / "gone"), SIZE))


NUMBERS = st.integers(0, BLOCKS).map(lambda number: struct.pack("<I", number))
LIES = st.lists(
    st.tuples(
        st.sampled_from([1024, DESCRIPTORS * UNIT, metadata_of(0)[2] * UNIT + 32]),
        st.integers(0, 130),
        st.binary(min_size=1, max_size=8)
        | st.integers(0, BLOCKS).map(lambda n: struct.pack("<I", n)),
    ),
    min_size=1,
    max_size=3,
)


@given(LIES, st.sampled_from([0, SPARSE, SPARSE | GROUP_CHECKSUMS]))
def test_a_lie_without_checksums_is_refused_or_the_map_lies_inside(
    lies: list[tuple[int, int, bytes]], read_only: int
) -> None:
    content = ExtImage(read_only=read_only).content()
    for base, place, lie in lies:
        content[base + place : base + place + len(lie)] = lie
    with TemporaryDirectory() as name:
        disk = Path(name, "disk")
        disk.write_bytes(content)
        try:
            runs = list(read_ext_map(str(disk), SIZE))
        except UnknownLayoutError:
            return
    assert runs == sorted(runs)
    assert all(0 <= start < start + length <= SIZE for start, length in runs)
