"""The file systems of the copy, by every name its own configuration may call them.

A fstab or boot menu names a file system by UUID, label or device; the device names are those of
the copied system's kernel, on whose disks the same partitions lie in the same order.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from payload.model.disk import FileSystem
from payload.model.errors import AdaptError, ToolError
from payload.model.inventory import Inventory
from payload.model.plan import Plan, Region
from payload.model.volume import Extent, Layer
from payload.model.volume import Volume as LayeredVolume
from payload.system.host import Host

MOUNTABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs", "jfs", "vfat"})
_DEVICE = re.compile(
    r"/dev/(?:(?:[shv]d|xvd)(?P<letter>[a-z])(?P<number>\d{0,4})"
    r"|(?:cciss/c|ida/c|nvme|mmcblk)(?P<drive>\d{1,4})"
    r"(?:d(?P<unit>\d{1,4})|n\d{1,4})?(?:p(?P<part>\d{1,4}))?)"
)


NO_PARTITION = -1
_WHOLE = {"btrfs": ("subvolid=5",)}


@dataclass(frozen=True)
class Volume:
    """A place of the copy for a file system: a partition (number 0: a whole disk) at bytes `start`
    to `start + size`, or a volume of LVM or MD.

    `disk` counts the plan's pairs from 0, `place` counts the disks as a kernel does.
    Of a volume, `disk` and `start` are those of its first byte, and `number` is NO_PARTITION;
    `partitions` are the (disk, number) that a boot loader takes it for which knows nothing of RAID.
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
    layered: LayeredVolume | None = None
    partitions: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        if self.layered:
            return f"volume {self.layered.name}"
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

    def is_called_by_grub(self, device: str) -> bool:
        """Whether "lvm/vg-root", "lvmid/VG/LV", "md/0" or "mduuid/.." means this volume."""
        if self.layered is None:
            return False
        kind, _, name = device.partition("/")
        paths = {"lvm": f"/dev/mapper/{name}", "md": f"/dev/md/{name}"}
        if kind in paths:
            return self.is_called(paths[kind])
        uuids = {"mduuid": self.layered.uuid, "lvmid": f"{self.layered.group}/{self.layered.uuid}"}
        return kind in uuids and uuids[kind].lower() == name.replace("-", "").lower()

    def is_partition(self, number: int | None, disk: int, *, elsewhere: bool = False) -> bool:
        """Whether a boot loader finds it as that partition of that disk; `elsewhere`: of another
        one."""
        seen = self.partitions or ((self.disk, self.number),)
        return any(one == number and (at != disk) == elsewhere for at, one in seen)

    def _is_device(self, spec: str) -> bool:
        if self.layered:
            return spec.removeprefix("/dev/") in self.layered.aliases
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
    """Every planned partition, whole-disk file system and volume, in the order of the plan.

    `order` are the source's disks by stable id as a kernel counts them (`finish.disk_order`);
    without it the plan's own order counts.
    """
    volumes = []
    for region in plan.regions:
        if region.is_volume:
            disk = plan.disks[region.pair].source.id
            place = order.index(disk) if disk in order else region.pair
            volumes.append(_volume(plan, region, place))
    return (*volumes, *(_layered(plan, volume, volumes) for volume in plan.volumes))


def _volume(plan: Plan, region: Region, place: int) -> Volume:
    where = (region.pair, region.number, region.start, region.size)
    table = plan.disks[region.pair].table
    for part in table.partitions if table else ():
        if part.number == region.number:
            on_it = part.file_system or FileSystem(region.file_system)
            tags = (on_it.kind, on_it.uuid, on_it.label, part.uuid, part.type_id)
            return Volume(*where, *tags, place=place)
    return Volume(*where, region.file_system, place=place)


