"""Who is copied onto what: a pure function of both inventories, computed on both machines.

Nothing here asks a machine, a clock or a kernel name, and every choice is made in an order that
both sides see alike, so two honest machines always arrive at the same digest.
"""

from collections.abc import Iterator, Sequence

from payload.decide.account import make_accounts
from payload.decide.disks import amount, content_of, label_of, place, table_of
from payload.decide.layout import check_layout, choose_method, contradictions, cut_regions
from payload.decide.matching import match_disks, permitted_disks
from payload.model.account import Account, Treatment
from payload.model.disk import Content, Disk, Hardware, Partition
from payload.model.errors import PlanError
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.map_kinds import why_whole
from payload.model.plan import CopyMode, DiskPair, Method, Plan, PlannedDisk, Region
from payload.model.role import Decision, Permission
from payload.model.volume import Layer, Volume

LAYERS = {
    "LVM2_member": "LVM",
    "linux_raid_member": "a Linux software RAID",
    "crypto_LUKS": "an encrypted volume (LUKS)",
}
ENCRYPTED = (
    "The root file system is encrypted (LUKS): it is copied as it is, and the copy asks for the"
    " passphrase as the server does. What lies in it is not adapted: network names, and whatever"
    " else ties the system to its machine, have to be put right in the running copy. Nobody can see"
    " whether such a copy was in service, so to refresh it name its disks with failover.overwrite=."
)


MAPS_LATER = (
    "Maps of used blocks are read when the copy begins: where one does not hold, every block is"
    " copied."
)
UNPROVEN = (
    "What is written to the target is not read back (failover.verify=off), but for the boot areas "
    "and the first MiB of each partition."
)


def plan_copy(
    source: Inventory,
    target: Inventory,
    decision: Decision,
    mode: CopyMode,
    *,
    verify: bool = True,
) -> Plan:
    """The plan for a copy of `source` onto the disks that the target's `decision` permits.

    With `verify` all that is written is read back. Raises PlanError with a sentence that names
    machine, disk and the next step.
    """
    _check_firmware(source, target)
    disks = _source_disks(source)
    system = _root_system(source, disks)
    permitted = permitted_disks(source, target, decision)
    chosen = match_disks(source, target, disks, permitted)
    order = sorted(disks, key=lambda disk: (not _comes_first(system, disk), place(disk)))
    pairs = tuple(_pair(disk, chosen[disk.id], decision) for disk in order)
    _check_arrays(source, pairs)
    regions = cut_regions(pairs, order, mode)
    accounts = make_accounts(pairs, regions, mode)
    return Plan(
        source=source.reference,
        target=target.reference,
        mode=mode,
        disks=pairs,
        regions=regions,
        root=_root_region(source, regions, pairs, system),
        warnings=(
            *_warnings(source, permitted, chosen[order[0].id], verify=verify),
            *((ENCRYPTED,) if system.encrypted else ()),
            *_doubts(order),
        ),
        accounts=accounts,
        volumes=_volumes(source, pairs),
        root_volume=system.volume,
        root_subvolume=system.subvolume,
        encrypted=system.encrypted,
        verify=verify,
    )


def _comes_first(system: InstalledSystem, disk: Disk) -> bool:
    """The disk of the root also starts the machine; of a volume's disks it may be any."""
    return not system.volume and disk.id == system.disk


def _volumes(source: Inventory, pairs: Sequence[DiskPair]) -> tuple[Volume, ...]:
    """The volumes that can be looked into in the copy, too."""
    copied = {pair.source.id for pair in pairs}
    return tuple(one for one in source.volumes if one.legs and copied.issuperset(one.disks))


def describe(plan: Plan) -> tuple[str, ...]:
    """The plan as lines for people: which disk onto which, and what is lost by it."""
    source = _machine(plan.source.label, plan.source.host_name)
    target = _machine(plan.target.label, plan.target.host_name)
    return (
        f"{source} is copied onto {target}.",
        *(line for index in range(len(plan.disks)) for line in _describe_pair(plan, index)),
        *(_describe_volume(volume, plan.mode) for volume in plan.volumes),
        *((MAPS_LATER,) if any(one.method is Method.USED for one in plan.regions) else ()),
        *(f"Note: {warning}" for warning in plan.warnings),
    )


