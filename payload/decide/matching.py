"""Which disk of the source goes onto which disk of the target."""

from collections.abc import Iterator, Sequence

from payload.decide.disks import label_of, labels_of, place, table_of
from payload.model.disk import MIB, Disk
from payload.model.errors import PlanError
from payload.model.gap import backup_size
from payload.model.inventory import Inventory
from payload.model.marker import DiskMapping
from payload.model.role import Decision, Ground


def permitted_disks(source: Inventory, target: Inventory, decision: Decision) -> tuple[Disk, ...]:
    """The target's disks that this source may overwrite, in the order of their places."""
    permitted = {
        permission.disk
        for permission in decision.permissions
        if permission.ground is not Ground.OUR_COPY or permission.source_id == source.machine.id
    }
    disks = [disk for disk in target.eligible_disks if disk.id in permitted]
    if not disks:
        raise PlanError(
            f"No disk of the target {target.machine.label} may be overwritten by a copy of "
            f"{source.machine.label}. Put in a blank disk, or name one by its serial "
            "with failover.overwrite= on the kernel line."
        )
    return tuple(sorted(disks, key=place))


def _needed(disk: Disk) -> int:
    """Bytes a target needs for the content of this source disk."""
    table = table_of(disk)
    sector = disk.hardware.sector_size
    if table is None:
        return disk.hardware.size
    return max(table.end, MIB) + backup_size(table, sector)


def _fits(source: Disk, target: Disk) -> bool:
    return (
        source.hardware.sector_size == target.hardware.sector_size
        and _needed(source) <= target.hardware.size
    )


def match_disks(
    source: Inventory,
    target: Inventory,
    disks: Sequence[Disk],
    permitted: Sequence[Disk],
) -> dict[str, Disk]:
    """Source disk id -> target disk: as last time, else in the same order, else smallest fit.

    The same order matters: the BIOS starts its first disk, and old boot loaders count disks.
    """
    _check_possible(source, target, disks, permitted)
    earlier = _as_last_time(source, target, disks, permitted)
    rest = [disk for disk in disks if disk.id not in earlier]
    free = [disk for disk in permitted if disk not in earlier.values()]
    matched = _in_order(rest, free)
    if matched is None:
        matched = _smallest_fit(rest, free)
    if matched is None and earlier:
        earlier, matched = {}, _in_order(disks, permitted) or _smallest_fit(disks, permitted)
    if matched is None:
        raise PlanError(
            f"The disks of the source {source.machine.label} ({labels_of(disks)}) do not all fit "
            f"at once on those of the target {target.machine.label} ({labels_of(permitted)}). "
            f"Put larger disks into the target."
        )
    return earlier | matched


def _check_possible(
    source: Inventory, target: Inventory, disks: Sequence[Disk], permitted: Sequence[Disk]
) -> None:
    for disk in disks:
        if not any(_fits(disk, candidate) for candidate in permitted):
            raise PlanError(_why_not(source, target, disk, permitted))
    if len(permitted) < len(disks):
        raise PlanError(
            f"The source {source.machine.label} has {len(disks)} disks in use, but only "
            f"{len(permitted)} of the target {target.machine.label} may be overwritten. "
            f"Put in a blank disk for each, or name the disks to overwrite by "
            "serial with failover.overwrite= on the kernel line."
        )


def _why_not(source: Inventory, target: Inventory, disk: Disk, permitted: Sequence[Disk]) -> str:
    sector = disk.hardware.sector_size
    alike = [one.hardware for one in permitted if one.hardware.sector_size == sector]
    what = f"Disk {label_of(disk.hardware)} of the source {source.machine.label}"
    if not alike:
        return (
            f"{what} has sectors of {sector} bytes, and no permitted disk of the target "
            f"{target.machine.label} has. Put in a disk with {sector}-byte sectors."
        )
    largest = max(alike, key=lambda hardware: hardware.size)
    missing = _needed(disk) - largest.size
    return (
        f"{what} does not fit: disk {label_of(largest)} of the target {target.machine.label} is "
        f"{missing} bytes ({-(-missing // sector)} sectors) too small. Put in a disk "
        f"of at least {_needed(disk)} bytes."
    )


def _as_last_time(
    source: Inventory, target: Inventory, disks: Sequence[Disk], permitted: Sequence[Disk]
) -> dict[str, Disk]:
    """What the marker of an earlier copy of this source says, as far as it still holds."""
    by_id = {disk.id: disk for disk in permitted}
    result: dict[str, Disk] = {}
    for mapping in _earlier_mappings(source, target):
        wanted = next((disk for disk in disks if disk.id == mapping.source), None)
        free = by_id.get(mapping.target)
        if wanted and free and wanted.id not in result and _fits(wanted, free):
            result[wanted.id] = by_id.pop(mapping.target)
    return result


def _earlier_mappings(source: Inventory, target: Inventory) -> Iterator[DiskMapping]:
    for system in target.systems:
        if system.marker is not None and system.marker.source.id == source.machine.id:
            yield from system.marker.disks


def _in_order(disks: Sequence[Disk], permitted: Sequence[Disk]) -> dict[str, Disk] | None:
    result: dict[str, Disk] = {}
    following = iter(permitted)
    for disk in disks:
        found = next((candidate for candidate in following if _fits(disk, candidate)), None)
        if found is None:
            return None
        result[disk.id] = found
    return result


def _smallest_fit(disks: Sequence[Disk], permitted: Sequence[Disk]) -> dict[str, Disk] | None:
    result: dict[str, Disk] = {}
    free = sorted(permitted, key=lambda disk: (disk.hardware.size, place(disk)))
    for disk in sorted(disks, key=lambda disk: (-_needed(disk), place(disk))):
        found = next((candidate for candidate in free if _fits(disk, candidate)), None)
        if found is None:
            return None
        free.remove(found)
        result[disk.id] = found
    return result
