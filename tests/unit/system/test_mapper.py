"""Tables for the device mapper, and what is asked of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from payload.model.errors import TargetDiskError, ToolError
from payload.model.volume import Segment, cut_leg, join_legs
from payload.system import mapper
from payload.system.command import Completed
from payload.system.mapper import Legs, assemble, check_status, plan_table

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


class Dmsetup:
    """Stands for dmsetup(8), whose device is a file."""

    def __init__(self, *, fails_at: str = "") -> None:
        self.calls: list[list[str]] = []
        self.fails_at = fails_at
        self.status = "0 8 mirror 2 7:0 7:1 2/2 1 AA 1 core\n"

    def __call__(self, argv: Sequence[str], **_: Any) -> Completed:
        self.calls.append(list(argv))
        if self.fails_at and self.fails_at in argv:
            raise ToolError("dmsetup failed.")
        answer = {"info": "dm-7\n", "status": self.status}.get(argv[1], "")
        return Completed(tuple(argv), 0, answer, "")

    @property
    def asked(self) -> list[str]:
        return [argv[1] for argv in self.calls]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, bool]]:
    """The views that are made, and whether they are writable."""
    made = list[tuple[str, bool]]()
    (tmp_path / "dm-7").touch()
    opens = os.open

    @contextmanager
    def view(_: Any, node: str, start: int, size: int, *, writable: bool) -> Iterator[str]:
        made.append((node, writable))
        yield f"/dev/loop{len(made)}"

    def open_device(path: str, flags: int) -> int:
        assert flags == os.O_RDONLY | os.O_CLOEXEC
        return opens(tmp_path / Path(path).name, flags)

    monkeypatch.setattr(mapper, "view", view)
    monkeypatch.setattr(os, "open", open_device)
    return made


def test_a_volume_that_is_looked_at_cannot_be_written_to(looks: list[tuple[str, bool]]) -> None:
    dmsetup = Dmsetup()
    with assemble(dmsetup, [[A1, A2], [B1, B2]]) as device:
        assert device == "/dev/dm-7"
    assert looks == [("/dev/a", False), ("/dev/a", False)], "one leg is enough to read"
    assert "--readonly" in dmsetup.calls[0]
    assert dmsetup.asked == ["create", "info", "remove"]
    columns = ["--columns", "--noheadings", "--options", "blkdevname"]
    assert dmsetup.calls[1] == ["dmsetup", "info", *columns, dmsetup.calls[0][-1]]
    assert "--deferred" in dmsetup.calls[-1]


def test_a_volume_that_is_changed_is_changed_on_each_leg(
    looks: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dmsetup, flushed = Dmsetup(), list[int]()
    monkeypatch.setattr(mapper, "flush", flushed.append)
    with assemble(dmsetup, [[A1, A2], [B1, B2]], writable=True):
        assert flushed == []
    assert [writable for _, writable in looks] == [True] * 4
    assert "--readonly" not in dmsetup.calls[0]
    assert dmsetup.asked == ["create", "info", "remove", "status"] and len(flushed) == 1
    dmsetup.status = dmsetup.status.replace("AA", "AD")
    with (
        pytest.raises(TargetDiskError, match=r"\(AD\)"),
        assemble(dmsetup, [[A1, A2], [B1, B2]], writable=True),
    ):
        pass


def test_a_volume_in_one_piece_is_that_piece(looks: list[tuple[str, bool]]) -> None:
    dmsetup = Dmsetup()
    with assemble(dmsetup, [[A1], [B1]]) as device:
        assert device == "/dev/loop1"
    assert looks == [("/dev/a", False)] and dmsetup.calls == []


def test_a_volume_that_vanished_is_let_go(looks: list[tuple[str, bool]], tmp_path: Path) -> None:
    dmsetup = Dmsetup(fails_at="info")
    with pytest.raises(ToolError, match="failed"), assemble(dmsetup, [[A1, A2]]):
        raise AssertionError("it was given away")
    assert dmsetup.calls[-1][:3] == ["dmsetup", "remove", "--retry"]
    (tmp_path / "dm-7").unlink()
    dmsetup = Dmsetup()
    with pytest.raises(ToolError, match="vanished"), assemble(dmsetup, [[A1, A2]]):
        raise AssertionError("it was given away")
    assert dmsetup.calls[-1][:3] == ["dmsetup", "remove", "--retry"]


def test_a_volume_is_held_for_as_long_as_it_is_needed(
    looks: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited, closed, close = list[tuple[str, str]](), list[int](), os.close

    def note_and_close(number: int) -> None:
        closed.append(number)
        close(number)

    monkeypatch.setattr(os, "close", note_and_close)
    monkeypatch.setattr(mapper, "_wait_for_end", lambda *place: waited.append(place))
    with assemble(Dmsetup(), [[A1, A2]]):
        assert closed == [] and waited == []
    assert len(closed) == 1
    ((device, name),) = waited
    assert device == "/dev/dm-7" and name.startswith("ugs-failover-")
