"""The systems installed here: found by looking into all file systems, changing nothing.

Whatever could not be looked into is told as such. A file system is looked at through a read-only
view of its partition or volume and mounted without replaying its journal, and links in it are
followed as the system itself would follow them, never into the live system.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from payload.formats.disk.superblocks import read_needs_recovery, read_usage
from payload.identify.content import CONTAINERS
from payload.model.codec import DocumentError
from payload.model.disk import Disk, FileSystem
from payload.model.errors import ToolError
from payload.model.inventory import InstalledSystem
from payload.model.marker import (
    BOOT_MARKER_PATH,
    MARKER_PATH,
    USED_PATH,
    CopyMarker,
    Usage,
    decode_marker,
)
from payload.model.volume import Extent, Volume
from payload.system.files import (
    is_file_inside,
    is_roots_own,
    link_inside,
    names_inside,
    read_inside,
    status_inside,
    subtree,
)
from payload.system.host import Host

ROOT_KINDS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs"})
# These hold no root file system of a Linux server; what is neither here nor there is hidden.
_OTHER_KINDS = frozenset({"swap", "swsuspend", "vfat", "exfat", "iso9660", "udf", "squashfs"})
_LOADERS = frozenset({"grub", "grub2", "extlinux", "syslinux", "loader"})
_SUBVOLUMES = ("@", "@rootfs", "root")  # where btrfs installations keep their root
_FSTAB = "etc/fstab"
_RELEASES = ("etc/os-release", "usr/lib/os-release", "etc/debian_version", "etc/redhat-release")
_INITS = ("sbin/init", "lib/systemd/systemd", "usr/lib/systemd/systemd")
_LONGEST = 100  # characters of a name


@dataclass(frozen=True)
class Location:
    """Where a file system is: a partition, a whole disk (number 0), or a volume of LVM or MD."""

    disk: str  # stable id; of a volume the first of its disks
    number: int
    file_system: FileSystem
    legs: tuple[tuple[Extent, ...], ...]
    label: str  # of the disk, for people
    volume: Volume | None = None
    subvolume: str = ""  # of a btrfs, to be mounted in place of the default one

    @property
    def options(self) -> tuple[str, ...]:
        """To mount it with."""
        return (f"subvol={self.subvolume}",) if self.subvolume else ()

    @property
    def name(self) -> str:
        if self.volume:
            return self.volume.name
        return f"partition {self.number}" if self.number else "the whole disk"

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.legs[0])


@dataclass
class Findings:
    """What was found; `unseen` are volumes that may hold a system and were not looked into."""

    systems: list[InstalledSystem] = field(default_factory=list)
    doubtful: list[InstalledSystem] = field(default_factory=list)  # anybody may have made its signs
    boots: list[InstalledSystem] = field(default_factory=list)  # file systems that are a /boot
    hidden: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)


def find_systems(host: Host, locations: Iterable[Location]) -> Findings:
    """Look into every file system that may hold a root."""
    findings = Findings()
    for location in locations:
        kind = location.file_system.kind
        if kind in ROOT_KINDS:
            _look_into(host, location, findings)
        elif kind not in _OTHER_KINDS:
            _hide(location, findings)
    return findings


def _hide(location: Location, findings: Findings) -> None:
    if location.volume:
        findings.unseen.add(location.volume.name)
    elif location.file_system.kind not in CONTAINERS:  # those are hidden already
        findings.hidden.append(f"{location.file_system.kind} on {location.name}")


def locations_of(disk: Disk) -> Iterator[Location]:
    """The file systems of a disk, by place."""
    content, hardware = disk.content, disk.hardware

    def location(number: int, start: int, size: int, found: FileSystem) -> Location:
        legs = (((hardware.node, start, size),),)
        return Location(disk.id, number, found, legs, hardware.label)

    if content and content.file_system:
        yield location(0, 0, hardware.size, content.file_system)
    for part in content.table.partitions if content and content.table else ():
        if part.file_system:
            yield location(part.number, part.start, part.size, part.file_system)


def volume_locations(disks: Iterable[Disk], volumes: Iterable[Volume]) -> Iterator[Location]:
    """The file systems of volumes that are resolved."""
    hardware = {disk.id: disk.hardware for disk in disks}
    for volume in volumes:
        found = volume.file_system
        if volume.legs and found:
            legs = volume.extents(lambda disk: hardware[disk].node)
            first = volume.disks[0]
            yield Location(first, 0, found, legs, hardware[first].label, volume)


def _look_into(host: Host, location: Location, findings: Findings) -> None:
    kind = location.file_system.kind
    where = f"{kind} on {location.name}"
    try:
        with host.blocks.assemble(location.legs) as node:
            if read_needs_recovery(node, kind):
                findings.warnings.append(
                    f"The {where} of {location.label} was not unmounted cleanly. It is looked at"
                    " as it is, and copied as it is."
                )
            _look_for_root(host, node, location, findings)
    except (ToolError, OSError, DocumentError) as error:
        _hide(location, findings)
        findings.warnings.append(
            f"The {where} of {location.label} could not be looked into: {error}"
        )


def _look_for_root(host: Host, node: str, location: Location, findings: Findings) -> None:
    kind = location.file_system.kind
    for options, places in _candidates(kind):
        with host.mounts.mount(node, kind, options=options) as mounted:
            for place in places:
                root = subtree(mounted, place)
                if root is not None and is_root(root):
                    system = describe_root(root, location)
                    marker, usage = read_marker(root), read_usage(node, kind)
                    started = read_first_start(root)
                    facts = replace(system, marker=marker, usage=usage, started_at=started)
                    sure = is_surely_root(root)
                    systems = findings.systems if sure else findings.doubtful
                    systems.append(replace(facts, subvolume=place))
                    return
            if not options:
                _look_for_boot(mounted, location, findings)


def _look_for_boot(root: Path, location: Location, findings: Findings) -> None:
    """A system that is encrypted shows its /boot alone. Nothing there tells whether it was used."""
    if is_boot(root):
        kind = location.file_system.kind
        system = replace(describe_root(root, location), os_name="Linux, encrypted", encrypted=True)
        marker = read_marker(root, BOOT_MARKER_PATH)
        findings.boots.append(replace(system, marker=marker, usage=Usage(kind)))


def is_boot(root: Path) -> bool:
    """A /boot of its own holds kernels beside the files of a boot loader, put there by root."""
    names = {name for name in names_inside(root, "/") if is_roots_own(root, name)}
    return bool(names & _LOADERS) and any(name.startswith("vmlinuz") for name in names)


def _candidates(kind: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Mount options, and the directories below which to look for a root."""
    yield (), ("",)
    if kind == "btrfs":
        yield ("subvolid=5",), _SUBVOLUMES


