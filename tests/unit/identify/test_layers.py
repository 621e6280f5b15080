"""Volumes of LVM and MD, from what their members say of themselves alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.identify.layers import LVM_KIND, MD_KIND, Layers, Place, find_layers
from payload.model.disk import MIB, Content, Disk, FileSystem, Hardware, Partition, PartitionTable
from payload.model.errors import ToolError
from payload.model.volume import Layer, Segment
from payload.system.command import Completed
from tests.support.md_superblocks import new_superblock
from tests.support.physical_volumes import (
    EXTENT,
    UUID,
    group_text,
    physical_volume,
    segment,
    volume,
)

START, PART = 16 * MIB, 512 * MIB
DATA = START + MIB  # of a physical volume: its extents
GROUP = group_text(volume("root", segment(1, 0, 10, '"pv0", 0'), segment(2, 10, 5, '"pv1", 7')))
AMBIVALENT = "two kinds at once"
ON_ONE = group_text(volume("root", segment(1, 0, 10, '"pv0", 0')))


def member(number: int, text: str = GROUP) -> bytes:
    return bytes(physical_volume(text, uuid=f"pv{number}".ljust(32, "a")))


def half(number: int, **more: Any) -> bytes:
    """A member of a mirror of 80 MiB, of which the first MiB is the array's."""
    return bytes(4096) + new_superblock(device=number, size=80 * MIB, **more)


def disk(name: str, kind: str = LVM_KIND, *, partition: bool = True) -> Disk:
    hardware = Hardware(name, f"/dev/{name}", 600 * MIB, serial=name)
    if not partition:
        return Disk(hardware, Content(False, "seen", file_system=FileSystem(kind)))
    part = Partition(2, START, PART, "83", file_system=FileSystem(kind))
    return Disk(hardware, Content(False, "seen", PartitionTable("gpt", "id", (part,))))


@dataclass
class Machine:
    """What lies at places of disks, and what libblkid finds there: both by disk and first byte."""

    directory: Path
    bytes_at: Mapping[tuple[str, int], bytes]
    kinds: Mapping[tuple[str, int], str] = field(default_factory=dict)
    tables: frozenset[tuple[str, int]] = frozenset()
    broken: frozenset[tuple[str, int]] = frozenset()

    @contextmanager
    def assemble(self, legs: Sequence[Sequence[tuple[str, int, int]]]) -> Iterator[str]:
        node, start, _ = legs[0][0]
        place = (Path(node).name, start)
        if place in self.broken:
            raise ToolError("The disk does not answer.")
        path = self.directory / f"{place[0]}@{start}"
        path.write_bytes(self.bytes_at.get(place, b""))
        yield str(path)

    def run(self, argv: Sequence[str], ok: Sequence[int] = (0,)) -> Completed:
        name, _, start = Path(argv[-1]).name.partition("@")
        place = (name, int(start))
        if argv[0] == "blkid":
            kind = self.kinds.get(place, "")
            if kind in ("", AMBIVALENT):
                return Completed(tuple(argv), 8 if kind else 2, "", "")  # blkid(8), RETURN CODE
            return Completed(tuple(argv), 0, f"TYPE={kind}\n", "")
        if place in self.tables:
            table = '{"partitiontable": {"label": "dos", "id": "0x1", "unit": "sectors"}}'
            return Completed(tuple(argv), 0, table, "")
        nothing = "does not contain a recognized partition table"
        return Completed(tuple(argv), 1, "", nothing)


def find(machine: Machine, *disks: Disk) -> Layers:
    host: Any = SimpleNamespace(blocks=machine, run=machine.run)
    return find_layers(host, disks)


def two(tmp_path: Path, text: str = GROUP, **more: Any) -> Machine:
    """A group on two disks, and an ext4 in its volume."""
    members = {("sda", START): member(0, text), ("sdb", START): member(1, text)}
    return Machine(tmp_path, members, {("sda", DATA): "ext4"}, **more)


# --- LVM


def test_a_volume_lies_where_its_segments_lie_on_the_disks(tmp_path: Path) -> None:
    found = find(two(tmp_path), disk("sda"), disk("sdb"))
    (root,) = found.volumes
    assert root.legs == (
        (
            Segment("serial:sda", DATA, 10 * EXTENT),
            Segment("serial:sdb", DATA + 7 * EXTENT, 5 * EXTENT),
        ),
    )
    assert (root.name, root.layer, root.size, root.uuid) == (
        "vg/root",
        Layer.LVM,
        15 * EXTENT,
        UUID,
    )
    assert root.file_system == FileSystem("ext4")
    assert (root.why_not, found.warnings) == ("", [])


