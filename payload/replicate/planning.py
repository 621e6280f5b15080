"""Who is copied onto what: a pure function of both inventories, computed on both machines.

Nothing here asks a machine, a clock or a kernel name, and every choice is made in an order that
both sides see alike, so two honest machines always arrive at the same digest.
"""

import re
from collections.abc import Iterator, Sequence

from payload.model.disk import MIB, Content, Disk, Hardware, Partition, PartitionTable
from payload.model.errors import PlanError
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.marker import DiskMapping
from payload.model.plan import CopyMode, DiskPair, Method, Plan, PlannedDisk, Region
from payload.model.role import Decision, Ground, Permission

# File systems whose own map of used blocks can be read and, by a look at the journal, trusted.
MAPPED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs", "jfs", "ntfs", "vfat"})
# partclone's map of a FAT12 misses clusters in use. None is larger than this: at most 4084 clusters
# of 64 KiB.
FAT12_LIMIT = 256 * MIB
LAYERS = {
    "LVM2_member": "LVM",
    "linux_raid_member": "a Linux software RAID",
    "crypto_LUKS": "an encrypted volume (LUKS)",
}
# Boot loaders of the BIOS are loaded in real mode, below 640 KiB: more of the gap is not theirs.
BOOT_LIMIT = MIB
GPT_ENTRY = 128  # bytes
UNTOUCHED = "No disk was written."


def plan_copy(source: Inventory, target: Inventory, decision: Decision, mode: CopyMode) -> Plan:
    """The plan for a copy of `source` onto the disks that the target's `decision` permits.

    Raises PlanError with a sentence that names machine, disk and the next step.
    """
    _check_firmware(source, target)
    disks = _source_disks(source)
    system = _root_system(source, disks)
    permitted = _permitted_disks(source, target, decision)
    chosen = _match(source, target, disks, permitted, decision)
    order = sorted(disks, key=lambda disk: (disk.id != system.disk, _place(disk)))
    pairs = tuple(_pair(disk, chosen[disk.id], decision) for disk in order)
    regions = _regions(pairs, order, mode)
    return Plan(
        source=source.reference,
        target=target.reference,
        mode=mode,
        disks=pairs,
        regions=regions,
        root=_root_region(source, regions, pairs, system),
        warnings=_warnings(source, permitted, chosen[order[0].id]),
    )


def describe(plan: Plan) -> tuple[str, ...]:
    """The plan as lines for people: which disk onto which, and what is lost by it."""
    source = _machine(plan.source.label, plan.source.host_name)
    target = _machine(plan.target.label, plan.target.host_name)
    return (
        f"{source} is copied onto {target}.",
        *(line for index in range(len(plan.disks)) for line in _describe_pair(plan, index)),
        *(f"Note: {warning}" for warning in plan.warnings),
    )


def _machine(label: str, host_name: str) -> str:
    return f"{host_name} ({label})" if host_name else label


def _describe_pair(plan: Plan, index: int) -> Iterator[str]:
    pair = plan.disks[index]
    yield f"Disk {index + 1}: {pair.source.label} onto {pair.target.label}"
    yield f"  on the target disk now, and lost: {pair.content or 'nothing'}"
    for region in plan.regions:
        if region.pair == index and region.method is not Method.BOOT:
            what = region.file_system or "unknown content"
            name = f"partition {region.number}" if region.number else "whole disk"
            yield f"  {name}: {what}, {_size(region.size)}, {_WORDS[region.method]}"


_WORDS = {
    Method.USED: "blocks in use",
    Method.ALL: "every block",
    Method.HEADER: "header only",
    Method.BOOT: "boot code",
}


# --- which disks


def _check_firmware(source: Inventory, target: Inventory) -> None:
    if source.firmware is not target.firmware:
        raise PlanError(
            f"The source {source.machine.label} was booted by {source.firmware.upper()}, the "
            f"target {target.machine.label} by {target.firmware.upper()}: the copy would not "
            f"boot. {UNTOUCHED} Set the target's firmware to {source.firmware.upper()} and boot "
            "it from the medium again."
        )


