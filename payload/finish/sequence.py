"""Finish a proven copy, in order: names, marker, and at the very end the look at the boot loader.

`finish_copy` runs while the partitions' content is in place and the table and boot code are not:
if it fails, the disk still shows nothing bootable. `check_finished` runs after those were written.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from payload.finish.boot.check import BootDisk, check_boot
from payload.finish.boot.efi_chain import Program
from payload.finish.first_start import plant_record
from payload.finish.marker import record_marker, write_marker
from payload.finish.mirrors import check_legs
from payload.finish.network.adapt import adapt_tree, refuse_lost_ways
from payload.finish.network.assignment import assign, plan_names, warnings_of, warnings_of_tags
from payload.finish.network.destinations import read_names
from payload.finish.storage.disk_order import order_at_source
from payload.finish.storage.hardware import CopiedSystem, adapt_to_disks
from payload.finish.volumes import (
    Mount,
    Volume,
    attached,
    extents_of,
    find_volumes,
    mounted_at,
    mounted_read_only,
    name_arrays,
    parse_fstab,
    root_of,
    root_options,
    target_node,
)
from payload.formats.boot.efi_programs import ESP_TYPES, add_fallback
from payload.formats.disk.superblocks import read_needs_recovery
from payload.model.errors import AdaptError, ToolError
from payload.model.event import Level, Monitor, Note
from payload.model.inventory import Inventory
from payload.model.machine import Firmware
from payload.model.marker import (
    BOOT_MARKER_PATH,
    MARKER_PATH,
    Change,
    CopyMarker,
    DiskMapping,
    Usage,
)
from payload.model.network import Arrival
from payload.model.plan import DiskPair, Plan
from payload.model.report import BootLoaderReport, CardName
from payload.system.files import read_inside
from payload.system.host import Host


@dataclass(frozen=True)
class FinishResult:
    """What the copy now calls its cards, every change beyond the bit copy, and the marker."""

    cards: tuple[CardName, ...]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    marker: CopyMarker


def finish_copy(
    host: Host,
    plan: Plan,
    source: Inventory,
    target: Inventory,
    copy_id: str,
    wire: Sequence[tuple[str, str]],
    arrivals: Sequence[Arrival],
    finished_at: int,
    monitor: Monitor,
    version: str = "",
) -> FinishResult:
    """Adapt the copy to this machine and mark it as ours.

    `wire` holds the connection's cards as (MAC at the source, MAC here), `arrivals` the beacons
    heard. Raises AdaptError; the copied content is then proven and the copy not bootable.
    """
    if plan.encrypted:
        return _mark_encrypted(host, plan, source, target, copy_id, finished_at, version)
    volumes = find_volumes(plan)
    place, options = root_of(plan, volumes), root_options(plan)
    with (
        as_adapt_error("adapted"),
        attached(host, plan, target, place, writable=True) as device,
    ):
        changes = [*_mount_changes(plan, target, place, device)]
        if target.firmware is Firmware.UEFI:
            changes += _add_fallback(host, plan, target, volumes)
        with host.mounts.mount(device, place.kind, writable=True, options=options) as root:
            in_use = read_names(root)
            cards = plan_names(in_use, source.cards, wire, target.cards, arrivals)
            for entry in cards:
                monitor(Note(f"{entry.name}: {entry.mac or 'no card'} ({entry.why})"))
            refuse_lost_ways(cards, in_use)
            assignment = assign(cards, in_use, source.cards, target.cards)
            lines = (read_inside(root, "/etc/fstab") or b"").decode("latin-1")
            fstab, order = parse_fstab(lines), order_at_source(plan, source, lines)
            volumes = name_arrays(find_volumes(plan, order), _mdadm_conf(root))
            place = root_of(plan, volumes)
            beside = [one for one in volumes if one != place]
            system = _system(host, plan, target, root, volumes, beside, fstab, order)
            with system.whole(writable=False, places=("/usr",)):  # what its udev and init are
                adaptation = adapt_tree(root, assignment)
                record = plant_record(root)
            disks = adapt_to_disks(
                system, plan, source, target, adaptation.initramfs_stale, monitor
            )
        changes += (*adaptation.changes, *record.changes, *disks.changes)
        changes.append(Change(f"/{MARKER_PATH}", "the marker of this copy"))
        own_var = mounted_at(beside, fstab, "/var")
        if own_var is not None:
            changes += _var_changes(plan, target, own_var)
        marker = _marker(plan, source, copy_id, finished_at, place, changes, version)
        marker = record_marker(host.mounts, device, place.kind, marker, options)
    if own_var is not None:
        _write_into_var(host, plan, target, own_var, marker)
    with as_adapt_error("proven to be alike in all legs of its mirrors"):
        check_legs(host, plan, target, volumes, changes)
    warnings = (
        *warnings_of(cards, in_use),
        *warnings_of_tags(cards, in_use, source.cards, arrivals),
        *adaptation.warnings,
        *record.warnings,
        *disks.warnings,
    )
    for warning in warnings:
        monitor(Note(warning, Level.WARNING))
    return FinishResult(cards, tuple(changes), warnings, marker)


def _marker(
    plan: Plan,
    source: Inventory,
    copy_id: str,
    finished_at: int,
    place: Volume,
    changes: Sequence[Change],
    version: str,
) -> CopyMarker:
    return CopyMarker(
        copy_id=copy_id,
        source=plan.source,
        target=plan.target,
        disks=tuple(_mapping(pair, source) for pair in plan.disks),
        finished_at=finished_at,
        usage=Usage(place.kind),
        changes=tuple(changes),
        version=version,
    )


def _mark_encrypted(
    host: Host,
    plan: Plan,
    source: Inventory,
    target: Inventory,
    copy_id: str,
    finished_at: int,
    version: str,
) -> FinishResult:
    """The root cannot be read, so nothing in it is adapted; the marker goes into /boot. Its use
    cannot be told from there, so such a copy is never taken for an unused one."""
    volumes = find_volumes(plan)
    place = root_of(plan, volumes)
    with (
        as_adapt_error("marked"),
        attached(host, plan, target, place, writable=True) as device,
    ):
        changes = [*_mount_changes(plan, target, place, device)]
        if target.firmware is Firmware.UEFI:
            changes += _add_fallback(host, plan, target, volumes)
        changes.append(Change(f"/boot/{BOOT_MARKER_PATH}", "the marker of this copy"))
        marker = _marker(plan, source, copy_id, finished_at, place, changes, version)
        with host.mounts.mount(device, place.kind, writable=True) as boot:
            write_marker(boot, marker, BOOT_MARKER_PATH)
    with as_adapt_error("proven to be alike in all legs of its mirrors"):
        check_legs(host, plan, target, volumes, changes)
    return FinishResult((), tuple(changes), (), marker)


def _mapping(pair: DiskPair, source: Inventory) -> DiskMapping:
    """With what was copied: by it a data disk is known again as part of this copy."""
    content = source.disk(pair.source.id).content
    return DiskMapping(pair.source.id, pair.target.id, content.fingerprint if content else "")


def check_finished(
    host: Host, plan: Plan, target: Inventory, known: Sequence[Program] = ()
) -> BootLoaderReport:
    """See that the finished copy will find its boot loader, kernel and root, without writing.
    `known` are the EFI programs this machine's firmware has an entry for.

    Raises AdaptError with the reason and what a person can do.
    """
    volumes = find_volumes(plan)
    unseen: list[str] = []
    with (
        as_adapt_error("checked"),
        mounted_read_only(host, plan, target, volumes, unseen.append) as trees,
        boot_disks(host, plan, target) as disks,
    ):
        report = check_boot(disks, volumes, trees, target.firmware, known)
    return replace(report, checks=(*report.checks, *unseen))


@contextmanager
def as_adapt_error(what: str) -> Iterator[None]:
    try:
        yield
    except (ToolError, OSError) as error:
        raise AdaptError(
            f"The data was copied, but the copy could not be {what}: {error}"
        ) from error


def byte_range(plan: Plan, pair: int, start: int, size: int) -> str:
    return f"disk {plan.disks[pair].target.id} bytes {start}-{start + size - 1}"


def byte_ranges(plan: Plan, target: Inventory, volume: Volume) -> Iterator[str]:
    """Every range of the target's disks that a volume lies on, in all its legs."""
    pairs = {target_node(plan, target, index): index for index in range(len(plan.disks))}
    for node, start, size in (one for leg in extents_of(plan, target, volume) for one in leg):
        yield byte_range(plan, pairs[node], start, size)


