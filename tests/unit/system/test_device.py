"""With which words disks and views of them are opened: whoever only looks cannot write."""

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from payload.model.errors import TargetDiskError, ToolError
from payload.system import device
from payload.system.command import Completed

ALWAYS = os.O_CLOEXEC
ALONE = os.O_RDWR | os.O_EXCL


class Opening:
    """Stands for open(2): remembers each call, and fails as it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.errors: list[int] = []

    def __call__(self, node: str, flags: int) -> int:
        self.calls.append((node, flags))
        if self.errors and (code := self.errors.pop(0)):
            raise OSError(code, os.strerror(code))
        return 1000 + len(self.calls)


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Opening:
    opening = Opening()
    monkeypatch.setattr(os, "open", opening)
    return opening


def test_a_disk_is_opened_to_read_or_to_write_alone_past_the_cache(opening: Opening) -> None:
    assert (device.open_to_read("/dev/sda"), device.open_to_write("/dev/sdb")) == (1001, 1002)
    assert opening.calls == [
        ("/dev/sda", os.O_RDONLY | ALWAYS | os.O_DIRECT),
        ("/dev/sdb", ALONE | ALWAYS | os.O_DIRECT),
    ]


def test_without_a_way_past_the_cache_all_else_stays_as_it_was(opening: Opening) -> None:
    opening.errors = [errno.EINVAL, 0, errno.EINVAL, 0]
    assert (device.open_to_read("/dev/sda"), device.open_to_write("/dev/sdb")) == (1002, 1004)
    assert opening.calls[1::2] == [("/dev/sda", os.O_RDONLY | ALWAYS), ("/dev/sdb", ALONE | ALWAYS)]


def test_a_disk_that_is_in_use_is_not_tried_in_another_way(opening: Opening) -> None:
    opening.errors = [errno.EBUSY, errno.EBUSY]
    with pytest.raises(OSError, match="busy"):
        device.open_to_read("/dev/sda")
    with pytest.raises(TargetDiskError, match=r"/dev/sdb could not be opened for writing: .*busy"):
        device.open_to_write("/dev/sdb")
    assert len(opening.calls) == 2


@pytest.mark.parametrize("wanted", [True, False])
def test_the_write_block_is_set_by_one_who_cannot_write(
    opening: Opening, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    asked, closed = list[tuple[Any, ...]](), list[int]()

    def ioctl(*arguments: Any) -> bytes:
        asked.append(arguments)
        return struct.pack("i", wanted)

    monkeypatch.setattr("payload.system.device.fcntl.ioctl", ioctl)
    monkeypatch.setattr(os, "close", closed.append)
    device.set_read_only("/dev/sda", wanted)
    monkeypatch.undo()
    assert opening.calls == [("/dev/sda", os.O_RDONLY | ALWAYS)]
    assert asked[0] == (1001, 0x125D, struct.pack("i", wanted))  # BLKROSET, linux/fs.h
    assert asked[1][:2] == (1001, 0x125E)  # BLKROGET
    assert closed == [1001]


@pytest.mark.parametrize(("wanted", "word"), [(True, "read-only"), (False, "writable")])
def test_a_disk_that_is_gone_has_no_write_block(opening: Opening, wanted: bool, word: str) -> None:
    opening.errors = [errno.ENXIO]
    with pytest.raises(TargetDiskError, match=f"/dev/sda could not be made {word}"):
        device.set_read_only("/dev/sda", wanted)


# --- views


class Losetup:
    """Stands for losetup(8). The loop device it makes is a file."""

    def __init__(self, loop: Path) -> None:
        self.loop = loop
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str], **_: Any) -> Completed:
        self.calls.append(list(argv))
        return Completed(tuple(argv), 0, f"{self.loop}\n", "")


@pytest.fixture
def losetup(tmp_path: Path) -> Losetup:
    loop = tmp_path / "loop-of-a-test"
    loop.write_bytes(bytes(4096))
    return Losetup(loop)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done at the end of a writable view."""
    ended = list[str]()
    monkeypatch.setattr(device, "flush", lambda _: ended.append("flush"))
    monkeypatch.setattr(device, "_wait_for_end", lambda *_: ended.append("wait"))
    monkeypatch.setattr(device, "drop_cache", ended.append)
    return ended


def test_a_view_is_read_only_unless_it_is_to_be_written_to(
    losetup: Losetup, ended: list[str]
) -> None:
    place = ["--offset", "512", "--sizelimit", "4096", "/dev/sda"]
    with device.view(losetup, "/dev/sda", 512, 4096) as seen:
        assert seen == str(losetup.loop)
    assert losetup.calls == [
        ["losetup", "--find", "--show", "--read-only", *place],
        ["losetup", "--detach", seen],
    ]
    assert ended == []
    losetup.calls.clear()
    with device.view(losetup, "/dev/sda", 512, 4096, writable=True):
        assert ended == []
    assert losetup.calls[0] == ["losetup", "--find", "--show", *place]
    assert ended == ["flush", "wait", "/dev/sda"]


@pytest.mark.parametrize("writable", [False, True])
def test_a_view_is_held_by_one_who_cannot_write(
    losetup: Losetup, ended: list[str], monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    opens, flags = os.open, list[int]()

    def open_loop(node: str, words: int) -> int:
        flags.append(words)
        return opens(node, words)

    monkeypatch.setattr(os, "open", open_loop)
    with device.view(losetup, "/dev/sda", 0, 4096, writable=writable):
        assert flags == [os.O_RDONLY | ALWAYS]


def test_a_view_that_reaches_behind_the_end_is_none(losetup: Losetup, ended: list[str]) -> None:
    with (
        pytest.raises(ToolError, match="only 4096 of 8192 bytes"),
        device.view(losetup, "/dev/sda", 0, 8192, writable=True),
    ):
        raise AssertionError("it was given away")
    assert ended == []


def test_a_view_that_vanished_is_let_go(losetup: Losetup) -> None:
    losetup.loop.unlink()
    with pytest.raises(ToolError, match="vanished"), device.view(losetup, "/dev/sda", 0, 4096):
        raise AssertionError("it was given away")
    assert losetup.calls[-1] == ["losetup", "--detach", str(losetup.loop)]


@pytest.mark.parametrize("size", [4096, 8192])
def test_a_view_is_held_for_as_long_as_it_is_needed(
    losetup: Losetup, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    close, closed = os.close, list[int]()

    def note_and_close(number: int) -> None:
        closed.append(number)
        close(number)

    monkeypatch.setattr(os, "close", note_and_close)
    try:
        with device.view(losetup, "/dev/sda", 0, size):
            assert closed == []
    except ToolError:
        assert size != 4096
    assert len(closed) == 1
