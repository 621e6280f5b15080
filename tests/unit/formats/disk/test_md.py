"""MD superblocks, whole, damaged and contradictory, and the arrays that follow from them."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.md import Part, Superblock, plan_array, read_superblocks
from tests.support.md_superblocks import ARRAY, new_superblock, old_place, old_superblock

MIB = 1 << 20
SIZE = 64 * MIB
MEMBER = 66 * MIB


def read(place: int, block: bytes, size: int = MEMBER) -> tuple[Superblock, ...]:
    """What is found on a member of zeros with this block in it."""

    def read_at(start: int, length: int) -> bytes:
        image = bytearray(length)
        first, last = max(start, place), min(start + length, place + len(block))
        if first < last:
            image[first - start : last - start] = block[first - place : last - place]
        return bytes(image)

    return read_superblocks(read_at, size)


def mirror(device: int, **more: object) -> Superblock:
    (found,) = read(4096, new_superblock(device=device, size=SIZE, **more))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("version", "place", "data_start"),
    [("1.0", MEMBER - 8192, 0), ("1.1", 0, MIB), ("1.2", 4096, MIB)],
)
def test_each_place_of_a_new_superblock(version: str, place: int, data_start: int) -> None:
    block = new_superblock(device=1, size=SIZE, place=place, data_start=data_start)
    (found,) = read(place, block)
    assert (found.version, found.level, found.raid_disks, found.size) == (version, 1, 2, SIZE)
    assert (found.data_start, found.role, found.events) == (data_start, 1, 17)
    assert (found.uuid, found.name) == (ARRAY.hex(), "md0")


def test_an_old_superblock() -> None:
    block = old_superblock(device=1, size=SIZE, minor=3, events=(1 << 32) + 5)
    (found,) = read(old_place(MEMBER), block)
    assert (found.version, found.level, found.size, found.data_start) == ("0.90", 1, SIZE, 0)
    assert (found.name, found.role, found.events) == ("md3", 1, (1 << 32) + 5)
    assert found.uuid == ARRAY.hex()


@pytest.mark.parametrize("name", ["server:data", "data"])
def test_an_array_with_a_word_for_a_name(name: str) -> None:
    assert mirror(0, name=name).name == "md/data"


def test_a_name_that_is_none_becomes_the_uuid() -> None:
    assert mirror(0, name="a:../b").name == f"md-uuid-{ARRAY.hex()}"


@given(st.integers(0, 511), st.integers(1, 255))
def test_one_changed_byte_is_no_superblock(place: int, change: int) -> None:
    block = bytearray(new_superblock(device=0, size=SIZE))
    block[place] ^= change
    assert read(4096, bytes(block)) == ()


edits = st.lists(st.tuples(st.integers(8, 300), st.integers(0, 255)), max_size=6)


@given(st.tuples(edits, edits))
def test_whatever_is_signed_no_part_leaves_its_member(
    changes: tuple[list[tuple[int, int]], ...],
) -> None:
    members: list[Superblock] = []
    for device, change in enumerate(changes):
        block = bytearray(new_superblock(device=device, size=SIZE))
        for place, value in change:
            block[place] = value
        members += read(4096, signed(block))
    if members:
        for leg in plan_array(members).legs:
            assert sum(part.size for part in leg) > 0
            for part in leg:
                assert 0 <= part.start < part.start + part.size <= MEMBER


def signed(block: bytearray) -> bytes:
    struct.pack_into("<I", block, 216, 0)
    (roles,) = struct.unpack_from("<I", block, 220)
    length = 256 + 2 * min(roles, 1900)
    total = sum(struct.unpack_from(f"<{length // 4}I", block))
    total += struct.unpack_from("<H", block, length - 2)[0] if length % 4 else 0
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    return bytes(block)


@pytest.mark.parametrize(
    "more",
    [{"data_start": 3 * MIB}, {"data_size": MEMBER}, {"data_size": 1 << 62}, {"place": 8192}],
)
def test_data_that_leaves_the_member_is_none(more: dict[str, int]) -> None:
    assert read(4096, new_superblock(device=0, size=SIZE, **more)) == ()  # type: ignore[arg-type]


def test_a_mirror_has_a_leg_for_each_member_in_the_order_of_roles() -> None:
    array = plan_array([mirror(1), mirror(0)])
    assert (array.name, array.size, array.why_not) == ("md0", SIZE, "")
    assert array.legs == ((Part(1, MIB, SIZE),), (Part(0, MIB, SIZE),))


@pytest.mark.parametrize(
    ("more", "legs"),
    [
        ({}, 2),
        ({"events": 16}, 2),  # the last write of the superblocks was interrupted
        ({"events": 15}, 1),
        ({"roles": (0, 0xFFFF)}, 1),  # a spare
        ({"roles": (0, 0xFFFE)}, 1),  # faulty
        ({"features": 2, "recovered": 5}, 1),  # being rebuilt
        ({"features": 2, "recovered": SIZE // 512}, 2),
        ({"features": 8}, 1),  # it knows of bad blocks
    ],
)
def test_what_is_stale_or_spare_is_no_leg(more: dict[str, object], legs: int) -> None:
    array = plan_array([mirror(0), mirror(1, **more)])
    assert (len(array.legs), array.legs[0][0].member) == (legs, 0)


def test_a_member_the_others_gave_up_is_no_leg_however_fresh_it_feels() -> None:
    survivor = mirror(0, roles=(0, 0xFFFE), events=18)
    assert plan_array([mirror(1), survivor]).legs == ((Part(1, MIB, SIZE),),)


@pytest.mark.parametrize(
    ("members", "why_not"),
    [
        ([mirror(0, level=5), mirror(1, level=5)], "it is of RAID level 5"),
        ([mirror(0, level=0), mirror(1, level=0)], "it is of RAID level 0"),
        ([mirror(0, features=4), mirror(1, features=4)], "it is being reshaped"),
        ([mirror(0, features=16), mirror(1)], "a member is being replaced"),
        ([mirror(0, features=512), mirror(1)], "it uses unknown features"),
        ([mirror(0), mirror(0)], "two members say that they are the same one"),
        ([mirror(0), mirror(1, disks=3)], "its members contradict each other"),
        ([mirror(0, roles=(0xFFFF, 0xFFFF))], "none of its members is up to date"),
        ([mirror(0, level=-1)], "a member is missing"),
        ([replace(mirror(0), size=SIZE * 2)], "a member is too small"),
        ([replace(mirror(0), size=0)], "a member is too small"),
    ],
)
def test_what_is_not_understood_has_no_legs(members: list[Superblock], why_not: str) -> None:
    array = plan_array(members)
    assert (array.legs, array.why_not) == ((), why_not)


def test_a_linear_array_is_one_leg_of_whole_chunks() -> None:
    parts = [
        mirror(number, level=-1, chunk=65536, data_size=SIZE - number * 512) for number in (0, 1)
    ]
    second = Part(1, MIB, SIZE - 65536)
    assert plan_array(parts).legs == ((Part(0, MIB, SIZE), second),)
    assert plan_array(parts).size == 2 * SIZE - 65536
