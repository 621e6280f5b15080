"""LVM's labels and metadata: as LVM writes them, and as nobody should."""

from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.lvm import (
    BadMetadataError,
    Group,
    Piece,
    find_free,
    parse_group,
    parse_text,
    read_physical_volume,
)
from tests.support.physical_volumes import (
    AREA,
    EXTENT,
    ROOT,
    SIZE,
    UUID,
    group_text,
    physical_volume,
    segment,
    volume,
)


def read(image: bytes | bytearray) -> Any:
    return read_physical_volume(lambda at, length: bytes(image[at : at + length]), len(image))


@pytest.mark.parametrize("at", [512, 1024, AREA - 100])
def test_the_text_is_found_also_around_the_end_of_its_ring(at: int) -> None:
    text = group_text(ROOT)
    assert read(physical_volume(text, at)) == type(read(physical_volume(text)))(UUID, text)


def test_an_area_that_is_not_used_says_nothing() -> None:
    assert read(physical_volume(group_text(ROOT), ignored=True)).text == ""


def test_segments_are_pieces_of_their_members() -> None:
    group = parse_group(group_text(ROOT, volume("swap_1", segment(1, 0, 88, '"pv1", 12'))))
    root, swap = group.volumes
    assert (group.name, group.sequence, root.name, root.visible) == ("vg", 3, "root", True)
    assert (root.size, swap.size) == (15 * EXTENT, 88 * EXTENT)
    assert root.places == (
        Piece("pv0", 1 << 20, 10 * EXTENT),
        Piece("pv1", (1 << 20) + 7 * EXTENT, 5 * EXTENT),
    )


def test_what_no_volume_occupies_is_free() -> None:
    group = parse_group(group_text(ROOT))
    start = 1 << 20
    assert find_free(group, "pv0") == (Piece("pv0", start + 10 * EXTENT, 90 * EXTENT),)
    assert find_free(group, "pv1") == (
        Piece("pv1", start, 7 * EXTENT),
        Piece("pv1", start + 12 * EXTENT, 88 * EXTENT),
    )


@pytest.mark.parametrize(
    ("text", "why_not", "free"),
    [
        (segment(1, 0, 10, '"pv0", 0, "pv1", 0'), "it is striped", 190),
        (segment(1, 0, 10, '"pool_tdata", 0', "thin-pool"), "it is of the type thin-pool", 200),
        (segment(1, 0, 10, '"root_mimage_0", 0', "mirror"), "it is of the type mirror", 200),
        (segment(1, 0, 10, '"pv0", 0', "mirror"), "it is of the type mirror", 0),
        (segment(1, 0, 10, '"other", 0'), "it lies on another volume", 0),
        (segment(1, 3, 10, '"pv0", 0'), "its segments leave gaps", 190),
    ],
)
def test_what_is_not_one_after_the_other_is_not_resolved(
    text: str, why_not: str, free: int
) -> None:
    group = parse_group(group_text(volume("root", text)))
    assert (group.volumes[0].places, group.volumes[0].why_not) == ((), why_not)
    found = [piece.size for name in group.members for piece in find_free(group, name)]
    assert sum(found) == free * EXTENT


def test_a_volume_that_is_being_moved_is_not_resolved() -> None:
    text = volume("root", segment(1, 0, 10, '"pv0", 0'), status='"VISIBLE", "LOCKED"')
    assert parse_group(group_text(text)).volumes[0].why_not == "it is being moved"


def test_the_origin_of_a_snapshot_is_known_and_one_being_merged_not_resolved() -> None:
    snapshot = (
        'segment1 { start_extent = 0 extent_count = 5 type = "snapshot" chunk_size = 8'
        ' origin = "root" cow_store = "cow" }\n'
    )
    volumes = (ROOT, volume("snapshot0", snapshot, status='"READ"'))
    root, other = parse_group(group_text(*volumes)).volumes
    assert (root.has_snapshot, bool(root.places), other.visible) == (True, True, False)
    merging = volume("snapshot0", snapshot.replace("cow_store", "merging_store"))
    root, _ = parse_group(group_text(ROOT, merging)).volumes
    assert (root.places, root.why_not) == ((), "a snapshot is being merged into it")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            volume("a", segment(1, 0, 10, '"pv0", 0')) + volume("b", segment(1, 0, 9, '"pv0", 9')),
            "same place",
        ),
        (volume("a", segment(1, 0, 10, '"pv0", 91')), "beyond its physical volume"),
        (volume("a", segment(1, 0, 10, '"pv0", -1')), "begins nowhere"),
        (volume("a", segment(1, 0, 9, '"pv0", 0, "pv1", 0')), "not divided evenly"),
        (volume("a", segment(1, 0, 0, '"pv0", 0')), "extent_count of the metadata is out of range"),
        (volume("a", segment(2, 0, 1, '"pv0", 0')), "lacks segments"),
        (volume("a", uuid="short"), "no uuid"),
        (volume("a") + volume("a"), "there twice"),
        ("a { status = ", "no value"),
        (volume("a", segment(1, 0, 99999999999999999999, '"pv0", 0')), "no value"),
        ("a { " * 40 + "}" * 40, "nested too deeply"),
        ("a = 1", "no section"),
        (volume(":x"), "names that are none"),
    ],
)
def test_metadata_that_cannot_be(text: str, fault: str) -> None:
    with pytest.raises(BadMetadataError, match=fault):
        parse_group(group_text(text))


@pytest.mark.parametrize("space", [" " * 9999, "#" * 9999 + "\n", "# " * 999 + "\n" * 999])
def test_a_text_with_much_space_in_it_does_not_take_for_ever(space: str) -> None:
    with pytest.raises(BadMetadataError, match="has no meaning"):
        parse_text(f"a = 1{space}!")


@given(st.integers(0, SIZE // 4), st.integers(1, 255))
def test_one_changed_byte_of_a_member_is_noticed_or_does_not_count(place: int, change: int) -> None:
    text = group_text(ROOT)
    image = physical_volume(text)
    used = place % (4608 + len(text))
    image[used] ^= change
    try:
        found = read(image)
    except BadMetadataError:
        return
    assert found.text == text or (found.text == "" and used > 4607)
    assert found.uuid == UUID


@given(st.text(st.sampled_from('abp01 {}[]=,"\\#\n.-'), max_size=60))
def test_any_text_is_sections_or_an_error(text: str) -> None:
    with suppress(BadMetadataError):
        assert isinstance(parse_text(text), dict)


@given(st.data())
def test_no_piece_leaves_its_member_or_meets_another(data: st.DataObject) -> None:
    numbers = st.integers(-1, 120)
    segments = st.tuples(numbers, numbers, st.sampled_from(["pv0", "pv1", "pv2"]))
    drawn = data.draw(st.lists(st.lists(segments, min_size=1, max_size=3), max_size=4))
    volumes = []
    for number, pieces in enumerate(drawn):
        position, texts = 0, []
        for count, (first, length, name) in enumerate(pieces, 1):
            texts.append(segment(count, position, length, f'"{name}", {first}'))
            position += length
        volumes.append(volume(f"v{number}", *texts))
    try:
        group = parse_group(group_text(*volumes))
    except BadMetadataError:
        return
    _check(group)


def _check(group: Group) -> None:
    for name, member in group.members.items():
        pieces = [piece for one in group.volumes for piece in one.places if piece.member == name]
        pieces += find_free(group, name)
        pieces.sort(key=lambda piece: piece.start)
        assert all(one.start + one.size <= two.start for one, two in pairwise(pieces))
        assert all(
            member.start <= one.start and one.start + one.size <= member.start + member.size
            for one in pieces
        )