def _system(
    host: Host,
    plan: Plan,
    target: Inventory,
    root: Path,
    volumes: Sequence[Volume],
    beside: Sequence[Volume],
    fstab: Sequence[Mount],
    order: Sequence[str],
) -> CopiedSystem:
    def attach(volume: Volume, *, writable: bool) -> AbstractContextManager[str]:
        return attached(host, plan, target, volume, writable=writable)

    def changes_of(volume: Volume, device: str) -> list[Change]:
        return list(_mount_changes(plan, target, volume, device))

    return CopiedSystem(host, root, volumes, beside, fstab, order, attach, changes_of)


def _mount_changes(plan: Plan, target: Inventory, volume: Volume, device: str) -> Iterator[Change]:
    """Mounting for writing leaves traces of its own, which no list of files tells."""
    replayed = read_needs_recovery(device, volume.kind)
    what = "superblock, journal and metadata: mounted here to make the changes listed"
    if replayed:
        what += "; its journal was replayed first, as it would have been at the server's next boot"
    for where in byte_ranges(plan, target, volume):
        yield Change(where, what)


def _mdadm_conf(root: Path) -> str:
    found = (read_inside(root, path) for path in ("/etc/mdadm/mdadm.conf", "/etc/mdadm.conf"))
    return b"\n".join(text for text in found if text).decode("latin-1")


