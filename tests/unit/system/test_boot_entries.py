"""The firmware's own list of what it starts: read, added to once, and put in order."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot.efi_entry import plan_entries, plan_order, register
from payload.finish.volumes import Volume
from payload.model.disk import Partition, PartitionTable
from payload.model.errors import ToolError
from payload.model.volume import Layer
from payload.model.volume import Volume as LayeredVolume
from payload.system.boot_entries import BootEntry, BootTable, parse_boot_table
from payload.system.command import Completed
from tests.support.efi_programs import listing
from tests.support.paper_firmware import Firmware

GUID, SECOND = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1b4e28ba-2fa1-11d2-883f-0016d3cca428"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
ESP = Volume(0, 1, 0, 0, "vfat", part_uuid=GUID, type_id=ESP_TYPE)
MIRROR = Volume(1, 1, 0, 0, "vfat", part_uuid=SECOND, type_id=ESP_TYPE)
VERSION_17 = f"""\
BootCurrent: 0001
Timeout: 0 seconds
BootOrder: 0001,0000,0003
Boot0000* UiApp	FvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21)
Boot0001* UEFI QEMU DVD-ROM QM00005 	PciRoot(0x0)/Pci(0x1f,0x2)/Sata(2,65535,0)N.....YM....R,Y.
Boot0003* debian	HD(1,GPT,{GUID.upper()},0x800,0x5f800)/File(\\EFI\\debian\\shimx64.efi)
Boot0004  off	HD(1,GPT,{SECOND},0x800,0x5f800)/File(\\EFI\\debian\\shimx64.efi)
"""
VERSION_18 = f"""\
BootOrder: 0003
Boot0003* debian	HD(1,GPT,{GUID},0x800,0x5f800)/\\EFI\\debian\\shimx64.efi
      dp: 04 01 2a 00 01 00 00 00 / 04 04 34 00 / 7f ff 04 00
