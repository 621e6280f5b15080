"""Loaders that may lead to a copy's menu, the best first, as bytes to be written.

Whatever makes them, each is read as the check reads a disk before a byte of it is written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from payload.finish.boot.grub_layout import Room, as_if_written, lay_out
from payload.finish.boot.grub_legacy_shell import (
    LIVE_SHELL,
    SHELL,
    find_stages,
    install_stages,
    is_there,
)
from payload.finish.boot.grub_parts import (
    LIVE_MODULES,
    OWN_PAIR,
    Kit,
    Pair,
    find_kits,
    kept_pair,
    make_pair,
    recipe_for,
)
from payload.finish.boot.menus import Menu, Trees, is_meant
from payload.formats.boot.boot_code import read_boot_code
from payload.formats.boot.boot_sector import GRUB_LEGACY
from payload.model.disk import PartitionTable
from payload.model.errors import AdaptError, ToolError
from payload.system.command import Run

Writes = dict[int, bytes]  # byte of the disk -> bytes, in this order


@dataclass(frozen=True)
class Medium:
    """Where the live system has its own loaders."""

    modules: Path = LIVE_MODULES
    shell: Path = SHELL


@dataclass(frozen=True)
class Task:
    """Lead from the gap of a disk (`disk` counts the plan's pairs) to that menu."""

    menu: Menu
    disk: int
    room: Room
    table: PartitionTable | None  # of that disk
    menu_table: PartitionTable | None  # of the disk the menu is on


def find_loaders(
    run: Run, task: Task, trees: Trees, medium: Medium, failures: list[str]
) -> Iterator[tuple[str, Writes]]:
    """Loaders proven to lead to the menu, with what to call them; why one could not be made, or
    leads elsewhere, goes to `failures`."""
    for strategy, make in _ways(run, task, trees, medium):
        try:
            yield strategy, prove(make(), task)
        except (AdaptError, ToolError, OSError) as error:
            failures.append(f"{strategy}: {error}")


def _ways(
    run: Run, task: Task, trees: Trees, medium: Medium
) -> Iterator[tuple[str, Callable[[], Writes]]]:
    menu = task.menu
    if menu.loader == GRUB_LEGACY:
        if is_there(medium.shell):
            yield LIVE_SHELL, partial(_legacy, run, task, trees, medium)
        return
    kept = kept_pair(menu, trees)
    if kept is not None:
        yield OWN_PAIR, partial(_place, kept, task)
    for kit in find_kits(menu, trees, medium.modules):
        yield kit.strategy, partial(_from_modules, run, task, trees, kit)


def _legacy(run: Run, task: Task, trees: Trees, medium: Medium) -> Writes:
    if task.menu.place.disk != task.disk:
        raise AdaptError("GRUB legacy finds its stages on the disk it is started from only.")
    stages = find_stages(task.menu, trees, medium.shell)
    return install_stages(run, stages, task.room, medium.shell)


def _from_modules(run: Run, task: Task, trees: Trees, kit: Kit) -> Writes:
    recipe = recipe_for(task.menu, task.menu_table, kit, trees)
    return _place(make_pair(run, kit, recipe), task)


def _place(pair: Pair, task: Task) -> Writes:
    return lay_out(pair.boot, pair.core, task.room)


def prove(writes: Writes, task: Task) -> Writes:
    """The same bytes, which lead to the menu when they are on the disk. Raises AdaptError."""
    menu = task.menu
    code = read_boot_code(as_if_written(writes), task.table, "the disk")
    leads = code is not None and (code.stage2, code.directory) == _wanted(menu)
    if code is None or not leads or not is_meant(code, task.disk, menu.place):
        raise AdaptError("Its core does not look for its menu where the copy has it.")
    return writes


def _wanted(menu: Menu) -> tuple[str, str]:
    if menu.loader == GRUB_LEGACY:
        return menu.stage2, menu.stage2.rpartition("/")[0]
    return "", menu.directory