def _add_fallback(
    host: Host, plan: Plan, target: Inventory, volumes: Sequence[Volume]
) -> Iterator[Change]:
    """This board has no boot entry for the server; its own loader goes where firmware looks."""
    for volume in volumes:
        if volume.type_id in ESP_TYPES and volume.kind == "vfat":
            with (
                attached(host, plan, target, volume, writable=True) as device,
                host.mounts.mount(device, volume.kind, writable=True) as tree,
            ):
                yield from add_fallback(tree)


def _var_changes(plan: Plan, target: Inventory, volume: Volume) -> Iterator[Change]:
    for where in byte_ranges(plan, target, volume):
        yield Change(where, "a second copy of the marker: /var is a file system of its own")


def _write_into_var(
    host: Host, plan: Plan, target: Inventory, volume: Volume, marker: CopyMarker
) -> None:
    """The root file system's marker is what we go by; a running copy sees only its /var."""
    with (
        as_adapt_error("marked in /var"),
        attached(host, plan, target, volume, writable=True) as device,
        host.mounts.mount(device, volume.kind, writable=True) as tree,
    ):
        write_marker(tree, marker, MARKER_PATH.removeprefix("var/"))


@contextmanager
def boot_disks(host: Host, plan: Plan, target: Inventory) -> Iterator[list[BootDisk]]:
    """The target's disks, read past what was cached while they were written."""
    with ExitStack() as stack:
        disks = []
        for index, pair in enumerate(plan.disks):
            node = target_node(plan, target, index)
            host.blocks.drop_cache(node)
            file = stack.enter_context(Path(node).open("rb", buffering=0))
            read = partial(read_bytes, file.fileno())
            disks.append(BootDisk(f"disk {pair.target.label}", read, pair.table))
        yield disks


def read_bytes(descriptor: int, offset: int, length: int) -> bytes:
    """The bytes there, fewer at the end; none at places that no file reaches, since they come out
    of the copy's own boot sectors."""
    return os.pread(descriptor, length, offset) if offset < sys.maxsize - length else b""
