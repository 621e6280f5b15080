"""A boot entry for each of the copy's programs: made once, read back, behind the medium."""

from collections.abc import Sequence
from dataclasses import replace
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
from payload.system.boot_entries import BootEntry, BootTable
from payload.system.command import Completed
from tests.support.efi_programs import listing
from tests.support.paper_firmware import Firmware

GUID, SECOND = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1b4e28ba-2fa1-11d2-883f-0016d3cca428"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
ESP = Volume(0, 1, 0, 0, "vfat", part_uuid=GUID, type_id=ESP_TYPE)
MIRROR = Volume(1, 1, 0, 0, "vfat", part_uuid=SECOND, type_id=ESP_TYPE)


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


@pytest.mark.parametrize(
    "volume",
    [
        replace(ESP, type_id="83"),
        replace(ESP, part_uuid=""),
        replace(ESP, part_uuid="fa110e55-01"),  # of an MBR, which no entry names
        replace(ESP, part_uuid=f"{GUID},x"),
    ],
)
def test_a_partition_no_entry_can_name_gets_none(tmp_path: Path, volume: Volume) -> None:
    plan, target = plan_of("/dev/sda")
    tree = esp(tmp_path, "EFI/debian/shimx64.efi")
    assert plan_entries(plan, {volume: tree}) == ()
    firmware = Firmware({"/dev/sda": GUID})
    known = register(firmware, plan, target, {volume: tree})
    assert (known.programs, known.changes, known.warnings) == ((), (), ())
    assert firmware.order == ["0000", "0001"], "nothing of its own was changed"


def test_a_label_of_the_server_that_is_no_text_is_not_taken(tmp_path: Path) -> None:
    tree, (plan, _) = esp(tmp_path, "EFI/redhat/shimx64.efi"), plan_of("/dev/sda")
    for label in ("a\x1b[31m", "a\x07", "\u202ea"):
        text = f"shimx64.efi,{label},,x\n"
        (tree / "EFI/redhat/BOOTX64.CSV").write_bytes(text.encode("utf-16"))
        assert plan_entries(plan, {ESP: tree})[0].label == "redhat"


def test_a_list_beside_another_program_names_nothing(tmp_path: Path) -> None:
    tree, (plan, _) = esp(tmp_path, "EFI/redhat/shimx64.efi", "EFI/x/a.efi"), plan_of("/dev/sda")
    (tree / "EFI/x/BOOTX64.CSV").write_bytes(listing("shimx64.efi"))
    (tree / "EFI/redhat/BOOTX64.CSV").write_bytes(listing("grubx64.efi"))
    assert plan_entries(plan, {ESP: tree})[0].label == "redhat"


def test_members_of_an_array_on_disks_that_were_not_copied_get_no_entry(tmp_path: Path) -> None:
    plan, _ = plan_of("/dev/sda")
    plan.disks[0].table = PartitionTable("gpt", "", (Partition(2, 0, 0, ESP_TYPE, GUID),))
    array = LayeredVolume("md0", Layer.MD, "", 0)
    volume = Volume(
        0, -1, 0, 0, "vfat", type_id=ESP_TYPE, layered=array,
        partitions=((0, 2), (0, 3), (1, 2), (-1, 2)),
    )  # fmt: skip
    (wanted,) = plan_entries(plan, {volume: esp(tmp_path, "EFI/debian/shimx64.efi")})
    assert (wanted.disk, wanted.number, wanted.partition) == (0, 2, GUID)


NUMBERS = st.sampled_from(["0000", "0001", "0002", "0003"])


@given(
    st.lists(NUMBERS, unique=True).map(tuple),
    st.lists(NUMBERS, unique=True).map(tuple),
    st.lists(NUMBERS, unique=True).map(tuple),
    st.sampled_from(["", "0001", "0009"]),
)
def test_an_order_loses_no_entry_and_keeps_that_of_the_others(
    listed: tuple[str, ...], order: tuple[str, ...], ours: tuple[str, ...], current: str
) -> None:
    table = BootTable(tuple(BootEntry(one, "x") for one in listed), order, current)
    wanted = plan_order(table, ours)
    assert len(set(wanted)) == len(wanted)
    assert set(order) <= set(wanted)
    assert [one for one in wanted if one in ours] == list(ours) or not ours
    others = [one for one in wanted if one not in ours]
    kept = [one for one in order if one not in ours and one != current]
    assert [one for one in others if one != current] == kept
    if ours and current in {*order, *listed} - {*ours}:
        assert wanted[0] == current, "the medium stays before the copy"
