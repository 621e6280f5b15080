"""Maps of members of LVM and MD: what they leave out is missed by nobody.

Each copy is made by the map alone, onto images full of something else, and then looked at as a
machine of its own.
"""

import hashlib
import os
from pathlib import Path

import pytest

from payload.model.disk import MIB
from payload.model.inventory import Inventory
from payload.model.plan import Method, Region
from payload.model.runs import Run
from payload.replicate.volume_map import VolumeMaps
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.support.image_ranges import ImageRange, put
from tests.support.layered_disks import (
    FIRST,
    PART,
    START,
    disk,
    ext4,
    host_of,
    lvm_server,
    mirror,
    take,
    tree,
)
from tests.support.server_image import make_image
from tests.support.volume_groups import EXTENT, Extents, make_volume_group

pytestmark = pytest.mark.root

SECTOR = 512
FILES = {f"usr/{n % 5}/{n}": f"text {n}\n" * 4000 for n in range(40)}


def maps_of(images: list[Path], kind: str, source: Inventory | None = None) -> list[list[Run]]:
    """The chunks of the member on each image, and nothing said about them."""
    found = source or take(*images)
    volumes = VolumeMaps(host_of(images), found)
    region = Region(0, 0, 2, START, PART, Method.USED, kind)
    result = []
    for image in images:
        chunks, note = volumes.find_chunks(f"serial:{image.name}", region, SECTOR)
        assert note == ""
        result.append(list(chunks))
    return result


def copies_of(images: list[Path], maps: list[list[Run]]) -> list[Path]:
    """The same disks somewhere else, but of the members only what the maps name."""
    copies = []
    for image, chunks in zip(images, maps, strict=True):
        copy = image.parent / "copy" / image.name
        copy.parent.mkdir(exist_ok=True)
        content = image.read_bytes()
        copy.write_bytes(content[:START] + os.urandom(PART) + content[START + PART :])
        for offset, length in chunks:
            put(copy, START + offset, content[START + offset : START + offset + length])
        copies.append(copy)
    return copies


def used(chunks: list[Run]) -> int:
    return sum(length for _, length in chunks)


def check(host: Host, found: Inventory, name: str, leg: int = 0) -> dict[str, str]:
    """Check the file system of a volume on one of its legs; the digests of all its files."""
    extents = found.volume(name).extents(found.node_of)
    with host.blocks.assemble(extents[leg : leg + 1]) as device:
        run(["e2fsck", "-fn", device])
        with LinuxMounts().mount(device, "ext4") as root:
            return {
                str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in root.rglob("*")
                if path.is_file()
            }


def assert_same(images: list[Path], copies: list[Path], name: str) -> None:
    """The copies are the same machine, down to every file on every leg."""
    here, there = take(*images), take(*copies)
    assert there.volumes == here.volumes and there.unused == here.unused
    wanted = check(host_of(images), here, name)
    for leg in range(len(there.volume(name).legs)):
        assert check(host_of(copies), there, name, leg) == wanted


def test_a_group_costs_what_its_file_systems_use(tmp_path: Path) -> None:
    """A root of 40 MiB with little in it, 8 MiB of swap, the rest of 88 MiB free."""
    images = [lvm_server(tmp_path)]
    maps = maps_of(images, "LVM2_member")
    assert used(maps[0]) < 20 * MIB
    assert_same(images, copies_of(images, maps), "vg/root")


def test_what_lies_behind_the_file_system_of_a_volume_is_copied(tmp_path: Path) -> None:
    """As the metadata of DRBD does, or what was there before the volume was enlarged."""
    images = [disk(tmp_path / "S1")]
    make_volume_group("vg", [ImageRange(images[0], START, PART)], {"root": [Extents(0, 0, 40)]})
    ext4(images[0], tree(tmp_path, FILES), FIRST, 20 * EXTENT)
    put(images[0], FIRST + 30 * EXTENT, pattern := os.urandom(EXTENT))
    (copied,) = copies_of(images, maps := maps_of(images, "LVM2_member"))
    start = FIRST + 30 * EXTENT
    assert copied.read_bytes()[start : start + EXTENT] == pattern
    assert used(maps[0]) < PART - 40 * EXTENT, "what no volume occupies is free"


