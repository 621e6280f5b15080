"""Superblock, chunks and trees of a btrfs: whole and in order, or refused.

The map that is made of them is tried in test_btrfs_map.py.
"""

import hashlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.btrfs_tree import (
    CHUNK_ITEM,
    SUPERBLOCK_SIZE,
    SUPERBLOCKS,
    Chunk,
    Chunks,
    Key,
    Superblock,
    Tree,
    has_checksum,
    parse_superblock,
    read_chunks,
)
from payload.formats.disk.unknown_layout import UnknownLayoutError
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
    leaf,
    node,
    sealed,
)

KNOWN = tuple(Chunk(*one) for one in (SYSTEM, METADATA, DATA))


def superblock_of(image: BtrfsImage, size: int = SIZE) -> Superblock:
    return parse_superblock(image.superblock(), size)


def tree_of(image: BtrfsImage) -> Tree:
    superblock = superblock_of(image)
    return Tree(image.read_at, superblock, Chunks(list(KNOWN), superblock))


def changed(place: int, form: str, value: int) -> bytes:
    block = bytearray(BtrfsImage().superblock())
    struct.pack_into(form, block, place, value)
    return sealed(block)


# --- superblock


def test_a_superblock_tells_its_roots_and_sizes() -> None:
    found = superblock_of(BtrfsImage())
    assert (found.root, found.chunk_root, found.root_level) == (ROOT, CHUNK_ROOT, 0)
    assert (found.device_size, found.device, found.sector, found.node_size) == (SIZE, 1, NODE, NODE)
    assert found.id == bytes(range(16))
    assert SUPERBLOCKS == (64 << 10, 64 << 20, 256 << 30)


def test_a_changed_id_of_metadata_is_the_one_that_blocks_carry() -> None:
    block = bytearray(BtrfsImage(features=(0, 0x741)).superblock())
    block[0x23B:0x24B] = b"m" * 16
    assert parse_superblock(sealed(block), SIZE).id == b"m" * 16


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (bytes(SUPERBLOCK_SIZE), "not that of a btrfs"),
        (BtrfsImage().superblock()[:-1], "not that of a btrfs"),
        (b"", "not that of a btrfs"),
        (BtrfsImage(devices=0).superblock(), "on 0 devices"),
        (BtrfsImage(devices=2).superblock(), "on 2 devices"),
        (BtrfsImage(log=4096).superblock(), "its log has to be replayed"),
        (BtrfsImage(features=(0, 0x1000)).superblock(), "not known here"),
        (BtrfsImage(features=(0x10, 0)).superblock(), "not known here"),
        (changed(0x30, "<Q", 64 << 20), "superblock is damaged"),  # that of a mirror
        (changed(0x90, "<I", 512), "superblock is damaged"),
        (changed(0x94, "<I", 2048), "superblock is damaged"),
        (changed(0x94, "<I", 1 << 31), "superblock is damaged"),
        (changed(0x90, "<I", 8192), "superblock is damaged"),  # sectors larger than nodes
        (changed(0xA0, "<I", 2049), "superblock is damaged"),
        (changed(0xC4, "<H", 1), "checksums are of a kind"),
        (changed(0xC4, "<H", 9), "checksums are of a kind"),
        (changed(0xD1, "<Q", SIZE + 1), "beyond the end of the device"),
    ],
)
def test_what_is_not_known_or_cannot_be_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(UnknownLayoutError, match=reason):
        parse_superblock(block, SIZE)


def test_a_changed_byte_is_seen_by_the_checksum() -> None:
    block = bytearray(BtrfsImage().superblock())
    block[0x400] ^= 1
    with pytest.raises(UnknownLayoutError, match="superblock is damaged"):
        parse_superblock(bytes(block), SIZE)


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        (2, lambda content: hashlib.sha256(content).digest()),
        (3, lambda content: hashlib.blake2b(content, digest_size=32).digest()),
    ],
)
def test_longer_checksums_are_tried_in_all_their_bytes(
    kind: int, digest: Callable[[bytes], bytes]
) -> None:
    """enum btrfs_csum_type, include/uapi/linux/btrfs_tree.h."""
    content = bytes(range(256))
    block = digest(content) + content
    assert has_checksum(block, kind)
    for place in (0, 31, 40):
        assert not has_checksum(block[:place] + b"\xaa" + block[place + 1 :], kind)
    assert not has_checksum(block, 0)
    with pytest.raises(UnknownLayoutError, match="of a kind"):
        has_checksum(block, 1)


