"""A system on a disk without a table: whatever ends the target before it is marked as our copy, the
disk is no source, and not blank either."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from payload.decide.role import decide_role
from payload.identify.inventory import take_inventory
from payload.model.inventory import Inventory
from payload.model.role import Decision, Role
from payload.model.settings import Settings
from payload.replicate.target_disk import TargetDisk
from payload.system.board import LinuxBoard
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.server_image import MIB, make_image, tool, write_tree
from tests.support.stream_disks import make_host, place_ext
from tests.support.streamed_copy import Copy

pytestmark = pytest.mark.root
SIZE = 40 * MIB
SERVER = "label: dos\n\n1 : start=2048, size=40960, type=83, bootable\n"
SYSTEM = {
    "etc/fstab": "/dev/sdb / ext4 defaults 0 1\n",
    "etc/hostname": "groupware\n",
    "etc/debian_version": "4.0\n",
    "sbin/init": "",
}


class TargetEndedError(Exception):
    """The target is switched off."""


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A server whose second disk is a root file system, copied until it is to be finished."""
    first = make_image(tmp_path / "first.img", 22 * MIB)
    tool("sfdisk", "-q", str(first), stdin=SERVER)
    place_ext(tmp_path, first, 2048, 40960)
    whole = make_image(tmp_path / "whole.img", SIZE)
    write_tree(tmp_path / "system", SYSTEM)
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tmp_path / "system"), str(whole))
    its = [
        make_image(tmp_path / f"{path.stem}.copy", path.stat().st_size + MIB)
        for path in (first, whole)
    ]
    copied = Copy(make_host([first, whole], "S"), make_host(its, "T"))
    assert copied.plan.disks[1].table is None
    copied.run(seal=False)
    return copied


def disk_of(copy: Copy) -> Path:
    return copy.target.paths[1]


def look_at(disk: Path) -> tuple[Inventory, Decision]:
    """Everything this machine would know of itself, were that its disk."""
    unused: Any = None
    links: Any = SimpleNamespace(cards=lambda: ())
    blocks = ImageBlocks([ImageDisk(disk, serial="T1")])
    host = Host(run, blocks, LinuxMounts(), LinuxBoard(), unused, links, unused, unused)
    found = take_inventory(host, "1.0", 1_790_000_100)
    return found, decide_role(found, Settings())


def assert_neither_source_nor_blank(copy: Copy) -> None:
    found, decision = look_at(disk_of(copy))
    (disk,) = found.disks
    assert disk.content
    assert disk.content.unfinished and not disk.content.blank
    assert decision.role is Role.UNDECIDED  # it is another machine that was to have it
    assert decision.permissions == ()


def change(copy: Copy) -> None:
    with (
        copy.receiver.finishing() as host,
        host.blocks.view(str(disk_of(copy)), 0, SIZE, writable=True) as device,
        LinuxMounts().mount(device, "ext4", writable=True) as root,
    ):
        assert (root / "etc/hostname").read_text() == "groupware\n"
        (root / "etc/added").write_text("by finish\n" * 1000)


def test_the_source_is_one(copy: Copy) -> None:
    assert look_at(copy.source.paths[1])[1].role is Role.SOURCE


def test_a_target_that_ends_before_it_is_finished_leaves_no_source(copy: Copy) -> None:
    assert_neither_source_nor_blank(copy)
    with pytest.raises(TargetEndedError), copy.receiver.finishing():
        raise TargetEndedError
    assert_neither_source_nor_blank(copy)
    change(copy)
    assert_neither_source_nor_blank(copy)


def test_what_was_changed_in_memory_and_behind_it_is_there_when_it_is_sealed(copy: Copy) -> None:
    change(copy)
    copy.receiver.seal()
    disk = disk_of(copy)
    tool("e2fsck", "-fn", str(disk))
    with (
        copy.target.blocks.view(str(disk), 0, SIZE) as device,
        LinuxMounts().mount(device, "ext4") as root,
    ):
        assert (root / "etc/added").read_text() == "by finish\n" * 1000
    found, _ = look_at(disk)
    assert found.disks[0].content and found.disks[0].content.unfinished is None
    assert [system.host_name for system in found.systems] == ["groupware"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_target_that_ends_while_the_begin_is_written_leaves_no_source(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    change(copy)
    monkeypatch.setattr(TargetDisk, "write_head", ended_at(number, TargetDisk.write_head))
    with pytest.raises(TargetEndedError):
        copy.receiver.seal()
    assert_neither_source_nor_blank(copy)


def ended_at(number: int, call: Callable[..., None]) -> Callable[..., None]:
    """The same, but its write of that number, counted from 1, does not happen any more."""

    def ended(disk: TargetDisk, content: bytes) -> None:
        writes = 0
        write = disk.write

        def counted(buffer: memoryview, offset: int) -> None:
            nonlocal writes
            writes += 1
            if writes == number:
                raise TargetEndedError
            write(buffer, offset)

        disk.write = counted  # type: ignore[method-assign]
        call(disk, content)

    return ended
