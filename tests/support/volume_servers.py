"""Servers whose root is no partition, on image files: LVM, LVM on a mirror, an encrypted root."""

from pathlib import Path

from tests.support.image_ranges import ImageRange, put
from tests.support.md_superblocks import new_superblock, old_place, old_superblock
from tests.support.server_image import (
    BOOT_UUID,
    MIB,
    ROOT_UUID,
    RULES,
    install_grub,
    make_ext4,
    make_image,
    tool,
    write_tree,
)
from tests.support.volume_groups import EXTENT, Extents, make_volume_group

DISK = 112 * MIB
BOOT_START, BOOT_SIZE = MIB, 16 * MIB
LAYER_START, LAYER_SIZE = 18 * MIB, 92 * MIB
TABLE = f"""\
label: dos
label-id: 0xfa110e55

1 : start={BOOT_START // 512}, size={BOOT_SIZE // 512}, type=83, bootable
2 : start={LAYER_START // 512}, size={LAYER_SIZE // 512}, type=8e
"""
DATA_START = 2 * MIB  # of the mirror, behind its superblock
ROOT_EXTENTS = 48
FREE_EXTENTS = 20
BOOT_ARRAY, ROOT_ARRAY = bytes(range(16)), bytes(range(16, 32))
FSTAB = """\
/dev/mapper/vg-root / ext4 defaults 0 1
/dev/{boot} /boot ext4 defaults 0 2
/dev/vg/swap none swap sw 0 0
"""


def make_lvm_server(directory: Path) -> list[Path]:
    """One disk: /boot, and a volume group with root, swap and free space."""
    image = _disk(directory / "disk0.img")
    boot = _boot_tree(directory, "/dev/mapper/vg-root")
    make_ext4(image, boot, BOOT_UUID, BOOT_START, BOOT_SIZE)
    _fill_group(directory, image, LAYER_START, LAYER_SIZE, "sda1")
    install_grub(directory, image)
    return [image]


def make_mirror_server(directory: Path) -> list[Path]:
    """Two disks alike: /boot on an array of version 0.90, LVM on one of version 1.2."""
    images = [_disk(directory / "disk0.img"), _disk(directory / "disk1.img")]
    boot = _boot_tree(directory, "/dev/mapper/vg-root")
    make_ext4(images[0], boot, BOOT_UUID, BOOT_START, old_place(BOOT_SIZE))
    size = LAYER_SIZE - DATA_START
    _fill_group(directory, images[0], LAYER_START + DATA_START, size, "md0")
    install_grub(directory, images[0])
    images[1].write_bytes(images[0].read_bytes())
    for number, image in enumerate(images):
        old = old_superblock(device=number, size=old_place(BOOT_SIZE), uuid=BOOT_ARRAY)
        put(image, BOOT_START + old_place(BOOT_SIZE), old)
        new = new_superblock(
            device=number, size=size, data_start=DATA_START, uuid=ROOT_ARRAY, name="server:1"
        )
        put(image, LAYER_START + 4096, new)
    return images


def make_encrypted_server(directory: Path) -> list[Path]:
    """One disk: /boot, and what nobody can read without a passphrase."""
    image = _disk(directory / "disk0.img")
    boot = _boot_tree(directory, "/dev/mapper/sda2_crypt")
    make_ext4(image, boot, BOOT_UUID, BOOT_START, BOOT_SIZE)
    header = b"LUKS\xba\xbe\0\1aes".ljust(168, b"\0") + b"12345678-1234-4234-8234-123456789abc"
    put(image, LAYER_START, header)
    install_grub(directory, image)
    return [image]


def _disk(path: Path) -> Path:
    make_image(path, DISK)
    tool("sfdisk", "-q", str(path), stdin=TABLE)
    return path


def _boot_tree(directory: Path, root: str) -> Path:
    entry = (
        f"menuentry 'server' {{\n linux /vmlinuz-6.1 root={root} ro\n initrd /initrd.img-6.1\n}}\n"
    )
    files = {"vmlinuz-6.1": "kernel " * 900, "initrd.img-6.1": "initrd " * 900}
    write_tree(directory / "boot", {**files, "grub/grub.cfg": entry})
    return directory / "boot"


def _fill_group(directory: Path, image: Path, start: int, size: int, boot: str) -> None:
    volumes = {
        "root": [Extents(0, 5, ROOT_EXTENTS)],
        "swap": [Extents(0, 5 + ROOT_EXTENTS, 8)],
    }
    make_volume_group("vg", [ImageRange(image, start, size)], volumes)
    tree = directory / "root"
    write_tree(
        tree,
        {
            "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
            "etc/hostname": "groupware\n",
            "etc/fstab": FSTAB.format(boot=boot),
            "etc/network/interfaces": "auto eth0\niface eth0 inet dhcp\n",
            "etc/udev/rules.d/70-persistent-net.rules": RULES,
            "sbin/init": "#!/bin/sh\n",
            "srv/mail": "a message\n" * 100_000,
        },
    )
    first = start + EXTENT  # of the extents
    make_ext4(image, tree, ROOT_UUID, first + 5 * EXTENT, ROOT_EXTENTS * EXTENT)
    swap = make_image(directory / "swap.img", 8 * EXTENT)
    tool("mkswap", "-q", str(swap))
    put(image, first + (5 + ROOT_EXTENTS) * EXTENT, swap.read_bytes())