def _machine(label: str, host_name: str) -> str:
    return f"{host_name} ({label})" if host_name else label


def _describe_pair(plan: Plan, index: int) -> Iterator[str]:
    pair = plan.disks[index]
    yield f"Disk {index + 1}: {pair.source.label} onto {pair.target.label}"
    yield f"  on the target disk now, and lost: {pair.content or 'nothing'}"
    for region in plan.regions:
        if region.pair == index and region.is_volume:
            what = region.file_system or "unknown content"
            name = f"partition {region.number}" if region.number else "whole disk"
            because = f", because {region.why}" if region.why else ""
            way = f"{_WORDS[region.method]}{because}{_behind(region.behind)}"
            yield f"  {name}: {what}, {amount(region.size)}, {way}"
    if plan.accounts:
        yield f"  all {amount(pair.source.size)}: {', '.join(_sums(plan.accounts[index]))}"


def _behind(size: int) -> str:
    return f", and all {amount(size)} behind its end" if size else ""


def _sums(account: Account) -> Iterator[str]:
    """Every byte of a disk, by what becomes of it."""
    for kind, size in account.mapped.items():
        yield f"{amount(size)} by {kind}'s map"
    for treatment, words in TREATMENTS.items():
        size = account.total(treatment)
        if size:
            yield f"{amount(size)} {words}"


def _describe_volume(volume: Volume, mode: CopyMode) -> str:
    system = volume.file_system
    kind = system.kind if system else "unknown content"
    mirrored = f", on {len(volume.legs)} disks alike" if len(volume.legs) > 1 else ""
    why = why_whole(system, volume.size) if mode is CopyMode.USED else ""
    way = f", every block, because {why}" if why else ""
    if system and choose_method(system, volume.size, mode) is Method.USED:
        way = _behind(system.behind)
    return f"Volume {volume.name}: {kind}, {amount(volume.size)}{mirrored}{way}"


TREATMENTS = {
    Treatment.COPIED: "whole",
    Treatment.SWAP: "of swap, not carried",
    Treatment.TABLE: "of GPT, made anew",
    Treatment.UNREAD: "that no partition holds, not looked at",
    Treatment.CUT: "that no partition holds, behind the end of the target's disk",
}
_WORDS = {
    Method.USED: "blocks in use",
    Method.ALL: "every block",
    Method.HEADER: "header only",
}


# --- which disks


def _check_firmware(source: Inventory, target: Inventory) -> None:
    if source.firmware is not target.firmware:
        raise PlanError(
            f"The source {source.machine.label} was booted by {source.firmware.upper()}, the "
            f"target {target.machine.label} by {target.firmware.upper()}: the copy would not "
            f"boot. Set the target's firmware to {source.firmware.upper()} and boot "
            "it from the medium again."
        )


def _source_disks(source: Inventory) -> tuple[Disk, ...]:
    """The disks that hold anything, by the place where they are plugged in."""
    disks = tuple(
        sorted((disk for disk in source.eligible_disks if not content_of(disk).blank), key=place)
    )
    if not disks:
        raise PlanError(
            f"The source {source.machine.label} has no disk with anything on it. "
            "Boot the server to be copied from the medium."
        )
    for disk in disks:
        check_layout(source, disk)
    return disks


def _pair(source: Disk, target: Disk, decision: Decision) -> DiskPair:
    permission: Permission = next(one for one in decision.permissions if one.disk == target.id)
    return DiskPair(
        source=_planned(source.hardware),
        target=_planned(target.hardware),
        content=permission.content,
        table=table_of(source),
    )


def _check_arrays(source: Inventory, pairs: Sequence[DiskPair]) -> None:
    """Where an array's data begins with the disk, its superblock is looked for from the disk's
    end: on one of another size the copy would not find it."""
    begins = {
        segment.disk: volume
        for volume in source.volumes
        for leg in volume.legs
        for segment in leg
        if volume.layer is Layer.MD and segment.start == 0
    }
    for pair in pairs:
        if pair.source.id in begins and pair.source.size != pair.target.size:
            raise PlanError(
                f"Disk {pair.source.label} of the source {source.machine.label} is, without "
                f"partitions, a member of the RAID {begins[pair.source.id].name} that keeps its "
                f"superblock at the disk's end; on disk {pair.target.label} of the target, which "
                f"has another size, it would not be found. Put in a disk of "
                f"{pair.source.size} bytes, or copy this machine by hand."
            )


