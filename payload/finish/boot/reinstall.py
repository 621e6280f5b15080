"""Make a copy start whose boot loader did not come over: it lay on a disk that is not copied, its
core was damaged, or it looks for its menu where there is none.

GRUB 2 is put in front of the copy's own menu, which is found by the UUID of its file system, or
GRUB legacy in front of its stage 2. That is done without grub-install: grub-probe wants the
kernel's partition nodes, and this machine's kernel has never read the new table. A menu that starts
nothing is left alone, since no loader mends it. The copied system's files are not touched, so the
marker in it does not tell of this: the report does.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from payload.finish.boot.candidates import Medium, Task, find_loaders
from payload.finish.boot.check import BootDisk
from payload.finish.boot.efi_entry import register
from payload.finish.boot.grub_layout import find_room
from payload.finish.boot.menu_check import check_menu
from payload.finish.boot.menus import Menu, Trees, find_menus
from payload.finish.sequence import as_adapt_error, boot_disks, byte_range, check_finished
from payload.finish.volumes import (
    Volume,
    find_volumes,
    mounted_at,
    mounted_read_only,
    parse_fstab,
    root_of,
)
from payload.formats.boot.boot_sector import GRUB_2, GRUB_LEGACY, BootCode
from payload.formats.boot.efi_programs import ESP_TYPES
from payload.formats.boot.grub_legacy import is_stage1
from payload.model.disk import BOOT_CODE_SIZE, SECTOR, Hardware
from payload.model.errors import AdaptError, LoaderError, TargetDiskError
from payload.model.event import Level, Monitor, Note
from payload.model.inventory import Inventory
from payload.model.machine import Firmware
from payload.model.marker import Change
from payload.model.plan import Plan
from payload.model.report import BootLoaderReport
from payload.system.files import read_inside
from payload.system.host import Host

MEDIUM = Medium()


@dataclass(frozen=True)
class Reinstall:
    """What will be written: byte of the disk -> bytes, on the disk of that pair, in this order."""

    pair: int
    writes: dict[int, bytes]
    strategy: str


def make_it_start(
    host: Host, plan: Plan, target: Inventory, monitor: Monitor
) -> tuple[BootLoaderReport, tuple[Change, ...]]:
    """See that the sealed copy starts; install GRUB anew if its loader leads nowhere.

    Returns what was checked and the bytes that were changed for it. Raises AdaptError with what is
    broken and what a person can do, TargetDiskError when a disk does not take the loader, or is
    another one by now.
    """
    if target.firmware is Firmware.UEFI:
        return _start_by_uefi(host, plan, target, monitor)
    try:
        return _told(check_finished(host, plan, target), monitor), ()
    except LoaderError as error:
        monitor(Note(f"The boot loader that came over does not do: {error}", Level.WARNING))
        reinstall = _prepare(host, plan, target, error)
        changes = tuple(_changes(plan, reinstall, str(error)))
    hardware = target.disk(plan.disks[reinstall.pair].target.id).hardware
    _write(host, hardware, reinstall.writes)
    report = replace(check_finished(host, plan, target), strategy=reinstall.strategy)
    monitor(Note(f"The boot loader was {report.strategy}, and leads to its menu."))
    return _told(report, monitor), changes


def _start_by_uefi(
    host: Host, plan: Plan, target: Inventory, monitor: Monitor
) -> tuple[BootLoaderReport, tuple[Change, ...]]:
    """Nothing is installed anew, since nobody but its maker can sign a loader; the firmware is told
    where the copy's own ones are."""
    esps = [volume for volume in find_volumes(plan) if volume.type_id in ESP_TYPES]
    with (
        as_adapt_error("registered with the firmware"),
        mounted_read_only(host, plan, target, esps, lambda _: None) as trees,
    ):
        known = register(host.run, plan, target, trees)
    report = check_finished(host, plan, target, known.programs)
    report = replace(report, warnings=(*report.warnings, *known.warnings))
    return _told(report, monitor), known.changes


def _told(report: BootLoaderReport, monitor: Monitor) -> BootLoaderReport:
    for warning in report.warnings:
        monitor(Note(warning, Level.WARNING))
    return report


