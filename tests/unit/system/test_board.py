"""Who a machine says it is, and which boards are not believed."""

from pathlib import Path

import pytest

from payload.model.errors import ToolError
from payload.model.machine import Firmware
from payload.system.board import LinuxBoard, believable_text, believable_uuid, machine_id

UUID = "4c4c4544-0042-3510-8052-b4c04f4a3132"
MACS = ("00:1b:21:0a:0b:0c", "00:1b:21:0a:0b:0d")


def _board(root: Path, **fields: str) -> LinuxBoard:
    place = root / "sys/class/dmi/id"
    place.mkdir(parents=True)
    for name, value in fields.items():
        place.joinpath(name).write_text(value + "\n")
    return LinuxBoard(root)


def test_a_server_with_a_proper_board(tmp_path: Path) -> None:
    board = _board(
        tmp_path,
        product_uuid=UUID.upper(),
        sys_vendor="Dell Inc.",
        product_name="PowerEdge  R710",
        product_serial="B5R4JN1",
    )
    found = board.identity(tuple(reversed(MACS)))
    assert (found.uuid, found.macs, found.serial) == (UUID, MACS, "B5R4JN1")
    assert found.label == f"Dell Inc. PowerEdge R710 {found.id[:8]}"
    assert len(found.id) == 32


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "Not Settable",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
        "03000200-0400-0500-0006-000700080009",
        "03000200-0400-0500-0006-0007000800091",
    ],
)
def test_a_uuid_that_many_boards_share_is_none(uuid: str) -> None:
    assert believable_uuid(uuid) == ""


@pytest.mark.parametrize(
    "text",
    [
        "To be filled by O.E.M.",
        "To Be Filled By O.E.M. ",
        "Default string",
        "Not Specified",
        "System Serial Number",
        "0123456789",
        "00000000",
        "None",
        "....",
        "",
    ],
)
def test_what_the_firmware_author_left_there_is_not_believed(text: str) -> None:
    assert believable_text(text.strip()) == ""


@pytest.mark.parametrize("text", ["B5R4JN1", "PowerEdge R710", "QEMU", "VMware7,1", "10FE"])
def test_real_names_are_kept(text: str) -> None:
    assert believable_text(text) == text


def test_same_dmi_uuid_on_both_machines_makes_two_machines_by_their_cards() -> None:
    assert machine_id(UUID, MACS[:1]) != machine_id(UUID, MACS[1:])
    assert machine_id("", MACS[:1]) != machine_id("", MACS[1:])


def test_two_uuids_make_two_machines_whatever_the_cards() -> None:
    assert machine_id(UUID, MACS) != machine_id(UUID.replace("4", "5"), MACS)


def test_the_order_of_cards_and_a_passing_usb_card_do_not_matter() -> None:
    usb = "9a:bb:cc:00:00:01"
    assert machine_id(UUID, (*MACS, usb)) == machine_id(UUID, MACS[::-1])
    assert machine_id(UUID, (usb,)) != machine_id(UUID, ())  # in virtual machines they count


def test_a_machine_without_dmi_is_known_by_its_cards(tmp_path: Path) -> None:
    found = LinuxBoard(tmp_path).identity(MACS)
    assert (found.uuid, found.vendor, found.label) == ("", "", f"machine {found.id[:8]}")


def test_firmware(tmp_path: Path) -> None:
    assert LinuxBoard(tmp_path).firmware() is Firmware.BIOS
    (tmp_path / "sys/firmware/efi").mkdir(parents=True)
    assert LinuxBoard(tmp_path).firmware() is Firmware.UEFI


def test_memory(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:        2048 kB\nMemFree: 1 kB\n")
    assert LinuxBoard(tmp_path).memory() == 2 << 20
    (tmp_path / "proc/meminfo").write_text("nothing\n")
    with pytest.raises(ToolError, match="how much memory"):
        LinuxBoard(tmp_path).memory()
    with pytest.raises(ToolError, match="could not be read"):
        LinuxBoard(tmp_path / "none").memory()
