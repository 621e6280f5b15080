"""The superblock and the groups of an ext file system: known and sound, or refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.ext_layout import (
    Superblock,
    check_descriptor,
    checksum,
    parse_superblock,
    read_exactly,
    read_layout,
    seed_of,
)
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from tests.support.ext_images import (
    BLOCKS,
    CHECKSUMS,
    DESCRIPTORS,
    GROUP_CHECKSUMS,
    GROUPS,
    PER_GROUP,
    SIZE,
    SPARSE,
    UNIT,
    UUID,
    ExtImage,
    metadata_of,
)


def test_a_superblock_tells_where_everything_lies() -> None:
    assert parse_superblock(ExtImage().superblock()) == Superblock(
        block_size=UNIT, blocks=BLOCKS, first=1, per_group=PER_GROUP, inode_table=2,
        descriptor=32, reserved=0, first_meta_group=1 << 20, sparse=True, has_uninit=True,
        seed=seed_of(UUID),
    )  # fmt: skip
    plain = parse_superblock(ExtImage(read_only=0).superblock())
    assert (plain.sparse, plain.has_uninit, plain.seed) == (False, False, None)
    assert parse_superblock(ExtImage(read_only=GROUP_CHECKSUMS).superblock()).has_uninit


def test_numbers_of_64_bits_count_only_where_the_feature_says_so() -> None:
    block = bytearray(ExtImage(incompatible=0x82, descriptor=64).superblock())
    struct.pack_into("<I", block, 0x150, 1)  # s_blocks_count_hi
    struct.pack_into("<I", block, 0x14, 0)
    struct.pack_into("<I", block, 0x18, 2)  # blocks of 4 KiB
    struct.pack_into("<I", block, 0x20, 32768)
    found = parse_superblock(bytes(block))
    assert (found.blocks, found.descriptor, found.per_block) == ((1 << 32) + BLOCKS, 64, 64)
    struct.pack_into("<I", block, 0x60, 0x2)
    found = parse_superblock(bytes(block))
    assert (found.blocks, found.descriptor) == (BLOCKS, 32)


def test_a_seed_in_the_superblock_is_taken_where_the_feature_says_so() -> None:
    block = bytearray(ExtImage(incompatible=0x2002).superblock())
    struct.pack_into("<I", block, 0x270, 4711)
    assert parse_superblock(bytes(block)).seed == 4711


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (ExtImage(state=0), "no clean ext"),
        (ExtImage(state=3), "no clean ext"),
        (ExtImage(revision=0), "no clean ext"),
        (ExtImage(incompatible=0x6), "features that are not known"),  # needs recovery
        (ExtImage(incompatible=0xA), "features that are not known"),  # a journal device
        (ExtImage(incompatible=0x3), "features that are not known"),  # compression
        (ExtImage(incompatible=1 << 31), "features that are not known"),
        (ExtImage(read_only=0x200), "features that are not known"),  # bigalloc
        (ExtImage(compatible=0x200), "features that are not known"),  # sparse_super2
        (ExtImage(log_size=7), "superblock is damaged"),
        (ExtImage(log_size=0xFFFFFFFF), "superblock is damaged"),
        (ExtImage(log_size=1), "superblock is damaged"),  # its first block is 0 then
        (ExtImage(first=0), "superblock is damaged"),
        (ExtImage(blocks=1), "superblock is damaged"),
        (ExtImage(per_group=0), "superblock is damaged"),
        (ExtImage(per_group=252), "superblock is damaged"),
        (ExtImage(per_group=8 * UNIT + 8), "superblock is damaged"),
        (ExtImage(per_group=8, inodes_each=8, blocks=1 << 24), "superblock is damaged"),
        (ExtImage(inodes_each=0), "superblock is damaged"),
        (ExtImage(inodes_each=1 << 31), "superblock is damaged"),
        (ExtImage(incompatible=0x82, descriptor=0), "superblock is damaged"),
        (ExtImage(incompatible=0x82, descriptor=48), "superblock is damaged"),
    ],
)
def test_what_is_not_known_or_cannot_be_is_refused(image: ExtImage, reason: str) -> None:
    with pytest.raises(UnknownLayoutError, match=reason):
        parse_superblock(image.superblock())


def test_groups_are_told_in_their_order() -> None:
    superblock, groups = read_layout(ExtImage(unwritten={2}).read_at, SIZE)
    assert (superblock.groups, len(groups)) == (GROUPS, GROUPS)
    told = [(one.block_bitmap, one.inode_bitmap, one.inode_table) for one in groups]
    assert told == [metadata_of(number) for number in range(GROUPS)]
    assert [one.uninit for one in groups] == [False, False, True, False]
    assert groups[3].free == 93
    assert (superblock.begin(3), superblock.length(3)) == (769, 100)
    assert [superblock.group_of(block) for block in (0, 1, 256, 257, 868)] == [0, 0, 0, 1, 3]


def test_a_flag_of_groups_counts_only_where_they_have_checksums() -> None:
    _, groups = read_layout(ExtImage(unwritten={2}, read_only=SPARSE).read_at, SIZE)
    assert not any(one.uninit for one in groups)


def test_copies_of_a_sparse_superblock_lie_in_powers_of_three_five_and_seven() -> None:
    superblock = parse_superblock(ExtImage().superblock())
    copies = [number for number in range(130) if superblock.has_copy(number)]
    assert copies == [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]
    full = parse_superblock(ExtImage(read_only=CHECKSUMS).superblock())
    assert all(full.has_copy(number) for number in range(130))


def test_descriptors_of_meta_groups_lie_in_the_groups_they_tell_of() -> None:
    block = bytearray(ExtImage(incompatible=0x12, blocks=100_000).superblock())
    struct.pack_into("<I", block, 0x104, 2)  # s_first_meta_bg
    superblock = parse_superblock(bytes(block))
    assert (superblock.per_block, superblock.first_meta_group) == (32, 2)
    places = [superblock.place_of_descriptors(number) for number in range(4)]
    assert places == [2, 3, 1 + 64 * PER_GROUP, 1 + 96 * PER_GROUP]


def test_a_file_system_larger_than_its_device_is_refused() -> None:
    assert read_layout(ExtImage().read_at, SIZE)
    with pytest.raises(UnknownLayoutError, match="beyond the end"):
        read_layout(ExtImage().read_at, SIZE - 1)


def test_a_device_that_ends_too_early_is_refused() -> None:
    for end in (0, 1500, 2500):
        content = bytes(ExtImage().content()[:end])
        with pytest.raises(UnknownLayoutError, match="cannot be read"):
            read_layout(lambda at, length, content=content: content[at : at + length], SIZE)  # type: ignore[misc]
    assert read_exactly(lambda at, length: bytes(length), 7, 9) == bytes(9)


@pytest.mark.parametrize("place", range(0, 32, 3))
def test_a_changed_byte_of_a_descriptor_is_a_contradiction(place: int) -> None:
    image = ExtImage().content()
    image[DESCRIPTORS * UNIT + 32 + place] ^= 1
    with pytest.raises(ContradictionError, match="descriptor of group 1 has a wrong checksum"):
        read_layout(lambda at, length: bytes(image[at : at + length]), SIZE)


def test_a_descriptor_of_another_group_is_a_contradiction() -> None:
    image = ExtImage()
    seed = seed_of(UUID)
    check_descriptor(seed, 1, image.group(1))
    with pytest.raises(ContradictionError, match="group 2"):
        check_descriptor(seed, 2, image.group(1))


@pytest.mark.parametrize("place", [0, BLOCKS, 1 << 31])
@pytest.mark.parametrize("which", [0, 4, 8])
def test_metadata_outside_of_the_file_system_is_refused(place: int, which: int) -> None:
    image = ExtImage(read_only=SPARSE).content()
    struct.pack_into("<I", image, DESCRIPTORS * UNIT + which, place)
    with pytest.raises(UnknownLayoutError, match="lies nowhere"):
        read_layout(lambda at, length: bytes(image[at : at + length]), SIZE)


def test_the_checksum_is_crc32c_without_its_last_inversion() -> None:
    """RFC 3720, B.4, of 32 zeros; ext4 begins with all ones and does not invert at the end."""
    assert checksum(0xFFFFFFFF, bytes(32)) == 0x8A9136AA ^ 0xFFFFFFFF
    assert checksum(checksum(7, b"1234"), b"5678") == checksum(7, b"12345678")


@given(st.integers(0, 1023), st.binary(min_size=1, max_size=40))
def test_any_superblock_is_known_or_refused(place: int, noise: bytes) -> None:
    for whole in (ExtImage().superblock(), ExtImage(read_only=0, incompatible=0x92).superblock()):
        block = (whole[:place] + noise + whole[place + len(noise) :])[:1024]
        image = ExtImage(read_only=0).content()
        image[1024:2048] = block
        try:
            superblock, groups = read_layout(
                lambda at, length, image=image: bytes(image[at : at + length]),  # type: ignore[misc]
                SIZE,
            )
        except UnknownLayoutError:
            continue
        assert superblock.blocks * superblock.block_size <= SIZE
        assert len(groups) == superblock.groups
