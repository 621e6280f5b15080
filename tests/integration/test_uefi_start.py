"""A server that starts by UEFI, from the fallback program to the firmware's entry.

This machine's kernel may have no FAT: the EFI partition is "mounted" by mtools, whose copy of it is
put back when it was written to. The firmware's memory is on paper.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from payload.model.disk import FileSystem, Partition
from payload.model.errors import AdaptError
from payload.model.machine import Firmware
from payload.system.command import Completed, run
from payload.system.host import Mounts
from payload.system.mounts import LinuxMounts
from tests.support.copy_before_finish import SECTOR, Sealed
from tests.support.efi_programs import shim
from tests.support.paper_firmware import Firmware as PaperFirmware
from tests.support.server_image import BOOT_UUID, ServerImages, make_server, tool

pytestmark = pytest.mark.root
GUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
ESP_START, ESP_SECTORS = 36864 * SECTOR, 16384  # where the other servers here have their swap
NEEDED = ("part_gpt", "fat", "ext2", "search_fs_uuid", "normal")


class MtoolsMounts:
    """`Mounts` that needs no FAT in the kernel."""

    def __init__(self, others: Mounts) -> None:
        self._others = others

    @contextmanager
    def mount(self, device: str, kind: str, **how: Any) -> Iterator[Path]:
        if kind != "vfat":
            with self._others.mount(device, kind, **how) as place:
                yield place
            return
        with TemporaryDirectory() as name:
            tool("mcopy", "-s", "-Q", "-n", "-i", device, "::EFI", name)
            yield Path(name)
            if how.get("writable"):
                tool("mcopy", "-s", "-Q", "-o", "-i", device, f"{name}/EFI", "::")


class UefiCopy(Sealed):
    """A sealed copy with an EFI partition, on a board that never saw the server."""

    def __init__(self, directory: Path, server: ServerImages) -> None:
        super().__init__(directory, server)
        self.firmware = PaperFirmware({str(self.disks[0]): GUID})
        self.host = replace(self.host, mounts=MtoolsMounts(LinuxMounts()))
        self.target = replace(self.target, firmware=Firmware.UEFI)
        self.convert_to_gpt()
        self._make_esp(directory)

    def _run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
    ) -> Completed:
        if argv[0] == "efibootmgr":
            return self.firmware(argv)
        return run(argv, stdin=stdin, timeout=timeout, ok=ok)

    def _make_esp(self, directory: Path) -> None:
        tree = directory / "esp/EFI/debian"
        tree.mkdir(parents=True)
        (tree / "shimx64.efi").write_bytes(shim())
        script = directory / "start.cfg"
        script.write_text(f"search.fs_uuid {BOOT_UUID} root\nset prefix=($root)/grub\n")
        options = ("-p", "/EFI/debian", "-c", str(script), "-o", str(tree / "grubx64.efi"))
        tool("grub-mkimage", "-O", "x86_64-efi", *options, *NEEDED)
        image = directory / "esp.img"
        with image.open("wb") as file:
            file.truncate(ESP_SECTORS * SECTOR)
        tool("mkfs.vfat", str(image))
        tool("mcopy", "-s", "-Q", "-i", str(image), str(tree.parent), "::")
        self.write(ESP_START, image.read_bytes())
        system, data = self.plan.disks
        assert system.table is not None
        found = FileSystem("vfat", "EF1B-0001")
        esp = Partition(5, ESP_START, ESP_SECTORS * SECTOR, ESP_TYPE, uuid=GUID, file_system=found)
        others = tuple(part for part in system.table.partitions if part.number != 5)
        table = replace(system.table, partitions=(*others, esp))
        self.plan = replace(self.plan, disks=(replace(system, table=table), data))

    @contextmanager
    def esp(self) -> Iterator[Path]:
        blocks, size = self.host.blocks, ESP_SECTORS * SECTOR
        blocks.set_writable(str(self.disks[0]))
        with (
            blocks.view(str(self.disks[0]), ESP_START, size, writable=True) as device,
            self.host.mounts.mount(device, "vfat", writable=True) as tree,
        ):
            yield tree


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerImages:
    return make_server(tmp_path_factory.mktemp("server"), files=4)


@pytest.fixture
def copy(tmp_path: Path, server: ServerImages) -> UefiCopy:
    return UefiCopy(tmp_path, server)


def test_a_board_that_never_saw_the_server_starts_it(copy: UefiCopy) -> None:
    planted = [change.where for change in copy.finish().changes]
    assert {"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/grubx64.efi"} <= set(planted)
    before = copy.disks[0].read_bytes()
    report, changes = copy.start()
    assert (report.loader, report.warnings) == ("GRUB 2", ())
    assert "shim starts EFI/debian/grubx64.efi" in report.checks
    assert "shim starts EFI/BOOT/grubx64.efi" in report.checks
    assert "the boot menu is on partition 1 of disk 1" in report.checks
    assert [change.where for change in changes] == [
        "firmware entry Boot0002", "firmware BootOrder",
    ]  # fmt: skip
    assert copy.disks[0].read_bytes() == before
    assert copy.start()[1] == (), "a refresh finds the entry"


def test_a_firmware_that_forgets_is_a_warning_with_the_fallback_program(copy: UefiCopy) -> None:
    copy.firmware.forgets = True
    with pytest.raises(AdaptError, match=r"Add a boot entry for EFI/debian/shimx64\.efi"):
        copy.start()
    copy.blocks.set_writable(str(copy.disks[0]))
    copy.finish()
    (warning,) = copy.start()[0].warnings
    assert "is not there when the firmware's entries are read again" in warning


def test_a_program_that_is_missing_behind_shim_is_found(copy: UefiCopy) -> None:
    with copy.esp() as tree:
        (tree / "EFI/debian/grubx64.efi").write_bytes(b"")
    with pytest.raises(AdaptError, match=r"EFI/debian/grubx64\.efi on .* is missing or empty"):
        copy.start()
    assert copy.blocks.opened_for_writing == []


def test_the_entry_does_without_a_fallback_program(copy: UefiCopy) -> None:
    report, _ = copy.start()
    assert not any("EFI/BOOT" in check for check in report.checks)
    with copy.esp() as tree:
        shutil.copytree(tree / "EFI/debian", tree / "EFI/BOOT")
        (tree / "EFI/BOOT/shimx64.efi").rename(tree / "EFI/BOOT/BOOTX64.EFI")
    assert "shim starts EFI/BOOT/grubx64.efi" in copy.start()[0].checks
