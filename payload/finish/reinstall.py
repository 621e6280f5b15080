"""Make a copy start whose boot loader did not come over: it lay on a disk that is not copied, its
core was damaged, or it looks for its menu where there is none.

GRUB 2 is put in front of the copy's own menu, which is found by the UUID of its file system. That
is done without grub-install: grub-probe wants the kernel's partition nodes, and this machine's
kernel has never read the new table. Each core is read as the check reads it before a byte of it is
written; a menu that starts nothing is left alone, since no loader mends it. The copied system's
files are not touched, so the marker in it does not tell of this: the report does.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from payload.finish.boot_code import read_boot_code
from payload.finish.boot_sector import GRUB_2, SECTOR, BootCode
from payload.finish.bootloader import BootDisk
from payload.finish.grub_layout import CODE_END, Room, as_if_written, find_room, lay_out
from payload.finish.grub_parts import (
    LIVE_MODULES,
    OWN_PAIR,
    Pair,
    find_kits,
    kept_pair,
    make_pair,
    recipe_for,
)
from payload.finish.menus import Menu, Trees, check_menu, find_menus, is_meant
from payload.finish.sequence import as_adapt_error, boot_disks, byte_range, check_finished
from payload.finish.volumes import (
    Volume,
    find_volumes,
    mounted_at,
    mounted_read_only,
    parse_fstab,
)
from payload.model.disk import PartitionTable
from payload.model.errors import AdaptError, LoaderError, TargetDiskError, ToolError
from payload.model.event import Level, Monitor, Note
from payload.model.inventory import Inventory
from payload.model.machine import Firmware
from payload.model.marker import Change
from payload.model.plan import Plan
from payload.model.report import BootLoaderReport
from payload.system.files import read_inside
from payload.system.host import Host


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
    try:
        return _told(check_finished(host, plan, target), monitor), ()
    except LoaderError as error:
        if target.firmware is not Firmware.BIOS:
            raise
        monitor(Note(f"The boot loader that came over does not do: {error}", Level.WARNING))
        reinstall = _prepare(host, plan, target, error)
        changes = tuple(_changes(plan, reinstall, str(error)))
    hardware = target.disk(plan.disks[reinstall.pair].target.id).hardware
    host.blocks.recheck(hardware)  # it was let go of when it was sealed
    _write(host, hardware.node, reinstall.writes)
    report = replace(check_finished(host, plan, target), strategy=reinstall.strategy)
    monitor(Note(f"The boot loader was {report.strategy}, and leads to its menu."))
    return _told(report, monitor), changes


def _told(report: BootLoaderReport, monitor: Monitor) -> BootLoaderReport:
    for warning in report.warnings:
        monitor(Note(warning, Level.WARNING))
    return report


def _prepare(host: Host, plan: Plan, target: Inventory, broken: LoaderError) -> Reinstall:
    """Find a GRUB that does. Raises AdaptError; nothing is written either way."""
    volumes = find_volumes(plan)
    with (
        as_adapt_error("given a boot loader"),
        mounted_read_only(host, plan, target, volumes, lambda _: None) as trees,
        boot_disks(host, plan, target) as disks,
    ):
        root = next(one for one in volumes if _is_root(plan, one))
        menu = choose_menu(volumes, trees, root)
        if menu is None:
            raise broken
        index = choose_disk(disks, menu)
        name, table = disks[index].name, disks[index].table
        failures: list[str] = []
        try:
            room = find_room(table, plan.disks[index].target.sector_size, name)
            for strategy, pair in _candidates(host, menu, disks, trees, failures):
                try:
                    writes = plan_reinstall(pair, room, menu, index, table)
                except AdaptError as error:
                    failures.append(f"{strategy}: {error}")
                else:
                    return Reinstall(index, writes, strategy)
        except AdaptError as error:
            failures.append(str(error))
    raise AdaptError(
        f"{broken} A new GRUB could not be put on {name} either:"
        f" {' '.join(failures) or 'neither the copy nor this medium has one.'} Put right the boot"
        " loader of the source (grub-install there, onto a disk that is copied), then copy again."
    ) from broken


def _is_root(plan: Plan, volume: Volume) -> bool:
    region = plan.regions[plan.root]
    return (volume.disk, volume.number) == (region.pair, region.number)


def choose_menu(volumes: Sequence[Volume], trees: Trees, root: Volume) -> Menu | None:
    """The GRUB 2 menu the copied system keeps up to date, if it starts something: on its /boot,
    else on its root file system, else wherever one is."""
    fstab = read_inside(trees[root], "/etc/fstab") if root in trees else None
    boot = mounted_at(volumes, parse_fstab((fstab or b"").decode("latin-1")), "/boot")
    menus = list(find_menus(BootCode(GRUB_2, ()), 0, trees))
    menus.sort(key=lambda menu: (menu.place != boot, menu.place != root))
    for menu in menus:
        try:
            check_menu(menu, menu.place.disk, volumes, trees)
        except AdaptError:
            continue
        return menu
    return None


def choose_disk(disks: Sequence[BootDisk], menu: Menu) -> int:
    """The disk a BIOS starts: the first with boot code, if any, else that of the menu."""
    for index, disk in enumerate(disks):
        if disk.table is not None and any(disk.read(0, SECTOR)[:CODE_END]):
            return index
    return menu.place.disk


def _candidates(
    host: Host, menu: Menu, disks: Sequence[BootDisk], trees: Trees, failures: list[str]
) -> Iterator[tuple[str, Pair]]:
    """Loaders for that menu with what to call them, the best first; why one could not be made
    goes to `failures`."""
    kept = kept_pair(menu, trees)
    if kept is not None:
        yield OWN_PAIR, kept
    for kit in find_kits(menu, trees, LIVE_MODULES):
        try:
            recipe = recipe_for(menu, disks[menu.place.disk].table, kit, trees)
            pair = make_pair(host.run, kit, recipe)
        except (AdaptError, ToolError, OSError) as error:
            failures.append(f"{kit.strategy}: {error}")
        else:
            yield kit.strategy, pair


def plan_reinstall(
    pair: Pair, room: Room, menu: Menu, disk: int, table: PartitionTable | None
) -> dict[int, bytes]:
    """The bytes that put the pair there, proven to lead to the menu when read from disk `disk`.

    Raises AdaptError when they do not fit or lead elsewhere.
    """
    writes = lay_out(pair.boot, pair.core, room)
    code = read_boot_code(as_if_written(writes), table, "the disk")
    if code is None or code.directory != menu.directory or not is_meant(code, disk, menu.place):
        raise AdaptError("Its core does not look for its menu where the copy has it.")
    return writes


def _changes(plan: Plan, reinstall: Reinstall, why: str) -> Iterator[Change]:
    for place, content in reinstall.writes.items():
        where = byte_range(plan, reinstall.pair, place, len(content))
        part = "core" if place else "boot sector"
        yield Change(where, f"GRUB's {part}, {reinstall.strategy}, because: {why}")


def _write(host: Host, node: str, writes: dict[int, bytes]) -> None:
    """Flushed after each, so that the sector that starts the rest never comes before it."""
    host.blocks.set_writable(node)
    try:
        descriptor = host.blocks.open_to_write(node)
        try:
            for place, content in writes.items():
                _overwrite(descriptor, place, content)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        host.blocks.drop_cache(node)
    except OSError as error:
        raise TargetDiskError(
            f"The boot loader could not be written to {node}: {error.strerror}. The data is copied,"
            " but the copy does not start. Replace the disk and start both machines again."
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
