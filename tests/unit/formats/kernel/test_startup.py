"""Which kernel a system starts by itself, and by which initramfs."""

from pathlib import Path

import pytest

from payload.formats.boot.menu_files import find_start
from payload.formats.kernel.initramfs import Contents
from payload.formats.kernel.initramfs_makers import DRACUT, INITRAMFS_TOOLS, find_maker
from payload.formats.kernel.startup import read_startup
from payload.system.files import Place
from tests.support.cpio_archives import archive

OLD, NEW = "6.1.0-1-amd64", "6.1.0-18-amd64"


def put(root: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


def boot_files(root: Path, place: str = "boot/") -> None:
    for version in (OLD, NEW):
        put(root, {f"{place}vmlinuz-{version}": "k", f"{place}initrd.img-{version}": "i"})


def grub_cfg(version: str, place: str) -> str:
    return (
        f"menuentry x {{\n linux {place}vmlinuz-{version} root=/dev/sda1\n"
        f" initrd {place}early.img {place}initrd.img-{version}\n}}\n"
    )


def test_the_menu_decides_whichever_is_newer(tmp_path: Path) -> None:
    boot_files(tmp_path)
    put(tmp_path, {"boot/grub/grub.cfg": grub_cfg(OLD, "/boot/")})
    start = find_start([tmp_path], [OLD, NEW])
    assert start and (start.version, start.path) == (OLD, f"/boot/initrd.img-{OLD}")
    assert start.image == Place(tmp_path, f"/boot/initrd.img-{OLD}")


def test_a_boot_of_its_own_and_a_menu_of_grub_legacy(tmp_path: Path) -> None:
    root, boot = tmp_path / "root", tmp_path / "boot"
    boot_files(boot, "")
    (root / "boot").mkdir(parents=True)
    menu = f"default 1\ntitle a\nkernel /vmlinuz-{NEW}\ntitle b\nkernel /vmlinuz-{OLD}\n"
    put(boot, {"grub/menu.lst": f"{menu}initrd /initrd.img-{OLD}\n"})
    start = find_start([root, boot], [OLD, NEW])
    assert start and start.image == Place(boot, f"/initrd.img-{OLD}")


def test_links_into_a_boot_of_its_own_are_followed(tmp_path: Path) -> None:
    root, boot = tmp_path / "root", tmp_path / "boot"
    boot_files(boot, "")
    root.mkdir()
    (root / "vmlinuz").symlink_to(f"boot/vmlinuz-{OLD}")
    (root / "initrd.img").symlink_to(f"boot/initrd.img-{OLD}")
    put(root, {"etc/lilo.conf": "image=/vmlinuz\n label=Linux\n initrd=/initrd.img\n"})
    start = find_start([root, boot], [OLD, NEW])
    assert start and (start.version, start.image) == (OLD, Place(boot, f"/initrd.img-{OLD}"))


@pytest.mark.parametrize(
    ("root", "fixed"),
    [
        ("/dev/hda2", "/dev/hda2"),
        ("/dev/cciss/c0d0p2", "/dev/cciss/c0d0p2"),
        ("/dev/xvda1", "/dev/xvda1"),
        ("LABEL=root", ""),  # words for the initramfs
        ("/dev/disk/by-id/ata-X-part2", ""),
        ("/dev/mapper/vg-root", ""),
        ("/dev/vg/root", ""),
    ],
)
def test_lilo_alone_fixes_the_root_by_its_number(tmp_path: Path, root: str, fixed: str) -> None:
    boot_files(tmp_path)
    put(tmp_path, {"etc/lilo.conf": f"root={root}\nimage=/boot/vmlinuz-{OLD}\n label=a\n"})
    start = find_start([tmp_path], [OLD, NEW])
    assert start and (start.version, start.fixed_root) == (OLD, fixed)
    put(tmp_path, {"boot/extlinux/extlinux.conf": f"label a\n linux /boot/vmlinuz-{NEW}\n"})
    start = find_start([tmp_path], [OLD, NEW])
    assert start and (start.version, start.fixed_root) == (NEW, "")  # lilo.conf is a leftover


def test_without_a_menu_the_newest_with_an_initramfs(tmp_path: Path) -> None:
    boot_files(tmp_path)
    start = find_start([tmp_path], [OLD, NEW, "6.12.0-nothing"])
    assert start and start.version == NEW
    assert find_start([tmp_path], []) is None


def test_a_kernel_the_menu_names_and_nobody_knows_is_not_guessed(tmp_path: Path) -> None:
    """One with all drivers built in has no modules: whatever else is installed does not start."""
    boot_files(tmp_path)
    put(tmp_path, {"boot/own": "k", "boot/grub/grub.cfg": "menuentry x {\n linux /boot/own\n}\n"})
    assert find_start([tmp_path], [OLD, NEW]) is None


def test_a_kernel_without_an_initramfs(tmp_path: Path) -> None:
    put(tmp_path, {f"boot/vmlinuz-{OLD}": "k", f"lib/modules/{OLD}/modules.alias": ""})
    put(tmp_path, {"boot/grub/menu.lst": f"title a\nkernel /boot/vmlinuz-{OLD} root=/dev/hda1\n"})
    startup = read_startup([tmp_path])
    assert startup.kernel and startup.kernel.version == OLD
    assert (startup.contents, startup.held) == (None, frozenset())


def test_an_initramfs_is_read_and_its_maker_found(tmp_path: Path) -> None:
    put(tmp_path, {f"lib/modules/{OLD}/modules.alias": "", "usr/sbin/mkinitramfs": ""})
    image = tmp_path / f"boot/initrd.img-{OLD}"
    put(tmp_path, {f"boot/initrd.img-{OLD}": ""})
    image.write_bytes(archive({"conf/initramfs.conf": b"MODULES=dep\n", "a/ahci.ko": b""}))
    startup = read_startup([tmp_path])
    assert (startup.held, startup.maker) == (frozenset({"ahci"}), INITRAMFS_TOOLS)
    assert startup.contents and startup.contents.kept == {"conf/initramfs.conf": b"MODULES=dep\n"}
    image.write_bytes(b"\x1f\x8bnonsense")
    startup = read_startup([tmp_path])
    assert startup.held is None and "damaged" in startup.unknown


@pytest.mark.parametrize(
    ("installed", "sign", "maker"),
    [
        (["usr/sbin/mkinitramfs"], "", INITRAMFS_TOOLS),
        (["usr/bin/dracut"], "usr/lib/dracut/build-parameter.txt", DRACUT),
        (["usr/bin/dracut", "usr/sbin/mkinitramfs"], "conf/initramfs.conf", INITRAMFS_TOOLS),
        (["usr/bin/dracut", "usr/sbin/mkinitramfs"], "", ""),
        ([], "conf/initramfs.conf", ""),
    ],
)
def test_who_made_an_image_can_make_it_anew_where_it_is_installed(
    tmp_path: Path, installed: list[str], sign: str, maker: str
) -> None:
    put(tmp_path, dict.fromkeys(installed, "x"))
    assert find_maker(tmp_path, Contents(frozenset({sign}), {})) == maker
