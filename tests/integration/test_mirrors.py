"""Legs of a mirror that differ in what was changed are noticed, each looked at alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payload.finish.mirrors import check_legs
from payload.finish.volumes import NO_PARTITION, Volume
from payload.model.disk import Disk
from payload.model.errors import TargetDiskError, ToolError
from payload.model.inventory import Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.marker import Change, MachineReference
from payload.model.plan import CopyMode, DiskPair, Plan, PlannedDisk
from payload.model.volume import Layer, Segment
from payload.model.volume import Volume as LayeredVolume
from payload.system import device
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.server_image import ROOT_UUID, make_ext4, make_image, write_tree

pytestmark = pytest.mark.root

MIB = 1 << 20
UNUSED: Any = None
CHANGES = (
    Change("/etc/hosts", "changed"),
    Change("/boot/grub.cfg", "changed"),
    Change("disk T bytes 0-1", "mounted"),
)


@pytest.fixture
def legs(tmp_path: Path) -> list[Path]:
    write_tree(tmp_path / "tree", {"etc/hosts": "127.0.0.1 " + "x" * 5000, "grub.cfg": "menu"})
    images = [make_image(tmp_path / f"T{number}", 10 * MIB) for number in (0, 1)]
    make_ext4(images[0], tmp_path / "tree", ROOT_UUID, MIB, 8 * MIB)
    images[1].write_bytes(images[0].read_bytes())
    return images


def check(images: list[Path], kind: str = "ext4", size: int = 8 * MIB, **more: Any) -> None:
    blocks = ImageBlocks([ImageDisk(image, serial=image.name) for image in images])
    host = Host(run, blocks, LinuxMounts(), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED)
    target = Inventory(MachineIdentity("t"), Firmware.BIOS, disks=tuple(map(Disk, blocks.find())))
    pairs = tuple(
        DiskPair(PlannedDisk(f"S{n}", "", 1, 1), PlannedDisk(disk.id, "", 1, 1), "")
        for n, disk in enumerate(target.disks)
    )
    machine = MachineReference("m")
    plan = Plan(machine, machine, CopyMode.USED, pairs, (), 0, **more)
    where = tuple((Segment(f"S{n}", MIB, size),) for n in (0, 1))
    array = LayeredVolume("md0", Layer.MD, "u", size, where)
    volume = Volume(0, NO_PARTITION, MIB, size, kind, layered=array)
    alone = replace(volume, layered=replace(array, legs=where[:1]))
    check_legs(host, plan, target, [alone, volume], CHANGES)


def test_equal_legs_are_alike(legs: list[Path]) -> None:
    check(legs)


@pytest.mark.parametrize(
    ("content", "other", "word"),
    [(b"127.0.0.1 x", b"127.0.0.2 x", "/etc/hosts"), (b"menu", b"none", "/grub.cfg")],
)
def test_a_file_that_did_not_arrive_is_named(
    legs: list[Path], content: bytes, other: bytes, word: str
) -> None:
    image = legs[1].read_bytes()
    assert image.count(content) == 1
    legs[1].write_bytes(image.replace(content, other))
    with pytest.raises(TargetDiskError, match=rf"volume md0 .* \({word}\)"):
        check(legs)


def test_the_subvolume_of_the_root_is_looked_for_in_the_root_alone(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {"etc/hosts": "127.0.0.1"})
    size = 128 * MIB
    part = make_image(tmp_path / "part", size)
    run(["mkfs.btrfs", "-q", "--rootdir", str(tmp_path / "tree"), str(part)])
    images = [make_image(tmp_path / f"T{number}", size + 2 * MIB) for number in (0, 1)]
    for image in images:
        with image.open("r+b") as file:
            file.seek(MIB)
            file.write(part.read_bytes())
    check(images, "btrfs", size, root_subvolume="@", root_volume="md1")
    with pytest.raises(ToolError, match="subvol"):
        check(images, "btrfs", size, root_subvolume="@", root_volume="md0")


def test_a_mount_that_reached_one_leg_only_is_noticed(legs: list[Path]) -> None:
    with (
        device.view(run, str(legs[1]), MIB, 8 * MIB, writable=True) as node,
        LinuxMounts().mount(node, "ext4", writable=True),
    ):
        pass
    with pytest.raises(TargetDiskError, match="the superblock"):
        check(legs)


def test_a_damaged_file_system_of_data_hinders_nothing(legs: list[Path]) -> None:
    spoil(legs[0])
    with pytest.raises(TargetDiskError, match="one of both cannot be mounted"):
        check(legs)
    spoil(legs[1])
    check(legs)


def spoil(image: Path) -> None:
    """The size of its inodes is impossible."""
    with image.open("r+b") as file:
        file.seek(MIB + 1024 + 0x58)
        file.write(b"\xff\xff")
