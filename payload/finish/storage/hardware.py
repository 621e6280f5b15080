"""Make the copied system start from this machine's disks: its initramfs and its names for disks.

What is to be done is worked out while the system's file systems can only be read; those beside the
root are mounted for writing only when there is something to do, so that a copy that starts as it is
stays a bit copy.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from payload.finish.network.name_files import systemd_version
from payload.finish.storage.disk_map import map_disks
from payload.finish.storage.initramfs import Rebuild, plan_rebuild, rebuild_initramfs
from payload.finish.storage.storage_names import (
    StorageEdit,
    apply_edit,
    find_unsolved,
    plan_storage_names,
    read_storage_files,
)
from payload.finish.volumes import MOUNTABLE, Mount, Volume, mounted_at
from payload.formats.kernel.startup import Startup, read_startup
from payload.model.errors import AdaptError
from payload.model.event import Monitor, Note
from payload.model.inventory import Inventory
from payload.model.marker import Change
from payload.model.plan import Plan
from payload.system.files import subtree
from payload.system.host import Host

BESIDE = ("/boot", "/usr", "/var")  # what programs of the system need, outermost first


class Attach(Protocol):
    """A device that is a volume of the copy, for as long as it is needed."""

    def __call__(self, volume: Volume, *, writable: bool) -> AbstractContextManager[str]: ...


@dataclass(frozen=True)
class CopiedSystem:
    """The copy with its root mounted for writing at `root`. `changes_of` tells what mounting one
    of its volumes (on that device) for writing changes."""

    host: Host
    root: Path
    partitions: Sequence[Volume]  # all of them
    beside: Sequence[Volume]  # without the root
    fstab: Sequence[Mount]
    order: Sequence[str]  # the source's disks as that fstab counts them
    attach: Attach
    changes_of: Callable[[Volume, str], Iterable[Change]]

    @contextmanager
    def whole(
        self, *, writable: bool, places: Sequence[str] = BESIDE
    ) -> Iterator[tuple[Change, ...]]:
        """With its other file systems where it mounts them itself, as far as programs need them;
        what that changes. Those that only the system itself can mount are left out."""
        changes: list[Change] = []
        with ExitStack() as stack:
            for path in places:
                volume = mounted_at(self.beside, self.fstab, path)
                place = subtree(self.root, path)
                if volume is None or volume.kind not in MOUNTABLE or place is None:
                    continue
                device = stack.enter_context(self.attach(volume, writable=writable))
                if writable:
                    changes += self.changes_of(volume, device)
                mount = self.host.mounts.mount(device, volume.kind, writable=writable, at=place)
                stack.enter_context(mount)
            yield tuple(changes)


@dataclass(frozen=True)
class HardwareAdaptation:
    """What was changed, and what a person must know."""

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Work:
    """What is to be done."""

    edits: tuple[StorageEdit, ...]
    rebuild: Rebuild | None
    warnings: tuple[str, ...]


def adapt_to_disks(
    system: CopiedSystem,
    plan: Plan,
    source: Inventory,
    target: Inventory,
    stale: bool,
    monitor: Monitor,
) -> HardwareAdaptation:
    """See that the system finds this machine's disks: by their names, and before its root file
    system is there.

    `stale`: files were changed that its initramfs may hold. Raises AdaptError when it would not
    start and nothing helps.
    """
    with system.whole(writable=False):
        work = _plan(system, plan, source, target, stale)
    if not work.edits and work.rebuild is None:
        return HardwareAdaptation(warnings=work.warnings)
    changes: list[Change] = []
    warnings = list(work.warnings)
    with system.whole(writable=True) as of_mounting:
        changes += of_mounting
        for edit in work.edits:
            monitor(Note(f"{edit.path}: {edit.what}"))
            apply_edit(system.root, edit)
            changes.append(Change(edit.path, edit.what))
        if work.rebuild is not None:
            monitor(Note(f"{work.rebuild.maker} makes the initramfs anew: {work.rebuild.why}"))
            try:
                changes += rebuild_initramfs(system.host.run, system.root, work.rebuild)
            except AdaptError as error:
                if work.rebuild.vital:
                    raise
                warnings.append(f"{error} The copy starts with it.")
    return HardwareAdaptation(tuple(changes), tuple(warnings))


def _plan(
    system: CopiedSystem, plan: Plan, source: Inventory, target: Inventory, stale: bool
) -> _Work:
    startup = read_startup([system.root])
    names = map_disks(plan, source, target, system.order, system.partitions, startup.kernel)
    files = read_storage_files(system.root)
    bare = startup.start is not None and not startup.start.path
    edits = plan_storage_names(files, names, bare=bare)
    stale = stale and names_cards(system.root, startup, len(target.cards))
    stale = stale or any(edit.is_in_initramfs for edit in edits)
    disks = [target.disk(pair.target.id).hardware.controllers for pair in plan.disks]
    rebuild = plan_rebuild(startup, disks[plan.regions[plan.root].pair], disks, stale)
    warnings = (*find_unsolved(files, names), *_warnings(startup, rebuild, stale))
    return _Work(edits, rebuild, warnings)


def names_cards(root: Path, startup: Startup, cards: int) -> bool:
    """Whether network names that the initramfs gives can be wrong ones to the end.

    A single card is named again by the system. Several may stand in each other's way, since udev
    does not swap names; and before systemd 240 a .link file renames no card a second time.
    """
    paths = startup.contents.paths if startup.contents else frozenset()
    links = any(path.removeprefix("usr/").startswith("lib/systemd/network/") for path in paths)
    rules = any(path.startswith("etc/udev/rules.d/") for path in paths)
    return (links and (cards > 1 or systemd_version(root) < 240)) or (rules and cards > 1)


def _warnings(startup: Startup, rebuild: Rebuild | None, stale: bool) -> Iterator[str]:
    if startup.unknown and startup.start:
        yield (
            f"The initramfs {startup.start.path} of the copy is not understood"
            f" ({startup.unknown}): whether it knows the controller of this machine is not known."
        )
    if stale and rebuild is None and startup.start and startup.start.image:
        yield (
            "The initramfs of the copy still holds files as they were at the server (names of"
            " network cards or of disks), and nothing in the copy could make it anew. Run what"
            " makes it there if names come out wrong."
        )
