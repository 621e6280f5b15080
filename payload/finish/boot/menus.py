"""From a boot loader to its menu, as the loader goes, on the mounted file systems of the copy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from payload.finish.volumes import Volume
from payload.formats.boot.boot_menu import (
    Entry,
    parse_lilo_conf,
    parse_syslinux_cfg,
)
from payload.formats.boot.boot_sector import EXTLINUX, GRUB_2, GRUB_LEGACY, LILO, BootCode
from payload.formats.boot.grub_legacy import Stage, parse_stage
from payload.formats.boot.menu_files import (
    DIRECTORIES,
    LILO_CONF,
    SYSLINUX,
    read_grub_cfg,
    read_menu_lst,
    read_text,
)
from payload.system.files import is_roots_own, names_inside, read_inside, subtree

_SNAPSHOTS = "/@/.snapshots"  # of snapper, below which each has its number

Trees = Mapping[Volume, Path]

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
        for path in {LILO: (LILO_CONF,), EXTLINUX: SYSLINUX}.get(code.loader, ()):
            yield from read_menu(code.loader, volume, tree, path)


def is_meant(code: BootCode, disk: int, volume: Volume, trees: Trees | None = None) -> bool:
    """Whether the loader on that disk may look for its menu on that file system. A name that means
    none of `trees` tells nothing."""
    if code.uuid:
        return volume.is_called(f"UUID={code.uuid}")
    if code.device:
        return volume in called_by_grub(code.device, trees or {volume: Path()})
    if code.number is not None:
        return volume.is_partition(code.number, disk, elsewhere=code.elsewhere)
    return True


def called_by_grub(device: str, trees: Trees) -> list[Volume]:
    """The volumes "lvm/vg-root" or "mduuid/0123.." may mean: all, where none is known by it."""
    called = [volume for volume in trees if volume.is_called_by_grub(device)]
    return called or list(trees)


def tops_of(volume: Volume, tree: Path) -> Iterator[Path]:
    """Where a loader's paths begin: at the top of the file system. SUSE's GRUB begins at the
    subvolume of a btrfs that is mounted by default, which may be a snapshot."""
    yield tree
    if volume.kind == "btrfs":
        names = [name for name in names_inside(tree, "/") if name.startswith("@")]
        numbers = sorted(names_inside(tree, _SNAPSHOTS), key=lambda name: name.zfill(9))
        snapshots = [f"{_SNAPSHOTS}/{number}/snapshot" for number in reversed(numbers)]
        tops = (subtree(tree, path) for path in (*names, *snapshots))
        yield from (top for top in tops if top is not None)


def read_menu(loader: str, volume: Volume, tree: Path, path: str) -> Iterator[Menu]:
    """The menu in the file `path` of a volume, if there is one that only root can have written."""
    text = read_text(tree, path)
    if not text or not is_roots_own(tree, path):
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
