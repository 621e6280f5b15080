"""Which bytes put GRUB on a disk; that they start it is seen in tests/vm."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot.candidates import Task, prove
from payload.finish.boot.check import BootDisk
from payload.finish.boot.grub_layout import (
    Room,
    as_if_written,
    find_room,
    lay_out,
    plan_recipe,
)
from payload.finish.boot.grub_parts import Pair
from payload.finish.boot.menus import Menu
from payload.finish.boot.reinstall import choose_disk
from payload.finish.volumes import Volume
from payload.formats.boot.boot_code import read_boot_code
from payload.formats.boot.boot_sector import BIOS_BOOT
from payload.model.disk import MIB, SECTOR, Partition, PartitionTable
from payload.model.errors import AdaptError
from payload.model.volume import Layer

OLD = PartitionTable("dos", "0x1", (Partition(1, 63 * SECTOR, MIB, "83"),))
GPT = PartitionTable(
    "gpt",
    "1",
    (Partition(1, MIB, MIB, BIOS_BOOT), Partition(2, 2 * MIB, MIB, "0fc63daf")),
)
BOOT = b"\xeb\x63" + bytes(0x58) + b"\x00\x80" + bytes(10) + b"\xeb\x05" + b"GRUB " + bytes(400)
BOOT += bytes(SECTOR - len(BOOT))
CORE = b"\x52" + bytes(SECTOR - 1) + b"\x01" * (9 * SECTOR)
ROOM = find_room(OLD, SECTOR, "sda")
MENU = Menu("GRUB 2", Volume(0, 1, 0, 0, "ext4", "u-u"), "/grub", ())


def test_the_gap_ends_where_the_first_partition_begins() -> None:
    assert find_room(OLD, SECTOR, "sda") == Room(
        SECTOR, 62 * SECTOR, "the gap before its partitions"
    )


def test_a_gpt_has_room_in_its_bios_boot_partition_alone() -> None:
    room = find_room(GPT, SECTOR, "sda")
    assert (room.start, room.size, room.name) == (MIB, MIB, "BIOS boot partition 1")
    with pytest.raises(AdaptError, match="sda has a GPT without a BIOS boot partition"):
        find_room(replace(GPT, partitions=GPT.partitions[1:]), SECTOR, "sda")


@pytest.mark.parametrize(
    ("table", "sector", "sentence"),
    [
        (OLD, 4096, "sectors of 4096 bytes"),
        (None, SECTOR, "no partitions"),
        (replace(OLD, partitions=()), SECTOR, "no partitions"),
    ],
)
def test_no_room_is_told(table: PartitionTable | None, sector: int, sentence: str) -> None:
    with pytest.raises(AdaptError, match=sentence):
        find_room(table, sector, "sda")


@given(st.integers(SECTOR + 1, 100 * SECTOR), st.sampled_from([(OLD, 1), (GPT, MIB // SECTOR)]))
def test_a_core_that_fits_is_found_and_the_table_is_never_touched(
    size: int, disk: tuple[PartitionTable, int]
) -> None:
    table, first = disk
    room = find_room(table, SECTOR, "sda")
    core = (CORE + CORE[SECTOR:] * 12)[:size]
    if size > room.size:
        with pytest.raises(AdaptError, match=r"needs \d+ sectors"):
            lay_out(BOOT, core, room)
        return
    writes = lay_out(BOOT, core, room)
    assert list(writes) == [room.start, 0], "the sector that starts it comes last"
    assert len(writes[0]) == 440
    assert room.start + len(writes[room.start]) <= room.start + room.size
    assert writes[room.start][SECTOR:].rstrip(b"\0") == core[SECTOR:].rstrip(b"\0")
    code = read_boot_code(as_if_written(writes), table, "sda")
    assert code is not None
    assert f"points to its core in sector {first}, in " in code.checks[0]
    start, count = struct.unpack_from("<QH", writes[room.start], SECTOR - 12)
    assert (start, count) == (first + 1, -(-size // SECTOR) - 1)


def test_a_bios_that_names_the_disk_a_floppy_is_provided_for() -> None:
    assert lay_out(BOOT, CORE, find_room(OLD, SECTOR, "sda"))[0][0x66:0x68] == b"\x90\x90"
    other = BOOT[:0x66] + b"\xf6\xc2" + BOOT[0x68:]
    assert lay_out(other, CORE, find_room(OLD, SECTOR, "sda"))[0][0x66:0x68] == b"\xf6\xc2"


@pytest.mark.parametrize(
    "pair", [Pair(BOOT[:300], CORE), Pair(BOOT, CORE[:SECTOR]), Pair(b"", b"")]
)
def test_half_a_loader_is_none(pair: Pair) -> None:
    with pytest.raises(AdaptError, match="cut short"):
        lay_out(pair.boot, pair.core, find_room(OLD, SECTOR, "sda"))


@given(st.binary(min_size=SECTOR, max_size=2048), st.binary(min_size=SECTOR + 1, max_size=4096))
def test_noise_is_never_planned(boot: bytes, core: bytes) -> None:
    """What does not prove to lead to the menu is not written."""
    for first in (BOOT, boot):
        with pytest.raises(AdaptError):
            prove(lay_out(first, core, ROOM), Task(MENU, 0, ROOM, OLD, OLD))


def test_the_menu_is_searched_by_uuid_within_its_own_table() -> None:
    recipe = plan_recipe("/grub", "u-u", "xfs", "gpt", whole=False)
    assert recipe.config == "search.fs_uuid u-u root\nset prefix=($root)/grub\n"
    assert recipe.needed == ("biosdisk", "part_gpt", "xfs", "search_fs_uuid")
    assert recipe.wanted == ()
    assert "normal" in plan_recipe("/grub", "u-u", "ext3", "dos", whole=True).wanted


def test_a_menu_on_a_volume_needs_what_made_the_volume() -> None:
    recipe = plan_recipe("/grub", "u-u", "ext4", "gpt", Layer.LVM, whole=False)
    assert {"lvm", "mdraid09", "mdraid1x"} < set(recipe.needed)
    assert "lvm" not in plan_recipe("/grub", "u-u", "ext4", "gpt", Layer.MD, whole=False).needed


@pytest.mark.parametrize(("uuid", "kind"), [("", "ext4"), ("u-u", "f2fs-of-tomorrow"), ("u-u", "")])
def test_what_grub_cannot_search_for_is_told(uuid: str, kind: str) -> None:
    with pytest.raises(AdaptError, match="cannot search"):
        plan_recipe("/grub", uuid, kind, "dos", whole=False)


def boot_disk(first_byte: int, table: PartitionTable | None = OLD) -> BootDisk:
    return BootDisk("disk", as_if_written({0: bytes([first_byte]) * 4}), table)


def test_the_disk_a_bios_starts_gets_the_loader() -> None:
    on_second = replace(MENU, place=replace(MENU.place, disk=1))
    assert choose_disk([boot_disk(0xEB), boot_disk(0)], on_second) == 0
    assert choose_disk([boot_disk(0), boot_disk(0)], on_second) == 1
    assert choose_disk([boot_disk(0x58, None), boot_disk(0)], on_second) == 1, "a file system"
