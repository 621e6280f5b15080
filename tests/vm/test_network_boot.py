"""A machine without a medium starts the payload from a boot server, by BIOS and by UEFI, and
nothing from one whose ISO is not the one its menu names.

The server is QEMU's own for DHCP and TFTP, and a web server here for the ISO.
"""

import contextlib
import functools
import os
import re
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
from tests.vm.machine import Machine, State
from tests.vm.serial_lines import BANNER

pytestmark = [pytest.mark.vm, pytest.mark.root]

BOOT_SECONDS = 600.0
READY_SECONDS = 200.0
REFUSED = r"^UGS-Failover did not start: http://\S+ is not the ISO that the boot menu names\."
DIGESTS = r"^Its SHA-256 is [0-9a-f]{64}, the menu's \(fetch\.sha256=\) is [0-9a-f]{64}\."
READY = r"^\[wait\] This machine is the target\."
LOADERS = {Firmware.BIOS: "ugs-failover/pxe.0", Firmware.UEFI: "ugs-failover/bootx64.efi"}
PLACE = PROJECT / "build" / "network-boot"


@pytest.fixture(scope="module")
def served(iso: Path) -> Iterator[Path]:
    """What `make iso` laid out; only the web server is at a port of its own."""
    with _boot_server("network") as directory:
        assert (directory / "ugs-failover/ugs-failover.iso").samefile(iso)
        yield directory


@pytest.fixture(scope="module")
def served_another_iso(iso: Path) -> Iterator[Path]:
    """The same, with an ISO of which the last byte differs: a live system that would start."""
    with _boot_server("changed") as directory:
        changed = directory / "ugs-failover/ugs-failover.iso"
        changed.unlink()
        changed.touch(mode=0o600)  # it holds the site's key
        shutil.copyfile(iso, changed)
        with changed.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 0xFF]))
        yield directory
        changed.unlink()


@contextlib.contextmanager
def _boot_server(name: str) -> Iterator[Path]:
    directory = PLACE / name
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(PROJECT / "build/pxe", directory, copy_function=_link)
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


def test_an_iso_that_is_not_the_menu_s_is_refused(
    served_another_iso: Path, accelerator: Accelerator
) -> None:
    hardware = _machine(Firmware.BIOS, served_another_iso)
    with Machine(hardware, PLACE, accelerator) as machine:
        machine.wait_for(REFUSED, BOOT_SECONDS)
        machine.wait_for(DIGESTS, READY_SECONDS)
        machine.take_picture()
        assert machine.state is State.RUNNING, "it is left on, for a person to see"
        assert not re.search(BANNER, machine.text, re.MULTILINE)
        assert hardware.drives[0].image.stat().st_blocks == 0, "it wrote to its disk"


def _machine(firmware: Firmware, served: Path) -> Hardware:
    disk = make_blank(PLACE / f"{served.name}-{firmware}.raw", 64 * MIB)
    server = BootServer(served, LOADERS[firmware])
    return Hardware(
        name=f"{served.name}-{firmware}",
        firmware=firmware,
        bus=Bus.AHCI if firmware is Firmware.UEFI else Bus.IDE,
        drives=(Drive(disk.path, "raw", "TARGET"),),
        cards=(Card("52:54:00:00:00:07", server=server),),
        memory=2048,
    )
