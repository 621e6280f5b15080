"""Loaders for a copy's menu: only one that is proven to lead there is offered.

That noise never proves to is tried in test_grub_layout.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payload.finish.boot.candidates import Medium, Task, find_loaders, prove
from payload.finish.boot.grub_layout import as_if_written, find_room, lay_out
from payload.finish.boot.grub_legacy_shell import LIVE_SHELL
from payload.finish.boot.grub_parts import OWN_MODULES, OWN_PAIR
from payload.finish.boot.menus import Menu
from payload.finish.volumes import Volume
from payload.formats.boot.boot_code import read_boot_code
from payload.formats.boot.boot_sector import GRUB_2, GRUB_LEGACY
from payload.model.disk import SECTOR
from payload.model.errors import AdaptError, ToolError
from payload.system.command import Completed
from tests.support.boot_disks import ONE_PARTITION
from tests.support.grub_cores import core
from tests.support.grub_cores import rest_of_core as rest
from tests.support.grub_legacy_stages import stage1, stage1_5

PLACE = Volume(0, 1, 0, 0, "ext4", "u-u")
MENU = Menu(GRUB_2, PLACE, "/boot/grub", ())
ROOM = find_room(ONE_PARTITION, SECTOR, "sda")
TASK = Task(MENU, 0, ROOM, ONE_PARTITION, ONE_PARTITION)
NOWHERE = Medium(Path("/nowhere"), Path("/nowhere"))
BOOT = bytearray(b"\xeb\x63".ljust(SECTOR, b"\0"))
BOOT[0x5A:0x5C], BOOT[0x180:0x184] = b"\x00\x80", b"GRUB"
LEADING = core(rest("(,msdos1)/boot/grub"))[1]
BY_UUID = core(rest("", "search.fs_uuid u-u root\nset prefix=($root)/boot/grub\n"))[1]


def refuse(argv: Sequence[str], **_: Any) -> Completed:
    raise ToolError(f"{argv[0]} is not installed.")


def loaders(tree: Path, task: Task = TASK) -> tuple[list[tuple[str, dict[int, bytes]]], list[str]]:
    failures: list[str] = []
    return list(find_loaders(refuse, task, {PLACE: tree}, NOWHERE, failures)), failures


def keep(tree: Path, image: bytes, directory: str = "boot/grub/i386-pc") -> None:
    (tree / directory).mkdir(parents=True)
    (tree / directory / "boot.img").write_bytes(BOOT)
    (tree / directory / "core.img").write_bytes(image)


# --- proof


@pytest.mark.parametrize("image", [LEADING, BY_UUID], ids=["number", "uuid"])
def test_a_loader_that_leads_to_the_menu_is_proven_and_not_changed(image: bytes) -> None:
    writes = lay_out(bytes(BOOT), image, ROOM)
    assert prove(writes, TASK) is writes


@pytest.mark.parametrize(
    "task",
    [
        replace(TASK, menu=replace(MENU, directory="/grub")),
        replace(TASK, menu=replace(MENU, place=replace(PLACE, number=2, uuid="other"))),
        replace(TASK, menu=replace(MENU, place=replace(PLACE, disk=1, uuid="other"))),
        replace(TASK, menu=Menu(GRUB_LEGACY, PLACE, "/boot/grub", (), "/boot/grub/stage2")),
    ],
)
@pytest.mark.parametrize("image", [LEADING, BY_UUID], ids=["number", "uuid"])
def test_a_loader_that_leads_elsewhere_is_refused(task: Task, image: bytes) -> None:
    with pytest.raises(AdaptError, match="does not look for its menu where the copy has it"):
        prove(lay_out(bytes(BOOT), image, ROOM), task)


def test_nothing_to_be_written_is_no_loader() -> None:
    with pytest.raises(AdaptError, match="does not look"):
        prove({}, TASK)


def test_grub_legacy_is_proven_by_the_stage_2_it_opens() -> None:
    task = replace(TASK, menu=Menu(GRUB_LEGACY, PLACE, "/grub", (), "/grub/stage2"))
    sector = bytearray(440)
    for place, part in stage1(1):
        sector[place : place + len(part)] = part
    place, stage = stage1_5(b"/grub")
    writes = {place: stage, 0: bytes(sector)}
    assert prove(writes, task) == writes
    for other in (stage1_5(b"/boot/grub"), stage1_5(b"/grub", 2), stage1_5(b"/grub", drive=0x81)):
        with pytest.raises(AdaptError):
            prove({**writes, place: other[1]}, task)


# --- candidates


@pytest.mark.parametrize("directory", ["boot/grub/i386-pc", "boot/grub"])
def test_the_pair_the_copy_keeps_is_offered_first(tmp_path: Path, directory: str) -> None:
    keep(tmp_path, LEADING, directory)
    ((strategy, writes),), failures = loaders(tmp_path)
    assert (strategy, failures) == (OWN_PAIR, [])
    assert list(writes) == [SECTOR, 0], "the sector that starts it comes last"
    code = read_boot_code(as_if_written(writes), ONE_PARTITION, "sda")
    assert code and code.directory == "/boot/grub"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (core(rest("(,msdos5)/boot/grub"))[1], "does not look for its menu"),
        (core(rest("(,msdos1)/grub"))[1], "does not look for its menu"),
        (LEADING[:SECTOR], "cut short"),
        (LEADING + bytes(100 * SECTOR), r"sectors, and the gap before its partitions has 62"),
    ],
)
def test_a_pair_that_does_not_do_is_told_and_not_offered(
    tmp_path: Path, image: bytes, why: str
) -> None:
    keep(tmp_path, image)
    found, (failure,) = loaders(tmp_path)
    assert found == []
    assert failure.startswith(f"{OWN_PAIR}: ") and why in failure


def test_a_tool_that_fails_is_told_and_the_next_way_is_tried(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/grub/i386-pc"
    place.mkdir(parents=True)
    for name in ("boot.img", "kernel.img", "diskboot.img", "lzma_decompress.img", "moddep.lst"):
        (place / name).write_bytes(b"x")
    keep(tmp_path, core(rest("(,msdos5)/boot/grub"))[1])
    found, failures = loaders(tmp_path)
    assert found == []
    own_pair, own_modules = failures
    assert own_pair.startswith(f"{OWN_PAIR}: ")
    assert own_modules == f"{OWN_MODULES}: grub-mkimage is not installed."


def test_where_nothing_can_be_made_nothing_is_offered(tmp_path: Path) -> None:
    assert loaders(tmp_path) == ([], [])
    legacy = replace(TASK, menu=Menu(GRUB_LEGACY, PLACE, "/grub", (), "/grub/stage2"))
    assert loaders(tmp_path, legacy) == ([], []), "its shell is not there"


def test_grub_legacy_does_not_lead_to_another_disk(tmp_path: Path) -> None:
    for name in ("grub", "ld-linux.so.2", "libc.so.6"):
        (tmp_path / name).write_bytes(b"x")
    menu = Menu(GRUB_LEGACY, replace(PLACE, disk=1), "/grub", (), "/grub/stage2")
    failures: list[str] = []
    medium = Medium(Path("/nowhere"), tmp_path)
    task = replace(TASK, menu=menu)
    assert list(find_loaders(refuse, task, {menu.place: tmp_path}, medium, failures)) == []
    assert failures == [
        f"{LIVE_SHELL}: GRUB legacy finds its stages on the disk it is started from only."
    ]
