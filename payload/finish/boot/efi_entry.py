"""Make the firmware of this machine know the copy's boot loader, as that of the server knew it.

The fallback place starts a copy without this; an entry also starts what lies elsewhere, and before
any other system this machine may have had, but never before the medium. Partitions keep their
GUIDs in a copy, so a refresh finds the entry of the time before and makes no second one. That an
entry was made is seen by reading it back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from payload.finish.boot.efi_chain import Program, read_listing
from payload.finish.boot.menus import Trees
from payload.finish.volumes import Volume, target_node
from payload.formats.boot.efi_programs import ESP_TYPES, efi_files, fallback_program, own_program
from payload.model.disk import Partition
from payload.model.errors import ToolError
from payload.model.inventory import Inventory
from payload.model.marker import Change
from payload.model.plan import Plan
from payload.system.boot_entries import (
    BootEntry,
    BootTable,
    create_boot_entry,
    read_boot_table,
    set_boot_order,
)
from payload.system.command import Run
from payload.system.files import read_inside

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """An entry for a program in a partition of disk `disk` of the plan. `partition` is its GUID,
    `label` what people see in the firmware's menu."""

    program: Program
    label: str
    disk: int
    number: int
    partition: str

    @property
    def path(self) -> str:
        r"""As a firmware writes it: "\EFI\debian\shimx64.efi"."""
        return "\\" + self.program.path.replace("/", "\\")


@dataclass(frozen=True)
class Registered:
    """The programs the firmware knows by now, what was changed for it, and what failed."""

    programs: tuple[Program, ...] = ()
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_entries(plan: Plan, trees: Trees) -> tuple[Wanted, ...]:
    """One for each EFI partition: the server's own loader, else what lies at the fallback place. A
    mirrored server has two partitions, which may be one file system on an array."""
    wanted: list[Wanted] = []
    for volume, tree in trees.items():
        program = own_program(tree) or fallback_program(tree)
        if volume.type_id not in ESP_TYPES or program is None:
            continue
        name = _label(tree, program) or plan.source.host_name or "copied server"
        for disk, number, guid in _partitions(plan, volume):
            label = f"{name} {len(wanted) + 1}" if wanted else name
            found = Program(volume, str(program))
            wanted.append(Wanted(found, label, disk, number, guid))
    return tuple(wanted)


def _partitions(plan: Plan, volume: Volume) -> Iterator[tuple[int, int, str]]:
    """(disk, number, GUID) of each partition a firmware sees the volume in."""
    if volume.layered is None:
        seen = [(volume.disk, volume.number, volume.part_uuid)]
    else:
        seen = [
            (disk, part.number, part.uuid)
            for disk, number in volume.partitions
            if disk in range(len(plan.disks))
            for part in _table(plan, disk)
            if part.number == number
        ]
    yield from (one for one in seen if _GUID.fullmatch(one[2]))


def _table(plan: Plan, disk: int) -> tuple[Partition, ...]:
    table = plan.disks[disk].table
    return table.partitions if table else ()


def _label(tree: Path, program: PurePosixPath) -> str:
    """What the vendor calls it, as shim's own fallback program would, else its directory."""
    for listing in efi_files(tree):
        if listing.suffix.lower() == ".csv" and listing.parent == program.parent:
            for name, label in read_listing(read_inside(tree, str(listing)) or b""):
                if name.lower() == program.name.lower() and label.isprintable():
                    return label
    return "" if program.parent.name.lower() == "boot" else program.parent.name


def register(run: Run, plan: Plan, target: Inventory, trees: Trees) -> Registered:
    """See that the firmware knows the copy's programs, and tries them once the medium is removed.

    What the firmware refuses is a warning: whether the copy starts without is for the check.
    """
    wanted = plan_entries(plan, trees)
    changes: list[Change] = []
    known: list[BootEntry] = []
    warnings: list[str] = []
    try:
        for one in wanted:
            node = target_node(plan, target, one.disk)
            known.append(_ensure(run, one, node, changes))
        changes += _put_in_order(run, known)
    except ToolError as error:
        warnings.append(
            "This machine's firmware took no boot entry for the copy, which then starts by"
            f" EFI/BOOT/BOOTX64.EFI only: {error}"
        )
    programs = dict.fromkeys(one.program for one in wanted[: len(known)])
    return Registered(tuple(programs), tuple(changes), tuple(warnings))


def _ensure(run: Run, wanted: Wanted, node: str, changes: list[Change]) -> BootEntry:
    found = read_boot_table(run).find(wanted.partition, wanted.path)
    if found is not None:
        return found
    volume = wanted.program.volume
    create_boot_entry(run, node, wanted.number, wanted.label, wanted.path)
    made = read_boot_table(run).find(wanted.partition, wanted.path)
    if made is None:
        raise ToolError(
            f"An entry for {wanted.path} in {volume.name} was made, and is not there when the"
            " firmware's entries are read again."
        )
    where = f"firmware entry Boot{made.number}"
    changes.append(Change(where, f"{wanted.label}: {wanted.path} in {volume.name}"))
    return made


def _put_in_order(run: Run, known: Sequence[BootEntry]) -> Iterator[Change]:
    before = read_boot_table(run)
    wanted = plan_order(before, tuple(entry.number for entry in known))
    if wanted == before.order:
        return
    set_boot_order(run, wanted)
    after = read_boot_table(run).order
    if after != wanted:
        raise ToolError(f"The boot order was set, and is now {','.join(after) or 'empty'}.")
    yield Change(
        "firmware BootOrder", f"{','.join(before.order) or 'empty'} became {','.join(after)}"
    )


def plan_order(table: BootTable, ours: tuple[str, ...]) -> tuple[str, ...]:
    """What started this live system comes first, even if a person chose it for once: with the
    medium in it, the machine never starts as the server. Then come the copy's entries in the order
    of its disks, then all others."""
    if not ours:
        return table.order
    known = {*table.order, *(entry.number for entry in table.entries)} - {*ours}
    first = (table.current,) if table.current in known else ()
    return (*first, *ours, *(number for number in table.order if number not in (*first, *ours)))
