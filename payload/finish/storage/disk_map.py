"""What names of the source's disks and partitions mean, and what they have to become here.

A name is changed only if the copy's own kernel would know the disk by another one on this machine,
or may at any boot: /dev/sda1 that stays /dev/sda1 is left alone. A changed one becomes the UUID of
what it means, which holds on every machine, or the new name where there is no UUID.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from payload.finish.volumes import Volume
from payload.formats.kernel.disk_names import name_disks, name_family, other_names, partition_name
from payload.formats.kernel.kernel_modules import Kernel
from payload.model.disk import Disk, Hardware
from payload.model.inventory import Inventory
from payload.model.plan import Plan

_NAME = re.compile(
    r"/dev/(?P<disk>(?:[hsv]d|xvd)[a-z]{1,2}"
    r"|(?:(?:cciss|ida)/c\d{1,4}d|nvme\d{1,4}n|mmcblk)\d{1,4}(?!\d))(?P<part>p?\d{1,4})?"
)
_LINK = re.compile(r"/dev/disk/by-(?P<kind>id|path)/(?P<name>.+?)(?:-part(?P<part>\d{1,4}))?")
_MEMBERS = ("linux_raid_member", "LVM2_member")  # whose UUID is not that of what is on them


@dataclass(frozen=True)
class CopiedDisk:
    """A disk of the copy. `before` are its names at the source, "sda", as its kernel has them or,
    where that is not known, by its place; `links` are those below /dev/disk/by-id and by-path.
    `now` is its name here, "" when that is not known, and `others` are those it may have as well;
    `volumes` by partition number. `same_hardware`: it hangs on what it hung on at the source, so
    the names hold as well, or as badly, as there."""

    before: str
    now: str
    place: int
    links: frozenset[str] = frozenset()
    same_hardware: bool = False
    volumes: Mapping[int, Volume] = field(default_factory=dict)
    others: frozenset[str] = frozenset()

    @property
    def renamed(self) -> bool:
        """Whether its name here is another one, or may be."""
        return bool(self.new_names) if self.before and self.now else not self.same_hardware

    @property
    def new_names(self) -> tuple[str, ...]:
        """The names it has or may have here, and had not at the source; () when not known."""
        if not (self.before and self.now) or (self.same_hardware and self.before == self.now):
            return ()
        return tuple(name for name in (self.now, *sorted(self.others)) if name != self.before)

    def names(self, name: str) -> tuple[str, ...]:
        """Its paths and those of its partitions, if it is called `name`."""
        numbers = (0, *(number for number in self.volumes if number > 0))
        return tuple(f"/dev/{partition_name(name, number)}" for number in numbers)


@dataclass(frozen=True)
class DiskMap:
    """All disks of the copy; `here` are the names of all disks of this machine."""

    disks: tuple[CopiedDisk, ...]
    here: frozenset[str] = frozenset()

    def find(self, spec: str) -> tuple[CopiedDisk, int] | None:
        """The disk and partition (0: all of it) that a name of the source means, None for names
        of another kind or of a disk that was not copied."""
        link = _LINK.fullmatch(spec)
        if link:
            number = int(link["part"] or 0)
            return next(((one, number) for one in self.disks if link["name"] in one.links), None)
        name = _NAME.fullmatch(spec)
        if name is None:
            return None
        disk = self._called(name["disk"])
        return (disk, int((name["part"] or "0").lstrip("p"))) if disk else None

    def _called(self, name: str) -> CopiedDisk | None:
        for disk in self.disks:
            if disk.before == name:
                return disk
        family = name_family(name)
        if any(name_family(disk.before) == family for disk in self.disks):
            return None  # names of this family are known, and this is none of them
        return next((disk for disk in self.disks if disk.place == _place(name)), None)

    def is_stale(self, spec: str) -> bool:
        """Whether a name of the source means something else here, or nothing."""
        found = self.find(spec)
        return found is not None and (spec.startswith("/dev/disk/") or self._differs(spec, *found))

    def _differs(self, spec: str, disk: CopiedDisk, number: int) -> bool:
        """What the files say counts more than what the name should have been at the source."""
        if not disk.now:
            return not disk.same_hardware
        as_before = disk.same_hardware and disk.before == disk.now
        is_another = spec != f"/dev/{partition_name(disk.now, number)}"
        return (is_another or bool(disk.others)) and not as_before

    def by_uuid(self, spec: str) -> str:
        """What a name of the source has to become: "UUID=..", a name, or itself."""
        found = self.find(spec)
        if found is None or not self.is_stale(spec):
            return spec
        volume = found[0].volumes.get(found[1])
        known = volume is not None and volume.uuid and volume.kind not in _MEMBERS
        return f"UUID={volume.uuid}" if volume and known else self.by_name(spec)

    def by_name(self, spec: str) -> str:
        """The same, but for programs that know kernel names alone."""
        found = self.find(spec)
        if found is None or not found[0].now or not self.is_stale(spec):
            return spec
        return f"/dev/{partition_name(found[0].now, found[1])}"

    def is_foreign(self, spec: str) -> bool:
        """Whether it means a disk that was not copied, and would mean another one here."""
        name = _NAME.fullmatch(spec)
        return name is not None and self.find(spec) is None and name["disk"] in self.here


def _place(name: str) -> int:
    """Which disk a name counts as, from 0: sdb is 1, nvme2n1 is 2, cciss/c0d1 is 1."""
    letters = re.fullmatch(r"(?:[hsv]d|xvd)([a-z]+)", name)
    if letters:
        place = 0
        for letter in letters[1]:
            place = place * 26 + ord(letter) - ord("a") + 1
        return place - 1
    numbers = re.findall(r"\d+", name)
    return int(numbers[1] if "/" in name else numbers[0])


def map_disks(
    plan: Plan,
    source: Inventory,
    target: Inventory,
    order: Sequence[str],
    volumes: Iterable[Volume],
    kernel: Kernel | None,
) -> DiskMap:
    """The names of the copied disks, at the source and here, for that kernel of the copy. `order`
    are the source's disks as it counted them there."""
    before = _names([source.disk(disk_id) for disk_id in order if disk_id], kernel)
    here = _names(target.counted_disks, kernel)
    everything = frozenset(name for name in here.values() if name)
    known = list(volumes)
    return DiskMap(
        tuple(
            CopiedDisk(
                before=before.get(pair.source.id, ""),
                now=here.get(pair.target.id, ""),
                place=order.index(pair.source.id) if pair.source.id in order else index,
                links=_links(source.disk(pair.source.id).hardware),
                same_hardware=_controllers(source, pair.source.id)
                == _controllers(target, pair.target.id),
                volumes={one.number: one for one in known if one.disk == index},
                others=other_names(kernel, here.get(pair.target.id, ""), everything)
                if kernel
                else frozenset(),
            )
            for index, pair in enumerate(plan.disks)
        ),
        everything,
    )


def _names(disks: Sequence[Disk], kernel: Kernel | None) -> dict[str, str]:
    """Stable id -> name; the disks are in the order in which they are found."""
    told = [(disk.hardware.controllers, disk.hardware.path) for disk in disks]
    names: Sequence[str] = name_disks(kernel, told) if kernel else [""] * len(disks)
    return {disk.id: name for disk, name in zip(disks, names, strict=True)}


def _controllers(machine: Inventory, disk_id: str) -> list[str]:
    """What kind of device it hangs on, without who built the board."""
    return [alias.split("sv")[0] for alias in machine.disk(disk_id).hardware.controllers]


def _links(hardware: Hardware) -> frozenset[str]:
    return frozenset(name for name in (*hardware.aliases, hardware.path) if name)
