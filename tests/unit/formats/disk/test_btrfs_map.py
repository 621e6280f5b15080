"""The extent tree of a btrfs: every copy of what is in use; nothing hostile is believed."""

import contextlib
from collections.abc import Callable

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.btrfs_map import read_btrfs_map
from payload.formats.disk.btrfs_tree import SUPERBLOCK
from payload.formats.disk.unknown_layout import UnknownLayoutError
from payload.model.runs import Run
from tests.support.btrfs_images import (
    CHUNK_ROOT,
    DATA,
    EXTENT_ROOT,
    METADATA,
    MIB,
    NODE,
    ROOT,
    SIZE,
    SYSTEM,
    BtrfsImage,
    chunk_item,
    node,
    sealed,
)


def map_of(image: BtrfsImage, size: int = SIZE) -> list[Run]:
    return list(read_btrfs_map(image.read_at, size))


def test_the_checksum_is_that_of_its_standard() -> None:
    """RFC 3720, B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789") == 0xE3069283


def test_what_is_in_use_is_in_use_in_every_copy() -> None:
    blocks = 4 * NODE  # of trees, one after the other
    assert map_of(BtrfsImage().write()) == [
        (SUPERBLOCK, 4096),
        *((place, NODE) for place in SYSTEM[2]),
        *((place, blocks) for place in METADATA[2]),
        (32 * MIB, 12288),
        (35 * MIB, MIB),
        (36 * MIB, MIB),
        (40 * MIB - 4096, 4096),
    ]


def test_what_is_behind_the_file_system_is_in_use() -> None:
    assert map_of(BtrfsImage().write(), SIZE + 5 * MIB)[-1] == (SIZE, 5 * MIB)


def foreign_device(image: BtrfsImage) -> None:
    image.chunks[2] = (DATA[0], chunk_item(DATA[1], DATA[2], device=2))


def striped(image: BtrfsImage) -> None:
    image.chunks[2] = (DATA[0], chunk_item(DATA[1], (32 * MIB, 48 * MIB), kind=0x08))


def overlapping(image: BtrfsImage) -> None:
    image.chunks[2] = (DATA[0], chunk_item(DATA[1], (19 * MIB,)))


def beyond(image: BtrfsImage) -> None:
    image.chunks[2] = (DATA[0], chunk_item(DATA[1], (SIZE - 4 * MIB,)))


def far_extent(image: BtrfsImage) -> None:
    image.extents.append((DATA[0] + DATA[1], 4096))


def overlapping_extents(image: BtrfsImage) -> None:
    image.extents.insert(1, (DATA[0] + 4096, 4096))


REFUSED: dict[str, Callable[[BtrfsImage], None]] = {
    "2 devices": lambda image: setattr(image, "devices", 2),
    "replayed": lambda image: setattr(image, "log", ROOT),
    "features": lambda image: setattr(image, "features", (0, 0x1341)),
    "features .*": lambda image: setattr(image, "features", (0x10, 0x341)),
    "make up": lambda image: setattr(image, "used", 5 * NODE),
    "another device": foreign_device,
    "spread over devices": striped,
    "overlap on the device": overlapping,
    "beyond the end": beyond,
    "no chunk holds": far_extent,
    "the extent at": overlapping_extents,
    "checksums": lambda image: setattr(image, "checksum", 1),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_understood_is_refused(reason: str) -> None:
    image = BtrfsImage()
    REFUSED[reason](image)
    with pytest.raises(UnknownLayoutError, match=reason):
        map_of(image.write())


def test_a_device_that_became_smaller_is_refused() -> None:
    with pytest.raises(UnknownLayoutError, match="beyond the end"):
        map_of(BtrfsImage().write(), SIZE - 4096)


def test_a_damaged_copy_is_made_up_for_by_the_other_and_two_are_not() -> None:
    image = BtrfsImage().write()
    whole = map_of(image)
    places = [place + EXTENT_ROOT - METADATA[0] for place in METADATA[2]]
    image.blocks[places[0]] = bytes(NODE)
    assert map_of(image) == whole
    image.blocks[places[1]] = bytes(NODE)
    with pytest.raises(UnknownLayoutError, match="is damaged"):
        map_of(image)


def test_a_tree_that_leads_back_into_itself_ends() -> None:
    image = BtrfsImage().write()
    first = image.metadata_items()[0][0]
    below = [(first, EXTENT_ROOT + NODE)] * 100
    image.put(METADATA, EXTENT_ROOT, node(EXTENT_ROOT, 1, below))
    with pytest.raises(UnknownLayoutError, match="out of order"):
        map_of(image)
    image.put(METADATA, EXTENT_ROOT, node(EXTENT_ROOT, 1, [(first, EXTENT_ROOT)]))
    with pytest.raises(UnknownLayoutError, match="is damaged"):
        map_of(image)


PLACES = (
    SUPERBLOCK,
    SYSTEM[2][0] + CHUNK_ROOT - SYSTEM[0],
    METADATA[2][0] + ROOT - METADATA[0],
    *(METADATA[2][0] + EXTENT_ROOT - METADATA[0] + NODE * number for number in range(3)),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.integers(32, NODE - 1), st.binary(min_size=1)),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_damaged_on_purpose_is_refused_or_a_map(
    damages: list[tuple[int, int, bytes]],
) -> None:
    """With right checksums, as somebody would make it who wants to be believed."""
    image = BtrfsImage().write()
    for place, offset, content in damages:
        block = bytearray(image.blocks[place])
        block[offset:NODE] = (content + bytes(block[offset + len(content) :]))[: NODE - offset]
        image.blocks[place] = sealed(block)
    try:
        runs = map_of(image)
    except UnknownLayoutError:
        return
    assert all(length > 0 and start >= 0 and start + length <= SIZE for start, length in runs)
    assert runs == sorted(runs)


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, NODE - 1)), min_size=1))
def test_a_flipped_bit_never_changes_the_map(bits: list[tuple[int, int]]) -> None:
    image = BtrfsImage().write()
    whole = map_of(image)
    for place, offset in bits:
        block = bytearray(image.blocks[place])
        block[offset] ^= 1 << offset % 8
        image.blocks[place] = bytes(block)
    with contextlib.suppress(UnknownLayoutError):
        assert map_of(image) == whole
