"""The ISO starts the payload under every firmware, as CD and as USB stick.

Both media of a firmware boot at the same time: one emulated machine keeps one core busy.
"""

from contextlib import ExitStack
from pathlib import Path

import pytest

from payload.model.machine import Firmware
from tests.vm.conftest import PROJECT
from tests.vm.images import MIB, make_blank
from tests.vm.machine import Bus, Card, Drive, Hardware, Machine, Medium, MediumKind
from tests.vm.serial_lines import BANNER

pytestmark = pytest.mark.vm

BOOT_SECONDS = 400.0
READY_SECONDS = 200.0
READY = r"^\[wait\] This machine is the target\."  # identified itself, and has a network


@pytest.mark.parametrize("firmware", list(Firmware))
def test_cd_and_usb_boot_to_the_payload(firmware: Firmware, iso: Path) -> None:
    directory = PROJECT / "build" / "media"
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        machines = [
            stack.enter_context(Machine(_machine(firmware, kind, iso, directory), directory))
            for kind in MediumKind
        ]
        for machine in machines:
            machine.wait_for(BANNER, BOOT_SECONDS)
            machine.wait_for(READY, READY_SECONDS)
            machine.take_picture()
        for machine in machines:
            disk = machine.hardware.drives[0].image
            assert disk.stat().st_blocks == 0, f"{machine.name} wrote to its disk, alone"


def _machine(firmware: Firmware, kind: MediumKind, iso: Path, directory: Path) -> Hardware:
    name = f"{firmware}-{kind}"
    disk = make_blank(directory / f"{name}.raw", 64 * MIB)
    return Hardware(
        name=name,
        firmware=firmware,
        bus=Bus.AHCI,
        drives=(Drive(disk.path, disk.format, "BLANK"),),
        medium=Medium(iso, kind),
        card=Card("52:54:00:0e:d1:a0"),
        uuid="7c0fbb5e-90a4-4d0f-8a55-6a3e5d6b0e11",
    )