def _planned(hardware: Hardware) -> PlannedDisk:
    return PlannedDisk(hardware.id, label_of(hardware), hardware.size, hardware.sector_size)


def _warnings(
    source: Inventory, permitted: Sequence[Disk], boot: Disk, *, verify: bool
) -> tuple[str, ...]:
    unproven = () if verify else (UNPROVEN,)
    return (*_not_copied(source), *_boot_warning(permitted, boot), *unproven)


def _doubts(disks: Sequence[Disk]) -> Iterator[str]:
    for disk in disks:
        if kinds := contradictions(disk):
            yield (
                f"Disk {label_of(disk.hardware)} of the source shows {', '.join(kinds)} on the "
                "whole disk beside its partitions: every block of it is copied."
            )
        for remnant in content_of(disk).remnants:
            yield (
                f"Disk {label_of(disk.hardware)} of the source shows {remnant.kind} at byte "
                f"{remnant.start}, which no partition holds: that room is copied whole."
            )


def _not_copied(source: Inventory) -> Iterator[str]:
    for disk in sorted(source.disks, key=place):
        name = f"Disk {label_of(disk.hardware)} of the source is not copied"
        if disk.eligible and content_of(disk).blank:
            yield f"{name}: it is blank."
        elif not disk.eligible and _is_of_the_machine(disk.hardware):
            yield f"{name}: {disk.hardware.ineligible}."


def _is_of_the_machine(hardware: Hardware) -> bool:
    """A disk that people know of: not a medium, and not what the live system itself made up."""
    is_real = bool(hardware.serial or hardware.wwn or hardware.path)
    return is_real and not hardware.removable


def _boot_warning(permitted: Sequence[Disk], boot: Disk) -> Iterator[str]:
    if boot is not permitted[0]:
        yield (
            f"The system goes onto disk {label_of(boot.hardware)}, which is not the target's "
            "first: set the firmware to start from it."
        )


# --- where the root file system is


def _root_system(source: Inventory, disks: Sequence[Disk]) -> InstalledSystem:
    if len(source.systems) > 1:
        names = " and ".join(_system_name(source, system) for system in source.systems)
        raise PlanError(
            f"The source {source.machine.label} holds more than one installed system ({names}), "
            f"so it is not clear which one the copy is to start as. Remove the one "
            "that is not in use from the source, or copy this machine by hand."
        )
    if source.systems:
        return source.systems[0]
    layers = sorted(
        {LAYERS[kind] for disk in disks for kind in _kinds(content_of(disk)) if kind in LAYERS}
    )
    if layers:
        raise PlanError(
            f"The root file system of the source {source.machine.label} was not found; it is "
            f"probably on {' or '.join(layers)}, which could not be looked into"
            f"{_why_not(source)}. Copy this machine by hand."
        )
    raise PlanError(
        f"No installed system was found on the disks of the source {source.machine.label}. "
        f"Boot the server to be copied from the medium."
    )


def _why_not(source: Inventory) -> str:
    reasons = [f"{one.name}: {one.why_not}" for one in source.volumes if one.why_not]
    return f" ({'; '.join(reasons)})" if reasons else ""


def _system_name(source: Inventory, system: InstalledSystem) -> str:
    words = system.host_name or system.os_name or system.file_system
    return f"{words} on {system.place} of {_disk_name(source, system.disk)}"


def _disk_name(inventory: Inventory, disk_id: str) -> str:
    found = next((disk for disk in inventory.disks if disk.id == disk_id), None)
    return label_of(found.hardware) if found else disk_id


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
        here = pairs[region.pair].source.id == system.disk and region.is_volume
        if here and _holds(region, source, system):
            return region.index
    raise PlanError(
        f"The system on the source {source.machine.label} lies on "
        f"{_system_name(source, system)}, which is not among the disks to be copied. "
        "See which disks of the source are listed as not eligible, and why."
    )


def _holds(region: Region, source: Inventory, system: InstalledSystem) -> bool:
    if not system.volume:
        return region.number == system.partition
    first = source.volume(system.volume).legs[0][0].start
    return region.start <= first < region.start + region.size