"""


@pytest.mark.parametrize("text", [VERSION_17, VERSION_18])
def test_what_efibootmgr_prints(text: str) -> None:
    table = parse_boot_table(text)
    found = table.find(GUID, "\\EFI\\Debian\\SHIMX64.EFI")
    assert found is not None
    assert (found.number, found.label) == ("0003", "debian")
    assert table.find(SECOND, "\\EFI\\debian\\shimx64.efi") is None, "it is switched off"
    assert table.order[-1] == "0003"


@given(st.text(alphabet="Boot0123* \tHD(,GP)/File\\.efi\n:Order-ab", max_size=300))
def test_any_text_gives_an_answer(text: str) -> None:
    table = parse_boot_table(text)
    assert table.find(GUID, "\\x.efi") is None


def plan_of(*nodes: str) -> tuple[Any, Any]:
    """A plan and an inventory, as far as they are asked for the nodes of disks."""
    disks = {node: SimpleNamespace(hardware=SimpleNamespace(node=node)) for node in nodes}
    pairs = [SimpleNamespace(target=SimpleNamespace(id=node)) for node in nodes]
    plan = SimpleNamespace(disks=pairs, source=SimpleNamespace(host_name="groupware"))
    return plan, SimpleNamespace(disk=disks.__getitem__)


def esp(tree: Path, *names: str) -> Path:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"MZ")
    return tree


def test_an_entry_is_made_once_and_read_back(tmp_path: Path) -> None:
    firmware, (plan, target) = Firmware({"/dev/sda": GUID}), plan_of("/dev/sda")
    trees = {ESP: esp(tmp_path, "EFI/debian/shimx64.efi", "EFI/BOOT/BOOTX64.EFI")}
    known = register(firmware, plan, target, trees)
    assert [program.path for program in known.programs] == ["EFI/debian/shimx64.efi"]
    made, order = known.changes
    assert made.where == "firmware entry Boot0002"
    assert "\\EFI\\debian\\shimx64.efi" in made.what
    assert order.what == "0000,0001 became 0001,0002,0000"
    again = register(firmware, plan, target, trees)
    assert (again.programs, again.changes) == (known.programs, ())
    assert sum("--create-only" in call for call in firmware.calls) == 1


def test_the_medium_stays_before_the_copy(tmp_path: Path) -> None:
    """With the medium in it, a machine that loses its power must not come up as the server."""
    firmware, (plan, target) = Firmware({"/dev/sda": GUID}), plan_of("/dev/sda")
    register(firmware, plan, target, {ESP: esp(tmp_path, "EFI/debian/shimx64.efi")})
    tried = [firmware.order.index(number) for number in (firmware.current, "0002")]
    assert tried == [0, 1]
    orders = [call[-1] for call in firmware.calls if "--bootorder" in call]
    assert orders == ["0001,0002,0000"], "at no moment was the copy first"


@pytest.mark.parametrize(
    ("order", "current", "expected"),
    [
        (("1", "2"), "2", ("2", "7", "1")),
        (("7", "1", "2"), "1", ("1", "7", "2")),
        (("1", "7"), "1", ("1", "7")),
        (("1", "2"), "", ("7", "1", "2")),
        (("1", "2"), "9", ("7", "1", "2")),
        ((), "", ("7",)),
    ],
)
def test_orders(order: tuple[str, ...], current: str, expected: tuple[str, ...]) -> None:
    assert plan_order(BootTable((), order, current), ("7",)) == expected
    assert plan_order(BootTable((), order, current), ()) == order


def test_a_medium_chosen_for_once_comes_first_too() -> None:
    entries = (BootEntry("9", "USB stick"), BootEntry("7", "debian"))
    assert plan_order(BootTable(entries, ("7", "1"), "9"), ("7",)) == ("9", "7", "1")


def test_a_mirrored_server_gets_an_entry_for_each_disk_in_their_order(tmp_path: Path) -> None:
    firmware = Firmware({"/dev/sda": GUID, "/dev/sdb": SECOND})
    plan, target = plan_of("/dev/sda", "/dev/sdb")
    names = ("EFI/debian/shimx64.efi",)
    trees = {ESP: esp(tmp_path / "a", *names), MIRROR: esp(tmp_path / "b", *names)}
    known = register(firmware, plan, target, trees)
    assert [program.volume for program in known.programs] == [ESP, MIRROR]
    labels = [firmware.entries[number].split("\t")[0] for number in firmware.order]
    assert labels == ["UEFI USB stick", "debian", "debian 2", "UiApp"]


def test_an_entry_of_the_time_before_comes_before_others_again(tmp_path: Path) -> None:
    firmware, (plan, target) = Firmware({"/dev/sda": GUID}), plan_of("/dev/sda")
    trees = {ESP: esp(tmp_path, "EFI/debian/shimx64.efi")}
    register(firmware, plan, target, trees)
    firmware.order = ["0001", "0000", "0002"]
    (change,) = register(firmware, plan, target, trees).changes
    assert (firmware.order, change.where) == (["0001", "0002", "0000"], "firmware BootOrder")


@pytest.mark.parametrize("fault", ["forgets", "stubborn"])
def test_a_firmware_that_does_not_keep_its_word_is_told(tmp_path: Path, fault: str) -> None:
    firmware, (plan, target) = Firmware({"/dev/sda": GUID}), plan_of("/dev/sda")
    trees = {ESP: esp(tmp_path, "EFI/debian/shimx64.efi")}
    if fault == "stubborn":
        register(firmware, plan, target, trees)
        firmware.order = ["0000"]
    setattr(firmware, fault, True)
    (warning,) = register(firmware, plan, target, trees).warnings
    assert "starts by EFI/BOOT/BOOTX64.EFI only" in warning


def test_a_board_without_a_memory_for_entries_is_told(tmp_path: Path) -> None:
    def none(argv: Sequence[str], **_: Any) -> Completed:
        raise ToolError("EFI variables are not supported on this system.")

    plan, target = plan_of("/dev/sda")
    known = register(none, plan, target, {ESP: esp(tmp_path, "EFI/debian/shimx64.efi")})
    assert (known.programs, known.changes) == ((), ())
    assert "EFI variables are not supported" in known.warnings[0]


def test_labels(tmp_path: Path) -> None:
    tree, (plan, _) = esp(tmp_path / "a", "EFI/redhat/shimx64.efi"), plan_of("/dev/sda")
    assert plan_entries(plan, {ESP: tree})[0].label == "redhat"
    (tree / "EFI/redhat/BOOTX64.CSV").write_bytes(listing("shimx64.efi"))
    assert plan_entries(plan, {ESP: tree})[0].label == "debian"
    (only,) = plan_entries(plan, {ESP: esp(tmp_path / "b", "EFI/BOOT/BOOTX64.EFI")})
    assert (only.label, only.path) == ("groupware", "\\EFI\\BOOT\\BOOTX64.EFI")
    assert plan_entries(plan, {ESP: esp(tmp_path / "c", "EFI/x/readme.txt")}) == ()


def test_an_efi_partition_on_an_array_has_an_entry_for_each_member(tmp_path: Path) -> None:
    plan, _ = plan_of("/dev/sda", "/dev/sdb")
    for pair, guid in zip(plan.disks, (GUID, SECOND), strict=True):
        pair.table = PartitionTable("gpt", "", (Partition(2, 0, 0, ESP_TYPE, guid),))
    array = LayeredVolume("md0", Layer.MD, "", 0)
    volume = Volume(
        0, -1, 0, 0, "vfat", type_id=ESP_TYPE, layered=array, partitions=((0, 2), (1, 2))
    )
    wanted = plan_entries(plan, {volume: esp(tmp_path, "EFI/debian/shimx64.efi")})
    assert [(one.label, one.disk, one.number, one.partition) for one in wanted] == [
        ("debian", 0, 2, GUID),
        ("debian 2", 1, 2, SECOND),
    ]
