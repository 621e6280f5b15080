"""Tables for the device mapper, and what is asked of it."""

import pytest

from payload.model.errors import TargetDiskError, ToolError
from payload.model.volume import Segment, cut_leg, join_legs
from payload.system.mapper import Legs, check_status, plan_table

A1, A2 = ("/dev/a", 1 << 20, 4096), ("/dev/a", 1 << 30, 8192)
B1, B2 = ("/dev/b", 1 << 20, 8192), ("/dev/b", 0, 4096)
DEVICES = {A1: "/dev/loop0", A2: "/dev/loop1", B1: "/dev/loop2", B2: "/dev/loop3"}


def test_pieces_follow_each_other() -> None:
    assert plan_table([[A2, A1]], DEVICES) == (
        "0 16 linear /dev/loop1 0\n16 8 linear /dev/loop0 0\n"
    )


def test_legs_that_change_at_other_places_are_mirrored_piece_by_piece() -> None:
    assert plan_table([[A1, A2], [B1, B2]], DEVICES) == (
        "0 8 mirror core 2 1024 nosync 2 /dev/loop0 0 /dev/loop2 0\n"
        "8 8 mirror core 2 1024 nosync 2 /dev/loop1 0 /dev/loop2 8\n"
        "16 8 mirror core 2 1024 nosync 2 /dev/loop1 8 /dev/loop3 0\n"
    )


def test_a_piece_that_is_there_once_is_not_mirrored_with_itself() -> None:
    table = plan_table([[A1, A2], [B2, A2]], DEVICES).splitlines()
    assert table[1] == "8 16 linear /dev/loop1 0"


@pytest.mark.parametrize("legs", [[[A1], [A2]], [[("/dev/a", 0, 100)], [("/dev/b", 0, 100)]]])
def test_unequal_legs_have_no_table(legs: Legs) -> None:
    with pytest.raises(ToolError, match="equal legs"):
        plan_table(legs, {extent: "x" for leg in legs for extent in leg})


def test_a_leg_that_failed_is_noticed() -> None:
    good = "0 8 linear\n8 2048 mirror 2 7:0 7:1 2/2 1 AA 1 core\n"
    check_status(good)
    with pytest.raises(TargetDiskError, match=r"\(AD\)"):
        check_status(good.replace("AA", "AD"))


def test_a_leg_is_cut_within_its_pieces() -> None:
    leg = (Segment("a", 100, 10), Segment("b", 0, 10), Segment("a", 0, 10))
    assert cut_leg(leg, 5, 20) == (Segment("a", 105, 5), Segment("b", 0, 10), Segment("a", 0, 5))
    for start, size in ((-1, 5), (0, 0), (25, 6)):
        with pytest.raises(ValueError, match="of 30"):
            cut_leg(leg, start, size)


def test_legs_are_joined_and_a_single_piece_serves_all() -> None:
    mirror = ((Segment("a", 0, 5),), (Segment("b", 0, 5),))
    alone = ((Segment("a", 5, 5),),)
    assert join_legs([mirror, alone]) == (
        (Segment("a", 0, 10),),
        (Segment("b", 0, 5), Segment("a", 5, 5)),
    )
