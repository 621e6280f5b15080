"""A machine without a medium starts the payload from a boot server, by BIOS and by UEFI.

The server is QEMU's own for DHCP and TFTP, and a web server here for the ISO.
"""

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from payload.model.machine import Firmware
from tests.vm.conftest import PROJECT
from tests.vm.images import MIB, make_blank
from tests.vm.machine import BootServer, Bus, Card, Drive, Hardware, Machine
from tests.vm.serial_lines import BANNER

pytestmark = [pytest.mark.vm, pytest.mark.root]

BOOT_SECONDS = 600.0
READY_SECONDS = 200.0
READY = r"^\[wait\] This machine is the target\."
LOADERS = {Firmware.BIOS: "ugs-failover/pxe.0", Firmware.UEFI: "ugs-failover/bootx64.efi"}


PLACE = PROJECT / "build" / "network-boot"


@pytest.fixture
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


def test_bios_and_uefi_start_the_payload_from_the_network(served: Path) -> None:
    machines = [_machine(firmware, served) for firmware in Firmware]
    with ExitStack() as stack:
        for machine in [stack.enter_context(Machine(one, PLACE)) for one in machines]:
            machine.wait_for(BANNER, BOOT_SECONDS)
            machine.wait_for(READY, READY_SECONDS)
            machine.take_picture()
        for hardware in machines:
            blocks = hardware.drives[0].image.stat().st_blocks
            assert blocks == 0, f"{hardware.name} wrote to its disk, alone"


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
