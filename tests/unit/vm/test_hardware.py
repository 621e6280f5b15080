"""QEMU's command line, without QEMU."""

from dataclasses import replace
from pathlib import Path

import pytest

from payload.model.machine import Firmware
from tests.vm.accelerator import Accelerator
from tests.vm.hardware import (
    BootServer,
    Bus,
    Card,
    Drive,
    Hardware,
    Medium,
    MediumKind,
    Wire,
    plan_arguments,
    plan_cards,
    plan_drives,
    plan_firmware,
    plan_medium,
)
from tests.vm.machine import plan_keys

DRIVES = (Drive(Path("/a.raw"), "raw", "A"), Drive(Path("/b.qcow2"), "qcow2", "B"))


@pytest.mark.parametrize(
    ("firmware", "bus", "places"),
    [
        (Firmware.BIOS, Bus.IDE, ("ide-hd,bus=ide.0,unit=0", "ide-hd,bus=ide.0,unit=1")),
        (Firmware.BIOS, Bus.AHCI, ("ide-hd,bus=ahci.0", "ide-hd,bus=ahci.1")),
        (Firmware.UEFI, Bus.AHCI, ("ide-hd,bus=ide.0", "ide-hd,bus=ide.1")),
        (Firmware.UEFI, Bus.VIRTIO, ("virtio-blk-pci", "virtio-blk-pci")),
        (Firmware.BIOS, Bus.SCSI, ("scsi-hd,bus=scsi.0,scsi-id=0", "scsi-hd,bus=scsi.0,scsi-id=1")),
    ],
)
def test_disks_keep_their_order(firmware: Firmware, bus: Bus, places: tuple[str, ...]) -> None:
    arguments = plan_drives(Hardware("m", firmware=firmware, bus=bus, drives=DRIVES))
    devices = [word for word in arguments if "drive=disk" in word]
    assert [word.split(",drive=")[0] for word in devices] == list(places)
    assert ["serial=A" in devices[0], "serial=B" in devices[1]] == [True, True]


def test_what_a_board_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="q35"):
        plan_drives(Hardware("m", firmware=Firmware.UEFI, bus=Bus.IDE, drives=DRIVES))
    with pytest.raises(ValueError, match="three disks"):
        plan_drives(Hardware("m", bus=Bus.IDE, drives=DRIVES * 2))


@pytest.mark.parametrize("kind", list(MediumKind))
@pytest.mark.parametrize("firmware", list(Firmware))
def test_the_medium_is_first_and_never_written(firmware: Firmware, kind: MediumKind) -> None:
    hardware = Hardware("m", firmware=firmware, bus=Bus.AHCI, medium=Medium(Path("/x.iso"), kind))
    line = " ".join(plan_medium(hardware))
    assert "readonly=on" in line
    assert "bootindex=0" in line
    assert ("usb-storage" in line) == (kind is MediumKind.USB)


def test_a_wire_has_one_listening_end() -> None:
    ends = [
        plan_cards((Card("52:54:00:00:00:01", wire=Wire(Path("/w"), one)),))[1]
        for one in (True, False)
    ]
    assert ["server=on" in ends[0], "server=off" in ends[1]] == [True, True]
    assert "hubport" in plan_cards((Card("52:54:00:00:00:01"),))[1]


def test_a_boot_server_comes_before_the_disks() -> None:
    card = Card("52:54:00:00:00:01", server=BootServer(Path("/srv"), "a/pxe.0"))
    _, netdev, _, device = plan_cards((card,))
    assert netdev == "user,id=net0,tftp=/srv,bootfile=a/pxe.0"
    assert device.endswith(",bootindex=0")


def test_cards_have_their_own_cables_and_slots() -> None:
    cards = (Card("52:54:00:00:00:01", slot=17), Card("52:54:00:00:00:02", "virtio-net-pci"))
    words = plan_cards(cards)
    assert words[1::2] == [
        "hubport,id=net0,hubid=0",
        "e1000,netdev=net0,mac=52:54:00:00:00:01,addr=0x11",
        "hubport,id=net1,hubid=1",
        "virtio-net-pci,netdev=net1,mac=52:54:00:00:00:02",
    ]


def test_secure_boot_takes_the_firmware_that_enforces_it() -> None:
    plain = Hardware("m", firmware=Firmware.UEFI)
    assert not any("secboot" in word for word in plan_firmware(plain, Path("/v")))
    words = plan_firmware(replace(plain, secure_boot=True), Path("/v"))
    assert "q35,smm=on" in words
    assert any("secboot" in word for word in words)


def test_words_reach_the_machine() -> None:
    hardware = Hardware("m", words={"opt/ugs/nonce": "abc"})
    arguments = plan_arguments(hardware, Accelerator.TCG, Path("/s"), Path("/m.log"), Path("/v.fd"))
    place = arguments.index("-fw_cfg")
    assert arguments[place + 1] == "name=opt/ugs/nonce,string=abc"
    assert "erms=off" in arguments[arguments.index("-cpu") + 1]


def test_drives_and_cards_are_the_same_by_kvm() -> None:
    hardware = Hardware("m", drives=DRIVES, bus=Bus.AHCI, cards=(Card("52:54:00:00:00:01"),))
    lines = [
        plan_arguments(hardware, kind, Path("/s"), Path("/m.log"), Path("/v.fd"))
        for kind in Accelerator
    ]
    differing = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    assert [pair[0] for pair in differing] == ["kvm", "host,svm=off,vmx=off"]


def test_a_line_as_keys() -> None:
    assert plan_keys("ls /dev/ttyS0\n") == [
        *(("l",), ("s",), ("spc",), ("slash",), ("d",), ("e",), ("v",), ("slash",)),
        *(("t",), ("t",), ("y",), ("shift", "s"), ("0",), ("ret",)),
    ]
    with pytest.raises(KeyError):
        plan_keys("\u00e4")
