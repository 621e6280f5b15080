"""Which disk of the copy a name such as sda means, at the source and on the target.

Kernels count disks as they find them, and the live system's own count is none of theirs: newer ones
find several disks in any order. So they are counted by where they are plugged in. What the files of
the system say counts more: a server whose fstab has its root on sdb knows best.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations

from payload.finish.volumes import Mount, Volume, find_volumes, parse_fstab, root_of
from payload.formats.kernel.disk_names import name_family, place_at_cables
from payload.model.disk import Disk
from payload.model.inventory import Inventory
from payload.model.plan import Plan

_MOST = 6  # disks whose orders are all tried
_LAST_IDE = 7  # hdh
_EXT = frozenset({"ext2", "ext3", "ext4"})  # drivers that mount each other's


def order_at_source(plan: Plan, source: Inventory, fstab: str) -> tuple[str, ...]:
    """The source's disks by stable id, as the kernel counted them for which that fstab was
    written; "" where it left out a letter."""
    lines = (*parse_fstab(fstab), *_swap_lines(fstab))
    by_letter = any(line.spec.startswith("/dev/hd") for line in lines)
    orders = _orders(source.counted_disks, by_letter=by_letter)
    return max(orders, key=partial(_agreement, plan, lines))


def _orders(disks: Sequence[Disk], *, by_letter: bool) -> Iterator[tuple[str, ...]]:
    """In which a kernel may count these disks, the most likely first."""
    counted = tuple(disk.id for disk in disks)
    yield from permutations(counted) if len(counted) <= _MOST else (counted,)
    places = (place_at_cables(disk.hardware.path) for disk in disks)
    letters = {
        place: disk for place, disk in zip(places, counted, strict=True) if place is not None
    }
    if by_letter and len(letters) == len(disks) <= max(letters) <= _LAST_IDE:
        yield tuple(letters.get(place, "") for place in range(max(letters) + 1))


def _swap_lines(fstab: str) -> Iterator[Mount]:
    for line in fstab.split("\n"):
        words = line.split()
        if words[2:3] == ["swap"] and not words[0].startswith("#"):
            yield Mount(words[0], "", "swap")


def _agreement(plan: Plan, fstab: Sequence[Mount], order: Sequence[str]) -> int:
    """How many lines of that fstab are true if the disks are counted in this order; the root's
    counts more than all others."""
    volumes = find_volumes(plan, order)
    root = root_of(plan, volumes)
    agreement = 0
    for mount in fstab:
        found = next((one for one in volumes if one.is_called(mount.spec)), None)
        if mount.place == "/":
            agreement += len(fstab) * (found == root)
        elif found is not None:
            agreement += _may_be(found, mount.kind)
    return agreement


def _may_be(volume: Volume, kind: str) -> bool:
    return kind in (volume.kind, "auto") or {kind, volume.kind} <= _EXT


def order_at_target(plan: Plan, target: Inventory) -> tuple[str, ...]:
    """The disks of the copy by the source's stable ids, as a kernel counts them on the target, ""
    for those that are not of the copy. Those of the root's family come first: each is counted by
    itself, and an NVMe disk beside it makes no sdb of sda."""
    copied = {pair.target.id: pair.source.id for pair in plan.disks}
    root = target.disk(plan.disks[plan.regions[plan.root].pair].target.id)
    family = name_family(root.hardware.name)
    disks = sorted(target.counted_disks, key=lambda disk: name_family(disk.hardware.name) != family)
    return tuple(copied.get(disk.id, "") for disk in disks)