def test_the_order_of_the_disks_plays_no_part(tmp_path: Path) -> None:
    disks = (disk("sda"), disk("sdb"))
    one, other = find(two(tmp_path), *disks), find(two(tmp_path), *reversed(disks))
    assert one.volumes == other.volumes
    assert sorted(one.unused, key=str) == sorted(other.unused, key=str)


def test_what_no_volume_occupies_is_unused(tmp_path: Path) -> None:
    found = find(two(tmp_path), disk("sda"), disk("sdb"))
    assert found.unused == [
        Segment("serial:sda", DATA + 10 * EXTENT, 90 * EXTENT),
        Segment("serial:sdb", DATA, 7 * EXTENT),
        Segment("serial:sdb", DATA + 12 * EXTENT, 88 * EXTENT),
    ]


def test_a_physical_volume_may_be_a_whole_disk(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {("sda", 0): member(0), ("sdb", START): member(1)})
    (root,) = find(machine, disk("sda", partition=False), disk("sdb")).volumes
    assert root.legs[0][0] == Segment("serial:sda", MIB, 10 * EXTENT)


def test_the_names_by_which_a_system_may_mean_a_volume(tmp_path: Path) -> None:
    text = group_text(volume("swap-1", segment(1, 0, 1, '"pv0", 0')), name="my-vg")
    (swap,) = find(two(tmp_path, text), disk("sda"), disk("sdb")).volumes
    assert swap.aliases == (
        "my-vg/swap-1",
        "mapper/my--vg-swap--1",
        "disk/by-id/dm-name-my--vg-swap--1",
        f"disk/by-id/dm-uuid-LVM-{UUID}{UUID}",
    )


def test_the_newest_metadata_counts(tmp_path: Path) -> None:
    machine = two(tmp_path)
    old = group_text(volume("old", segment(1, 0, 1, '"pv0", 0')), sequence=2)
    members = {**machine.bytes_at, ("sdb", START): member(1, old)}
    found = find(replace(machine, bytes_at=members), disk("sda"), disk("sdb"))
    assert [one.name for one in found.volumes] == ["vg/root"]


@pytest.mark.parametrize(
    ("members", "why_not"),
    [
        ({"sda": member(0)}, "pv1 of the volume group vg is missing"),
        (
            {"sda": member(0), "sdb": member(1), "sdc": member(1)},
            "pv1 of the volume group vg is there twice",
        ),
        (
            {"sda": member(0), "sdb": member(1, GROUP.replace("root", "other"))},
            "its physical volumes contradict each other",
        ),
        (
            {
                "sda": member(0, GROUP.replace("pe_count = 100", "pe_count = 128")),
                "sdb": member(1, GROUP.replace("pe_count = 100", "pe_count = 128")),
            },
            "pv0 of the volume group vg reaches beyond its end",
        ),
    ],
)
def test_a_group_that_is_not_whole_is_told_and_not_resolved(
    tmp_path: Path, members: dict[str, bytes], why_not: str
) -> None:
    machine = Machine(tmp_path, {(name, START): content for name, content in members.items()})
    found = find(machine, *map(disk, members))
    assert [(one.legs, one.why_not) for one in found.volumes] == [((), why_not)]
    assert found.warnings == [
        f"The volume {found.volumes[0].name} cannot be looked into: {why_not}."
    ]
    assert (found.unused, found.rests) == ([], [])


def test_a_member_that_two_groups_claim_is_believed_of_neither(tmp_path: Path) -> None:
    other = GROUP.replace("vg {", "two {").replace(UUID, "z" * 32, 1)
    members = {("sda", START): member(0), ("sdb", START): member(1, other)}
    found = find(Machine(tmp_path, members), disk("sda"), disk("sdb"))
    assert {one.name for one in found.volumes} == {"vg/root", "two/root"}
    assert all("is claimed by another one, too" in one.why_not for one in found.volumes)


def test_two_groups_of_one_name_are_not_told_apart(tmp_path: Path) -> None:
    second = (
        GROUP.replace(UUID, "z" * 32, 1).replace('"pv0aaa', '"qv0aaa').replace('"pv1aaa', '"qv1aaa')
    )
    members = {
        ("sda", START): member(0),
        ("sdb", START): member(1),
        ("sdc", START): bytes(physical_volume(second, uuid="qv0".ljust(32, "a"))),
        ("sdd", START): bytes(physical_volume(second, uuid="qv1".ljust(32, "a"))),
    }
    found = find(Machine(tmp_path, members), *map(disk, ("sda", "sdb", "sdc", "sdd")))
    assert [(one.legs, one.why_not) for one in found.volumes] == [
        ((), "another volume has the same name")
    ] * 2


