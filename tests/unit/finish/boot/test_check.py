"""From the firmware to the root file system, on trees in a directory."""

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot.check import BootDisk, check_boot
from payload.finish.boot.efi_chain import Program
from payload.finish.volumes import Volume
from payload.formats.boot.efi_programs import add_fallback
from payload.model.disk import Partition, PartitionTable
from payload.model.errors import AdaptError, LoaderError
from payload.model.machine import Firmware
from payload.model.report import BootLoaderReport
from tests.support.boot_disks import ONE_PARTITION, boot_disk
from tests.support.efi_programs import grub, listing, shim
from tests.support.grub_legacy_stages import LOADED, stage1, stage1_5, stage2

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
    (tree / "grub/stage2").write_bytes(stage2(b"/grub/menu.lst"))
    return tree


def check_legacy(boot: Path, *parts: tuple[int, bytes]) -> BootLoaderReport:
    read = boot_disk(*(parts or (*stage1(1), stage1_5(b"/grub"))))
    root = write(boot.parent / "root", {"etc/fstab": ""})
    trees = {BOOT: boot, ROOT: root}
    return check_boot(
        [BootDisk("disk sda", read, ONE_PARTITION)], [BOOT, ROOT], trees, Firmware.BIOS
    )


def test_grub_legacy_with_a_separate_boot(boot: Path) -> None:
    report = check_legacy(boot)
    assert report.loader == "GRUB legacy"
    assert "/vmlinuz, /initrd.img there and not empty" in report.checks
    (warning,) = report.warnings
    assert "1 further entries of the boot menu do not start" in warning
    assert "'old'" in warning


def test_the_manuals_grub_install_on_a_separate_boot_is_found(boot: Path) -> None:
    with pytest.raises(LoaderError, match="in /boot/grub is on no file system"):
        check_legacy(boot, *stage1(1), stage1_5(b"/boot/grub"))


def test_stage_1_5_looks_on_its_own_partition_only(boot: Path) -> None:
    with pytest.raises(LoaderError, match="bare prompt"):
        check_legacy(boot, *stage1(1), stage1_5(b"/grub", partition=5))


def test_stage_2_is_a_stage_2(boot: Path) -> None:
    (boot / "grub/stage2").write_bytes(b"\0" * 4096)
    with pytest.raises(LoaderError, match="bare prompt"):
        check_legacy(boot)


def test_stage_2_tells_where_the_menu_is(boot: Path) -> None:
    (boot / "grub/menu.lst").rename(boot / "grub/grub.conf")
    with pytest.raises(LoaderError):
        check_legacy(boot)
    (boot / "grub/stage2").write_bytes(stage2(b"/grub/grub.conf"))
    assert "the boot menu is on partition 1 of disk 1" in check_legacy(boot).checks


def test_a_list_of_blocks_is_compared_with_the_file(boot: Path) -> None:
    content = stage2(b"/grub/menu.lst", first=40, partition=1)
    (boot / "grub/stage2").write_bytes(content[:-7])
    blocks = (*stage1(40, LOADED), (40 * 512, content))
    assert "stage 2 in sector 40" in check_legacy(boot, *blocks).checks[0]
    stale = content[:-20] + b"another kernel's bytes"[:20]
    with pytest.raises(LoaderError, match="no stage 2 on a file system"):
        check_legacy(boot, *stage1(40, LOADED), (40 * 512, stale))


def test_a_kernel_on_another_disk_is_not_looked_for_here(boot: Path) -> None:
    menu = boot / "grub/menu.lst"
    menu.write_text(menu.read_text().replace("(hd0,0)", "(hd1,0)"))
    with pytest.raises(AdaptError, match="no file system of the copy is in partition 1"):
        check_legacy(boot)


def test_the_default_that_was_saved_last_has_to_start(boot: Path) -> None:
    menu = boot / "grub/menu.lst"
    menu.write_text(menu.read_text().replace("default 0", "default saved"))
    (boot / "grub/default").write_text("1\n#\n#\n")
    with pytest.raises(AdaptError, match=r"'old' would not start: /vmlinuz\.old is missing"):
        check_legacy(boot)


def test_what_nobody_can_look_into_is_no_fault(boot: Path) -> None:
    menu = boot / "grub/menu.lst"
    menu.write_text(menu.read_text().replace("/dev/sda5", "UUID=inside"))
    with pytest.raises(AdaptError, match="is called UUID=inside"):
        check_legacy(boot)
    locked = Volume(0, 6, 0, 0, "crypto_LUKS")
    read = [BootDisk("disk sda", boot_disk(*stage1(1), stage1_5(b"/grub")), ONE_PARTITION)]
    report = check_boot(read, [BOOT, locked], {BOOT: boot}, Firmware.BIOS)
    assert "root=UUID=inside is in what cannot be looked into" in report.checks
    menu.write_text(menu.read_text().replace("(hd0,0)", "(hd0,6)"))
    unseen = Volume(0, 7, 0, 0, "a file system of tomorrow")
    checks = check_boot(read, [BOOT, locked, unseen], {BOOT: boot}, Firmware.BIOS).checks
    assert any("not looked for: partition 7 of disk 1" in check for check in checks)