# --- chunks


def test_all_chunks_are_read_from_their_tree() -> None:
    image = BtrfsImage().write()
    chunks = read_chunks(image.read_at, superblock_of(image))
    assert tuple(chunks.all) == KNOWN
    assert [chunks.index_of(start, 4096) for start, _, _ in (SYSTEM, METADATA, DATA)] == [0, 1, 2]
    assert chunks.index_of(DATA[0] + DATA[1] - 1, 1) == 2


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (SYSTEM[0] - 1, 2), (SYSTEM[0], MIB + 1), (SYSTEM[0] + MIB, 1), (1 << 63, 1)],
)
def test_a_range_that_is_in_no_chunk_is_refused(start: int, length: int) -> None:
    chunks = Chunks(list(KNOWN), superblock_of(BtrfsImage()))
    with pytest.raises(UnknownLayoutError, match="no chunk holds"):
        chunks.index_of(start, length)


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([Chunk(0, 2 * MIB, (0,)), Chunk(MIB, MIB, (8 * MIB,))], "chunks overlap"),
        ([Chunk(0, MIB, (0,)), Chunk(0, MIB, (8 * MIB,))], "chunks overlap"),
        ([Chunk(0, MIB, (0, 4096))], "overlap on the device"),
        ([Chunk(0, MIB, (0,)), Chunk(MIB, MIB, (MIB - 4096,))], "overlap on the device"),
        ([Chunk(0, MIB, (SIZE - 4096,))], "beyond the end"),
        ([Chunk(0, MIB, (1 << 63,))], "beyond the end"),
    ],
)
def test_chunks_that_overlap_or_leave_the_device_are_refused(
    chunks: list[Chunk], reason: str
) -> None:
    for order in (chunks, chunks[::-1]):
        with pytest.raises(UnknownLayoutError, match=reason):
            Chunks(order, superblock_of(BtrfsImage()))


SECOND = {
    "a chunk is damaged": [
        chunk_item(0, (32 * MIB,)),
        chunk_item(DATA[1] + 1, (32 * MIB,)),
        chunk_item(DATA[1], (32 * MIB + 1,)),
        chunk_item(DATA[1], (32 * MIB,))[:-1],
        chunk_item(DATA[1], (32 * MIB,)) + b"\0",
        b"",
    ],
    "spread over devices": [
        chunk_item(DATA[1], (32 * MIB, 48 * MIB), kind=0x10),  # RAID 1
        chunk_item(DATA[1], (32 * MIB,), kind=0x20),
        chunk_item(DATA[1], (32 * MIB, 48 * MIB, 16 * MIB)),
    ],
    "on another device": [chunk_item(DATA[1], (32 * MIB,), device=2)],
}


@pytest.mark.parametrize("reason", SECOND)
def test_a_chunk_that_is_not_understood_is_refused(reason: str) -> None:
    for item in SECOND[reason]:
        image = BtrfsImage()
        image.chunks[2] = (DATA[0], item)
        image.write()
        with pytest.raises(UnknownLayoutError, match=reason):
            read_chunks(image.read_at, superblock_of(image))


def test_superblock_and_tree_have_to_agree_on_the_first_chunks() -> None:
    image = BtrfsImage().write()
    superblock = superblock_of(image)
    others = [item for item in image.chunk_items() if item[0][2] != SYSTEM[0]]
    image.put(SYSTEM, CHUNK_ROOT, leaf(CHUNK_ROOT, others))
    with pytest.raises(UnknownLayoutError, match="disagree"):
        read_chunks(image.read_at, superblock)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 300))
def test_any_chunks_in_the_superblock_are_known_or_refused(
    noise: bytes, place: int, length: int
) -> None:
    image = BtrfsImage().write()
    block = bytearray(image.superblock())
    block[0x32B + place : 0x32B + place + len(noise)] = noise
    struct.pack_into("<I", block, 0xA0, length)
    try:
        superblock = parse_superblock(sealed(block[:SUPERBLOCK_SIZE]), SIZE)
        chunks = read_chunks(image.read_at, superblock)
    except UnknownLayoutError:
        return
    assert tuple(chunks.all) == KNOWN


