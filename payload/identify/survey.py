"""Would the system on this machine find its disks and network on other hardware?

Asked by the source about the target's devices: the modaliases of those are compared with what the
kernels in the system to be copied claim to drive, and with what the initramfs holds by which it
starts. Nothing is written, no journal is replayed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from payload.formats.kernel.disk_names import driver_of, missing_modules, name_family
from payload.formats.kernel.kernel_modules import Kernel
from payload.formats.kernel.startup import Startup, read_startup
from payload.formats.kernel.virtual_devices import find_offers, option_of
from payload.identify.installed import ROOT_KINDS, Location, locations_of, volume_locations
from payload.identify.layers import LVM_KIND, MD_KIND
from payload.model.errors import ToolError
from payload.model.inventory import Inventory
from payload.model.map_kinds import why_whole
from payload.model.survey import Drivers, FixedRoot, Initramfs, LateDisk, Offer, Survey
from payload.system.files import is_directory_inside, names_inside, status_inside, subtree
from payload.system.host import Host

T = TypeVar("T")
_LISTED = 5  # modules named for one device


def take_survey(host: Host, source: Inventory, target: Inventory, clock_ahead: int) -> Survey:
    """What the source finds out for this target. What cannot be read is unknown, never a no."""
    wanted = _modaliases(target)
    found = _look_into_system(host, source) if wanted else Startup()
    return Survey(
        kernels=tuple(kernel.version for kernel in found.kernels),
        drivers=tuple(
            find_drivers(modalias, found.kernels) for modalias in wanted if found.kernels
        ),
        used=_used(host, source),
        clock_ahead=clock_ahead,
        initramfs=_describe(found),
        offers=_offers(found, target),
        late=tuple(_late(found, target)),
        fixed_root=_fixed_root(found, target),
    )


def _describe(found: Startup) -> Initramfs | None:
    if found.start is None:
        return None
    return Initramfs(found.start.version, found.start.path, found.unknown, found.maker)


def _late(found: Startup, target: Inventory) -> Iterator[LateDisk]:
    """The disks that the initramfs would wait for in vain."""
    if found.kernel is None or found.held is None:
        return
    for disk in target.eligible_disks:
        missing = missing_modules(found.kernel, found.held, disk.hardware.controllers)
        if missing:
            yield LateDisk(disk.id, missing)


def _offers(found: Startup, target: Inventory) -> tuple[Offer, ...]:
    if found.kernel is None or found.start is None:
        return ()
    family = _family(found.start.fixed_root)
    return find_offers(target.machine.vendor, found.kernel, found.held, family)


def _family(name: str) -> str:
    return name_family(name.removeprefix("/dev/"))


def _fixed_root(found: Startup, target: Inventory) -> FixedRoot | None:
    if found.kernel is None or found.start is None or not found.start.fixed_root:
        return None
    name = found.start.fixed_root
    named = [
        (disk.id, driver_of(found.kernel, disk.hardware.controllers)[0])
        for disk in target.eligible_disks
    ]
    return FixedRoot(
        name, tuple(one for one, family in named if family and family != _family(name))
    )


def _modaliases(target: Inventory) -> tuple[str, ...]:
    disks = [alias for disk in target.eligible_disks for alias in disk.hardware.controllers]
    cards = [card.modalias for card in target.cards if card.modalias]
    return tuple(dict.fromkeys((*disks, *cards)))


def find_drivers(modalias: str, kernels: Sequence[Kernel]) -> Drivers:
    """The modules that claim a device, over all kernels."""
    option = option_of(modalias)
    found = {kernel.version: _drivers_in(kernel, modalias, option) for kernel in kernels}
    return Drivers(
        modalias=modalias,
        modules=tuple(dict.fromkeys(one for names in found.values() for one in names))[:_LISTED],
        without=tuple(version for version, names in found.items() if not names),
        certain=all(_tells_all(kernel, option) for kernel in kernels),
    )


def _drivers_in(kernel: Kernel, modalias: str, option: str) -> tuple[str, ...]:
    found = kernel.claiming(modalias)
    if not found and kernel.options and option in kernel.options:
        return (f"{option} (built in)",)
    return found


def _tells_all(kernel: Kernel, option: str) -> bool:
    """Whether a driver that is not found is not there, not built in either."""
    return kernel.tells_built_in or bool(option and kernel.options is not None)


def _look_into_system(host: Host, source: Inventory) -> Startup:
    root = _root_of(source)
    if root is None:
        return Startup()
    others = [one for one in _locations(source) if one.legs != root.legs]
    return _mounted(host, root, partial(_look_with_usr, host, others), Startup())


def look_into_root(host: Host, source: Inventory, look: Callable[[Path], T], otherwise: T) -> T:
    """What `look` sees in the root file system of the system to be copied."""
    root = _root_of(source)
    return _mounted(host, root, look, otherwise) if root else otherwise


def _root_of(source: Inventory) -> Location | None:
    for system in source.systems:
        for location in _locations(source):
            if (location.disk, location.name) == (system.disk, system.place):
                return replace(location, subvolume=system.subvolume)
    return None


def _look_with_usr(host: Host, others: Sequence[Location], root: Path) -> Startup:
    """With the system's /usr in its place, where that is a file system of its own: what could make
    its initramfs anew is there."""
    place = subtree(root, "/usr")
    if place is not None and not names_inside(root, "/usr"):
        for location in others:
            if location.file_system.kind in ROOT_KINDS:
                rest = [one for one in others if one is not location]
                look = partial(_if_usr, host, rest, root)
                found = _mounted(host, location, look, None, at=place)
                if found is not None:
                    return found
    return _look_beside(host, others, root)


def _if_usr(host: Host, others: Sequence[Location], root: Path, usr: Path) -> Startup | None:
    is_usr = all(is_directory_inside(usr, name) for name in ("bin", "sbin", "share"))
    is_root = status_inside(usr, "etc/fstab") is not None
    return _look_beside(host, others, root) if is_usr and not is_root else None


def _look_beside(host: Host, others: Sequence[Location], root: Path) -> Startup:
    """With the system's /boot, where that is a file system of its own."""
    for location in others:
        if location.file_system.kind in ROOT_KINDS:
            found = _mounted(host, location, partial(_as_boot, host, root), None)
            if found is not None:
                return found
    return read_startup([root])


