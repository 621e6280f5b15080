"""Volumes of LVM and MD on image files: found, looked into, and nothing written by looking."""

import struct
from pathlib import Path

import pytest

from payload.decide.role import decide_role
from payload.formats.disk.lvm import checksum
from payload.identify.survey import take_survey
from payload.model.disk import MIB
from payload.model.role import Role
from payload.model.settings import Settings
from payload.model.volume import Layer, Segment
from payload.system import device
from payload.system.command import run
from tests.support.image_ranges import ImageRange, put
from tests.support.layered_disks import (
    CARD,
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
from tests.support.md_superblocks import new_superblock
from tests.support.server_image import make_image, tool
from tests.support.volume_groups import EXTENT, Extents, make_volume_group

pytestmark = pytest.mark.root


def test_a_root_on_lvm_is_found_and_nothing_is_hidden(tmp_path: Path) -> None:
    found = take(lvm_server(tmp_path))
    root, swap = found.volumes
    assert (root.name, root.layer, root.size) == ("vg/root", Layer.LVM, 40 * EXTENT)
    assert root.legs == ((Segment("serial:S1", FIRST, 40 * EXTENT),),)
    assert root.file_system and root.file_system.kind == "ext4"
    assert swap.aliases[:2] == ("vg/swap-1", "mapper/vg-swap--1")
    assert swap.file_system and swap.file_system.kind == "swap"
    assert found.unused == (
        Segment("serial:S1", FIRST + 40 * EXTENT, 20 * EXTENT),
        Segment("serial:S1", FIRST + 68 * EXTENT, 21 * EXTENT),
    )
    (system,) = found.systems
    assert (system.host_name, system.place, system.disks) == (
        "groupware",
        "vg/root",
        ("serial:S1",),
    )
    assert found.disks[0].content and found.disks[0].content.hidden == ()
    assert found.warnings == ()
    assert decide_role(found, Settings()).role is Role.SOURCE


def test_a_volume_over_two_disks_is_put_together(tmp_path: Path) -> None:
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    pieces = [Extents(1, 3, 20), Extents(0, 50, 20), Extents(1, 60, 1)]
    make_volume_group("vg", [ImageRange(image, START, PART) for image in images], {"root": pieces})
    whole = make_image(tmp_path / "whole", 41 * EXTENT)
    ext4(whole, tree(tmp_path), 0, 41 * EXTENT)
    content = whole.read_bytes()
    for piece in pieces:
        put(images[piece.physical], FIRST + piece.first * EXTENT, content[: piece.count * EXTENT])
        content = content[piece.count * EXTENT :]
    found = take(*images)
    (root,) = found.volumes
    assert [(one.disk, one.size) for one in root.legs[0]] == [
        ("serial:S2", 20 * EXTENT),
        ("serial:S1", 20 * EXTENT),
        ("serial:S2", EXTENT),
    ]
    assert [(one.disk, one.more_disks) for one in found.systems] == [("serial:S2", ("serial:S1",))]
    verdict = decide_role(found, Settings())
    assert verdict.role is Role.SOURCE
    assert all("groupware" in reason for reason in verdict.reasons[1:])


def test_a_group_without_all_its_members_stays_hidden(tmp_path: Path) -> None:
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    make_volume_group(
        "vg", [ImageRange(image, START, PART) for image in images], {"root": [Extents(0, 0, 40)]}
    )
    ext4(images[0], tree(tmp_path), FIRST, 40 * EXTENT)
    found = take(images[0])
    assert (found.volumes[0].legs, found.systems, found.unused) == ((), (), ())
    assert "is missing" in found.volumes[0].why_not
    assert found.disks[0].content and found.disks[0].content.hidden == ("LVM on partition 2",)
    assert decide_role(found, Settings()).rule == "not looked into"


def test_a_clone_of_a_member_beside_it_resolves_nothing(tmp_path: Path) -> None:
    image = lvm_server(tmp_path)
    other = tmp_path / "S2"
    other.write_bytes(image.read_bytes())
    found = take(image, other)
    assert {one.why_not for one in found.volumes} == {"pv0 of the volume group vg is there twice"}
    assert decide_role(found, Settings()).role is Role.UNDECIDED


@pytest.mark.parametrize("content", ["luks", "table", "root"])
def test_what_lies_in_a_volume_may_hide_too(tmp_path: Path, content: str) -> None:
    image = lvm_server(tmp_path)
    put(image, FIRST + 60 * EXTENT, bytes(8 * EXTENT))
    if content == "luks":
        head = b"LUKS\xba\xbe\0\1aes".ljust(168, b"\0") + b"12345678-1234-4234-8234-123456789abc"
        put(image, FIRST + 60 * EXTENT, head)
    elif content == "table":
        guest = make_image(tmp_path / "guest", 8 * EXTENT)
        tool("sfdisk", "-q", str(guest), stdin="label: dos\n2048\n")
        put(image, FIRST + 60 * EXTENT, guest.read_bytes())
    else:
        put(image, FIRST + 1080, b"\0\0")  # the magic number of the root's superblock
    found = take(image)
    expected = () if content == "root" else ("LVM on partition 2",)
    assert found.disks[0].content and found.disks[0].content.hidden == expected
    assert len(found.systems) == (content != "root")


@pytest.mark.parametrize(("version", "data"), [("1.2", 2 * MIB), ("0.90", 0)])
def test_a_root_on_a_mirror_is_found_once(tmp_path: Path, version: str, data: int) -> None:
    images = mirror(tmp_path, version=version)
    directory = tree(tmp_path)
    for image in images:
        ext4(image, directory, START + data, 80 * MIB)
        with device.view(run, str(image), START, PART) as member:
            judged = tool("mdadm", "--examine", member)
        assert "- correct" in judged
        assert f"Version : {version}" in judged
    found = take(*images)
    (array,) = found.volumes
    assert (array.name, array.layer, array.size) == ("md0", Layer.MD, 80 * MIB)
    assert array.legs == tuple(
        (Segment(f"serial:{image.name}", START + data, 80 * MIB),) for image in images
    )
    assert [one.place for one in found.systems] == ["md0"]
    assert all(one.content and not one.content.hidden for one in found.disks)
    assert decide_role(found, Settings()).role is Role.SOURCE


def test_lvm_on_a_mirror_comes_down_to_the_disks(tmp_path: Path) -> None:
    images = mirror(tmp_path, version="1.2")
    inner = START + 2 * MIB
    make_volume_group(
        "vg", [ImageRange(images[0], inner, 80 * MIB)], {"root": [Extents(0, 10, 40)]}
    )
    ext4(images[0], tree(tmp_path), inner + 11 * EXTENT, 40 * EXTENT)
    with images[0].open("rb") as file:
        file.seek(inner)
        put(images[1], inner, file.read(80 * MIB))
    found = take(*images)
    array, root = found.volumes
    assert array.file_system and array.file_system.kind == "LVM2_member"
    place = inner + 11 * EXTENT
    assert root.legs == tuple(
        (Segment(f"serial:{image.name}", place, 40 * EXTENT),) for image in images
    )
    assert len(found.unused) == 4  # before and behind the root, on each disk
    assert [one.place for one in found.systems] == ["vg/root"]
    assert all(one.content and not one.content.hidden for one in found.disks)


def test_a_stale_member_of_a_mirror_stays_hidden(tmp_path: Path) -> None:
    images = mirror(tmp_path, version="1.2")
    stale = new_superblock(device=1, size=80 * MIB, data_start=2 * MIB, events=3)
    put(images[1], START + 4096, stale)
    for image in images:
        ext4(image, tree(tmp_path), START + 2 * MIB, 80 * MIB)
    found = take(*images)
    assert found.volumes[0].disks == ("serial:S1",)
    hidden = [one.content.hidden for one in found.disks if one.content]
    assert hidden == [(), ("MD RAID on partition 2",)]
    assert "not up to date, or a spare, in md0" in " ".join(found.warnings)


def test_arrays_of_one_name_are_not_told_apart_by_what_is_in_one_of_them(tmp_path: Path) -> None:
    """The one holds a volume group that is understood, the other what nobody looks into."""
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    for number, image in enumerate(images):
        block = new_superblock(
            device=0, size=80 * MIB, data_start=2 * MIB, disks=1, uuid=bytes([number]) * 16
        )
        put(image, START + 4096, block)
    make_volume_group(
        "vg", [ImageRange(images[0], START + 2 * MIB, 80 * MIB)], {"root": [Extents(0, 0, 40)]}
    )
    ext4(images[0], tree(tmp_path), START + 3 * MIB, 40 * EXTENT)
    luks = b"LUKS\xba\xbe\0\1aes".ljust(168, b"\0") + b"12345678-1234-4234-8234-123456789abc"
    put(images[1], START + 2 * MIB, luks)
    found = take(*images)
    assert [one.why_not for one in found.volumes] == ["another volume has the same name"] * 2
    hidden = [one.content.hidden for one in found.disks if one.content]
    assert hidden == [("MD RAID on partition 2",)] * 2


def test_a_member_that_two_groups_claim_is_believed_of_neither(tmp_path: Path) -> None:
    """The metadata of one group, written over by that of another with the same members."""
    images = [disk(tmp_path / "S1"), disk(tmp_path / "S2")]
    members = [ImageRange(image, START, PART) for image in images]
    make_volume_group("one", members, {"root": [Extents(0, 0, 40)]})
    member = images[1].read_bytes()[START : START + MIB]
    head = bytearray(member[4096:4608])
    place, length = struct.unpack_from("<QQ", head, 40)  # of the text, in the metadata area
    text = member[4096 + place : 4096 + place + length].replace(b"one {", b"two {", 1)
    uuid = text.index(b'id = "') + 6
    text = text[:uuid] + b"XXXXXX" + text[uuid + 6 :]
    struct.pack_into("<I", head, 40 + 16, checksum(text))
    struct.pack_into("<I", head, 0, checksum(bytes(head[4:])))
    put(images[1], START + 4096, bytes(head))
    put(images[1], START + 4096 + place, text)
    found = take(*images)
    assert len(found.volumes) == 2
    assert all("is claimed by another one" in one.why_not for one in found.volumes)
    assert (found.unused, found.systems) == ((), ())


def test_a_raid_of_another_level_is_told_and_stays_hidden(tmp_path: Path) -> None:
    image = disk(tmp_path / "S1")
    put(image, START + 4096, new_superblock(device=0, size=80 * MIB, level=5, disks=3))
    found = take(image)
    assert found.volumes[0].why_not == "it is of RAID level 5"
    assert found.disks[0].content and found.disks[0].content.hidden == ("MD RAID on partition 2",)


def test_the_survey_looks_into_volumes(tmp_path: Path) -> None:
    image = lvm_server(tmp_path)
    source = take(image)
    survey = take_survey(host_of([image]), source, source, 0)
    assert survey.kernels == ("6.1",)
    assert [(one.modalias, one.modules) for one in survey.drivers] == [(CARD.modalias, ("good",))]
    assert 0 < survey.used < 10 * MIB  # the files of the root; its physical volume counts nothing