def test_a_second_disk_that_would_not_start_is_told(boot: Path) -> None:
    good = boot_disk(*stage1(1), stage1_5(b"/grub"))
    for other, word in ((boot_disk(*stage1(1)), "stage 1.5 in sector 1"), (good, "bare prompt")):
        disks = [
            BootDisk("disk sda", good, ONE_PARTITION),
            BootDisk("disk sdb", other, ONE_PARTITION),
        ]
        (warning,) = [
            one
            for one in check_boot(disks, [BOOT, ROOT], {BOOT: boot}, Firmware.BIOS).warnings
            if "Another one" in one
        ]
        assert "disk sdb" in warning
        assert word in warning
    mirror = replace(BOOT, disk=1)
    report = check_boot(disks, [BOOT, ROOT], {BOOT: boot, mirror: boot}, Firmware.BIOS)
    assert not any("Another one" in warning for warning in report.warnings)


LILO_CODE = (0, b"\xfa\xeb\x21\x01\xb4\x01LILO\x16")


def test_lilo_starts_what_its_map_says(boot: Path) -> None:
    conf = boot.parent / "root/etc/lilo.conf"
    text = "root=/dev/sda5\nimage=/boot/vmlinuz\n label=server\n initrd=/boot/initrd.img\n"
    conf.parent.mkdir(parents=True)
    conf.write_text(text)
    report = check_legacy(boot, LILO_CODE)
    assert "/boot/vmlinuz, /boot/initrd.img there and not empty" in report.checks
    assert report.warnings == ()
    conf.write_text(text.replace("initrd.img", "gone.img"))
    (warning,) = check_legacy(boot, LILO_CODE).warnings
    assert "/boot/gone.img is missing" in warning


def test_extlinux_starts_what_its_menu_says(boot: Path) -> None:
    table = PartitionTable("dos", "0x1", (Partition(1, 8 * 512, 99 * 512, "83", bootable=True),))
    code = boot_disk((0, b"\x33"), (8 * 512, b"\xeb\x58\x90EXTLINUX"), (8 * 512 + 510, b"\x55\xaa"))
    conf = "DEFAULT x\nLABEL x\n KERNEL ../vmlinuz\n APPEND initrd=/initrd.img root=/dev/sda5\n"
    write(boot, {"extlinux/extlinux.conf": conf})
    disks = [BootDisk("disk sda", code, table)]
    report = check_boot(disks, [BOOT, ROOT], {BOOT: boot}, Firmware.BIOS)
    assert report.loader == "extlinux"
    assert "../vmlinuz, /initrd.img there and not empty" in report.checks
    (boot / "initrd.img").unlink()
    with pytest.raises(AdaptError, match=r"'x' would not start: /initrd\.img is missing"):
        check_boot(disks, [BOOT, ROOT], {BOOT: boot}, Firmware.BIOS)


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


STUB = """\
search.fs_uuid a-root root hd0,gpt2
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
"""
CFG = "menuentry x {\n search --fs-uuid --set=root a-root\n linux /vmlinuz root=UUID=a-root\n}\n"


def check_uefi(trees: dict[Volume, Path], *known: Program) -> BootLoaderReport:
    read = [BootDisk("disk sda", boot_disk(), ONE_PARTITION)]
    return check_boot(read, list(trees), trees, Firmware.UEFI, known)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "root", {"boot/grub/grub.cfg": CFG, "vmlinuz": "kernel"})


