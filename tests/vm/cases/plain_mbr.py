"""Case 2: one ext4 on an MBR disk, GRUB 2, names by 70- rules; onto a virtio disk and card."""

from pathlib import Path

from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import Partition, Range, install_grub, make_disk, make_ext, make_grub_core
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Bus, Card
from tests.vm.images import MIB
from tests.vm.servers import Recipe

NUMBER = 2
ROOT_UUID = "02c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0201"
SIZE = 1200 * MIB
ROOT = Range(2048, SIZE // 512 - 2048)
GAP = Range(1, 2047)
OLD, NEW = parts.mac(NUMBER, "source"), parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.12/24"


def _prepare(root: Path) -> None:
    parts.copy_grub_modules(root, "i386-pc")


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    image = work / "disk0.img"
    make_disk(image, SIZE, "0x6d627202", (Partition(1, ROOT, "83", active=True),))
    setup = parts.find_by_uuid(ROOT_UUID, "/boot/grub")
    core = make_grub_core(root, work, "i386-pc", setup, (*parts.BIOS_MODULES, "ext2"))
    install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, GAP)
    make_ext(image, ROOT, root, ("-t", "ext4", "-U", ROOT_UUID))
    return (image,)


CASE = Case(
    number=NUMBER,
    source_text="MBR, one ext4, GRUB 2, 70- rules (bullseye)",
    target_text="virtio disk and card",
    recipe=Recipe(
        host_name="plain-mbr",
        release="bullseye",
        packages=("grub-pc",),
        files={
            "etc/fstab": f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n",
            "etc/network/interfaces": parts.LOOPBACK + parts.static("eth0", ADDRESS),
            "etc/udev/rules.d/70-persistent-net.rules": parts.lenny_rules({"eth0": OLD}),
            "boot/grub/grub.cfg": parts.grub_menu(ROOT_UUID, f"UUID={ROOT_UUID}", "net.ifnames=0"),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(Card(OLD, "e1000", network="lan")),
    target=parts.target_machine(Card(NEW, "virtio-net-pci", network="lan"), bus=Bus.VIRTIO),
    target_sizes=parts.mebibytes(1200),
    expected=Expected(
        cards=(SeenCard("eth0", NEW, (ADDRESS,)),),
        by_rules=True,
        mounts=(Mount("/dev/vda1", "/", "ext4"),),
    ),
)
