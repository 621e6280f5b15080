"""See that a finished copy finds its way from the firmware to its root file system.

The boot code was carried over byte by byte with all partitions at the same sectors, so it works
on the copy as it did on the source. What can still be wrong (a core image that did not arrive, a
kernel that is an empty file, a root that nothing here is called by) is found by walking the same
way the loader walks, without running it. LoaderError is raised where the way to the menu is
broken, which `reinstall` may mend, and AdaptError where the menu itself starts nothing, which it
cannot.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.finish.boot_code import BootCode, ReadDisk, read_boot_code
from payload.finish.boot_menu import Entry, parse_grub_cfg, parse_menu_lst
from payload.finish.uefi import ESP_TYPES, efi_files, fallback_program
from payload.finish.volumes import Volume, device_number
from payload.model.disk import PartitionTable
from payload.model.errors import AdaptError, LoaderError
from payload.model.machine import Firmware
from payload.model.report import BootLoaderReport
from payload.system.files import inside, read_inside

CARRIED_OVER = "carried over"
_DIRECTORIES = ("/boot/grub", "/grub", "/boot/grub2", "/grub2", "/boot/boot/grub")
_MENUS = {"GRUB 2": ("grub.cfg",), "GRUB legacy": ("menu.lst", "grub.conf")}


@dataclass(frozen=True)
class BootDisk:
    """One disk of the copy; `name` is for people."""

    name: str
    read: ReadDisk
    table: PartitionTable | None


Trees = Mapping[Volume, Path]


def check_boot(
    disks: Sequence[BootDisk], volumes: Sequence[Volume], trees: Trees, firmware: Firmware
) -> BootLoaderReport:
    """Walk from the firmware to kernel, initrd and root. `trees` are the volumes that could be
    mounted, `volumes` all of them. Raises AdaptError with what is broken and what to do; it is a
    LoaderError when no menu is reached."""
    if firmware is Firmware.UEFI:
        checks, code = _uefi(trees), BootCode("GRUB 2", ())
        boot_disk = 0
    else:
        boot_disk, code = _bios(disks)
        checks = code.checks
    if code.loader not in _MENUS:
        return BootLoaderReport(CARRIED_OVER, code.loader, checks)
    menu = next(find_menus(code, boot_disk, trees), None)
    if menu is None:
        if firmware is Firmware.UEFI:
            return BootLoaderReport(CARRIED_OVER, "UEFI", checks)
        raise LoaderError(
            f"{code.loader} is on {disks[boot_disk].name}, but its menu"
            f" ({' or '.join(_MENUS[code.loader])}) is on no file system of the copy. The copy"
            " would stop at a bare prompt. Repair the boot loader of the source, then copy again."
        )
    menu_checks = check_menu(menu, volumes, trees)
    return BootLoaderReport(CARRIED_OVER, code.loader, (*checks, *menu_checks))


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


def _uefi(trees: Trees) -> tuple[str, ...]:
    """The firmware of this machine has no boot entry for the copy: only the fallback starts it."""
    programs = []
    for volume, tree in trees.items():
        if volume.type_id in ESP_TYPES:
            fallback = fallback_program(tree)
            if fallback is not None:
                return (f"{fallback.relative_to(tree)} is on the EFI partition, {volume.name}",)
            programs += [path for path in efi_files(tree) if path.suffix.lower() == ".efi"]
    if programs:
        name = "/".join(programs[0].parts[-3:])
        raise AdaptError(
            f"The copy's EFI partition has no EFI/BOOT/BOOTX64.EFI, and this machine's firmware"
            f" does not know {name} yet. Add a boot entry for {name} in the firmware setup."
        )
    raise AdaptError(
        "This machine starts by UEFI, and the copy has no EFI partition with a boot loader on it."
        " Set the firmware to start by BIOS (CSM, legacy) if the source does, then copy again."
    )


# --- from the loader to its menu


@dataclass(frozen=True)
class Menu:
    """A boot menu: its text, and the directory it lies in on the file system `place`."""

    loader: str
    place: Volume
    directory: str
    text: str


def find_menus(code: BootCode, disk: int, trees: Trees) -> Iterator[Menu]:
    """The menus the loader on that disk may mean: as it says, else wherever one may be."""
    for volume, tree in trees.items():
        if not is_meant(code, disk, volume):
            continue
        for directory in (code.directory,) if code.directory else _DIRECTORIES:
            for name in _MENUS[code.loader]:
                content = read_inside(tree, f"{directory}/{name}")
                if content:
                    text = content.decode("utf-8", "replace")
                    yield Menu(code.loader, volume, directory, text)


def is_meant(code: BootCode, disk: int, volume: Volume) -> bool:
    """Whether the loader on that disk may look for its menu on that file system."""
    if code.uuid:
        return volume.is_called(f"UUID={code.uuid}")
    if code.number is not None:
        return (volume.disk, volume.number) == (disk, code.number)
    return True


# --- from the menu to kernel, initrd and root


def check_menu(menu: Menu, volumes: Sequence[Volume], trees: Trees) -> tuple[str, ...]:
    """The first entry has to work; a broken one further down is broken at the source too.

    Raises AdaptError with what is missing.
    """
    entries = (parse_grub_cfg if menu.loader == "GRUB 2" else parse_menu_lst)(menu.text)
    place = menu.place
    if not entries:
        raise AdaptError(
            f"The boot menu on {place.name} starts no Linux kernel, so the copy would stop at its"
            " menu. Repair the boot menu of the source, then copy again."
        )
    first, *others = entries
    faults = tuple(_faults(first, place, volumes, trees))
    if faults:
        raise AdaptError(
            f"The boot menu entry {first.title!r} would not start:"
            f" {'; '.join(faults)}. Repair it at the source and copy again,"
            " or choose another entry at the screen."
        )
    told = [first.kernel, *first.initrds]
    checks = [f"the boot menu is on {place.name}", f"{', '.join(told)} there and not empty"]
    if first.root:
        checks.append(f"root={first.root} is a file system of the copy")
    broken = sum(1 for entry in others if any(_faults(entry, place, volumes, trees)))
    if broken:
        checks.append(f"{broken} further entries do not start, at the source neither")
    return tuple(checks)


def _faults(entry: Entry, place: Volume, volumes: Sequence[Volume], trees: Trees) -> Iterator[str]:
    on = _volumes_of(entry, place, trees)
    if not on:
        yield f"no file system of the copy has the UUID {entry.uuid}"
        return
    for path in (entry.kernel, *entry.initrds):
        if "$" not in path and not any(_is_filled(trees[volume], path) for volume in on):
            yield f"{path} is missing or empty"
    if not _is_there(entry.root, volumes):
        yield f"no file system of the copy is called {entry.root}"


def _volumes_of(entry: Entry, place: Volume, trees: Trees) -> list[Volume]:
    if entry.uuid and "$" not in entry.uuid:
        return [volume for volume in trees if volume.is_called(f"UUID={entry.uuid}")]
    if entry.number is not None:
        return [volume for volume in trees if volume.number == entry.number]
    return [place]


def _is_filled(tree: Path, path: str) -> bool:
    try:
        return inside(tree, path).stat().st_size > 0
    except OSError:
        return False


def _is_there(root: str, volumes: Sequence[Volume]) -> bool:
    """A device name holds only for the copy's own kernel, which may count the disks otherwise:
    there it is enough that one disk has a partition of that number. LVM and the like: unknown."""
    if root.split("=", maxsplit=1)[0] in ("UUID", "LABEL", "PARTUUID"):
        return any(volume.is_called(root) for volume in volumes)
    number = device_number(root)
    return number is None or any(volume.number == number for volume in volumes)
