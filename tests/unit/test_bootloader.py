"""From the firmware to the root file system, on trees in a directory."""

from pathlib import Path

import pytest

from payload.finish.bootloader import BootDisk, check_boot
from payload.finish.uefi import add_fallback
from payload.finish.volumes import Volume
from payload.model.errors import AdaptError
from payload.model.machine import Firmware
from payload.model.report import BootLoaderReport
from tests.unit.test_boot_code import TABLE, disk, legacy, stage1_5

BOOT = Volume(0, 1, 0, 0, "ext3", "b-boot", type_id="83")
ROOT = Volume(0, 5, 0, 0, "ext3", "a-root", type_id="83")
ESP = Volume(0, 2, 0, 0, "vfat", "e-esp", type_id="c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
MENU = """\
default 0
title server
root (hd0,0)
kernel /vmlinuz root=/dev/sda5 ro
initrd /initrd.img
title old
root (hd0,0)
kernel /vmlinuz.old root=/dev/sda5 ro
"""


def write(tree: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    files = {"vmlinuz-2.6.18": "kernel", "initrd.img": "initrd", "grub/menu.lst": MENU}
    tree = write(tmp_path / "boot", files)
    (tree / "vmlinuz").symlink_to("/vmlinuz-2.6.18")
    return tree


def check_legacy(boot: Path, directory: bytes = b"/grub") -> BootLoaderReport:
    read = disk(*legacy(1), stage1_5(directory))
    root = write(boot.parent / "root", {"etc/fstab": ""})
    trees = {BOOT: boot, ROOT: root}
    return check_boot([BootDisk("disk sda", read, TABLE)], [BOOT, ROOT], trees, Firmware.BIOS)


def test_grub_legacy_with_a_separate_boot(boot: Path) -> None:
    report = check_legacy(boot)
    assert report.loader == "GRUB legacy"
    assert "/vmlinuz, /initrd.img there and not empty" in report.checks
    assert "1 further entries do not start, at the source neither" in report.checks


def test_the_manuals_grub_install_on_a_separate_boot_is_found(boot: Path) -> None:
    with pytest.raises(AdaptError, match="bare prompt"):
        check_legacy(boot, b"/boot/grub")


def test_a_missing_initrd_is_found(boot: Path) -> None:
    (boot / "initrd.img").unlink()
    with pytest.raises(AdaptError, match=r"'server' would not start: /initrd.img is missing"):
        check_legacy(boot)


def test_a_root_in_a_partition_that_is_not_there(boot: Path) -> None:
    menu = boot / "grub/menu.lst"
    menu.write_text(menu.read_text().replace("sda5", "sda7"))
    with pytest.raises(AdaptError, match="called /dev/sda7"):
        check_legacy(boot)


def test_a_menu_without_linux_is_found(boot: Path) -> None:
    (boot / "grub/menu.lst").write_text("title dos\nchainloader +1\n")
    with pytest.raises(AdaptError, match="starts no Linux kernel"):
        check_legacy(boot)


def check_uefi(trees: dict[Volume, Path]) -> BootLoaderReport:
    return check_boot([BootDisk("disk sda", disk(), TABLE)], list(trees), trees, Firmware.UEFI)


def test_uefi_needs_the_fallback_program(tmp_path: Path) -> None:
    esp = write(tmp_path / "esp", {"EFI/boot/BootX64.efi": "MZ", "EFI/debian/shimx64.efi": "MZ"})
    cfg = (
        "menuentry x {\n search --fs-uuid --set=root a-root\n linux /vmlinuz root=UUID=a-root\n}\n"
    )
    root = write(tmp_path / "root", {"boot/grub/grub.cfg": cfg, "vmlinuz": "kernel"})
    report = check_uefi({ESP: esp, ROOT: root})
    assert "EFI/boot/BootX64.efi is on the EFI partition" in report.checks[0]
    assert "root=UUID=a-root is a file system of the copy" in report.checks


def test_uefi_without_fallback_says_which_entry_to_add(tmp_path: Path) -> None:
    esp = write(tmp_path / "esp", {"EFI/debian/shimx64.efi": "MZ"})
    with pytest.raises(AdaptError, match=r"Add a boot entry for EFI/debian/shimx64\.efi"):
        check_uefi({ESP: esp})


def test_uefi_without_an_efi_partition(boot: Path) -> None:
    with pytest.raises(AdaptError, match="no EFI partition"):
        check_uefi({BOOT: boot})


def test_the_servers_own_loader_becomes_the_fallback(tmp_path: Path) -> None:
    files = {"shimx64.efi": "shim", "grubx64.efi": "grub", "grub.cfg": "cfg", "fbx64.efi": "fb"}
    esp = write(tmp_path / "esp", {f"EFI/debian/{name}": text for name, text in files.items()})
    changes = add_fallback(esp)
    assert {path.name: path.read_text() for path in (esp / "EFI/BOOT").iterdir()} == {
        "BOOTX64.EFI": "shim",
        "grubx64.efi": "grub",
        "grub.cfg": "cfg",
    }
    assert len(changes) == 3
    assert "EFI/BOOT/BOOTX64.EFI" in check_uefi({ESP: esp}).checks[0]
    assert add_fallback(esp) == ()


def test_without_shim_grub_itself_becomes_the_fallback(tmp_path: Path) -> None:
    esp = write(tmp_path / "esp", {"efi/redhat/grubx64.efi": "grub", "efi/redhat/grub.cfg": "cfg"})
    add_fallback(esp)
    fallback = {path.name: path.read_text() for path in esp.glob("*/BOOT/*")}
    assert fallback == {"BOOTX64.EFI": "grub", "grub.cfg": "cfg"}