def _source_disks(source: Inventory) -> tuple[Disk, ...]:
    """The disks that hold anything, by the place where they are plugged in."""
    disks = tuple(
        sorted((disk for disk in source.eligible_disks if not _content(disk).blank), key=_place)
    )
    if not disks:
        raise PlanError(
            f"The source {source.machine.label} has no disk with anything on it. {UNTOUCHED} "
            "Boot the server to be copied from the medium."
        )
    for disk in disks:
        _check_layout(source, disk)
    return disks


def _content(disk: Disk) -> Content:
    if disk.content is None:
        raise PlanError(
            f"Disk {_label(disk.hardware)} was not looked at. {UNTOUCHED} Boot both machines again."
        )
    return disk.content


def _place(disk: Disk) -> tuple[list[tuple[int, str]], str]:
    """Sorts as the firmware counts: ata-2 before ata-10."""
    words = re.findall(r"\d+|\D+", disk.hardware.path)
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in words], disk.id


def _size(size: int) -> str:
    """As the sticker counts: powers of ten."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _label(hardware: Hardware) -> str:
    """What a person finds on the disk's sticker. Kernel names mean nothing on another boot."""
    words = (hardware.model, hardware.serial or hardware.id, _size(hardware.size))
    return " ".join(word for word in words if word)


def _labels(disks: Sequence[Disk]) -> str:
    return ", ".join(_label(disk.hardware) for disk in disks)


def _permitted_disks(source: Inventory, target: Inventory, decision: Decision) -> tuple[Disk, ...]:
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
            f"{source.machine.label}. {UNTOUCHED} Put in a blank disk, or name one by its serial "
            "with failover.overwrite= on the kernel line."
        )
    return tuple(sorted(disks, key=_place))