def test_a_volume_in_pieces_on_two_disks(tmp_path: Path) -> None:
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    pieces = [Extents(1, 3, 20), Extents(0, 50, 20), Extents(1, 60, 20)]
    make_volume_group("vg", [ImageRange(image, START, PART) for image in images], {"root": pieces})
    whole = make_image(tmp_path / "whole", 60 * EXTENT)
    ext4(whole, tree(tmp_path, FILES), 0, 60 * EXTENT)
    content = whole.read_bytes()
    for piece in pieces:
        put(images[piece.physical], FIRST + piece.first * EXTENT, content[: piece.count * EXTENT])
        content = content[piece.count * EXTENT :]
    maps = maps_of(images, "LVM2_member")
    assert sum(map(used, maps)) < 35 * MIB
    assert_same(images, copies_of(images, maps), "vg/root")


@pytest.mark.parametrize(("version", "data"), [("1.2", 2 * MIB), ("0.90", 0)])
def test_both_legs_of_a_mirror(tmp_path: Path, version: str, data: int) -> None:
    images = mirror(tmp_path, version=version)
    directory = tree(tmp_path, FILES)
    for image in images:
        ext4(image, directory, START + data, 80 * MIB)
    maps = maps_of(images, "linux_raid_member")
    assert maps[0] == maps[1] and used(maps[0]) < 30 * MIB
    assert_same(images, copies_of(images, maps), "md0")


def test_lvm_on_a_mirror(tmp_path: Path) -> None:
    images = mirror(tmp_path, version="1.2")
    inner = START + 2 * MIB
    make_volume_group(
        "vg", [ImageRange(images[0], inner, 80 * MIB)], {"root": [Extents(0, 10, 40)]}
    )
    ext4(images[0], tree(tmp_path, FILES), inner + 11 * EXTENT, 40 * EXTENT)
    with images[0].open("rb") as file:
        file.seek(inner)
        put(images[1], inner, file.read(80 * MIB))
    maps = maps_of(images, "linux_raid_member")
    assert maps[0] == maps[1] and used(maps[0]) < 25 * MIB
    assert_same(images, copies_of(images, maps), "vg/root")


def test_a_stale_leg_is_copied_as_it_is(tmp_path: Path) -> None:
    images = mirror(tmp_path, version="1.2")
    for image in images:
        ext4(image, tree(tmp_path), START + 2 * MIB, 80 * MIB)
    found = take(images[0])  # the other disk is there, but no leg of it
    volumes = VolumeMaps(host_of(images), found)
    region = Region(0, 0, 2, START, PART, Method.USED, "linux_raid_member")
    chunks, _ = volumes.find_chunks("serial:S2", region, SECTOR)
    assert used(list(chunks)) == PART


def test_a_volume_beside_a_snapshot_is_copied_whole(tmp_path: Path) -> None:
    """A snapshot may still need what its origin has freed."""
    images = [disk(tmp_path / "S1")]
    volumes = {"root": [Extents(0, 0, 40)], "snap": [Extents(0, 60, 8)]}
    make_volume_group("vg", [ImageRange(images[0], START, PART)], volumes)
    ext4(images[0], tree(tmp_path), FIRST, 40 * EXTENT)
    put(images[0], FIRST + 60 * EXTENT, b"SnAp\1\0\0\0\1\0\0\0\10\0\0\0")
    found = take(*images)
    assert [one.file_system.kind for one in found.volumes if one.file_system] == [
        "ext4",
        "DM_snapshot_cow",
    ]
    (chunks,) = maps_of(images, "LVM2_member", found)
    free = (20 + 21) * EXTENT
    assert used(chunks) == PART - free + MIB, "all but the free extents, and the last MiB"


def test_a_file_system_that_was_not_unmounted_cleanly_is_copied_whole(tmp_path: Path) -> None:
    images = [lvm_server(tmp_path)]
    put(images[0], FIRST + 1024 + 0x60, b"\xc6\x02\x00\x00")  # needs_recovery
    region = Region(0, 0, 2, START, PART, Method.USED, "LVM2_member")
    volumes = VolumeMaps(host_of(images), take(*images))
    chunks, note = volumes.find_chunks("serial:S1", region, SECTOR)
    assert note == "", "the plan has said it"
    system = take(*images).volume("vg/root").file_system
    assert system and "not unmounted cleanly" in system.doubt
    inside = [one for one in chunks if FIRST - START <= one[0] < FIRST - START + 40 * EXTENT]
    assert used(inside) == 40 * EXTENT


def test_what_is_not_understood_is_copied_whole(tmp_path: Path) -> None:
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    make_volume_group(
        "vg", [ImageRange(image, START, PART) for image in images], {"root": [Extents(0, 0, 40)]}
    )
    ext4(images[0], tree(tmp_path), FIRST, 40 * EXTENT)
    assert used(maps_of(images[:1], "LVM2_member")[0]) == PART
