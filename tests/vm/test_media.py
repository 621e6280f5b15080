"""The ISO starts the payload under every firmware, as CD and as USB stick."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from payload.model.machine import Firmware
from tests.vm.accelerator import Accelerator
from tests.vm.conftest import PROJECT
from tests.vm.crashed_storage import make_crashed_storage
from tests.vm.hardware import Bus, Card, Drive, Hardware, Medium, MediumKind
from tests.vm.images import MIB, digest, make_blank
from tests.vm.live_kernel import live_kernel
from tests.vm.machine import Machine
from tests.vm.serial_lines import BANNER

pytestmark = [pytest.mark.vm, pytest.mark.root]

BOOT_SECONDS = 400.0
READY_SECONDS = 200.0
READY = r"^\[wait\] This machine is the target\."  # identified itself, and has a network
DECIDED = r"^\[role\] \w+: "
LOOK = "(ls -1d /sys/block/* /sys/block/*/holders/*; cat /proc/mdstat; echo told)>/dev/ttyS0\n"
ASSEMBLED = r"^/sys/block/(md|dm-)|/holders/\w|^md\d"


@pytest.mark.parametrize("kind", list(MediumKind))
@pytest.mark.parametrize("firmware", list(Firmware))
def test_cd_and_usb_boot_to_the_payload(
    firmware: Firmware, kind: MediumKind, iso: Path, accelerator: Accelerator
) -> None:
    directory = _directory()
    hardware = _machine(firmware, kind, iso, directory)
    with Machine(hardware, directory, accelerator) as machine:
        machine.wait_for(BANNER, BOOT_SECONDS)
        machine.wait_for(READY, READY_SECONDS)
        machine.take_picture()
        assert hardware.drives[0].image.stat().st_blocks == 0, "it wrote to its disk, alone"


def test_the_disks_of_a_crashed_server_stay_as_they_are(
    iso: Path, accelerator: Accelerator
) -> None:
    """No array, no volume group, no journal is touched by the boot, nor by looking at them."""
    directory = _directory()
    crashed = make_crashed_storage(directory)
    before = [digest(image) for image in crashed]
    hardware = replace(
        _machine(Firmware.BIOS, MediumKind.USB, iso, directory, "crashed", crashed),
        kernel=live_kernel(iso, directory / "kernel"),
    )
    with Machine(hardware, directory, accelerator) as machine:
        machine.wait_for(DECIDED, BOOT_SECONDS)
        machine.turn_to_console(2)
        machine.type_keys(LOOK)
        machine.wait_for(r"^told$", READY_SECONDS)
        machine.take_picture()
        told = machine.text
    assert len(re.findall(r"^/sys/block/sd.$", told, re.MULTILINE)) > len(crashed)
    assert not re.search(ASSEMBLED, told, re.MULTILINE), told
    assert [digest(image) for image in crashed] == before


def _directory() -> Path:
    directory = PROJECT / "build" / "media"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _machine(
    firmware: Firmware,
    kind: MediumKind,
    iso: Path,
    directory: Path,
    name: str = "",
    more: Sequence[Path] = (),
) -> Hardware:
    name = name or f"{firmware}-{kind}"
    disk = make_blank(directory / f"{name}.raw", 64 * MIB)
    drives = [Drive(image, "raw", f"MORE{number}") for number, image in enumerate(more)]
    return Hardware(
        name=name,
        firmware=firmware,
        bus=Bus.AHCI,
        drives=(Drive(disk.path, disk.format, "BLANK"), *drives),
        medium=Medium(iso, kind),
        cards=(Card("52:54:00:0e:d1:a0"),),
        uuid="7c0fbb5e-90a4-4d0f-8a55-6a3e5d6b0e11",
    )
