"""Would the system on this machine find its disks and network on other hardware?

Asked by the source about the target's devices: the modaliases of those are compared with what the
kernels in the system to be copied claim to drive. Nothing is written, no journal is replayed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from payload.identify.installed import ROOT_KINDS, Location, locations_of, volume_locations
from payload.identify.layers import LVM_KIND, MD_KIND
from payload.model.errors import ToolError
from payload.model.inventory import Inventory
from payload.model.survey import Drivers, Survey
from payload.system.files import inside, read_inside
from payload.system.host import Host

T = TypeVar("T")
_MODULES = "lib/modules"
_WILDCARDS = "*?["
_LISTED = 5  # modules named for one device


@dataclass(frozen=True)
class Kernel:
    """One kernel of the system: (pattern, module) for all it drives."""

    version: str
    aliases: tuple[tuple[str, str], ...]
    tells_built_in: bool  # since Linux 5.2


def take_survey(host: Host, source: Inventory, target: Inventory, clock_ahead: int) -> Survey:
    """What the source finds out for this target. What cannot be read is unknown, never a no."""
    wanted = _modaliases(target)
    kernels = _find_kernels(host, source) if wanted else ()
    return Survey(
        kernels=tuple(kernel.version for kernel in kernels),
        drivers=tuple(find_drivers(modalias, kernels) for modalias in wanted if kernels),
        used=_used(host, source),
        clock_ahead=clock_ahead,
    )


def _modaliases(target: Inventory) -> tuple[str, ...]:
    disks = [alias for disk in target.eligible_disks for alias in disk.hardware.controllers]
    cards = [card.modalias for card in target.cards if card.modalias]
    return tuple(dict.fromkeys((*disks, *cards)))


def find_drivers(modalias: str, kernels: Sequence[Kernel]) -> Drivers:
    """The modules that claim a device, over all kernels."""
    found = {kernel.version: tuple(_claiming(modalias, kernel)) for kernel in kernels}
    return Drivers(
        modalias=modalias,
        modules=tuple(dict.fromkeys(one for names in found.values() for one in names))[:_LISTED],
        without=tuple(version for version, names in found.items() if not names),
        certain=all(kernel.tells_built_in for kernel in kernels),
    )


def _claiming(modalias: str, kernel: Kernel) -> Iterator[str]:
    for pattern, module in kernel.aliases:
        if modalias.startswith(_literal(pattern)) and fnmatchcase(modalias, pattern):
            yield module


def _literal(pattern: str) -> str:
    """What stands before the first wildcard: rules out most patterns at once."""
    ends = [place for sign in _WILDCARDS if (place := pattern.find(sign)) >= 0]
    return pattern[: min(ends, default=len(pattern))]


def _find_kernels(host: Host, source: Inventory) -> tuple[Kernel, ...]:
    for system in source.systems:
        for location in _locations(source):
            if (location.disk, location.name) == (system.disk, system.place):
                return _mounted(host, location, read_kernels, ())
    return ()


def _locations(source: Inventory) -> Iterator[Location]:
    """Every file system of the source, on its disks and on its volumes."""
    for disk in source.eligible_disks:
        yield from locations_of(disk)
    yield from volume_locations(source.eligible_disks, source.volumes)


def _mounted(host: Host, location: Location, look: Callable[[Path], T], otherwise: T) -> T:
    """What `look` sees in a file system, or `otherwise` when that cannot be mounted or read."""
    try:
        with (
            host.blocks.assemble(location.legs) as node,
            host.mounts.mount(node, location.file_system.kind) as root,
        ):
            return look(root)
    except (ToolError, OSError):
        return otherwise


def read_kernels(root: Path) -> tuple[Kernel, ...]:
    """The kernels whose modules lie in the system below `root`. Raises OSError."""
    place = inside(root, _MODULES)
    if not place.is_dir():
        return ()
    versions = sorted(entry.name for entry in place.iterdir())
    found = (_read_kernel(root, version) for version in versions)
    return tuple(kernel for kernel in found if kernel is not None)


def _read_kernel(root: Path, version: str) -> Kernel | None:
    modules = read_inside(root, f"{_MODULES}/{version}/modules.alias")
    if modules is None:
        return None
    built_in = read_inside(root, f"{_MODULES}/{version}/modules.builtin.modinfo")
    aliases = [*parse_modules_alias(modules), *parse_built_in(built_in or b"")]
    return Kernel(version, tuple(aliases), built_in is not None)


def parse_modules_alias(document: bytes) -> Iterator[tuple[str, str]]:
    """Lines "alias PATTERN MODULE", as depmod writes them."""
    for line in document.decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "alias":
            yield words[1], words[2]


def parse_built_in(document: bytes) -> Iterator[tuple[str, str]]:
    """Words "MODULE.alias=PATTERN" that end with a zero byte, as the kernel's build writes them."""
    for word in document.decode("utf-8", "replace").split("\0"):
        name, _, value = word.partition("=")
        module, _, key = name.partition(".")
        if key == "alias":
            yield value, module


def _used(host: Host, source: Inventory) -> int:
    """Of volumes what is in them, so nothing of their members; swap is copied as a header."""
    unresolved = sum(volume.size for volume in source.volumes if not volume.legs)
    found = (location for location in _locations(source) if _counts(location.file_system.kind))
    return unresolved + sum(_used_on(host, location) for location in found)


def _counts(kind: str) -> bool:
    return kind not in ("swap", MD_KIND, LVM_KIND)


def _used_on(host: Host, location: Location) -> int:
    if location.file_system.kind not in ROOT_KINDS:
        return location.size
    return _mounted(host, location, _bytes_in_use, location.size)


def _bytes_in_use(root: Path) -> int:
    status = os.statvfs(root)
    return (status.f_blocks - status.f_bfree) * status.f_frsize
