"""What a kernel of the copied system calls the disks of a machine.

The names belong to the kernel, not to the disk: an IDE disk is hda for one kernel and sda for the
next. They follow from the driver by which it reaches each disk, and from the order of the disks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from payload.formats.kernel.kernel_modules import Kernel

# Where the file of a driver lies tells what its disks are called.
_FAMILIES = (
    (r"drivers/ide/", "hd"),
    (r"drivers/(ata|scsi|message|usb|firewire|ieee1394|target)/", "sd"),
    (r"drivers/nvme/|drivers/block/nvme\.", "nvme"),
    (r"drivers/block/virtio_blk\.", "vd"),
    (r"drivers/block/xen-blkfront\.", "xvd"),
    (r"drivers/block/cciss\.", "cciss"),
    (r"drivers/block/cpqarray\.", "ida"),
    (r"drivers/mmc/", "mmcblk"),
)
# The driver for disks as such, which a family needs beside that of the controller.
_CLASSES = {"sd": ("sd_mod",), "hd": ("ide_disk", "ide_gd_mod"), "mmcblk": ("mmc_block",)}
# These claim whole classes of devices and drive few of them.
_GENERIC = frozenset({"ata_generic", "pata_acpi", "ide_pci_generic", "generic"})
# Since when the kernel finds several disks of a family in any order, another one at each boot: sd
# probes them beside each other (Linux commit f049cf1a7b67), nvme counts subsystems as they come.
_ANY_ORDER = {"sd": (5, 3), "nvme": (4, 15)}
_SYSTEMS_OF_IDE = (2, 6, 31)  # the last in which distributions preferred drivers/ide to libata
_FAMILY = re.compile(r"[hsv]d(?=[a-z])|xvd|[a-z]+")
_PORT = re.compile(r"-ata-(\d+)(?:\.(\d+))?$")


def family_of(kernel: Kernel, module: str) -> str:
    """What the names of that driver's disks begin with: "sd", "hd", "vd".. ; "" for a driver that
    has none of its own, as that of a bus."""
    place = kernel.places.get(module, "")
    return next((name for pattern, name in _FAMILIES if re.search(pattern, place)), "")


def driver_of(kernel: Kernel, controllers: Sequence[str]) -> tuple[str, str]:
    """(family, module) by which a kernel drives a disk behind these devices (modaliases), the
    nearest first; ("", "") when it has none. Of IDE and libata, the one its age preferred."""
    for modalias in controllers:
        found = [(family_of(kernel, module), module) for module in kernel.claiming(modalias)]
        found = [(family, module) for family, module in found if family]
        if found:
            old = _numbers(kernel.version) <= _SYSTEMS_OF_IDE
            found.sort(key=lambda one: (one[0] == "hd") != old)
            return found[0]
    return "", ""


def missing_modules(
    kernel: Kernel, held: frozenset[str], controllers: Sequence[str]
) -> tuple[str, ...]:
    """What an initramfs that holds `held` lacks for a disk behind these devices; devices that
    nothing drives do not count."""
    groups = [_drivers(kernel, modalias) for modalias in controllers]
    groups.append(_CLASSES.get(driver_of(kernel, controllers)[0], ()))
    known = kernel.built_in | kernel.places.keys()
    missing = [
        module
        for group in groups
        if not any(kernel.held(module, held) for module in group)
        for module in group
        if module in known
    ]
    return tuple(dict.fromkeys(missing))


def _drivers(kernel: Kernel, modalias: str) -> tuple[str, ...]:
    found = kernel.claiming(modalias)
    return tuple(module for module in found if module not in _GENERIC) or found


def name_disks(kernel: Kernel, disks: Sequence[tuple[Sequence[str], str]]) -> tuple[str, ...]:
    """The name of each disk, "sda" or "cciss/c0d0", "" where no driver tells. A disk is told by
    the modaliases of what it hangs on and its by-path name; they are in the order in which the
    kernel finds them."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    for controllers, path in disks:
        family, _ = driver_of(kernel, controllers)
        at_cable = place_at_cables(path)
        place = seen[family] if family != "hd" or at_cable is None else at_cable
        seen[family] += 1
        names.append(_name(family, place))
    return tuple(names)


def name_family(name: str) -> str:
    """What the name of a disk begins with: "sd" of sda. Kernels count each family by itself."""
    found = _FAMILY.match(name)
    return found[0] if found else ""


def place_at_cables(path: str) -> int | None:
    """Which letter an IDE disk with that by-path name has, from 0: it is a place at the cables, not
    a count. Two channels, two disks on each. None for other disks."""
    port = _PORT.search(path)
    return 2 * (int(port[1]) - 1) + int(port[2] or 0) if port else None


def other_names(kernel: Kernel, name: str, names: Iterable[str]) -> frozenset[str]:
    """Which of the `names` of a machine's disks the one called `name` may have at another boot."""
    family = name_family(name)
    since = _ANY_ORDER.get(family)
    if since is None or _numbers(kernel.version) < since:
        return frozenset()
    return frozenset(one for one in names if name_family(one) == family) - {name}


def _name(family: str, place: int) -> str:
    match family:
        case "":
            return ""
        case "nvme":
            return f"nvme{place}n1"
        case "mmcblk":
            return f"mmcblk{place}"
        case "cciss" | "ida":
            return f"{family}/c0d{place}"
    return family + _letters(place)


def _letters(place: int) -> str:
    """a to z, then aa."""
    letters = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters


def partition_name(disk: str, number: int) -> str:
    """ "sda1", "nvme0n1p1"; number 0 is the whole disk."""
    if not number:
        return disk
    return f"{disk}p{number}" if disk[-1:].isdigit() else f"{disk}{number}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", version)[:3])
