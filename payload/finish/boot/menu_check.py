"""From a boot menu to kernel, initrd and root, as the loader goes. Nothing is run.

Raises AdaptError where the menu starts nothing, which no other loader mends. What cannot be looked
into, as a root file system inside LUKS, is not called missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.finish.boot.menus import Menu, Trees, called_by_grub, tops_of
from payload.finish.volumes import Volume, device_number
from payload.formats.boot.boot_menu import Entry
from payload.formats.boot.boot_sector import EXTLINUX, LILO
from payload.model.errors import AdaptError
from payload.system.files import size_inside

_LOCKED = frozenset({"crypto_LUKS", "zfs_member", "bcache"})
_LAYERS = frozenset({"LVM2_member", "linux_raid_member"})


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
            return called_by_grub(entry.device, self.trees)
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
        return size_inside(tree, path)
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