def _needed(disk: Disk) -> int:
    """Bytes a target needs for the content of this source disk."""
    table = _content(disk).table
    sector = disk.hardware.sector_size
    if table is None:
        return disk.hardware.size
    if table.label != "gpt":
        return max(table.end, MIB)
    entries = (table.table_length or 128) * GPT_ENTRY
    backup = -(-entries // sector) + 1  # sectors: the entries and the header behind them
    return max(table.end, MIB) + backup * sector


def _fits(source: Disk, target: Disk) -> bool:
    return (
        source.hardware.sector_size == target.hardware.sector_size
        and _needed(source) <= target.hardware.size
    )


def _match(
    source: Inventory,
    target: Inventory,
    disks: Sequence[Disk],
    permitted: Sequence[Disk],
    decision: Decision,
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
            f"The disks of the source {source.machine.label} ({_labels(disks)}) do not all fit at "
            f"once on those of the target {target.machine.label} ({_labels(permitted)}). "
            f"{UNTOUCHED} Put larger disks into the target."
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
            f"{UNTOUCHED} Put in a blank disk for each, or name the disks to overwrite by "
            "serial with failover.overwrite= on the kernel line."
        )


def _why_not(source: Inventory, target: Inventory, disk: Disk, permitted: Sequence[Disk]) -> str:
    sector = disk.hardware.sector_size
    alike = [one.hardware for one in permitted if one.hardware.sector_size == sector]
    what = f"Disk {_label(disk.hardware)} of the source {source.machine.label}"
    if not alike:
        return (
            f"{what} has sectors of {sector} bytes, and no permitted disk of the target "
            f"{target.machine.label} has. {UNTOUCHED} Put in a disk with {sector}-byte sectors."
        )
    largest = max(alike, key=lambda hardware: hardware.size)
    missing = _needed(disk) - largest.size
    return (
        f"{what} does not fit: disk {_label(largest)} of the target {target.machine.label} is "
        f"{missing} bytes ({-(-missing // sector)} sectors) too small. {UNTOUCHED} Put in a disk "
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
    free = sorted(permitted, key=lambda disk: (disk.hardware.size, _place(disk)))
    for disk in sorted(disks, key=lambda disk: (-_needed(disk), _place(disk))):
        found = next((candidate for candidate in free if _fits(disk, candidate)), None)
        if found is None:
            return None
        free.remove(found)
        result[disk.id] = found
    return result


def _pair(source: Disk, target: Disk, decision: Decision) -> DiskPair:
    permission: Permission = next(one for one in decision.permissions if one.disk == target.id)
    return DiskPair(
        source=_planned(source.hardware),
        target=_planned(target.hardware),
        content=permission.content,
        table=_content(source).table,
    )


def _planned(hardware: Hardware) -> PlannedDisk:
    return PlannedDisk(hardware.id, _label(hardware), hardware.size, hardware.sector_size)


def _warnings(source: Inventory, permitted: Sequence[Disk], boot: Disk) -> tuple[str, ...]:
    return (*_not_copied(source), *_boot_warning(permitted, boot))


def _not_copied(source: Inventory) -> Iterator[str]:
    for disk in sorted(source.disks, key=_place):
        name = f"Disk {_label(disk.hardware)} of the source is not copied"
        if disk.eligible and _content(disk).blank:
            yield f"{name}: it is blank."
        elif not disk.eligible and not disk.hardware.removable:
            yield f"{name}: {disk.hardware.ineligible}."


def _boot_warning(permitted: Sequence[Disk], boot: Disk) -> Iterator[str]:
    if boot is not permitted[0]:
        yield (
            f"The system goes onto disk {_label(boot.hardware)}, which is not the target's first: "
            "set the firmware to start from it."
        )


# --- which bytes


def _check_layout(source: Inventory, disk: Disk) -> None:
    """A table that overlaps itself or leaves the disk is damaged; no copy of it would be right."""
    table = _content(disk).table
    if table is None:
        return
    fault = _fault(table, disk.hardware)
    if fault:
        raise PlanError(
            f"The partition table of disk {_label(disk.hardware)} of the source "
            f"{source.machine.label} is damaged: {fault}. {UNTOUCHED} Repair the table first."
        )


def _fault(table: PartitionTable, hardware: Hardware) -> str:
    sector = hardware.sector_size
    numbers = [partition.number for partition in table.partitions]
    if table.label not in ("dos", "gpt"):
        return f"its kind {table.label!r} is not supported"
    if len(set(numbers)) < len(numbers) or min(numbers, default=1) < 1:
        return "partition numbers occur twice"
    end = _table_end(table, sector)
    for partition in sorted(table.partitions, key=lambda one: (one.start, -one.size)):
        name = f"partition {partition.number}"
        if partition.start % sector or partition.size % sector or partition.size <= 0:
            return f"{name} does not consist of whole sectors"
        if partition.end > hardware.size:
            return f"{name} reaches behind the end of the disk"
        if not partition.is_extended:
            if partition.start < end:
                return f"{name} overlaps the table or another partition"
            end = partition.end
    return _extended_fault(table, sector)


def _table_end(table: PartitionTable, sector: int) -> int:
    """Where the table itself ends and content may begin."""
    if table.label == "dos":
        return sector
    entries = (table.table_length or 128) * GPT_ENTRY
    return 2 * sector + -(-entries // sector) * sector


def _extended_fault(table: PartitionTable, sector: int) -> str:
    if table.label == "gpt":
        return ""
    boxes = [partition for partition in table.partitions if partition.is_extended]
    if len(boxes) > 1 or any(box.number > 4 or box.start < sector for box in boxes):
        return "the extended partition is not where one can be"
    for partition in table.partitions:
        inside = any(box.start < partition.start and partition.end <= box.end for box in boxes)
        touches = any(partition.start < box.end and box.start < partition.end for box in boxes)
        if partition.number > 4 and not inside:
            return f"logical partition {partition.number} is not inside the extended one"
        if partition.number <= 4 and not partition.is_extended and touches:
            return f"partition {partition.number} overlaps the extended one"
    return ""


def _regions(
    pairs: Sequence[DiskPair], disks: Sequence[Disk], mode: CopyMode
) -> tuple[Region, ...]:
    regions: list[Region] = []
    for pair, disk in enumerate(disks):
        for number, start, size, method, kind in _pieces(disk, mode):
            regions.append(Region(len(regions), pair, number, start, size, method, kind))
    return tuple(regions)


def _pieces(disk: Disk, mode: CopyMode) -> Iterator[tuple[int, int, int, Method, str]]:
    """(partition number, start, size, method, file system) in the order of the disk."""
    content = _content(disk)
    if content.table is None:
        kind = content.file_system.kind if content.file_system else ""
        yield 0, 0, disk.hardware.size, _method(kind, disk.hardware.size, mode), kind
        return
    parts = sorted(content.table.partitions, key=lambda partition: partition.start)
    first = parts[0].start if parts else BOOT_LIMIT
    yield 0, 0, min(first, BOOT_LIMIT, disk.hardware.size), Method.BOOT, ""
    for partition in parts:
        if not partition.is_extended:
            kind = partition.file_system.kind if partition.file_system else ""
            yield (
                partition.number,
                partition.start,
                partition.size,
                _method(kind, partition.size, mode),
                kind,
            )


def _method(kind: str, size: int, mode: CopyMode) -> Method:
    if mode is CopyMode.EXACT:
        return Method.ALL
    if kind == "swap":
        return Method.HEADER
    if kind == "vfat" and size <= FAT12_LIMIT:
        return Method.ALL
    return Method.USED if kind in MAPPED else Method.ALL


# --- where the root file system is


def _root_system(source: Inventory, disks: Sequence[Disk]) -> InstalledSystem:
    if len(source.systems) > 1:
        names = " and ".join(_system_name(source, system) for system in source.systems)
        raise PlanError(
            f"The source {source.machine.label} holds more than one installed system ({names}), "
            f"so it is not clear which one the copy is to start as. {UNTOUCHED} Remove the one "
            "that is not in use from the source, or copy this machine by hand."
        )
    if source.systems:
        return source.systems[0]
    layers = sorted(
        {LAYERS[kind] for disk in disks for kind in _kinds(_content(disk)) if kind in LAYERS}
    )
    if layers:
        raise PlanError(
            f"The root file system of the source {source.machine.label} was not found on a "
            f"partition; it is probably on {' or '.join(layers)}: not supported yet. {UNTOUCHED} "
            "Copy this machine by hand."
        )
    raise PlanError(
        f"No installed system was found on the disks of the source {source.machine.label}. "
        f"{UNTOUCHED} Boot the server to be copied from the medium."
    )


def _system_name(source: Inventory, system: InstalledSystem) -> str:
    words = system.host_name or system.os_name or system.file_system
    return f"{words} on partition {system.partition} of {_disk_name(source, system.disk)}"


def _disk_name(inventory: Inventory, disk_id: str) -> str:
    found = next((disk for disk in inventory.disks if disk.id == disk_id), None)
    return _label(found.hardware) if found else disk_id


def _kinds(content: Content) -> Iterator[str]:
    if content.file_system:
        yield content.file_system.kind
    yield from content.signatures
    for partition in _partitions(content):
        if partition.file_system:
            yield partition.file_system.kind


def _partitions(content: Content) -> tuple[Partition, ...]:
    return content.table.partitions if content.table else ()


def _root_region(
    source: Inventory,
    regions: Sequence[Region],
    pairs: Sequence[DiskPair],
    system: InstalledSystem,
) -> int:
    for region in regions:
        here = pairs[region.pair].source.id == system.disk
        if here and region.number == system.partition and region.method is not Method.BOOT:
            return region.index
    raise PlanError(
        f"The system on the source {source.machine.label} lies on "
        f"{_system_name(source, system)}, which is not among the disks to be copied. {UNTOUCHED} "
        "See which disks of the source are listed as not eligible, and why."
    )