def _as_boot(host: Host, root: Path, boot: Path) -> Startup | None:
    return read_startup([root, boot]) if _is_boot(boot) else None


def _is_boot(tree: Path) -> bool:
    if any(is_directory_inside(tree, name) for name in ("grub", "grub2", "extlinux")):
        return True
    return any(name.startswith("vmlinuz-") for name in names_inside(tree, "/"))


def _locations(source: Inventory) -> Iterator[Location]:
    """Every file system of the source, on its disks and on its volumes."""
    for disk in source.eligible_disks:
        yield from locations_of(disk)
    yield from volume_locations(source.eligible_disks, source.volumes)


def _mounted(
    host: Host,
    location: Location,
    look: Callable[[Path], T],
    otherwise: T,
    at: Path | None = None,
) -> T:
    """What `look` sees in a file system, or `otherwise` when that cannot be mounted or read."""
    try:
        with (
            host.blocks.assemble(location.legs) as node,
            host.mounts.mount(
                node, location.file_system.kind, options=location.options, at=at
            ) as root,
        ):
            return look(root)
    except (ToolError, OSError):
        return otherwise


def _used(host: Host, source: Inventory) -> int:
    """Of volumes what is in them, so nothing of their members; swap is copied as a header."""
    unresolved = sum(volume.size for volume in source.volumes if not volume.legs)
    found = (location for location in _locations(source) if _counts(location))
    return unresolved + sum(_used_on(host, location) for location in found)


def _counts(location: Location) -> bool:
    kind, why = location.file_system.kind, why_whole(location.file_system, location.size)
    return kind not in (MD_KIND, LVM_KIND) and not (kind == "swap" and not why)


def _used_on(host: Host, location: Location) -> int:
    if location.file_system.kind not in ROOT_KINDS or why_whole(
        location.file_system, location.size
    ):
        return location.size
    return max(location.size - _mounted(host, location, _bytes_free, 0), 0)


def _bytes_free(root: Path) -> int:
    """All else is copied: metadata, too, and what is behind the end of the file system."""
    status = os.statvfs(root)
    return status.f_bfree * status.f_frsize
