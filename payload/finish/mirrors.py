"""See that what was changed in the copy is the same in every leg of a mirror.

All legs were written at once, so one that took less is a failing disk; but a copy that differs
from itself would show it only when its first disk is gone. Each leg is looked at alone, as a
machine would that has no other.
"""

from collections.abc import Iterable, Sequence

from payload.finish.volumes import MOUNTABLE, Volume, extents_of, root_options
from payload.formats.disk.superblocks import read_usage
from payload.model.errors import TargetDiskError, ToolError
from payload.model.inventory import Inventory
from payload.model.marker import Change, Usage
from payload.model.plan import Plan
from payload.model.volume import Extent
from payload.system.files import digest_inside
from payload.system.host import Host

_MOUNT_POINTS = ("/boot/efi", "/boot", "/var", "/usr")  # where a changed file's file system may be

Seen = tuple[Usage, tuple[tuple[str, str | None], ...]]  # digests, by path


def check_legs(
    host: Host, plan: Plan, target: Inventory, volumes: Iterable[Volume], changes: Sequence[Change]
) -> None:
    """Raise TargetDiskError unless all legs hold the same of every changed file, and say the same
    of their last use. Beside the root's, one of which no leg can be mounted was not changed here.
    Raises ToolError or OSError when one cannot be looked into."""
    files = [change.where for change in changes if change.where.startswith("/")]
    for volume in volumes:
        legs = extents_of(plan, target, volume)
        if len(legs) < 2 or volume.kind not in MOUNTABLE:
            continue
        is_root = volume.layered is not None and volume.layered.name == plan.root_volume
        first, *others = (
            _look(host, leg, volume.kind, root_options(plan), files)
            if is_root
            else _look_at_data(host, leg, volume.kind, files)
            for leg in legs
        )
        for number, other in enumerate(others, 2):
            if other != first:
                raise TargetDiskError(
                    f"Leg {number} of the mirrored {volume.name} of the copy does not hold what was"
                    f" written to it ({_difference(first, other)}). Replace the failing"
                    " disk."
                )


def _look(
    host: Host, leg: Sequence[Extent], kind: str, options: Sequence[str], files: list[str]
) -> Seen:
    with host.blocks.assemble((leg,)) as device:
        with host.mounts.mount(device, kind, options=options) as tree:
            found = tuple(
                (path, digest_inside(tree, path)) for file in files for path in _places(file)
            )
        return read_usage(device, kind), found


def _look_at_data(host: Host, leg: Sequence[Extent], kind: str, files: list[str]) -> Seen | None:
    """None when it cannot be mounted: a damaged file system of data hinders no boot."""
    try:
        return _look(host, leg, kind, (), files)
    except ToolError:
        return None


def _places(file: str) -> Iterable[str]:
    """What a file may be called in the file system it lies in."""
    yield file
    for point in _MOUNT_POINTS:
        if file.startswith(f"{point}/"):
            yield file.removeprefix(point)


def _difference(one: Seen | None, other: Seen | None) -> str:
    if one is None or other is None:
        return "one of both cannot be mounted"
    for (path, before), (_, after) in zip(one[1], other[1], strict=True):
        if before != after:
            return path
    return "the superblock"