def _layered(plan: Plan, volume: LayeredVolume, partitions: Sequence[Volume]) -> Volume:
    """A volume that begins where partitions do is seen there too, and has their type."""
    pairs = {pair.source.id: index for index, pair in enumerate(plan.disks)}
    first = volume.legs[0][0]
    begins = {(pairs[leg[0].disk], leg[0].start) for leg in volume.legs if len(leg) == 1}
    seen = [one for one in partitions if (one.disk, one.start) in begins]
    around = [
        one.type_id
        for one in partitions
        if one.disk == pairs[first.disk] and one.start <= first.start < one.start + one.size
    ]
    found = volume.file_system or FileSystem("")
    return Volume(
        disk=pairs[first.disk],
        number=NO_PARTITION,
        start=first.start,
        size=volume.size,
        kind=found.kind,
        uuid=found.uuid,
        label=found.label,
        type_id=around[0] if around and volume.layer is Layer.MD else "",
        layered=volume,
        partitions=tuple((one.disk, one.number) for one in seen) or ((NO_PARTITION, NO_PARTITION),),
    )


def name_arrays(volumes: Iterable[Volume], mdadm_conf: str) -> tuple[Volume, ...]:
    """With the names that the copied system gives its arrays (`ARRAY /dev/md1 ... UUID=...`)."""
    given: dict[str, list[str]] = {}
    for device, rest in re.findall(r"^\s*ARRAY\s+/dev/(\S+)([^#\n]*)", mdadm_conf, re.MULTILINE):
        for uuid in re.findall(r"\bUUID=([0-9A-Fa-f:]+)", rest, re.IGNORECASE):
            name = re.sub(r"^md/(?=\d+$)", "md", device)
            given.setdefault(uuid.replace(":", "").lower(), []).extend((name, device))
    return tuple(_renamed(volume, given) for volume in volumes)


def _renamed(volume: Volume, given: Mapping[str, Sequence[str]]) -> Volume:
    layered = volume.layered
    if layered is None or layered.layer is not Layer.MD or layered.uuid not in given:
        return volume
    aliases = tuple(dict.fromkeys((*given[layered.uuid], *layered.aliases)))
    return replace(volume, layered=replace(layered, aliases=aliases))


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


def root_of(plan: Plan, volumes: Iterable[Volume]) -> Volume:
    """Where the copy's root file system is; of an encrypted system its /boot."""
    region = plan.regions[plan.root]
    for volume in volumes:
        if plan.root_volume and volume.layered and volume.layered.name == plan.root_volume:
            return volume
        if not plan.root_volume and (volume.disk, volume.number) == (region.pair, region.number):
            return volume
    raise AdaptError("The plan does not say where the root file system of the copy is.")


def root_options(plan: Plan) -> tuple[str, ...]:
    """How the root file system is mounted so that the root of the system is at its top."""
    return (f"subvol={plan.root_subvolume}",) if plan.root_subvolume else ()


def extents_of(plan: Plan, target: Inventory, volume: Volume) -> tuple[tuple[Extent, ...], ...]:
    """Where the target has a volume of the copy, in all its legs."""
    if volume.layered:
        return volume.layered.extents(lambda disk: plan.node_of(disk, target))
    return (((target_node(plan, target, volume.disk), volume.start, volume.size),),)


@contextmanager
def attached(
    host: Host, plan: Plan, target: Inventory, volume: Volume, *, writable: bool = False
) -> Iterator[str]:
    """A device that is this volume of the copy; what is written to it goes to all legs of a
    mirror. Raises ToolError."""
    with host.blocks.assemble(extents_of(plan, target, volume), writable=writable) as device:
        yield device


@contextmanager
def mounted_read_only(
    host: Host,
    plan: Plan,
    target: Inventory,
    volumes: Iterable[Volume],
    tell: Callable[[str], None],
) -> Iterator[dict[Volume, Path]]:
    """Look into volumes of the finished copy, all at once; those of unknown kind are left out.
    Of a btrfs all is seen, as by a boot loader.

    One that cannot be mounted is left out too, and `tell` hears of it: a damaged file system of
    data hinders no boot, and a damaged one that is needed is missed by whoever needs it.
    """
    with ExitStack() as stack:
        trees: dict[Volume, Path] = {}
        for volume in volumes:
            if volume.kind in MOUNTABLE:
                device = stack.enter_context(attached(host, plan, target, volume))
                options = _WHOLE.get(volume.kind, ())
                try:
                    mount = host.mounts.mount(device, volume.kind, options=options)
                    trees[volume] = stack.enter_context(mount)
                except ToolError as error:
                    tell(f"{volume.name} of the copy cannot be looked into: {error}")
        yield trees