# --- trees


def test_items_come_in_the_order_of_their_keys_over_all_leaves() -> None:
    image = BtrfsImage().write()
    items = list(tree_of(image).walk(EXTENT_ROOT, 1))
    assert items == [*image.metadata_items(), *image.data_items()]


def test_a_tree_that_is_too_deep_is_refused_before_it_is_read() -> None:
    with pytest.raises(UnknownLayoutError, match="too deep"):
        next(tree_of(BtrfsImage()).walk(EXTENT_ROOT, 8))


def test_an_empty_tree_has_no_items_but_no_block_below_is_empty() -> None:
    image = BtrfsImage().write()
    image.put(METADATA, ROOT, leaf(ROOT, []))
    assert list(tree_of(image).walk(ROOT, 0)) == []
    image.put(METADATA, EXTENT_ROOT, node(EXTENT_ROOT, 1, [((0, 0, 0), ROOT)]))
    with pytest.raises(UnknownLayoutError, match=f"block at {ROOT} is damaged"):
        list(tree_of(image).walk(EXTENT_ROOT, 1))


KEY: Key = (1, CHUNK_ITEM, 2)
DAMAGES: dict[str, Callable[[bytearray], None]] = {
    "its address": lambda block: struct.pack_into("<Q", block, 48, ROOT + NODE),
    "the id of its file system": lambda block: struct.pack_into("<B", block, 32, 99),
    "its level": lambda block: struct.pack_into("<B", block, 100, 1),
    "its count": lambda block: struct.pack_into("<I", block, 96, 1 << 31),
    "where an item lies": lambda block: struct.pack_into("<I", block, 101 + 17, NODE),
    "how long an item is": lambda block: struct.pack_into("<I", block, 101 + 21, NODE),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_block_with_a_right_checksum_and_a_lie_is_refused(damage: str) -> None:
    image = BtrfsImage().write()
    block = bytearray(leaf(ROOT, [(KEY, b"x")]))
    image.put(METADATA, ROOT, bytes(block))
    assert list(tree_of(image).walk(ROOT, 0)) == [(KEY, b"x")]
    DAMAGES[damage](block)
    image.put(METADATA, ROOT, sealed(block))
    with pytest.raises(UnknownLayoutError, match=f"block at {ROOT} is damaged"):
        list(tree_of(image).walk(ROOT, 0))


@pytest.mark.parametrize("keys", [[(2, 0, 0), (1, 0, 0)], [(1, 0, 0), (1, 0, 0)]])
def test_keys_that_do_not_ascend_are_refused(keys: list[Key]) -> None:
    image = BtrfsImage().write()
    image.put(METADATA, ROOT, leaf(ROOT, [(key, b"") for key in keys]))
    with pytest.raises(UnknownLayoutError, match="out of order"):
        list(tree_of(image).walk(ROOT, 0))


@pytest.mark.parametrize("generation", [6, 8])
def test_a_block_of_another_generation_than_promised_is_refused(generation: int) -> None:
    image = BtrfsImage().write()
    block = bytearray(leaf(ROOT, [(KEY, b"x")]))
    struct.pack_into("<Q", block, 80, generation)
    image.put(METADATA, ROOT, sealed(block))
    image.put(METADATA, EXTENT_ROOT, node(EXTENT_ROOT, 1, [(KEY, ROOT)]))
    with pytest.raises(UnknownLayoutError, match="another than the tree says"):
        list(tree_of(image).walk(EXTENT_ROOT, 1))


@given(st.integers(32, NODE - 1), st.binary(min_size=1, max_size=40), st.integers(0, 1))
def test_any_block_of_a_tree_gives_items_in_order_or_is_refused(
    place: int, noise: bytes, which: int
) -> None:
    image = BtrfsImage().write()
    address = EXTENT_ROOT + NODE * which
    block = bytearray(image.blocks[METADATA[2][0] + address - METADATA[0]])
    block[place : place + len(noise)] = noise
    image.put(METADATA, address, sealed(block[:NODE]))
    keys: list[Key] = []
    try:
        for key, item in tree_of(image).walk(EXTENT_ROOT, 1):
            assert len(item) <= NODE
            keys.append(key)
    except UnknownLayoutError:
        pass
    assert keys == sorted(set(keys))