def test_parts_that_no_name_leads_to_are_no_volumes_but_in_use(tmp_path: Path) -> None:
    hidden = volume("tmeta", segment(1, 0, 100, '"pv0", 0'), status='"READ"')
    found = find(two(tmp_path, group_text(hidden)), disk("sda"), disk("sdb"))
    assert found.volumes == []
    assert [one.disk for one in found.unused] == ["serial:sdb"]


def test_a_volume_with_a_snapshot_is_told(tmp_path: Path) -> None:
    snapshot = (
        'segment1 { start_extent = 0 extent_count = 5 type = "snapshot" chunk_size = 8'
        ' origin = "root" cow_store = "cow" }\n'
    )
    root = volume("root", segment(1, 0, 10, '"pv0", 0'))
    text = group_text(root, volume("snapshot0", snapshot, status='"READ"'))
    (warning,) = find(two(tmp_path, text), disk("sda"), disk("sdb")).warnings
    assert warning.startswith("The volume vg/root has a snapshot.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there is no label"),
        (bytes(physical_volume(GROUP))[:600], "there is no label"),
        (member(0, "vg {"), "the metadata ends in the middle"),
    ],
)
def test_a_member_that_says_nothing_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    found = find(Machine(tmp_path, {("sda", START): content}), disk("sda"))
    (warning,) = found.warnings
    assert warning.startswith("LVM on partition 2 of sda sda")
    assert warning.endswith(f" could not be looked into: {words}.")
    assert (found.volumes, found.rests) == ([], [])


# --- what lies in a volume


@pytest.mark.parametrize(
    ("kind", "tables", "why_not"),
    [
        (AMBIVALENT, 0, "it holds signatures of more than one file system"),
        ("", 1, "it holds a partition table"),
        ("", 0, ""),
        ("ext4", 1, ""),
        ("crypto_LUKS", 0, ""),  # resolved; whoever looks for systems in it hides it
    ],
)
def test_a_volume_whose_content_is_not_clear_is_not_resolved(
    tmp_path: Path, kind: str, tables: int, why_not: str
) -> None:
    places = frozenset([("sda", DATA)][:tables])
    machine = replace(two(tmp_path), kinds={("sda", DATA): kind}, tables=places)
    (root,) = find(machine, disk("sda"), disk("sdb")).volumes
    assert (root.why_not, bool(root.legs)) == (why_not, not why_not)
    assert (root.file_system.kind if root.file_system else "") == ("" if why_not else kind)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("sda", DATA), "The volume vg/root cannot be looked into: it could not be read: The disk"),
        (("sda", START), "could not be looked into: The disk does not answer."),
    ],
)
def test_what_cannot_be_read_is_told_and_never_taken_for_empty(
    tmp_path: Path, place: tuple[str, int], words: str
) -> None:
    found = find(two(tmp_path, broken=frozenset({place})), disk("sda"), disk("sdb"))
    assert any(words in warning for warning in found.warnings)
    assert all(not one.legs and one.why_not for one in found.volumes)


# --- MD


def mirror(tmp_path: Path, *members: bytes, **more: Any) -> Machine:
    names = ("sda", "sdb", "sdc")
    return Machine(
        tmp_path, {(name, START): one for name, one in zip(names, members, strict=False)}, **more
    )


MD = [disk(name, MD_KIND) for name in ("sda", "sdb", "sdc")]


