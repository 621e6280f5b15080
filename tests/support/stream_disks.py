"""Disks with everything a stream meets, as image files, and the machines that hold them.

Three source disks: an MBR in the old manner (first partition at sector 63, logical partitions
chained by hand, boot code in the gap), a GPT, and a file system without any table.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from payload.decide.planning import plan_copy
from payload.identify.content import look_at as look_at_disk
from payload.model.disk import Disk, Hardware
from payload.model.errors import TargetDiskError
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.plan import CopyMode, Plan
from payload.model.role import Decision, Ground, Permission, Role
from payload.system.block import LinuxBlocks
from payload.system.command import run
from payload.system.host import Host
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.server_image import MIB, make_image, tool, write_tree

SECTOR = 512
OLD_TABLE = """\
label: dos
label-id: 0xfa110e55

1 : start=63, size=40887, type=83, bootable
2 : start=40950, size=245700, type=5
5 : start=41013, size=40887, type=82
6 : start=81963, size=204624, type=83
"""
GPT_TABLE = """\
label: gpt
label-id: 4C1D64CA-2B41-4CFA-9A1F-3B5C3DDF7F11
first-lba: 34

1 : start=2048, size=4096, type=21686148-6449-6E6F-744E-656564454649, name="boot \\xc3\\xa4"
3 : start=8192, size=655360, type=linux, attrs="RequiredPartition,GUID:63"
2 : start=663552, size=262144, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
4 : start=925696, size=8192, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
"""
SOURCE_SIZES = {"old.img": 140 * MIB, "gpt.img": 500 * MIB, "plain.img": 40 * MIB}


@dataclass
class BusyBlocks(ImageBlocks):
    """Images that somebody else has open for the next so many times."""

    busy: int = 0

    def open_to_write(self, node: str) -> int:
        if self.busy:
            self.busy -= 1
            raise TargetDiskError(f"{node} is busy.")
        return super().open_to_write(node)


@dataclass(frozen=True)
class Images:
    """Image files that play the disks of one machine."""

    blocks: BusyBlocks
    host: Host

    @property
    def paths(self) -> list[Path]:
        return [image.path for image in self.blocks.images]


class LoopBlocks(BusyBlocks):
    """The same over loop devices, which unlike files can have large sectors."""

    def find(self) -> tuple[Hardware, ...]:
        return tuple(replace(disk, size=_device_size(disk.node)) for disk in super().find())

    def discard_step(self, node: str) -> int:
        return LinuxBlocks().discard_step(node)


def _device_size(node: str) -> int:
    with Path(node).open("rb") as device:
        return device.seek(0, os.SEEK_END)


def make_host(
    paths: list[Path],
    prefix: str,
    sector_size: int = SECTOR,
    blocks: type[BusyBlocks] = BusyBlocks,
) -> Images:
    """Serial numbers S0, S1... or T0, T1..., plugged in in that order."""
    images = blocks(
        [
            ImageDisk(
                path,
                serial=f"{prefix}{index}",
                by_path=f"pci-0-ata-{index + 1}",
                sector_size=sector_size,
            )
            for index, path in enumerate(paths)
        ]
    )
    unused: Any = None  # the stream neither mounts, nor powers off, nor configures networks
    return Images(images, Host(run, images, unused, unused, unused, unused, unused, unused))


def find_source(directory: Path) -> Images:
    """The source whose disks `make_source` made there."""
    return make_host([directory / name for name in SOURCE_SIZES], "S")


def make_source(directory: Path, files: int = 60) -> None:
    paths = [make_image(directory / name, size) for name, size in SOURCE_SIZES.items()]
    tool("sfdisk", "-q", str(paths[0]), stdin=OLD_TABLE)
    tool("sfdisk", "-q", str(paths[1]), stdin=GPT_TABLE)
    tree = directory / "tree"
    write_tree(tree, {f"usr/{n % 7}/{n:04}": f"text {n}\n" * 3000 for n in range(files)})
    (tree / "random").write_bytes(os.urandom(3 * MIB + 17))
    _fill_boot_code(paths[0])
    _place(paths[0], 63, _ext(directory, "ext3", 40887, tree, "-I", "128"))
    _place(paths[0], 41013, _swap(directory, 40887))
    _place(paths[0], 81963, _ext(directory, "ext4", 204624, tree))
    _place(paths[1], 2048, _random(directory, 4096))
    _place(paths[1], 8192, _xfs(directory, 655360, tree))
    _place(paths[1], 663552, _btrfs(directory, 262144, tree))
    _place(paths[1], 925696, _random(directory, 8192))
    _place(paths[2], 0, _ext(directory, "ext4", 40 * MIB // SECTOR, tree))


def make_target(directory: Path, *, larger: int = 20) -> Images:
    """Blank disks, each some MiB larger than the source's."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [
        make_image(directory / f"target{index}.img", size + larger * MIB)
        for index, size in enumerate(SOURCE_SIZES.values())
    ]
    return make_host(paths, "T")


