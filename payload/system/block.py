"""The disks of this machine: found, told apart, made writable and read-only.

blkinfo lists them; udev's properties and sysfs complete the list, since blkinfo leaves out the
members of arrays and tells neither WWN nor path. A disk is known again by those, never by its
kernel name.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import blkinfo
import pyudev
from blkinfo.errors import NoLsblkFound

from payload.model.disk import Hardware
from payload.model.errors import TargetDiskError, ToolError
from payload.model.volume import Extent
from payload.system import device, mapper
from payload.system.command import Run, run
from payload.system.eligibility import Circumstances, is_bystander, reason_against

HARDWARE_RO = "UGS_FAILOVER_HARDWARE_RO"  # udev property set by our write blocker's rule
LIVE_MOUNTS = ("/run/live/", "/usr/lib/live/mount/", "/lib/live/mount/")
_PROPERTIES = (
    "ID_SCSI_SERIAL",
    "ID_SERIAL_SHORT",
    "ID_WWN_WITH_EXTENSION",
    "ID_WWN",
    "ID_PATH",
    "ID_BUS",
    "ID_MODEL",
    "DEVLINKS",
    HARDWARE_RO,
)

_DRIVEN = ("pci:", "virtio:", "vmbus:", "xen:")
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

Listing = Callable[[], list[dict[str, str]]]
Properties = Callable[[str], Mapping[str, str]]


def list_disks() -> list[dict[str, str]]:
    """blkinfo's list. Raises ToolError, also when it is empty: that is how blkinfo fails."""
    try:
        disks: list[dict[str, str]] = blkinfo.BlkDiskInfo().get_disks()
    except (OSError, LookupError, ValueError, subprocess.SubprocessError, NoLsblkFound) as error:
        raise ToolError(f"The disks could not be listed by lsblk: {error}.") from error
    if not disks:
        raise ToolError(
            "The disks could not be listed: lsblk told of none. See `lsblk --all`; if there is"
            " a disk in this machine, its controller may need a driver this medium lacks."
        )
    return disks


def udev_properties(name: str) -> Mapping[str, str]:
    """What udev's database says of a disk, by kernel name. Empty when it knows nothing."""
    try:
        found = pyudev.Devices.from_name(pyudev.Context(), "block", name)
    except pyudev.DeviceNotFoundError:
        return {}
    # One by one: a single property that is not UTF-8 makes pyudev raise for all of them.
    return {key: value for key in _PROPERTIES if (value := _property(found, key))}


def _property(found: pyudev.Device, key: str) -> str:
    try:
        return str(found.properties.get(key, "")).strip()
    except UnicodeDecodeError:
        return ""


