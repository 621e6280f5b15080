"""A machine without a medium starts the payload from a boot server, by BIOS and by UEFI.

The server is QEMU's own for DHCP and TFTP, and a web server here for the ISO.
"""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from payload.model.machine import Firmware
from tests.vm.accelerator import Accelerator
from tests.vm.conftest import PROJECT
from tests.vm.hardware import BootServer, Bus, Card, Drive, Hardware
from tests.vm.images import MIB, make_blank
from tests.vm.machine import Machine
from tests.vm.serial_lines import BANNER

pytestmark = [pytest.mark.vm, pytest.mark.root]

BOOT_SECONDS = 600.0
READY_SECONDS = 200.0
READY = r"^\[wait\] This machine is the target\."
LOADERS = {Firmware.BIOS: "ugs-failover/pxe.0", Firmware.UEFI: "ugs-failover/bootx64.efi"}


PLACE = PROJECT / "build" / "network-boot"


@pytest.fixture(scope="module")
def served(iso: Path) -> Iterator[Path]:
    """What `make iso` laid out; only the web server is at a port of its own."""
    directory = PLACE / "server"
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(PROJECT / "build/pxe", directory, copy_function=_link)
    assert (directory / "ugs-failover/ugs-failover.iso").samefile(iso)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        settings = directory / "grub/settings.cfg"
        text = settings.read_text()
        assert "http://$net_default_server/" in text
        settings.unlink()
        settings.write_text(
            text.replace("$net_default_server", f"$net_default_server:{server.server_port}")
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield directory
        server.shutdown()


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


@pytest.mark.parametrize("firmware", list(Firmware))
def test_the_network_boots_to_the_payload(
    firmware: Firmware, served: Path, accelerator: Accelerator
) -> None:
    hardware = _machine(firmware, served)
    with Machine(hardware, PLACE, accelerator) as machine:
        machine.wait_for(BANNER, BOOT_SECONDS)
        machine.wait_for(READY, READY_SECONDS)
        machine.take_picture()
        assert hardware.drives[0].image.stat().st_blocks == 0, "it wrote to its disk, alone"


def _machine(firmware: Firmware, served: Path) -> Hardware:
    disk = make_blank(PLACE / f"{firmware}.raw", 64 * MIB)
    server = BootServer(served, LOADERS[firmware])
    return Hardware(
        name=f"network-{firmware}",
        firmware=firmware,
        bus=Bus.AHCI if firmware is Firmware.UEFI else Bus.IDE,
        drives=(Drive(disk.path, "raw", "TARGET"),),
        cards=(Card("52:54:00:00:00:07", server=server),),
        memory=2048,
    )
