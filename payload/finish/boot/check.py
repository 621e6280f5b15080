"""See that a finished copy finds its way from the firmware to its root file system.

The boot code was carried over byte by byte with all partitions at the same sectors, so it works
on the copy as it did on the source. What can still be wrong (a core image that did not arrive, a
kernel that is an empty file, a root that nothing here is called by) is found by walking the same
way the loader walks, without running it. LoaderError is raised where the way to the menu is
broken, which `reinstall` may mend, and AdaptError where the menu itself starts nothing, which it
cannot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payload.finish.boot.efi_chain import Program, follow
from payload.finish.boot.menu_check import MenuChecks, check_menu
from payload.finish.boot.menus import MENUS, Menu, Trees, find_menus
from payload.finish.volumes import Volume
from payload.formats.boot.boot_code import read_boot_code
from payload.formats.boot.boot_sector import LILO, BootCode, ReadDisk
from payload.formats.boot.efi_programs import ESP_TYPES, fallback_program, own_program
from payload.model.disk import PartitionTable
from payload.model.errors import AdaptError, LoaderError
from payload.model.machine import Firmware
from payload.model.report import BootLoaderReport

CARRIED_OVER = "carried over"


@dataclass(frozen=True)
class BootDisk:
    """One disk of the copy; `name` is for people."""

    name: str
    read: ReadDisk
    table: PartitionTable | None


def check_boot(
    disks: Sequence[BootDisk],
    volumes: Sequence[Volume],
    trees: Trees,
    firmware: Firmware,
    known: Sequence[Program] = (),
) -> BootLoaderReport:
    """Walk from the firmware to kernel, initrd and root. `trees` are the volumes that could be
    mounted, `volumes` all of them; `known` the programs for which this machine's firmware has an
    entry. Raises AdaptError with what is broken and what to do; it is a
    LoaderError when no menu is reached."""
    if firmware is Firmware.UEFI:
        return _check_uefi(volumes, trees, known)
    boot_disk, code = _bios(disks)
    menu = next(find_menus(code, boot_disk, trees), None)
    if menu is not None:
        told = _check(menu, boot_disk, volumes, trees)
        checks = (*code.checks, *told.checks)
        warnings = (*told.warnings, *_about_others(disks, boot_disk, trees))
        return BootLoaderReport(CARRIED_OVER, code.loader, checks, warnings)
    if code.loader not in MENUS:
        return BootLoaderReport(CARRIED_OVER, code.loader, code.checks)
    raise LoaderError(_no_menu(code, disks[boot_disk].name))


def _check(menu: Menu, disk: int, volumes: Sequence[Volume], trees: Trees) -> MenuChecks:
    """LILO starts what its map says, whatever became of the file that was made from: what is
    wrong there is told, and stops nothing."""
    try:
        return check_menu(menu, disk, volumes, trees)
    except AdaptError as error:
        if menu.loader != LILO:
            raise
        return MenuChecks((), (f"LILO's map could not be looked into. {error}",))


def _no_menu(code: BootCode, name: str) -> str:
    if code.image:
        return (
            f"GRUB legacy on {name} reads its stage 2 by a list of blocks, and no stage 2 on a file"
            " system of the copy consists of these blocks and names a menu. The copy may not start."
            " Run grub-install at the source, then copy again."
        )
    where = f" in {code.directory}" if code.directory else ""
    return (
        f"{code.loader} is on {name}, but its menu ({MENUS[code.loader]}){where} is on"
        " no file system of the copy where it looks for it. The copy would stop at a bare prompt."
        " Repair the boot loader of the source, then copy again."
    )


# --- from the firmware to the loader


def _bios(disks: Sequence[BootDisk]) -> tuple[int, BootCode]:
    """The first disk with boot code: the one a BIOS starts when it is plugged in first."""
    for index, disk in enumerate(disks):
        code = read_boot_code(disk.read, disk.table, disk.name)
        if code is not None:
            return index, code
    raise LoaderError(
        "No disk of the copy has boot code, so a BIOS cannot start it. Was the source started by"
        " UEFI, by the network, or from a medium? Start it as it is meant to be, then copy again."
    )


def _about_others(disks: Sequence[BootDisk], first: int, trees: Trees) -> Iterator[str]:
    """A mirrored server starts from its second disk too, when the first is gone."""
    for index, disk in enumerate(disks):
        if index == first or disk.table is None:
            continue
        try:
            code = read_boot_code(disk.read, disk.table, disk.name)
            if code and code.loader in MENUS and not any(find_menus(code, index, trees)):
                raise LoaderError(_no_menu(code, disk.name))
        except AdaptError as error:
            yield (
                "The copy starts from its first disk with boot code. Another one has some too,"
                f" which does not do: {error}"
            )


def _check_uefi(
    volumes: Sequence[Volume], trees: Trees, known: Sequence[Program]
) -> BootLoaderReport:
    """One program that starts the copy will do, of those the firmware knows and those it finds by
    itself; what is wrong with the others is told."""
    esps = [volume for volume in trees if volume.type_id in ESP_TYPES]
    found = [(volume, fallback_program(trees[volume])) for volume in esps]
    fallbacks = [Program(volume, str(path)) for volume, path in found if path]
    ways = list(dict.fromkeys((*known, *fallbacks)))
    if not ways:
        raise _no_program(trees, esps)
    reports: list[BootLoaderReport] = []
    faults: list[AdaptError] = []
    for program in ways:
        try:
            reports.append(_check_program(program, volumes, trees))
        except AdaptError as error:
            faults.append(error)
    if not reports:
        raise faults[0]
    checks = tuple(dict.fromkeys(check for report in reports for check in report.checks))
    warnings = dict.fromkeys(warning for report in reports for warning in report.warnings)
    told = (*warnings, *(f"One of the copy's EFI programs does not do: {one}" for one in faults))
    return BootLoaderReport(CARRIED_OVER, reports[0].loader, checks, told)


def _check_program(program: Program, volumes: Sequence[Volume], trees: Trees) -> BootLoaderReport:
    chain = follow(program, trees)
    told = MenuChecks(())
    if chain.menu is not None:
        told = check_menu(chain.menu, program.volume.disk, volumes, trees)
    checks = (*chain.checks, *told.checks)
    return BootLoaderReport(CARRIED_OVER, chain.loader, checks, told.warnings)


def _no_program(trees: Trees, esps: Sequence[Volume]) -> AdaptError:
    """The firmware of this machine has no boot entry for the copy: only the fallback starts it."""
    for volume in esps:
        name = own_program(trees[volume])
        if name is not None:
            return AdaptError(
                f"The copy's EFI partition has no EFI/BOOT/BOOTX64.EFI, and this machine's firmware"
                f" does not know {name} yet. Add a boot entry for {name} in the firmware setup."
            )
    return AdaptError(
        "This machine starts by UEFI, and the copy has no EFI partition with a boot loader on it."
        " Set the firmware to start by BIOS (CSM, legacy) if the source does, then copy again."
    )
