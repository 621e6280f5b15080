"""A target disk is made writable, looked at again, and given back: what is asked of the system."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.disk import Hardware, Unfinished
from payload.model.errors import TargetDiskError
from payload.replicate.target_disk import HEAD, TargetDisk

BEFORE = b"what was there ".ljust(64, b".") * (2 * HEAD // 64)
MARK = Unfinished("c" * 32, "A", "B", "serial:S", 0)


class Blocks:
    """Image files, and all that is asked of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_another = False

    def open_to_write(self, node: str) -> int:
        self.asked.append("open_to_write")
        return os.open(node, os.O_RDWR | os.O_CLOEXEC)

    def recheck(self, _: Hardware) -> None:
        self.asked.append("recheck")
        if self.is_another:
            raise TargetDiskError("It is another disk by now.")

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.asked.append(name)


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


@pytest.fixture
def disk(blocks: Blocks, tmp_path: Path) -> Iterator[TargetDisk]:
    image = tmp_path / "image"
    image.write_bytes(BEFORE)
    hardware = Hardware("sda", str(image), len(BEFORE), 512, serial="S")
    host, pair = SimpleNamespace(blocks=blocks), SimpleNamespace(table=None)
    disk = TargetDisk(cast(Any, host), hardware, cast(Any, pair), end=len(BEFORE), blank=False)
    yield disk
    disk.close()


def content(disk: TargetDisk) -> bytes:
    return Path(disk.hardware.node).read_bytes()


def test_the_disk_is_asked_again_when_its_name_can_go_to_no_other(
    disk: TargetDisk, blocks: Blocks
) -> None:
    disk.put_mark(MARK)
    assert blocks.asked == ["set_writable", "open_to_write", "recheck"]
    assert content(disk) != BEFORE


def test_nothing_is_written_to_a_disk_that_is_another_one(disk: TargetDisk, blocks: Blocks) -> None:
    blocks.is_another = True
    with pytest.raises(TargetDiskError, match="another disk"):
        disk.put_mark(MARK)
    disk.restore()
    disk.close()
    assert content(disk) == BEFORE
    assert blocks.asked[-1] == "set_read_only"


def test_a_disk_is_given_back_closed_and_read_only(disk: TargetDisk, blocks: Blocks) -> None:
    disk.put_mark(MARK)
    descriptor = disk._descriptor
    blocks.asked.clear()
    disk.close()
    assert blocks.asked == ["set_read_only"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    disk.close()
    assert blocks.asked == ["set_read_only"] * 2, "as if for the first time"