def put(tree: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    return tree


SIGNED = {
    "EFI/debian/shimx64.efi": shim(),
    "EFI/debian/grubx64.efi": grub("/EFI/debian", "normal (memdisk)/grub.cfg"),
    "EFI/debian/grub.cfg": STUB.encode(),
}


def test_shim_leads_to_grub_its_stub_and_the_real_menu(tmp_path: Path, root: Path) -> None:
    esp = put(tmp_path / "esp", SIGNED)
    add_fallback(esp)
    report = check_uefi({ESP: esp, ROOT: root})
    assert (report.loader, report.warnings) == ("GRUB 2", ())
    assert "EFI/BOOT/BOOTX64.EFI is on the EFI partition" in report.checks[0]
    assert report.checks[1] == "shim starts EFI/BOOT/grubx64.efi"
    assert "root=UUID=a-root is a file system of the copy" in report.checks
    (root / "vmlinuz").unlink()
    with pytest.raises(AdaptError, match="/vmlinuz is missing"):
        check_uefi({ESP: esp, ROOT: root})


@pytest.mark.parametrize("name", ["EFI/BOOT/grubx64.efi", "EFI/debian/grub.cfg"])
def test_a_gap_in_the_chain_is_found(tmp_path: Path, root: Path, name: str) -> None:
    esp = put(tmp_path / "esp", SIGNED)
    add_fallback(esp)
    (esp / name).unlink()
    if name.endswith(".cfg"):
        (esp / "EFI/BOOT/grub.cfg").unlink()
    with pytest.raises(LoaderError, match=r"grubx64\.efi on .* (is missing|no grub\.cfg)"):
        check_uefi({ESP: esp, ROOT: root})


def test_what_the_firmware_knows_makes_up_for_a_stale_fallback(tmp_path: Path, root: Path) -> None:
    esp = put(tmp_path / "esp", {**SIGNED, "EFI/boot/BootX64.efi": grub("(,gpt7)/boot/grub")})
    with pytest.raises(LoaderError, match=r"EFI/boot/BootX64\.efi on .* is GRUB"):
        check_uefi({ESP: esp, ROOT: root})
    report = check_uefi({ESP: esp, ROOT: root}, Program(ESP, "EFI/debian/shimx64.efi"))
    assert "shim starts EFI/debian/grubx64.efi" in report.checks
    assert "One of the copy's EFI programs does not do: EFI/boot/BootX64.efi" in report.warnings[0]


def test_shims_fallback_program_takes_the_list(tmp_path: Path, root: Path) -> None:
    fallback = {"EFI/BOOT/BOOTX64.EFI": shim(), "EFI/BOOT/fbx64.efi": b"MZ"}
    esp = put(tmp_path / "esp", {**SIGNED, **fallback})
    with pytest.raises(LoaderError, match=r"fbx64\.efi, which finds no BOOTX64\.CSV"):
        check_uefi({ESP: esp, ROOT: root})
    put(esp, {"EFI/debian/BOOTX64.CSV": listing("shimx64.efi")})
    report = check_uefi({ESP: esp, ROOT: root})
    assert report.checks[1:3] == (
        "shim starts EFI/debian/shimx64.efi",
        "shim starts EFI/debian/grubx64.efi",
    )


def test_a_grub_made_for_the_machine_has_the_uuid_inside(tmp_path: Path, root: Path) -> None:
    esp = put(tmp_path / "esp", {"EFI/BOOT/BOOTX64.EFI": grub("(,gpt2)/boot/grub", STUB)})
    checks = check_uefi({ESP: esp, ROOT: root}).checks
    assert "root=UUID=a-root is a file system of the copy" in checks


def test_systemd_boot_has_its_entries_on_the_efi_partition(tmp_path: Path, root: Path) -> None:
    program = {"EFI/BOOT/BOOTX64.EFI": b"MZ #### LoaderInfo: systemd-boot 252 ####"}
    entry = b"title x\nlinux /linux\ninitrd /initrd\noptions root=UUID=a-root\n"
    files = {**program, "loader/entries/x.conf": entry, "linux": b"k", "initrd": b"i"}
    esp = put(tmp_path / "esp", files)
    assert "/linux, /initrd there and not empty" in check_uefi({ESP: esp, ROOT: root}).checks
    (esp / "initrd").unlink()
    with pytest.raises(AdaptError, match="/initrd is missing"):
        check_uefi({ESP: esp, ROOT: root})


def test_a_program_that_keeps_its_way_to_itself_is_named(tmp_path: Path, root: Path) -> None:
    esp = put(tmp_path / "esp", {"EFI/BOOT/BOOTX64.EFI": b"MZ"})
    assert check_uefi({ESP: esp, ROOT: root}).loader == "UEFI"
    os.truncate(esp / "EFI/BOOT/BOOTX64.EFI", 300 << 20)  # a kernel with its initramfs in it
    tracemalloc.start()
    try:
        assert check_uefi({ESP: esp, ROOT: root}).loader == "UEFI"
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_program_gives_an_answer(noise: bytes, place: int) -> None:
    content = bytearray(grub("/EFI/x", STUB))
    content[place : place + len(noise)] = noise
    with TemporaryDirectory() as name:
        esp = put(Path(name), {"EFI/BOOT/BOOTX64.EFI": bytes(content), "EFI/x/BOOTX64.CSV": noise})
        try:
            report = check_uefi({ESP: esp})
        except AdaptError:
            return
    assert report.loader == "UEFI"


def test_uefi_without_fallback_says_which_entry_to_add(tmp_path: Path) -> None:
    esp = write(tmp_path / "esp", {"EFI/debian/shimx64.efi": "MZ"})
    with pytest.raises(AdaptError, match=r"Add a boot entry for EFI/debian/shimx64\.efi"):
        check_uefi({ESP: esp})


def test_uefi_without_an_efi_partition(boot: Path) -> None:
    with pytest.raises(AdaptError, match="no EFI partition"):
        check_uefi({BOOT: boot})