@dataclass(frozen=True)
class LinuxBlocks:
    """`Blocks` on the running kernel. Tests pass another root for /sys and /proc, and answers."""

    run: Run = run
    root: Path = Path("/")
    listing: Listing = list_disks
    properties: Properties = udev_properties

    def find(self) -> tuple[Hardware, ...]:
        """Every disk, in the order of kernel names. Raises ToolError."""
        self.run(["udevadm", "settle", "--timeout=30"], ok=(0, 1))  # still busy: go on with these
        listed = {_kernel_name(disk["kname"]): disk for disk in self.listing()}
        names = sorted({*listed, *self._kernel_disks()}, key=lambda name: (len(name), name))
        uses = self._uses()
        found = (self._look_at(name, listed.get(name, {}), uses) for name in names)
        return tuple(disk for disk in found if disk.size or not _is_slot(disk.name))

    def _kernel_disks(self) -> Iterator[str]:
        """Also what blkinfo leaves out. Hidden devices are the single paths of an NVMe disk."""
        for entry in (self.root / "sys/block").iterdir():
            if _read(entry / "hidden") != "1":
                yield entry.name

    def _look_at(
        self, name: str, listed: Mapping[str, str], uses: Mapping[str, list[str]]
    ) -> Hardware:
        entry = self.root / "sys/block" / name
        known = self.properties(name)
        disk = Hardware(
            name=name,
            node=f"/dev/{name.replace('!', '/')}",
            size=int(_read(entry / "size") or 0) * 512,
            sector_size=int(_read(entry / "queue/logical_block_size") or 512),
            model=_model(listed, known, entry),
            serial=_serial(listed, known, entry),
            wwn=(known.get("ID_WWN_WITH_EXTENSION") or known.get("ID_WWN", "")).lower(),
            path=known.get("ID_PATH", ""),
            transport=listed.get("tran", "") or known.get("ID_BUS", ""),
            rotational=_read(entry / "queue/rotational") == "1",
            removable=_read(entry / "removable") == "1",
            write_protected=known.get(HARDWARE_RO, _read(entry / "ro")) == "1",
            aliases=_aliases(known),
            controllers=tuple(_controllers(entry)),
            sequence=int(_read(entry / "diskseq") or 0),
        )
        facts = self._circumstances(entry, uses.get(name, []))
        reason = reason_against(disk, facts)
        return replace(
            disk, ineligible=reason, bystander=bool(reason) and is_bystander(disk, facts)
        )

    def _circumstances(self, entry: Path, uses: list[str]) -> Circumstances:
        parents = entry.resolve().parents
        controllers = [*entry.glob("device/transport"), *entry.glob("device/nvme*/transport")]
        return Circumstances(
            sys_path=f"{entry.resolve()}/",
            host_classes=tuple(_host_classes(parents)),
            nvme_transports=tuple(_read(file) for file in controllers),
            live_medium=any(use.startswith(LIVE_MOUNTS) for use in uses),
            memory_card=_read(entry / "device/type") == "SD",
            detachable=any(_read(parent / "removable") == "removable" for parent in parents),
            uses=tuple(f"mounted on {use}" if use.startswith("/") else use for use in uses),
        )

    def _uses(self) -> dict[str, list[str]]:
        """Who uses which disk: mount points, else half sentences."""
        uses: dict[str, list[str]] = {}
        for disk, use in (*self._mounted(), *self._swapped(), *self._held(), *self._joined()):
            if use not in uses.setdefault(disk, []):
                uses[disk].append(use)
        return uses

    def _mounted(self) -> Iterator[tuple[str, str]]:
        for number, point, source in self._mount_lines():
            for disk in self._disks_below(number, source):
                yield disk, point

    def _mount_lines(self) -> Iterator[tuple[str, str, str]]:
        """Device number, mount point and source of everything mounted."""
        for line in (self.root / "proc/self/mountinfo").read_text(errors="replace").splitlines():
            left, _, right = line.partition(" - ")
            fields = left.split(" ")
            yield fields[2], _unescape(fields[4]), _unescape(right.split(" ")[1])

    def _swapped(self) -> Iterator[tuple[str, str]]:
        for line in _read(self.root / "proc/swaps").splitlines()[1:]:
            for disk in self._disks_below("", _unescape(line.split()[0])):
                yield disk, "swap"

    def _held(self) -> Iterator[tuple[str, str]]:
        for entry in (self.root / "sys/block").iterdir():
            for holder in (*entry.glob("holders/*"), *entry.glob("*/holders/*")):
                yield entry.name, f"part of {holder.name}"

    def _joined(self) -> Iterator[tuple[str, str]]:
        """Members of a mounted btrfs: the table of mounts names one of them only."""
        for member in (self.root / "sys/fs/btrfs").glob("*/devices/*"):
            for disk in self._disks_below("", f"/dev/{member.name}"):
                yield disk, "part of a mounted btrfs"

    def _disks_below(self, number: str, source: str, depth: int = 8) -> Iterator[str]:
        """The disks that a device rests on: through partitions, loop devices and mappings."""
        entry = self._entry(number, source)
        if entry is None or depth == 0:
            return
        disk = entry.parent if (entry / "partition").exists() else entry
        yield disk.name
        for below in (entry / "slaves").glob("*"):
            yield from self._disks_below("", f"/dev/{below.name}", depth - 1)
        if backing := _read(entry / "loop/backing_file"):
            is_writable = _read(entry / "ro") != "1"
            yield from self._disks_of_file(backing, depth - 1, is_writable=is_writable)

    def _disks_of_file(self, path: str, depth: int, *, is_writable: bool) -> Iterator[str]:
        """The disks below the file system that a loop device's file lies on, or that it is."""
        if path.startswith("/dev/"):
            if is_writable:  # else it is a view of ours, or somebody looking: no use in itself
                yield from self._disks_below("", path, depth)
            return
        at = [line for line in self._mount_lines() if Path(path).is_relative_to(line[1])]
        if at:
            number, _, source = max(at, key=lambda line: len(line[1]))
            yield from self._disks_below(number, source, depth)

    def _entry(self, number: str, source: str) -> Path | None:
        """A block device's place in sysfs. btrfs mounts have a number of their own: by name."""
        block = self.root / "sys/dev/block" / number
        if number and block.exists():
            return block.resolve()
        if not source.startswith("/dev/"):
            return None
        name = _kernel_name(os.path.realpath(source).removeprefix("/dev/"))
        by_name = self.root / "sys/class/block" / name
        return by_name.resolve() if by_name.exists() else None

    def recheck(self, hardware: Hardware) -> None:
        """Raise TargetDiskError unless `hardware.node` is still that very device, and idle."""
        now = {disk.node: disk for disk in self.find()}.get(hardware.node)
        difference = _difference(hardware, now)
        if difference:
            raise TargetDiskError(
                f"{hardware.label} is no longer the disk that was looked at: {difference}."
                " Check the disks."
            )
        assert now is not None
        if now.ineligible:
            raise TargetDiskError(
                f"{hardware.label} may not be written to: {now.ineligible}. Put that right."
            )

    def set_writable(self, node: str) -> None:
        """Lift the write block. Raises TargetDiskError for a disk that is not eligible."""
        disk = {disk.node: disk for disk in self.find()}.get(node)
        if disk is None or disk.ineligible:
            why = disk.ineligible if disk else "there is no such disk"
            raise TargetDiskError(f"{node} may not be written to: {why}.")
        device.set_read_only(node, False)

    def set_read_only(self, node: str) -> None:
        """Put the write block back. Raises TargetDiskError."""
        device.set_read_only(node, True)

    def open_to_read(self, node: str) -> int:
        """See `system.device`. Raises OSError."""
        return device.open_to_read(node)

    def open_to_write(self, node: str) -> int:
        """See `system.device`. Raises TargetDiskError."""
        return device.open_to_write(node)

    def drop_cache(self, node: str) -> None:
        """See `system.device`. Raises TargetDiskError."""
        device.drop_cache(node)

    def discard_step(self, node: str) -> int:
        """Bytes of the least that this disk can be told to forget, 0 when it cannot."""
        queue = self.root / "sys/block" / _kernel_name(node.removeprefix("/dev/")) / "queue"
        if not int(_read(queue / "discard_max_bytes") or 0):
            return 0
        return int(_read(queue / "discard_granularity") or 0)

    def discard(self, descriptor: int, start: int, size: int) -> None:
        """See `system.device`. Raises OSError."""
        device.discard(descriptor, start, size)

    def zero(self, descriptor: int, start: int, size: int) -> None:
        """See `system.device`. Raises OSError."""
        device.zero(descriptor, start, size)

    def view(
        self, node: str, start: int, size: int, *, writable: bool = False
    ) -> AbstractContextManager[str]:
        """See `system.device`. Raises ToolError."""
        return device.view(self.run, node, start, size, writable=writable)

    def assemble(
        self, legs: Sequence[Sequence[Extent]], *, writable: bool = False
    ) -> AbstractContextManager[str]:
        """See `system.mapper`. Raises ToolError."""
        return mapper.assemble(self.run, legs, writable=writable)


