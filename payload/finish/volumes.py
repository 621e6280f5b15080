"""The file systems of the copy, by every name its own configuration may call them.

A fstab or boot menu names a file system by UUID, label or device; the device names are those of
the copied system's kernel, on whose disks the same partitions lie in the same order.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from payload.model.disk import FileSystem
from payload.model.errors import ToolError
from payload.model.inventory import Inventory
from payload.model.plan import Method, Plan, Region
from payload.system.host import Host

MOUNTABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs", "jfs", "vfat"})
_DEVICE = re.compile(
    r"/dev/(?:(?:[shv]d|xvd)(?P<letter>[a-z])(?P<number>\d*)"
    r"|(?:cciss/c|ida/c|nvme|mmcblk)(?P<drive>\d+)(?:d(?P<unit>\d+)|n\d+)?(?:p(?P<part>\d+))?)"
)


@dataclass(frozen=True)
class Volume:
    """One partition of the copy (number 0: a whole disk) at bytes `start` to `start + size`.

    `disk` counts the plan's pairs from 0, `place` counts the disks as a kernel does at the source.
    """

    disk: int
    number: int
    start: int
    size: int
    kind: str = ""
    uuid: str = ""
    label: str = ""
    part_uuid: str = ""
    type_id: str = ""
    place: int = 0

    @property
    def name(self) -> str:
        return f"partition {self.number} of disk {self.disk + 1}"

    def is_called(self, spec: str) -> bool:
        """Whether `UUID=..`, `LABEL=..`, `PARTUUID=..` or a /dev path means this volume."""
        word, _, value = spec.partition("=")
        value = value.strip('"')
        by_tag = {"UUID": self.uuid, "LABEL": self.label, "PARTUUID": self.part_uuid}
        if value:
            return bool(by_tag.get(word)) and by_tag[word].lower() == value.lower()
        for directory, tag in (("uuid", "UUID"), ("label", "LABEL"), ("partuuid", "PARTUUID")):
            if spec.startswith(f"/dev/disk/by-{directory}/"):
                return bool(by_tag[tag]) and spec.rpartition("/")[2] == by_tag[tag]
        return self._is_device(spec)

    def _is_device(self, spec: str) -> bool:
        found = _parse_device(spec)
        return found is not None and found == (self.place, self.number)


def _parse_device(spec: str) -> tuple[int, int] | None:
    """(which disk, from 0; partition number or 0) of names such as /dev/sda1, /dev/nvme0n1p2."""
    found = _DEVICE.fullmatch(spec)
    if found is None:
        return None
    if found["letter"]:
        return ord(found["letter"]) - ord("a"), int(found["number"] or 0)
    return int(found["unit"] or found["drive"]), int(found["part"] or 0)


def device_number(spec: str) -> int | None:
    """The partition number a device name means (0: the whole disk), None for other names."""
    found = _parse_device(spec)
    return None if found is None else found[1]


def find_volumes(plan: Plan, order: Sequence[str] = ()) -> tuple[Volume, ...]:
    """Every planned partition and whole-disk file system, in the order of the plan.

    `order` are the source's disks by stable id as its kernel counts them; without it the plan's
    own order counts.
    """
    volumes = []
    for region in plan.regions:
        if region.method is not Method.BOOT:
            disk = plan.disks[region.pair].source.id
            place = order.index(disk) if disk in order else region.pair
            volumes.append(_volume(plan, region, place))
    return tuple(volumes)


def _volume(plan: Plan, region: Region, place: int) -> Volume:
    where = (region.pair, region.number, region.start, region.size)
    table = plan.disks[region.pair].table
    for part in table.partitions if table else ():
        if part.number == region.number:
            on_it = part.file_system or FileSystem(region.file_system)
            tags = (on_it.kind, on_it.uuid, on_it.label, part.uuid, part.type_id)
            return Volume(*where, *tags, place=place)
    return Volume(*where, region.file_system, place=place)


@dataclass(frozen=True)
class Mount:
    """One line of a fstab."""

    spec: str
    place: str
    kind: str


def parse_fstab(text: str) -> tuple[Mount, ...]:
    """The file systems a fstab mounts; swap, comments and broken lines are left out."""
    mounts = []
    for line in text.split("\n"):
        words = line.split()
        if len(words) >= 3 and not words[0].startswith("#") and words[1].startswith("/"):
            place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])
            mounts.append(Mount(words[0], place.rstrip("/") or "/", words[2]))
    return tuple(mounts)


def mounted_at(volumes: Iterable[Volume], fstab: Sequence[Mount], place: str) -> Volume | None:
    """The volume the copied system mounts at `place`, None when none or it is not known which."""
    for mount in fstab:
        if mount.place == place:
            return next((volume for volume in volumes if volume.is_called(mount.spec)), None)
    return None


def target_node(plan: Plan, target: Inventory, pair: int) -> str:
    """The node of the target's disk of that pair."""
    return target.disk(plan.disks[pair].target.id).hardware.node


@contextmanager
def mounted_read_only(
    host: Host,
    plan: Plan,
    target: Inventory,
    volumes: Iterable[Volume],
    tell: Callable[[str], None],
) -> Iterator[dict[Volume, Path]]:
    """Look into volumes of the finished copy, all at once; those of unknown kind are left out.

    One that cannot be mounted is left out too, and `tell` hears of it: a damaged file system of
    data hinders no boot, and a damaged one that is needed is missed by whoever needs it.
    """
    with ExitStack() as stack:
        trees: dict[Volume, Path] = {}
        for volume in volumes:
            if volume.kind in MOUNTABLE:
                node = target_node(plan, target, volume.disk)
                device = stack.enter_context(host.blocks.view(node, volume.start, volume.size))
                try:
                    trees[volume] = stack.enter_context(host.mounts.mount(device, volume.kind))
                except ToolError as error:
                    tell(f"{volume.name} of the copy cannot be looked into: {error}")
        yield trees
