"""From an EFI program to a boot menu, as the firmware would go: shim, GRUB, its first grub.cfg.

Shim starts what lies beside it. A GRUB that was made for this machine has the UUID of the file
system of its menu inside; one that a distribution signed looks for a small grub.cfg on the EFI
partition, which names it. Nothing is run.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from payload.finish.boot.menus import (
    Menu,
    Trees,
    find_menus,
    is_meant,
    read_menu,
)
from payload.finish.volumes import Volume
from payload.formats.boot.boot_menu import parse_snippets
from payload.formats.boot.boot_sector import GRUB_2, BootCode
from payload.formats.boot.efi_programs import efi_file, efi_files
from payload.formats.boot.grub_core import CONFIG, PREFIX, read_objects, told_by
from payload.formats.boot.menu_files import read_listed, read_snippets, read_text
from payload.model.errors import LoaderError
from payload.system.files import opened_file, read_inside

_SECOND_STAGES = ("grubx64.efi", "grub.efi")
_FALLBACK = "fbx64.efi"
_SYSTEMD_BOOT = "LoaderInfo: systemd-boot"
_LARGEST = 32 << 20  # bytes looked at; a kernel with its initramfs in one program has more
_AREAS = 16  # of modules in one program; GRUB's have one
_STAGES = 4  # programs one after the other; shim, fallback, shim, GRUB


@dataclass(frozen=True)
class Program:
    """A file on an EFI partition, as "EFI/debian/shimx64.efi"."""

    volume: Volume
    path: str

    @property
    def directory(self) -> str:
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class Chain:
    """What was found on the way; `menu` is None for a program that keeps its way to itself."""

    checks: tuple[str, ...]
    loader: str
    menu: Menu | None = None


def follow(program: Program, trees: Trees) -> Chain:
    """Where the program leads. Raises LoaderError when it leads nowhere."""
    tree = trees[program.volume]
    checks = [f"{program.path} is on the EFI partition, {program.volume.name}"]
    for _ in range(_STAGES):
        content = _read(tree, program)
        if not _is_shim(content):
            break
        program = replace(program, path=_after_shim(tree, program, content))
        checks.append(f"shim starts {program.path}")
    for menu in _menus(program, content, trees):
        return Chain((*checks, f"{program.path} has its menu there"), menu.loader, menu)
    if _is_grub(content):
        raise LoaderError(
            f"{program.path} on {program.volume.name} is GRUB, and finds no grub.cfg of the copy."
            " It would stop at a bare prompt. Run grub-install at the source, then copy again."
        )
    return Chain(tuple(checks), "UEFI")


def _read(tree: Path, program: Program) -> bytes:
    place = efi_file(tree, program.path)
    content = b""
    if place:
        with opened_file(tree, str(place)) as file:
            content = file.read(_LARGEST) if file else b""
    if not content:
        raise LoaderError(
            f"{program.path} on the EFI partition, {program.volume.name}, is missing or empty, so"
            " the copy does not start by it. Run grub-install at the source, then copy again."
        )
    return content


# --- shim


def _is_shim(content: bytes) -> bool:
    return _FALLBACK.encode("utf-16-le") in content


def _after_shim(tree: Path, shim: Program, content: bytes) -> str:
    """What shim starts: beside a fallback program, that one, which takes what it starts from a list
    in each vendor's directory; else the second stage that it names."""
    fallback = efi_file(tree, f"{shim.directory}/{_FALLBACK}")
    if shim.directory.lower() == "efi/boot" and fallback is not None:
        for listing in efi_files(tree):
            if listing.suffix.lower() == ".csv" and listing.parent.name.lower() != "boot":
                for name, _ in read_listing(read_inside(tree, str(listing)) or b""):
                    return str(listing.parent / name)
        raise LoaderError(
            f"{shim.path} on {shim.volume.name} starts {_FALLBACK}, which finds no BOOTX64.CSV that"
            " names a boot loader. Run grub-install at the source, then copy again."
        )
    named = [name for name in _SECOND_STAGES if name.encode("utf-16-le") in content]
    return f"{shim.directory}/{(named or _SECOND_STAGES)[0]}"


def read_listing(content: bytes) -> Iterator[tuple[str, str]]:
    """(file, label) of each line of a BOOTX64.CSV: UTF-16, as "shimx64.efi,debian,,This is ..."."""
    for line in content.decode("utf-16", "replace").splitlines():
        words = line.strip("\ufeff\0 ").split(",")
        if len(words) > 1 and re.fullmatch(r"[\w.+-]+", words[0]):
            yield words[0], words[1]


# --- GRUB and systemd-boot


def _is_grub(content: bytes) -> bool:
    return any(True for _ in _module_areas(content))


def _module_areas(content: bytes) -> Iterator[bytes]:
    """Where the modules lie in an EFI program of GRUB's: behind a head with offset and size."""
    at = -1
    while (at := content.find(b"mimg", at + 1)) >= 0:
        for form, head in (("<4xQQ", 24), ("<II", 12)):
            if at + head > len(content):
                continue
            offset, size = struct.unpack_from(form, content, at + 4)
            if offset == head and head < size <= len(content) - at:
                yield content[at + offset : at + size]


def _menus(program: Program, content: bytes, trees: Trees) -> Iterator[Menu]:
    for area in islice(_module_areas(content), _AREAS):
        objects = read_objects(area)
        told = told_by(objects.get(PREFIX, ""), objects.get(CONFIG, ""))
        yield from _menus_of_grub(program, told, trees)
    if _SYSTEMD_BOOT.encode() in content:
        files = read_snippets(trees[program.volume], "/loader/entries")
        yield Menu("systemd-boot", program.volume, "/loader", tuple(parse_snippets(files, "", {})))


def _menus_of_grub(program: Program, told: BootCode, trees: Trees) -> Iterator[Menu]:
    """By what is inside, else by the first grub.cfg on the EFI partition."""
    if told.uuid or told.device or told.number is not None:
        yield from find_menus(told, program.volume.disk, trees)
        return
    tree = trees[program.volume]
    for directory in (told.directory, f"/{program.directory}"):
        place = efi_file(tree, f"{directory}/grub.cfg".lstrip("/"))
        path = f"/{place}" if place else f"{directory}/grub.cfg"
        for menu in read_menu(GRUB_2, program.volume, tree, path):
            if menu.entries:
                yield menu
            text = read_text(tree, path)
            first = told_by(menu.directory, text)
            if first.uuid or first.device or first.number is not None:
                yield from _menus_of_script(program, first, menu.directory, text, trees)


def _menus_of_script(
    program: Program, first: BootCode, directory: str, text: str, trees: Trees
) -> Iterator[Menu]:
    """A first grub.cfg leads to the real one, or is that itself with its entries elsewhere."""
    for volume, tree in trees.items():
        if is_meant(first, program.volume.disk, volume, trees):
            entries = read_listed(tree, text, {})
            if entries:
                yield Menu(GRUB_2, volume, directory, tuple(entries))
    yield from find_menus(first, program.volume.disk, trees)