def _fill_boot_code(path: Path) -> None:
    with path.open("r+b") as disk:
        disk.write(os.urandom(440))
        disk.seek(SECTOR)
        disk.write(os.urandom(62 * SECTOR))


def _place(disk: Path, sector: int, part: Path) -> None:
    """Put a partition's image at its sector, holes left out."""
    with part.open("rb") as source, disk.open("r+b") as target:
        position = sector * SECTOR
        while block := source.read(65536):
            if block.strip(b"\0"):
                target.seek(position)
                target.write(block)
            position += len(block)
    part.unlink()


def _ext(directory: Path, kind: str, sectors: int, tree: Path, *options: str) -> Path:
    part = make_image(directory / "part", sectors * SECTOR)
    tool("mke2fs", "-q", "-F", "-t", kind, *options, "-d", str(tree), str(part))
    return part


def _xfs(directory: Path, sectors: int, tree: Path) -> Path:
    part = make_image(directory / "part", sectors * SECTOR)
    proto = directory / "proto"
    random = tree / "random"
    proto.write_text(f"/\n0 0\nd--755 0 0\nrandom ---644 0 0 {random}\n$\n")
    tool("mkfs.xfs", "-q", "-p", str(proto), str(part))
    return part


def _btrfs(directory: Path, sectors: int, tree: Path) -> Path:
    part = make_image(directory / "part", sectors * SECTOR)
    tool("mkfs.btrfs", "-q", "-f", "--rootdir", str(tree), str(part))
    return part


def place_ext(directory: Path, disk: Path, sector: int, sectors: int) -> None:
    """An ext4 with a file in it, at that place of the disk."""
    tree = directory / "tree"
    write_tree(tree, {"file": "text\n" * 3000})
    _place(disk, sector, _ext(directory, "ext4", sectors, tree))


def _swap(directory: Path, sectors: int) -> Path:
    part = make_image(directory / "part", sectors * SECTOR)
    tool("mkswap", "-q", str(part))
    return part


def _random(directory: Path, sectors: int) -> Path:
    part = directory / "part"
    part.write_bytes(os.urandom(sectors * SECTOR))
    return part


# --- what the machines know of themselves


def look_at(images: Images, name: str) -> Inventory:
    """The inventory of a machine with these disks. The ext4 partitions of the first are roots."""
    disks = tuple(
        Disk(hardware, look_at_disk(images.host, hardware)) for hardware in images.blocks.find()
    )
    systems = tuple(
        InstalledSystem(disk.id, part.number, "ext4", host_name="groupware")
        for disk in disks[:1]
        for part in (disk.content.table.partitions if disk.content and disk.content.table else ())
        if part.file_system and part.file_system.kind == "ext4"
    )
    return Inventory(
        MachineIdentity(name.encode().hex().ljust(32, "0")), Firmware.BIOS, (), disks, systems
    )


def permit(inventory: Inventory, ground: Ground = Ground.BLANK) -> Decision:
    """A target that may overwrite all of its disks."""
    permissions = tuple(
        Permission(disk.id, ground, disk.content.evidence if disk.content else "")
        for disk in inventory.disks
    )
    return Decision(Role.TARGET, "test", (), permissions)


def plan_for(
    source: Inventory, target: Inventory, mode: CopyMode = CopyMode.USED, *, verify: bool = True
) -> Plan:
    return plan_copy(source, target, permit(target, Ground.NAMED), mode, verify=verify)


def sfdisk_json(path: Path) -> dict[str, object]:
    table = json.loads(tool("sfdisk", "--json", str(path)))["partitiontable"]
    table.pop("device")
    for partition in table.get("partitions", ()):
        partition["node"] = partition["node"].removeprefix(str(path))
    return dict(table)