def is_root(root: Path) -> bool:
    """A root file system has a table of its mounts and says what it is an installation of."""
    return _is_file(root, _FSTAB) and any(_is_file(root, sign) for sign in _RELEASES)


def is_surely_root(root: Path) -> bool:
    """The same, and nobody but root can have made these signs: where /tmp is a file system of its
    own, any user can put a fstab into it. Raises OSError."""
    releases = (is_roots_own(root, sign) for sign in _RELEASES if _is_file(root, sign))
    return is_roots_own(root, _FSTAB) and any(releases) and _has_init(root)


def _has_init(root: Path) -> bool:
    """With a /usr of its own, which is not mounted here, only links tell of it."""
    if any(status_inside(root, path, follow=False) is not None for path in _INITS):
        return True
    return link_inside(root, "sbin") is not None and not names_inside(root, "usr")


def describe_root(root: Path, location: Location) -> InstalledSystem:
    """What the system says of itself. Raises OSError."""
    ucr = _assignments(_text(root, "etc/univention/base.conf"), ":")
    release = _assignments(_text(root, "etc/os-release") or _text(root, "usr/lib/os-release"), "=")
    debian = _first_line(_text(root, "etc/debian_version"))
    name = release.get("PRETTY_NAME") or release.get("NAME", "")
    volume = location.volume
    return InstalledSystem(
        disk=location.disk,
        partition=location.number,
        file_system=location.file_system.kind,
        os_name=_name(name or (f"Debian {debian}" if debian else "")),
        host_name=_name(_first_line(_text(root, "etc/hostname")) or ucr.get("hostname", "")),
        ucs_version=_name(_ucs_version(ucr)),
        volume=volume.name if volume else "",
        more_disks=volume.disks[1:] if volume else (),
    )


def read_marker(root: Path, path: str = MARKER_PATH) -> CopyMarker | None:
    """The marker of a copy, None without one. Raises DocumentError when it cannot be understood: a
    copy must never pass for an original."""
    document = read_inside(root, path)
    return None if document is None else decode_marker(document)


def read_first_start(root: Path) -> int:
    """When a copy noted its first start, in seconds since the epoch; 0 when it did not. Raises
    OSError."""
    status = status_inside(root, USED_PATH, follow=False)
    return 0 if status is None else max(1, int(status.st_mtime))


def _ucs_version(ucr: dict[str, str]) -> str:
    version, patch = ucr.get("version/version", ""), ucr.get("version/patchlevel", "")
    return f"{version}-{patch}" if version and patch else version


def _assignments(text: str, sign: str) -> dict[str, str]:
    """`key=value` or `key: value` lines, quotes taken off."""
    pairs = (line.split(sign, 1) for line in text.splitlines() if sign in line)
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs if key[:1] != "#"}


def _is_file(root: Path, path: str) -> bool:
    try:
        return is_file_inside(root, path)
    except OSError:
        return False


def _text(root: Path, path: str) -> str:
    return (read_inside(root, path) or b"").decode("utf-8", "replace")


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def _name(text: str) -> str:
    """Fit for a screen: a file of the copied system must not control the console."""
    printable = (letter for letter in re.sub(r"\s+", " ", text) if letter.isprintable())
    return "".join(printable)[:_LONGEST].strip()
