"""Case 12: ext2 with 128-byte inodes and 1 KiB blocks as root, started by extlinux, which knows by
sector numbers where its own second part lies."""

from pathlib import Path

from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import SECTOR, Partition, Range, make_disk, make_ext, mounted
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card
from tests.vm.images import MIB, call
from tests.vm.servers import Recipe

NUMBER = 12
ROOT_UUID = "0cc5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0c01"
SIZE = 1200 * MIB
ROOT = Range(63, SIZE // SECTOR - 63)
OLD, NEW = parts.mac(NUMBER, "source"), parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.22/24"

MENU = (
    "default linux\ntimeout 10\n\nlabel linux\n"
    "    kernel /boot/vmlinuz-@KERNEL@\n"
    f"    append initrd=/boot/initrd.img-@KERNEL@ root=UUID={ROOT_UUID} ro net.ifnames=0 "
    f"{parts.CONSOLE}\n"
)


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    image = work / "disk0.img"
    make_disk(image, SIZE, "0x6d62720c", (Partition(1, ROOT, "83", active=True),))
    make_ext(image, ROOT, root, ("-t", "ext2", "-I", "128", "-b", "1024", "-U", ROOT_UUID))
    with mounted(image, ROOT, "ext2") as top:
        # The server's own program: it puts its code where this very file system begins.
        call(root / "usr/bin/extlinux", "--install", top / "boot/extlinux")
    code = (root / "usr/lib/EXTLINUX/mbr.bin").read_bytes()
    with image.open("r+b") as stream:
        stream.write(code[:440])
    return (image,)


CASE = Case(
    number=NUMBER,
    source_text="ext2 root with 128-byte inodes and 1 KiB blocks, extlinux (bullseye)",
    target_text="same sector size",
    recipe=Recipe(
        host_name="old-file-system",
        release="bullseye",
        packages=("extlinux",),
        files={
            "etc/fstab": f"UUID={ROOT_UUID} / ext2 errors=remount-ro 0 1\n",
            "etc/network/interfaces": parts.LOOPBACK + parts.static("eth0", ADDRESS),
            "etc/udev/rules.d/70-persistent-net.rules": parts.lenny_rules({"eth0": OLD}),
            "boot/extlinux/extlinux.conf": MENU,
        },
        lay_out=_lay_out,
    ),
    source=parts.source_machine(Card(OLD, "e1000", network="lan")),
    target=parts.target_machine(Card(NEW, "e1000e", network="lan")),
    target_sizes=parts.mebibytes(1200),
    expected=Expected(
        cards=(SeenCard("eth0", NEW, (ADDRESS,)),),
        by_rules=True,
        mounts=(Mount("", "/", "ext2"),),
    ),
)
