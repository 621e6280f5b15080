"""Case 9: an initramfs that holds the drivers of the old controller alone; the target's is one it
never heard of, though the system has the driver."""

from pathlib import Path

from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import Partition, Range, install_grub, make_disk, make_ext, make_grub_core
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Bus, Card
from tests.vm.images import MIB
from tests.vm.servers import Recipe

NUMBER = 9
ROOT_UUID = "09c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0901"
SIZE = 1400 * MIB
ROOT = Range(2048, SIZE // 512 - 2048)
GAP = Range(1, 2047)
OLD, NEW = parts.mac(NUMBER, "source"), parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.19/24"
DRIVERS = ("ata_piix", "ata_generic", "sd_mod", "crc32c_generic", "ext4")


def _prepare(root: Path) -> None:
    """What MODULES=dep makes on a machine with an IDE disk; here it would look at this machine."""
    parts.copy_grub_modules(root, "i386-pc")
    policy = root / "etc/initramfs-tools/conf.d/driver-policy"
    listed = root / "etc/initramfs-tools/modules"
    before = listed.read_text()
    policy.write_text("MODULES=list\n")
    listed.write_text("\n".join(DRIVERS) + "\n")
    parts.in_chroot(root, "update-initramfs", "-u")
    policy.write_text("MODULES=dep\n")
    listed.write_text(before)


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    image = work / "disk0.img"
    make_disk(image, SIZE, "0x6d627209", (Partition(1, ROOT, "83", active=True),))
    setup = parts.find_by_uuid(ROOT_UUID, "/boot/grub")
    core = make_grub_core(root, work, "i386-pc", setup, (*parts.BIOS_MODULES, "ext2"))
    install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, GAP)
    make_ext(image, ROOT, root, ("-t", "ext4", "-U", ROOT_UUID))
    return (image,)


CASE = Case(
    number=NUMBER,
    source_text="initramfs built for one driver only, MODULES=dep (bookworm)",
    target_text="a controller it does not know",
    recipe=Recipe(
        host_name="narrow-initramfs",
        release="bookworm",
        packages=("grub-pc",),
        files={
            "etc/fstab": f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n",
            "etc/network/interfaces": parts.LOOPBACK + parts.static("ens4", ADDRESS),
            "boot/grub/grub.cfg": parts.grub_menu(ROOT_UUID, f"UUID={ROOT_UUID}"),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(Card(OLD, "e1000", network="lan", slot=4)),
    target=parts.target_machine(Card(NEW, "e1000e", network="lan", slot=9), bus=Bus.SCSI),
    target_sizes=parts.mebibytes(1400),
    expected=Expected(cards=(SeenCard("ens4", NEW, (ADDRESS,)),), mounts=(Mount("", "/", "ext4"),)),
)