def _difference(then: Hardware, now: Hardware | None) -> str:
    """What is no longer as it was. A serial or sequence that was unknown then tells nothing."""
    if now is None:
        return f"{then.node} is gone"
    if then.sequence and then.sequence != now.sequence:
        return f"{then.node} was taken away and another device came in its place"
    for word in ("size", "sector_size", "wwn", "path", "serial"):
        before, after = getattr(then, word), getattr(now, word)
        if before != after and not (word == "serial" and not before):
            return f"its {word.replace('_', ' ')} was {before or 'empty'} and is {after or 'empty'}"
    return ""


def _kernel_name(name: str) -> str:
    """sysfs spells the slash of /dev/cciss/c0d0 as an exclamation mark."""
    return name.replace("/", "!")


def _is_slot(name: str) -> bool:
    """Loop, RAM and NBD devices that nobody set up: there are dozens, and they say nothing."""
    return re.fullmatch(r"(loop|ram|zram|nbd)\d+", name) is not None


def _model(listed: Mapping[str, str], known: Mapping[str, str], entry: Path) -> str:
    """blkinfo puts the vendor in front, which for ATA and PCI disks is a bus or a number."""
    told = listed.get("model", "") or _read(entry / "device/model")
    words = [word for word in told.split() if not re.fullmatch(r"0x[0-9a-f]{4}", word)]
    if words[:1] == ["ATA"]:
        words = words[1:]
    return " ".join(words) or known.get("ID_MODEL", "").replace("_", " ")


def _serial(listed: Mapping[str, str], known: Mapping[str, str], entry: Path) -> str:
    """What is printed on the disk: for SCSI disks ID_SERIAL_SHORT is the WWN in disguise."""
    told = known.get("ID_SCSI_SERIAL") or known.get("ID_SERIAL_SHORT") or listed.get("serial", "")
    return told.strip() or _read(entry / "serial")


def _aliases(known: Mapping[str, str]) -> tuple[str, ...]:
    prefix = "/dev/disk/by-id/"
    links = known.get("DEVLINKS", "").split()
    return tuple(sorted(link.removeprefix(prefix) for link in links if link.startswith(prefix)))


def _controllers(entry: Path) -> Iterator[str]:
    """What needs a driver before the disk is there. That disks as such are known (`scsi:`) goes
    without saying; what is beyond the PCI device are bridges."""
    for place in entry.resolve().parents:
        modalias = _read(place / "modalias")
        if modalias.startswith(_DRIVEN):
            yield modalias
        if _PCI_ADDRESS.fullmatch(place.name):
            return


def _host_classes(parents: Sequence[Path]) -> Iterator[str]:
    """The classes of the SCSI host: a directory `srp_host` in that of `host8`."""
    for parent in parents:
        if re.fullmatch(r"host\d+", parent.name):
            yield from sorted(path.name for path in parent.glob("*_host"))


def _unescape(text: str) -> str:
    """The tables of /proc write blanks and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _read(path: Path) -> str:
    """One attribute of sysfs, "" when this device has none of that name."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