def _prepare(host: Host, plan: Plan, target: Inventory, broken: LoaderError) -> Reinstall:
    """Find a GRUB that does. Raises AdaptError; nothing is written either way."""
    volumes = find_volumes(plan)
    with (
        as_adapt_error("given a boot loader"),
        mounted_read_only(host, plan, target, volumes, lambda _: None) as mounted,
        boot_disks(host, plan, target) as disks,
    ):
        root = root_of(plan, volumes)
        trees = own_trees(volumes, mounted, root)
        menu = choose_menu(volumes, trees, root, legacy=was_legacy(disks))
        if menu is None:
            raise broken
        index = choose_disk(disks, menu)
        name, table = disks[index].name, disks[index].table
        failures: list[str] = []
        try:
            room = find_room(table, plan.disks[index].target.sector_size, name)
            task = Task(menu, index, room, table, disks[menu.place.disk].table)
            for strategy, writes in find_loaders(host.run, task, trees, MEDIUM, failures):
                return Reinstall(index, writes, strategy)
        except AdaptError as error:
            failures.append(str(error))
    raise AdaptError(
        f"{broken} A new GRUB could not be put on {name} either:"
        f" {' '.join(failures) or 'neither the copy nor this medium has one.'} Put right the boot"
        " loader of the source (grub-install there, onto a disk that is copied), then copy again."
    ) from broken


def own_trees(volumes: Sequence[Volume], trees: Trees, root: Volume) -> Trees:
    """Those of the copied system itself: its root file system, and its /usr and /boot where they
    are apart. Others hold what its users put there, programs and menus among it."""
    content = read_inside(trees[root], "/etc/fstab") if root in trees else None
    fstab = parse_fstab((content or b"").decode("latin-1"))
    own = [root, *(mounted_at(volumes, fstab, path) for path in ("/usr", "/boot"))]
    return {volume: tree for volume, tree in trees.items() if volume in own}


def choose_menu(
    volumes: Sequence[Volume], trees: Trees, root: Volume, *, legacy: bool = False
) -> Menu | None:
    """The menu the copied system keeps up to date, if it starts something: on its /boot, else on
    its root file system, else wherever one is in `trees`. GRUB 2's comes first unless a `legacy`
    one was in use."""
    fstab = read_inside(trees[root], "/etc/fstab") if root in trees else None
    boot = mounted_at(volumes, parse_fstab((fstab or b"").decode("latin-1")), "/boot")
    loaders = (GRUB_LEGACY, GRUB_2) if legacy else (GRUB_2, GRUB_LEGACY)
    for loader in loaders:
        menus = list(find_menus(BootCode(loader, ()), 0, trees))
        menus.sort(key=lambda menu: (menu.place != boot, menu.place != root))
        for menu in menus:
            try:
                check_menu(menu, menu.place.disk, volumes, trees)
            except AdaptError:
                continue
            return menu
    return None


def was_legacy(disks: Sequence[BootDisk]) -> bool:
    """Whether what is left of the boot code is GRUB legacy's."""
    sectors = (disk.read(0, SECTOR) for disk in disks if disk.table is not None)
    first = next((sector for sector in sectors if any(sector[:BOOT_CODE_SIZE])), b"")
    return is_stage1(first)


def choose_disk(disks: Sequence[BootDisk], menu: Menu) -> int:
    """The disk a BIOS starts: the first with boot code, if any, else that of the menu."""
    for index, disk in enumerate(disks):
        if disk.table is not None and any(disk.read(0, SECTOR)[:BOOT_CODE_SIZE]):
            return index
    return menu.place.disk


def _changes(plan: Plan, reinstall: Reinstall, why: str) -> Iterator[Change]:
    for place, content in reinstall.writes.items():
        where = byte_range(plan, reinstall.pair, place, len(content))
        part = "core or stage 1.5" if place else "boot sector"
        yield Change(where, f"GRUB's {part}, {reinstall.strategy}, because: {why}")


def _write(host: Host, hardware: Hardware, writes: dict[int, bytes]) -> None:
    """Flushed after each, so that the sector that starts the rest never comes before it."""
    node = hardware.node
    host.blocks.recheck(hardware)  # it was let go of when it was sealed
    host.blocks.set_writable(node)
    try:
        descriptor = host.blocks.open_to_write(node)
        try:
            host.blocks.recheck(hardware)  # from now on its name means no other device
            for place, content in writes.items():
                _overwrite(descriptor, place, content)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        host.blocks.drop_cache(node)
    except OSError as error:
        raise TargetDiskError(
            f"The boot loader could not be written to {node}: {error.strerror}. Replace the disk."
        ) from error
    finally:
        host.blocks.set_read_only(node)


def _overwrite(descriptor: int, place: int, content: bytes) -> None:
    """O_DIRECT takes whole sectors in whole pages; what else is in the last one stays."""
    size = -(-len(content) // SECTOR) * SECTOR
    with closing(mmap.mmap(-1, size)) as buffer:
        os.preadv(descriptor, [buffer], place)
        buffer[: len(content)] = content
        written = os.pwrite(descriptor, buffer, place)
    if written != size:
        raise OSError(5, f"only {written} of {size} bytes were taken")
