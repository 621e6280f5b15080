"""Volumes as ranges of disks: cut, joined and merged without losing or moving a byte."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.volume import Layer, Leg, Segment, Volume, cut_leg, join_legs, merge_leg


def places(leg: Leg) -> list[tuple[str, int]]:
    """Where each byte of a leg lies."""
    return [(one.disk, at) for one in leg for at in range(one.start, one.end)]


LEGS = st.lists(
    st.builds(Segment, st.sampled_from("abc"), st.integers(0, 30), st.integers(1, 12)), max_size=6
).map(tuple)


@given(LEGS)
def test_merging_moves_no_byte_and_leaves_nothing_to_be_merged(leg: Leg) -> None:
    merged = merge_leg(leg)
    assert places(merged) == places(leg)
    for one, other in pairwise(merged):
        assert (one.disk, one.end) != (other.disk, other.start)


def test_only_what_follows_on_the_same_disk_is_merged() -> None:
    leg = (Segment("a", 0, 4), Segment("a", 4, 2), Segment("b", 6, 1), Segment("a", 6, 1))
    assert merge_leg(leg) == (Segment("a", 0, 6), Segment("b", 6, 1), Segment("a", 6, 1))
    backwards = (Segment("a", 4, 2), Segment("a", 0, 4))
    assert merge_leg(backwards) == backwards


@given(LEGS.filter(len), st.data())
def test_a_range_of_a_leg_lies_where_its_bytes_lie(leg: Leg, data: st.DataObject) -> None:
    whole = places(leg)
    start = data.draw(st.integers(0, len(whole) - 1))
    size = data.draw(st.integers(1, len(whole) - start))
    cut = cut_leg(leg, start, size)
    assert places(cut) == whole[start : start + size]
    assert all(segment.size > 0 for segment in cut)


@pytest.mark.parametrize(("start", "size"), [(-1, 2), (0, 0), (0, -1), (0, 8), (7, 1), (9, 1)])
def test_a_range_that_a_leg_does_not_hold_is_refused(start: int, size: int) -> None:
    leg = (Segment("a", 10, 4), Segment("b", 0, 3))
    assert cut_leg(leg, 0, 7) == leg
    with pytest.raises(ValueError, match="of 7"):
        cut_leg(leg, start, size)


def test_a_piece_that_is_there_once_serves_every_leg() -> None:
    mirrored = ((Segment("a", 0, 4),), (Segment("b", 0, 4),))
    plain = ((Segment("c", 8, 2),),)
    assert join_legs([mirrored, plain]) == (
        (Segment("a", 0, 4), Segment("c", 8, 2)),
        (Segment("b", 0, 4), Segment("c", 8, 2)),
    )
    assert join_legs([plain, ((Segment("c", 10, 1),),)]) == ((Segment("c", 8, 3),),)
    assert join_legs([]) == ()


@given(st.lists(st.lists(LEGS, min_size=1, max_size=3).map(tuple), max_size=4))
def test_each_joined_leg_is_a_leg_of_every_piece_in_their_order(
    pieces: list[tuple[Leg, ...]],
) -> None:
    joined = join_legs(pieces)
    assert len(joined) == max(map(len, pieces), default=0)
    for number, leg in enumerate(joined):
        chosen = [piece[min(number, len(piece) - 1)] for piece in pieces]
        assert places(leg) == [place for one in chosen for place in places(one)]


def test_a_volume_names_each_of_its_disks_once_and_its_extents_by_node() -> None:
    legs = ((Segment("a", 0, 4), Segment("b", 0, 4), Segment("a", 9, 1)), (Segment("c", 0, 9),))
    volume = Volume("md0", Layer.MD, "u", 9, legs)
    assert volume.disks == ("a", "b", "c")
    assert volume.extents({"a": "/dev/x", "b": "/dev/y", "c": "/dev/z"}.__getitem__) == (
        (("/dev/x", 0, 4), ("/dev/y", 0, 4), ("/dev/x", 9, 1)),
        (("/dev/z", 0, 9),),
    )
    nowhere = Volume("md1", Layer.MD, "u", 9, why_not="of a reason")
    assert (nowhere.disks, nowhere.extents(str)) == ((), ())


def test_extents_of_a_disk_nobody_knows_are_no_answer() -> None:
    volume = Volume("md0", Layer.MD, "u", 4, ((Segment("gone", 0, 4),),))
    nodes = {"a": "/dev/x"}
    with pytest.raises(KeyError):
        volume.extents(nodes.__getitem__)
