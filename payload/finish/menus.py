"""From a boot loader to its menu, and from the menu to kernel, initrd and root.

Walked as the loader walks, on the mounted file systems of the copy. Raises AdaptError where the
menu itself starts nothing, which no other loader mends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from payload.finish.boot_sector import EXTLINUX, GRUB_2, GRUB_LEGACY, LILO, BootCode
from payload.finish.grub_legacy import Stage, parse_stage
from payload.finish.volumes import Volume, device_number
from payload.model.boot_menu import (
    Entry,
    parse_lilo_conf,
    parse_syslinux_cfg,
)
from payload.model.errors import AdaptError
from payload.system.files import inside, read_inside
from payload.system.menu_files import (
    DIRECTORIES,
    SYSLINUX,
    read_grub_cfg,
    read_menu_lst,
    read_text,
)

Trees = Mapping[Volume, Path]

_LOCKED = frozenset({"crypto_LUKS", "zfs_member", "bcache"})
_LAYERS = frozenset({"LVM2_member", "linux_raid_member"})
MENUS = {GRUB_2: "grub.cfg", GRUB_LEGACY: "menu.lst or grub.conf"}  # what each calls them


@dataclass(frozen=True)
class Menu:
    """A boot menu in a directory on the file system `place`: what it starts, the default first.

    `stage2` is the file of GRUB legacy that opens it.
    """

    loader: str
    place: Volume
    directory: str
    entries: tuple[Entry, ...]
    stage2: str = ""


# --- from the loader to its menu


def find_menus(code: BootCode, disk: int, trees: Trees) -> Iterator[Menu]:
    """The menus the loader on that disk may mean: as it says, else wherever one may be."""
    if code.loader == GRUB_LEGACY:
        yield from _legacy_menus(code, disk, trees)
        return
    for volume, tree in trees.items():
        if not is_meant(code, disk, volume, trees):
            continue
        if code.loader == GRUB_2:
            for directory in (code.directory,) if code.directory else DIRECTORIES:
                for top in tops_of(volume, tree):
                    yield from read_menu(GRUB_2, volume, top, f"{directory}/grub.cfg")
        for path in {LILO: ("/etc/lilo.conf",), EXTLINUX: SYSLINUX}.get(code.loader, ()):
            yield from read_menu(code.loader, volume, tree, path)


def is_meant(code: BootCode, disk: int, volume: Volume, trees: Trees | None = None) -> bool:
    """Whether the loader on that disk may look for its menu on that file system. A name that means
    none of `trees` tells nothing."""
    if code.uuid:
        return volume.is_called(f"UUID={code.uuid}")
    if code.device:
        return volume in _called_by_grub(code.device, trees or {volume: Path()})
    if code.number is not None:
        return volume.is_partition(code.number, disk, elsewhere=code.elsewhere)
    return True


def _called_by_grub(device: str, trees: Trees) -> list[Volume]:
    """The volumes "lvm/vg-root" or "mduuid/0123.." may mean: all, where none is known by it."""
    called = [volume for volume in trees if volume.is_called_by_grub(device)]
    return called or list(trees)


def tops_of(volume: Volume, tree: Path) -> Iterator[Path]:
    """Where a loader's paths begin: at the top of the file system. SUSE's GRUB begins at the
    subvolume of a btrfs that is mounted by default, which may be a snapshot."""
    yield tree
    if volume.kind == "btrfs":
        yield from sorted(path for path in tree.glob("@*") if path.is_dir())
        snapshots = [path for path in tree.glob("@/.snapshots/*/snapshot") if path.is_dir()]
        yield from sorted(snapshots, key=lambda path: path.parent.name.zfill(9), reverse=True)


def read_menu(loader: str, volume: Volume, tree: Path, path: str) -> Iterator[Menu]:
    """The menu in the file `path` of a volume, if there is one."""
    text = read_text(tree, path)
    if not text:
        return
    directory = path.rpartition("/")[0]
    if loader == GRUB_2:
        entries = read_grub_cfg(tree, directory, text)
    elif loader == GRUB_LEGACY:
        entries = read_menu_lst(tree, directory, text)
    else:
        entries = (parse_lilo_conf if loader == LILO else parse_syslinux_cfg)(text)
    yield Menu(loader, volume, directory, tuple(entries))


def _legacy_menus(code: BootCode, disk: int, trees: Trees) -> Iterator[Menu]:
    """Where stage 2 says the menu is. Read by a list of blocks, it has to be what its file is, or
    the next writing to that file system may overwrite it."""
    for volume, tree in trees.items():
        if not is_meant(code, disk, volume):
            continue
        places = (code.stage2,) if code.stage2 else [f"{place}/stage2" for place in DIRECTORIES]
        for path in places:
            content = read_inside(tree, path) or b""
            stage = parse_stage(content, is_stage1_5=False)
            if stage is None or (code.image and not _holds(code.image, content)):
                continue
            for place in _menu_places(stage, volume, disk, trees):
                for menu in read_menu(GRUB_LEGACY, place, trees[place], stage.path):
                    yield replace(menu, stage2=path)


def _holds(image: bytes, content: bytes) -> bool:
    """The last sector of a list of blocks may be longer than its file."""
    return len(image) >= len(content) and image[: len(content)] == content


def _menu_places(stage: Stage, own: Volume, disk: int, trees: Trees) -> list[Volume]:
    if not stage.named:
        return [own]
    return [
        volume
        for volume in trees
        if volume.is_partition(stage.number, disk, elsewhere=stage.elsewhere)
    ]


# --- from the menu to kernel, initrd and root


@dataclass(frozen=True)
class MenuChecks:
    """What was found right, and what a person should know."""

    checks: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def check_menu(menu: Menu, disk: int, volumes: Sequence[Volume], trees: Trees) -> MenuChecks:
    """The entry that starts by itself has to work; a broken one beside it is broken at the source
    too. `disk` is the one the loader is on.

    Raises AdaptError with what is missing.
    """
    place = menu.place
    if not menu.entries:
        raise AdaptError(
            f"The boot menu on {place.name} starts no Linux kernel, so the copy would stop at its"
            " menu. Repair the boot menu of the source, then copy again."
        )
    first, *others = menu.entries
    way = _Way(menu, disk, volumes, trees)
    faults = tuple(way.faults(first))
    if faults:
        raise AdaptError(
            f"The boot menu entry {first.title!r} would not start:"
            f" {'; '.join(faults)}. Repair it at the source and copy again,"
            " or choose another entry at the screen."
        )
    checks = (f"the boot menu is on {place.name}", *way.checks(first))
    broken = [entry.title for entry in others if any(way.faults(entry))]
    return MenuChecks(checks, tuple(_about(broken)))


def _about(broken: Sequence[str]) -> Iterator[str]:
    if broken:
        names = ", ".join(repr(title) for title in broken[:3])
        yield (
            f"{len(broken)} further entries of the boot menu do not start, at the source neither:"
            f" {names}{' and others' if len(broken) > 3 else ''}."
        )


@dataclass(frozen=True)
class _Way:
    """Follows the paths of a menu's entries."""

    menu: Menu
    disk: int
    volumes: Sequence[Volume]
    trees: Trees

    def faults(self, entry: Entry) -> Iterator[str]:
        on = self._volumes_of(entry)
        if not on:
            yield f"no file system of the copy {_wanted(entry)}"
        for path in (entry.kernel, *entry.initrds) if self._are_seen(on) else ():
            if "$" not in path and not any(self._is_filled(volume, path) for volume in on):
                yield f"{path} is missing or empty"
        if entry.root and not _is_there(entry.root, self.volumes) and not _hides(self.volumes):
            yield f"no file system of the copy is called {entry.root}"

    def checks(self, entry: Entry) -> Iterator[str]:
        """What is right about an entry without faults."""
        on = self._volumes_of(entry)
        paths = ", ".join((entry.kernel, *entry.initrds))
        if self._are_seen(on):
            yield f"{paths} there and not empty"
        else:
            yield f"{paths} not looked for: {on[0].name} cannot be looked into"
        if entry.root and _is_there(entry.root, self.volumes):
            yield f"root={entry.root} is a file system of the copy"
        elif entry.root:
            yield f"root={entry.root} is in what cannot be looked into"

    def _are_seen(self, on: Sequence[Volume]) -> bool:
        return bool(on) and all(volume in self.trees for volume in on)

    def _volumes_of(self, entry: Entry) -> list[Volume]:
        if self.menu.loader == LILO:  # the paths of the running system
            return list(self.trees)
        for word, value in (("UUID", entry.uuid), ("LABEL", entry.label)):
            if value and "$" not in value:
                return [volume for volume in self.volumes if volume.is_called(f"{word}={value}")]
        if entry.device:
            return _called_by_grub(entry.device, self.trees)
        if entry.number is not None:
            return [volume for volume in self.volumes if self._is_number(volume, entry)]
        return [self.menu.place]

    def _is_number(self, volume: Volume, entry: Entry) -> bool:
        return volume.is_partition(entry.number, self.disk, elsewhere=entry.elsewhere)

    def _is_filled(self, volume: Volume, path: str) -> bool:
        if self.menu.loader == EXTLINUX and not path.startswith("/"):
            path = f"{self.menu.directory}/{path}"
        paths = [path]
        if self.menu.loader == LILO and path.startswith("/boot/"):
            paths.append(path.removeprefix("/boot"))
        tops = tops_of(volume, self.trees[volume])
        return any(_size(top, path) > 0 for top in tops for path in paths)


def _wanted(entry: Entry) -> str:
    if entry.uuid:
        return f"has the UUID {entry.uuid}"
    return f"has the label {entry.label}" if entry.label else f"is in partition {entry.number}"


def _size(tree: Path, path: str) -> int:
    try:
        return inside(tree, path).stat().st_size
    except OSError:
        return 0


def _hides(volumes: Sequence[Volume]) -> bool:
    """Whether a file system may be inside what nobody can look into here."""
    kinds = {volume.kind for volume in volumes}
    worked_out = any(volume.layered for volume in volumes)
    return bool(kinds & _LOCKED) or bool(kinds & _LAYERS and not worked_out)


def _is_there(root: str, volumes: Sequence[Volume]) -> bool:
    """A device name holds only for the copy's own kernel, which may count the disks otherwise:
    there it is enough that one disk has a partition of that number. LVM and the like: unknown."""
    if root.split("=", maxsplit=1)[0] in ("UUID", "LABEL", "PARTUUID"):
        return any(volume.is_called(root) for volume in volumes)
    number = device_number(root)
    return number is None or any(volume.number == number for volume in volumes)
