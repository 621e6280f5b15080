"""Which kernel a system starts by itself, and by which initramfs."""

from pathlib import Path

from payload.formats.kernel.initramfs_makers import INITRAMFS_TOOLS
from payload.formats.kernel.startup import read_startup
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