def test_each_half_of_a_mirror_is_all_of_it(tmp_path: Path) -> None:
    machine = mirror(tmp_path, half(0), half(1), kinds={("sda", DATA): "ext4"})
    found = find(machine, *MD[:2])
    (array,) = found.volumes
    assert (array.name, array.layer, array.size) == ("md0", Layer.MD, 80 * MIB)
    assert array.legs == tuple(
        (Segment(f"serial:{name}", DATA, 80 * MIB),) for name in ("sda", "sdb")
    )
    assert array.aliases == (
        "md0",
        "md/0",
        "disk/by-id/md-uuid-01234567:89abcdef:01234567:89abcdef",
    )
    assert found.warnings == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (half(1, events=3), "is not up to date, or a spare, in md0"),
        (half(1, roles=(0, 0xFFFF)), "is not up to date, or a spare, in md0"),
        (half(1)[:-1], "holds no valid superblock"),
        (b"", "holds no valid superblock"),
    ],
)
def test_a_member_that_takes_no_part_is_told(tmp_path: Path, other: bytes, words: str) -> None:
    found = find(mirror(tmp_path, half(0), other), *MD[:2])
    place = f"MD RAID on partition 2 of {MD[1].hardware.label}"
    assert found.warnings == [f"{place} {words}."]
    assert [one.disks for one in found.volumes] == [("serial:sda",)]
    assert [str(place) for place, _ in found.rests] == [
        f"MD RAID on partition 2 of {MD[0].hardware.label}"
    ]


def test_a_place_with_two_superblocks_is_of_no_array(tmp_path: Path) -> None:
    both = new_superblock(device=0, size=80 * MIB, place=0) + half(0)[4096:]
    found = find(mirror(tmp_path, both), MD[0])
    assert found.volumes == []
    place = f"MD RAID on partition 2 of {MD[0].hardware.label}"
    assert found.warnings == [f"{place} holds superblocks of more than one array."]


def test_lvm_on_a_mirror_comes_down_to_both_disks(tmp_path: Path) -> None:
    text = ON_ONE.replace("pe_count = 100", "pe_count = 10")
    inner = bytes(physical_volume(text, uuid="pv0".ljust(32, "a")))
    other = bytes(physical_volume(text, uuid="pv1".ljust(32, "a")))
    machine = mirror(tmp_path, half(0), half(1), kinds={("sda", DATA): LVM_KIND})
    contents = {**machine.bytes_at, ("sda", DATA): inner, ("sdc", START): other}
    found = find(replace(machine, bytes_at=contents), *MD[:2], disk("sdc"))
    assert [one.name for one in found.volumes] == ["md0", "vg/root"]
    assert found.volumes[1].legs == tuple(
        (Segment(f"serial:{name}", DATA + MIB, 10 * EXTENT),) for name in ("sda", "sdb")
    )
    assert found.carried == {"md0": frozenset({"vg/root"})}
    words = {("serial:sda", "MD RAID on partition 2"), ("serial:sdb", "MD RAID on partition 2")}
    assert words <= found.understood(())
    assert not words & found.understood({"vg/root"})


# --- what is understood


def rest(number: int, name: str) -> tuple[Place, frozenset[str]]:
    leg = (Segment(f"serial:{number}", 0, 5),)
    return Place(f"LVM on partition {number}", "label", (leg,)), frozenset({name})


def test_a_place_is_understood_when_all_its_volumes_were_looked_into() -> None:
    layers = Layers(rests=[rest(1, "vg/root"), rest(2, "vg/data")])
    first, second = ("serial:1", "LVM on partition 1"), ("serial:2", "LVM on partition 2")
    assert layers.understood(()) == {first, second}
    assert layers.understood({"vg/data"}) == {first}
    assert layers.understood(["vg/data", "vg/root"]) == frozenset()


def test_an_array_is_understood_by_what_it_carries() -> None:
    layers = Layers(rests=[rest(1, "md0")], carried={"md0": frozenset({"vg/root"})})
    assert layers.understood({"vg/root"}) == frozenset()
    assert layers.understood({"md0"}) == {("serial:1", "LVM on partition 1")}


def test_a_place_names_itself_and_its_disk() -> None:
    place, _ = rest(1, "vg/root")
    assert (str(place), place.size) == ("LVM on partition 1 of label", 5)


def test_disks_without_members_have_no_volumes(tmp_path: Path) -> None:
    nothing = Disk(disk("sdc").hardware, None)
    assert find(Machine(tmp_path, {}), disk("sda", "ext4"), nothing) == Layers()


@given(place=st.integers(0, 6000), change=st.integers(1, 255))
def test_a_damaged_member_is_resolved_as_before_or_told(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    whole = member(0, ON_ONE)
    damaged = bytearray(whole)
    damaged[place] ^= change
    contents = {("sda", START): bytes(damaged), ("sdb", START): member(1, ON_ONE)}
    machine = Machine(tmp_path_factory.mktemp("members"), contents)
    found = find(machine, disk("sda"), disk("sdb"))
    (root,) = found.volumes
    assert root.legs == ((Segment("serial:sda", DATA, 10 * EXTENT),),) or (
        root.why_not and found.warnings
    )
