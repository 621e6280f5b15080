"""Servers on LVM and MD, image files as their disks, and what a machine knows of them."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from payload.identify.inventory import take_inventory
from payload.model.disk import MIB
from payload.model.inventory import Inventory
from payload.model.machine import Card
from payload.system.board import LinuxBoard
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from payload.system.power import LinuxPower
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.image_ranges import ImageRange, put
from tests.support.machine_bench import content_digest
from tests.support.machine_process import NoEmulator
from tests.support.md_superblocks import new_superblock, old_place, old_superblock
from tests.support.server_image import make_ext4, make_image, tool, write_tree
from tests.support.volume_groups import EXTENT, Extents, make_volume_group

CARD = Card("eth0", "00:16:3e:00:00:01", modalias="pci:v0000AAAAd0000")
PART = 90 * MIB  # of the partitions that are members
TABLE = f"label: gpt\nstart=2048, size=20480\nstart=22528, size={PART // 512}\n"
START = 22528 * 512
FIRST = START + EXTENT  # of the extents of a physical volume there
ROOT = {
    "etc/fstab": "/dev/mapper/vg-root / ext4 defaults 0 1\n",
    "etc/hostname": "groupware\n",
    "etc/debian_version": "12.9\n",
    "lib/modules/6.1/modules.alias": "alias pci:v0000AAAA* good\n",
    "lib/modules/6.1/modules.builtin.modinfo": "",
}


def take(*images: Path) -> Inventory:
    """The inventory, and the proof that taking it changed nothing."""
    host = host_of(images)
    before = [content_digest(image) for image in images]
    found = take_inventory(host, "1", 5)
    assert [content_digest(image) for image in images] == before
    return found


def host_of(images: Sequence[Path]) -> Host:
    blocks = ImageBlocks([ImageDisk(image, serial=image.name) for image in images])
    links: Any = SimpleNamespace(cards=lambda: (CARD,))
    mdns: Any = None
    return Host(run, blocks, LinuxMounts(), LinuxBoard(), LinuxPower(), links, mdns, NoEmulator())


def disk(path: Path) -> Path:
    make_image(path, 110 * MIB)
    tool("sfdisk", "-q", str(path), stdin=TABLE)
    return path


def tree(directory: Path, files: dict[str, str] = ROOT) -> Path:
    write_tree(directory / "tree", files)
    return directory / "tree"


def ext4(image: Path, directory: Path, start: int, size: int, uuid: str = "r00t") -> None:
    make_ext4(image, directory, "44444444-4444-4444-8444-444444444444", start, size)


def lvm_server(tmp_path: Path) -> Path:
    """A root of 40 MiB, 8 MiB of swap, and the rest of 88 MiB free."""
    image = disk(tmp_path / "S1")
    volumes = {"root": [Extents(0, 0, 40)], "swap-1": [Extents(0, 60, 8)]}
    make_volume_group("vg", [ImageRange(image, START, PART)], volumes)
    ext4(image, tree(tmp_path), FIRST, 40 * EXTENT)
    swap = make_image(tmp_path / "swap", 8 * EXTENT)
    tool("mkswap", "-q", str(swap))
    put(image, FIRST + 60 * EXTENT, swap.read_bytes())
    return image


def mirror(tmp_path: Path, *, version: str) -> list[Path]:
    """Two disks whose second partitions mirror each other."""
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    for number, image in enumerate(images):
        if version == "1.2":
            block = new_superblock(device=number, size=80 * MIB, data_start=2 * MIB)
            put(image, START + 4096, block)
        else:
            block = old_superblock(device=number, size=80 * MIB)
            put(image, START + old_place(PART), block)
    return images
