"""The files of boot menus, read in a tree; and what the menu starts when nobody chooses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from payload.formats.boot.boot_menu import (
    Entry,
    parse_environment,
    parse_grub_cfg,
    parse_lilo_conf,
    parse_menu_lst,
    parse_snippets,
    parse_syslinux_cfg,
)
from payload.system.files import Place, names_inside, read_inside, real_path, size_inside

DIRECTORIES = ("/boot/grub", "/grub", "/boot/grub2", "/grub2", "/boot/boot/grub")
SYSLINUX = tuple(
    f"{directory}{name}/{name}{ending}"
    for directory in ("/boot/", "/")
    for name in ("extlinux", "syslinux")
    for ending in (".conf", ".cfg")
)
SNIPPETS = ("/loader/entries", "/boot/loader/entries")
LILO_CONF = "/etc/lilo.conf"
# Of disks: LILO keeps what it knows by a name, LABEL= or UUID=, as words for the initramfs.
_BY_NUMBER = re.compile(r"/dev/(?:[hsv]d|xvd)[a-z]|/dev/(?:cciss|ida|nvme|mmcblk)")
_IMAGES = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initrd-{}.img")


@dataclass(frozen=True)
class Start:
    """The kernel that starts by itself. `image` is its initramfs, where `path` leads from the
    system's root; both are empty for a kernel that has none."""

    version: str
    image: Place | None = None
    path: str = ""
    fixed_root: str = ""  # the disk or partition that LILO's map names as root, by number


def read_grub_cfg(tree: Path, directory: str, text: str) -> list[Entry]:
    """The entries of a grub.cfg in `directory`, those in files of their own too."""
    environment = parse_environment(read_text(tree, f"{directory}/grubenv"))
    entries = [*read_listed(tree, text, environment), *parse_grub_cfg(text, environment)]
    for path in _further(directory, text):
        entries += parse_grub_cfg(read_text(tree, path), environment)
    return entries


def _further(directory: str, text: str) -> Iterator[str]:
    """The menus a menu goes on in, as far as they are named without asking anything."""
    for word in re.findall(r"^[ \t]*(?:configfile|source)[ \t]+(\S+)", text, re.MULTILINE):
        path = re.sub(r"\$\{?(prefix|config_directory)\}?", directory, word.strip("\"'"))
        path = path.removeprefix("($root)")
        if path.startswith("/") and "$" not in path:
            yield path


def read_listed(tree: Path, text: str, environment: Mapping[str, str]) -> list[Entry]:
    """What a grub.cfg (`text`) leaves to files of their own; none if it does not, or not here."""
    for place in SNIPPETS if "blscfg" in text else ():
        files = read_snippets(tree, place)
        if files:
            return parse_snippets(files, text, environment)
    return []


def read_menu_lst(tree: Path, directory: str, text: str) -> list[Entry]:
    """The entries of GRUB legacy's menu in `directory`."""
    return parse_menu_lst(text, (read_text(tree, f"{directory}/default").split() or ["0"])[0])


def read_snippets(tree: Path, place: str) -> dict[str, str]:
    """The files in a directory of boot entries, by name; empty when there is none."""
    names = [name for name in names_inside(tree, place) if name.endswith(".conf")]
    return {name: read_text(tree, f"{place}/{name}") for name in names}


def read_text(tree: Path, path: str) -> str:
    return (read_inside(tree, path) or b"").decode("utf-8", "replace")


def find_start(trees: Sequence[Path], versions: Sequence[str]) -> Start | None:
    """What the menu starts by itself, of the kernels with these versions; without a menu that
    tells, the newest that has an initramfs. `trees` are the system's root and its /boot, where
    that is a file system of its own. None: nothing to be found. Raises OSError."""
    for path, entries in _menus(trees):
        for entry in entries[:1]:
            found = _start_of(entry, trees, versions)
            if found is not None:
                fixed = path == LILO_CONF and _BY_NUMBER.match(entry.root)
                return replace(found, fixed_root=entry.root) if fixed else found
            if find_file(trees, entry.kernel) is not None:
                return None  # one that has no modules, or goes on in what cannot be followed
    for version in sorted(versions, key=_by_number, reverse=True):
        for pattern in _IMAGES:
            path = f"/boot/{pattern.format(version)}"
            image = find_file(trees, path)
            if image is not None:
                return Start(version, image, path)
    return None


def _menus(trees: Sequence[Path]) -> Iterator[tuple[str, list[Entry]]]:
    """Each with the file it is from."""
    for name, read in (
        ("grub.cfg", read_grub_cfg),
        ("menu.lst", read_menu_lst),
        ("grub.conf", read_menu_lst),
    ):
        for tree in trees:
            for directory in DIRECTORIES:
                text = read_text(tree, f"{directory}/{name}")
                yield name, read(tree, directory, text) if text else []
    for tree in trees:
        for path in SYSLINUX:
            yield path, parse_syslinux_cfg(read_text(tree, path))
    for tree in trees:
        yield LILO_CONF, parse_lilo_conf(read_text(tree, LILO_CONF))


def _start_of(entry: Entry, trees: Sequence[Path], versions: Sequence[str]) -> Start | None:
    """Kernels and images are often called by links: /vmlinuz, /initrd.img."""
    images = [(find_file(trees, path), path) for path in entry.initrds]
    there = [(image, path) for image, path in images if image is not None]
    places = (find_file(trees, entry.kernel), *(image for image, _ in there))
    names = [place.name for place in places if place]
    version = next((one for name in names for one in _versions_in(name, versions)), "")
    if not version:
        return None
    if not entry.initrds:
        return Start(version)
    if not there:
        return None
    image, path = there[-1]  # those before it hold microcode
    return Start(version, image, path)


def _versions_in(name: str, versions: Sequence[str]) -> Iterator[str]:
    """Version 6.1.0-18-amd64 of "vmlinuz-6.1.0-18-amd64", and not 6.1.0-1."""
    yield from sorted((one for one in versions if one in name), key=len, reverse=True)


def find_file(trees: Sequence[Path], path: str) -> Place | None:
    """Where a file called by a menu lies: its path may begin at the root or at /boot. A link into
    a /boot of its own leads to where nothing is mounted; then it is looked for there by name."""
    for tree in trees:
        for start in ("", "/boot"):
            place = Place(tree, real_path(tree, start + path))
            if _is_filled(place):
                return place
            beyond = Place(trees[-1], f"/{place.name}")
            if PurePosixPath(place.path).parent.name == "boot" and _is_filled(beyond):
                return beyond
    return None


def _is_filled(place: Place) -> bool:
    try:
        return size_inside(place.root, place.path) > 0
    except OSError:
        return False


def _by_number(version: str) -> list[tuple[int, str]]:
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d+)|([^\d]+)", version)]
