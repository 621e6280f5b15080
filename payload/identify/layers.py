"""The volumes of LVM and MD on the disks of this machine: worked out, never assembled.

An array is found by the superblocks of its members, a volume group by the labels of its physical
volumes, which may lie on arrays. Everything resolves down to ranges of whole disks. What is not
understood wholly stays what it was before: hidden, and copied whole.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from payload.formats.disk.lvm import (
    BadMetadataError,
    Group,
    LogicalVolume,
    PhysicalVolume,
    Piece,
    find_free,
    parse_group,
    read_physical_volume,
)
from payload.formats.disk.md import Superblock, plan_array, read_superblocks
from payload.formats.disk.superblocks import ReadAt, look_with
from payload.identify.content import CONTAINERS, probe, read_table
from payload.model.disk import Disk
from payload.model.errors import ToolError
from payload.model.volume import Layer, Leg, Segment, Volume, cut_leg, join_legs, merge_leg
from payload.system.host import Host

T = TypeVar("T")
MD_KIND, LVM_KIND = "linux_raid_member", "LVM2_member"


@dataclass(frozen=True)
class Place:
    """Where a member is: a partition, a whole disk, or the array of that name."""

    words: str  # as in `Content.hidden`
    label: str  # of the disk, for people
    legs: tuple[Leg, ...]
    array: str = ""

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.legs[0])

    def __str__(self) -> str:
        return f"{self.words} of {self.label}"


@dataclass
class Layers:
    """What was found. `rests` says which volumes are in a place: when all of them were looked
    into, nothing there is hidden any more. `carried` says it of arrays."""

    volumes: list[Volume] = field(default_factory=list)
    unused: list[Segment] = field(default_factory=list)
    rests: list[tuple[Place, frozenset[str]]] = field(default_factory=list)
    carried: dict[str, frozenset[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def understood(self, unseen: Collection[str]) -> frozenset[tuple[str, str]]:
        """Disk and words of `Content.hidden` that no longer hold, if nothing but the volumes
        `unseen` could not be looked into."""
        hidden = frozenset(unseen)
        return frozenset(
            (segment.disk, place.words)
            for place, names in self.rests
            if not hidden & self._upmost(names)
            for segment in place.legs[0]
        )

    def _upmost(self, names: frozenset[str]) -> frozenset[str]:
        return frozenset(top for name in names for top in self.carried.get(name, {name}))


@dataclass(frozen=True)
class _Reader:
    """Looks into places and volumes, by their first leg."""

    host: Host
    nodes: Mapping[str, str]

    def read(self, legs: tuple[Leg, ...], look: Callable[[ReadAt], T]) -> T:
        """Raises ToolError."""
        extents = tuple((self.nodes[one.disk], one.start, one.size) for one in legs[0])
        with self.host.blocks.assemble((extents,)) as device:
            return look_with(device, look)

    def probed(self, volume: Volume) -> Volume:
        """With what is on it. One that cannot be read, or holds what is not looked into here, is
        not resolved any more."""
        if not volume.legs:
            return volume
        try:
            with self.host.blocks.assemble(volume.extents(self.nodes.__getitem__)) as device:
                found, words = probe(self.host, device, 0, volume.size)
                if found is None and not words and read_table(self.host, device):
                    words = "a partition table"
        except ToolError as error:
            return replace(volume, legs=(), why_not=f"it could not be read: {error}")
        if found is None and words:
            return replace(volume, legs=(), why_not=f"it holds {words}")
        return replace(volume, file_system=found)


def find_layers(host: Host, disks: Sequence[Disk]) -> Layers:
    """Every volume on these disks. What cannot be read or understood is told in `warnings`."""
    reader = _Reader(host, {disk.id: disk.hardware.node for disk in disks})
    layers = Layers()
    arrays = _tell_apart(_find_arrays(reader, layers, tuple(_places(disks, MD_KIND))))
    places = (*_places(disks, LVM_KIND), *_on_arrays(arrays))
    layers.volumes = _tell_apart([*arrays, *_find_groups(reader, layers, places)])
    layers.warnings += [
        f"The volume {volume.name} cannot be looked into: {volume.why_not}."
        for volume in layers.volumes
        if volume.why_not
    ]
    return layers


def _places(disks: Sequence[Disk], kind: str) -> Iterator[Place]:
    word = CONTAINERS[kind]
    for disk in disks:
        content, label = disk.content, disk.hardware.label
        if content is None:
            continue
        if content.file_system and content.file_system.kind == kind:
            yield Place(word, label, ((Segment(disk.id, 0, disk.hardware.size),),))
        for part in content.table.partitions if content.table else ():
            if part.file_system and part.file_system.kind == kind:
                leg = (Segment(disk.id, part.start, part.size),)
                yield Place(f"{word} on partition {part.number}", label, (leg,))


def _tell_apart(volumes: Sequence[Volume]) -> list[Volume]:
    """Nobody can say which of two volumes of one name a configuration means."""
    names = Counter(volume.name for volume in volumes)
    why_not = "another volume has the same name"
    return [
        volume if names[volume.name] == 1 else replace(volume, legs=(), why_not=why_not)
        for volume in volumes
    ]


# --- MD


def _find_arrays(reader: _Reader, layers: Layers, places: Sequence[Place]) -> list[Volume]:
    members: dict[str, list[tuple[Place, Superblock]]] = {}
    for place in places:
        try:
            found = reader.read(place.legs, partial(read_superblocks, size=place.size))
        except ToolError as error:
            layers.warnings.append(f"{place} could not be looked into: {error}")
            continue
        if len(found) != 1:
            what = "superblocks of more than one array" if found else "no valid superblock"
            layers.warnings.append(f"{place} holds {what}.")
            continue
        members.setdefault(found[0].uuid, []).append((place, found[0]))
    return [_array(reader, layers, members[uuid]) for uuid in sorted(members)]


def _array(reader: _Reader, layers: Layers, members: Sequence[tuple[Place, Superblock]]) -> Volume:
    places = [place for place, _ in members]
    array = plan_array([superblock for _, superblock in members])
    legs = tuple(
        merge_leg(
            segment
            for part in leg
            for segment in cut_leg(places[part.member].legs[0], part.start, part.size)
        )
        for leg in array.legs
    )
    used = {part.member for leg in array.legs for part in leg}
    for number, place in enumerate(places):
        if number in used:
            layers.rests.append((place, frozenset({array.name})))
        elif array.legs:
            layers.warnings.append(f"{place} is not up to date, or a spare, in {array.name}.")
    short = re.sub(r"^md(?=\d)", "md/", array.name)
    volume = Volume(
        name=array.name,
        layer=Layer.MD,
        uuid=array.uuid,
        size=array.size,
        legs=legs,
        why_not=array.why_not,
        aliases=(array.name, short, f"disk/by-id/md-uuid-{_dashed(array.uuid)}"),
    )
    return reader.probed(volume)


def _dashed(uuid: str) -> str:
    """As mdadm writes it: 4 groups of 8 hex digits, with colons."""
    return ":".join(uuid[place : place + 8] for place in range(0, 32, 8))


# --- LVM


def _on_arrays(arrays: Sequence[Volume]) -> Iterator[Place]:
    for array in arrays:
        if array.legs and array.file_system and array.file_system.kind == LVM_KIND:
            yield Place(CONTAINERS[LVM_KIND], array.name, array.legs, array.name)


def _find_groups(reader: _Reader, layers: Layers, places: Sequence[Place]) -> list[Volume]:
    found: list[tuple[Place, PhysicalVolume]] = []
    for place in places:
        try:
            read = partial(read_physical_volume, size=place.size)
            found.append((place, reader.read(place.legs, read)))
        except (ToolError, BadMetadataError) as error:
            layers.warnings.append(f"{place} could not be looked into: {error}.")
    volumes: list[Volume] = []
    newest = list(_newest(found, layers))
    claims = Counter(member.uuid for group, _ in newest for member in group.members.values())
    for group, contradiction in newest:
        fault = contradiction or _fault(group, found, claims)
        members = {one.uuid: place for place, one in found}
        legs = {} if fault else {name: members[one.uuid] for name, one in group.members.items()}
        here = [_volume(group, one, legs, fault) for one in group.volumes if one.visible]
        volumes += [reader.probed(volume) for volume in here]
        layers.warnings += [
            f"The volume {group.name}/{one.name} has a snapshot. Where a copy of it is adapted, the"
            " snapshot in that copy no longer shows what it showed."
            for one in group.volumes
            if one.has_snapshot and one.visible
        ]
        if not fault:
            _settle(layers, group, legs, frozenset(volume.name for volume in here))
    return volumes


def _newest(
    found: Sequence[tuple[Place, PhysicalVolume]], layers: Layers
) -> Iterator[tuple[Group, str]]:
    """Each group as its newest metadata tells it, and why that is not to be believed."""
    groups: dict[str, list[Group]] = {}
    for place, physical in found:
        try:
            if physical.text:
                group = parse_group(physical.text)
                groups.setdefault(group.uuid, []).append(group)
        except BadMetadataError as error:
            layers.warnings.append(f"{place} could not be looked into: {error}.")
    for uuid in sorted(groups):
        newest = max(groups[uuid], key=lambda one: one.sequence)
        alike = [one for one in groups[uuid] if one.sequence == newest.sequence]
        same = all(one == newest for one in alike)
        yield newest, "" if same else "its physical volumes contradict each other"


def _fault(
    group: Group, found: Sequence[tuple[Place, PhysicalVolume]], claims: Mapping[str, int]
) -> str:
    """Why a group cannot be resolved at all; "" when all members are there, once."""
    for name, member in group.members.items():
        here = [place for place, one in found if one.uuid == member.uuid]
        if len(here) != 1:
            count = "is missing" if not here else "is there twice"
            return f"{name} of the volume group {group.name} {count}"
        if claims[member.uuid] > 1:
            return f"{name} of the volume group {group.name} is claimed by another one, too"
        if member.start + member.size > here[0].size:
            return f"{name} of the volume group {group.name} reaches beyond its end"
    return ""


def _volume(group: Group, one: LogicalVolume, members: Mapping[str, Place], fault: str) -> Volume:
    why_not = fault or one.why_not
    pieces = () if why_not else tuple(_legs(members[at.member], at) for at in one.places)
    mapped = "-".join(name.replace("-", "--") for name in (group.name, one.name))
    return Volume(
        name=f"{group.name}/{one.name}",
        layer=Layer.LVM,
        uuid=one.uuid,
        size=one.size,
        legs=join_legs(pieces),
        why_not=why_not,
        group=group.uuid,
        aliases=(
            f"{group.name}/{one.name}",
            f"mapper/{mapped}",
            f"disk/by-id/dm-name-{mapped}",
            f"disk/by-id/dm-uuid-LVM-{group.uuid}{one.uuid}",
        ),
    )


def _legs(place: Place, piece: Piece) -> tuple[Leg, ...]:
    return tuple(cut_leg(leg, piece.start, piece.size) for leg in place.legs)


def _settle(
    layers: Layers, group: Group, members: Mapping[str, Place], names: frozenset[str]
) -> None:
    """What lies in the group's members, and what of them nobody uses."""
    for name, place in members.items():
        if place.array:
            layers.carried[place.array] = names
        else:
            layers.rests.append((place, names))
        for piece in find_free(group, name):
            layers.unused += [segment for leg in _legs(place, piece) for segment in leg]
