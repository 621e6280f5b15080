"""A boot entry made by the live system is what a firmware then starts from.

The disk has a boot loader that no firmware finds unasked; the live system registers it, twice, and
the machine without its medium starts from it.
"""

import shutil
from pathlib import Path

import pytest

from payload.model.machine import Firmware
from tests.support.server_image import tool
from tests.vm.accelerator import Accelerator
from tests.vm.conftest import PROJECT
from tests.vm.disks import ESP_TYPE, Partition, Range, make_disk, make_esp, make_hole
from tests.vm.hardware import Bus, Drive, Hardware, Medium, MediumKind
from tests.vm.images import MIB
from tests.vm.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.root]

GUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
ESP = Range(2048, 80000)
WORD = "started by the entry of the firmware"
DECIDED = r"^\[role\] \w+: "
BOOT_SECONDS, SECONDS = 400.0, 120.0

# Lies on a disk of its own: a person at tty2 could type it.
REGISTER = f"""\
export PYTHONPATH=/usr/lib/ugs-failover:/usr/lib/ugs-failover/site-packages
python3 - >/dev/ttyS0 2>&1 <<'END'
from pathlib import Path
from types import SimpleNamespace as Paper
from payload.finish.boot.efi_entry import register
from payload.formats.boot.efi_programs import ESP_TYPES
from payload.finish.volumes import Volume
from payload.system.boot_entries import read_boot_table
from payload.system.linux import linux_host

host = linux_host()
node = str(next(Path("/dev/disk/by-id").glob("*SYSTEM")).resolve())
esp = Volume(0, 1, {ESP.start * 512}, {ESP.size * 512}, "vfat", part_uuid="{GUID}",
             type_id="{ESP_TYPE.lower()}")
plan = Paper(disks=[Paper(target=Paper(id="a"))], source=Paper(host_name="server"))
target = Paper(disk=lambda _: Paper(hardware=Paper(node=node)))
with (host.blocks.view(node, esp.start, esp.size) as device,
      host.mounts.mount(device, "vfat") as tree):
    for turn in ("first", "second"):
        known = register(host.run, plan, target, {{esp: tree}})
        print(turn, [change.where for change in known.changes], known.warnings)
table = read_boot_table(host.run)
print("behind", table.order[:1] == (table.current,))
print("entries", sum(entry.partition == "{GUID}" for entry in table.entries))
END
exit
"""


def test_the_firmware_starts_what_was_registered(
    tmp_path: Path, iso: Path, accelerator: Accelerator
) -> None:
    directory = PROJECT / "build" / "boot-entry"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    drives = (
        Drive(_system_disk(directory, tmp_path), "raw", "SYSTEM"),
        Drive(_script_disk(directory), "raw", "SCRIPT"),
    )
    variables = directory / "variables.fd"
    # Through the medium's menu: the entry goes behind the one that the firmware started from.
    live = _machine("live", drives, variables, Medium(iso, MediumKind.USB))
    with Machine(live, directory, accelerator) as machine:
        machine.wait_for(DECIDED, BOOT_SECONDS)
        machine.turn_to_console(2)
        machine.type_keys("sh /dev/disk/by-id/*SCRIPT\n")  # the kernel names them in any order
        first = machine.wait_for(r"^first (.*)$", SECONDS)
        assert "'firmware entry Boot00" in first[1]
        assert machine.wait_for(r"^second (.*)$", SECONDS)[1] == "[] ()"
        machine.wait_for(r"^behind True$", SECONDS)
        machine.wait_for(r"^entries 1$", SECONDS)
    with Machine(_machine("alone", drives, variables, None), directory, accelerator) as machine:
        machine.wait_for(WORD, SECONDS)


def _machine(
    name: str, drives: tuple[Drive, ...], variables: Path, medium: Medium | None
) -> Hardware:
    return Hardware(
        name=f"boot-entry-{name}", firmware=Firmware.UEFI, bus=Bus.AHCI, drives=drives,
        medium=medium, variables=variables,
    )  # fmt: skip


def _system_disk(directory: Path, work: Path) -> Path:
    image, files = directory / "system.img", work / "esp"
    program = files / "EFI/debian/grubx64.efi"
    program.parent.mkdir(parents=True)
    script = work / "grub.cfg"
    script.write_text(f"serial --unit=0\nterminal_output serial\necho {WORD}\nsleep 600\n")
    modules = ("part_gpt", "fat", "serial", "terminal", "echo", "sleep", "normal")
    options = ("-p", "/EFI/debian", "-c", str(script), "-o", str(program))
    tool("grub-mkimage", "-O", "x86_64-efi", *options, *modules)
    make_disk(image, 64 * MIB, GUID, (Partition(1, ESP, ESP_TYPE, uuid=GUID),), "gpt")
    make_esp(image, ESP, "EF1B-0099", files)
    return image


def _script_disk(directory: Path) -> Path:
    image = directory / "script.img"
    make_hole(image, 8 * MIB)
    with image.open("r+b") as disk:
        disk.write(REGISTER.encode())
    return image
