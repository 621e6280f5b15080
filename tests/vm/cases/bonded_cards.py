"""Case 8: xfs root, a bond of two cards and a VLAN on the third; the target's cards are plugged in
in another order, so that only the wires tell which is which."""

from pathlib import Path

from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import Partition, Range, fill, install_grub, make_disk, make_grub_core
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card
from tests.vm.images import MIB
from tests.vm.servers import Recipe

NUMBER = 8
ROOT_UUID = "08c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0801"
SIZE = 1400 * MIB
ROOT = Range(2048, SIZE // 512 - 2048)
GAP = Range(1, 2047)
OLD = [parts.mac(NUMBER, "source", number) for number in (1, 2, 3)]
NEW = [parts.mac(NUMBER, "target", number) for number in (1, 2, 3)]
BOND_ADDRESS, VLAN_ADDRESS = "192.0.2.18/24", "198.51.100.18/24"


def _prepare(root: Path) -> None:
    parts.copy_grub_modules(root, "i386-pc")


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    image = work / "disk0.img"
    make_disk(image, SIZE, "0x6d627208", (Partition(1, ROOT, "83", active=True),))
    setup = parts.find_by_uuid(ROOT_UUID, "/boot/grub")
    core = make_grub_core(root, work, "i386-pc", setup, (*parts.BIOS_MODULES, "xfs"))
    install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, GAP)
    fill(image, ROOT, "xfs", ("mkfs.xfs", "-q", "-m", f"uuid={ROOT_UUID}"), root)
    return (image,)


CASE = Case(
    number=NUMBER,
    source_text="xfs root, three cards with a bond and a VLAN (bookworm)",
    target_text="cards in other order",
    recipe=Recipe(
        host_name="bonded-cards",
        release="bookworm",
        packages=("grub-pc", "xfsprogs", "ifenslave", "vlan"),
        files={
            "etc/fstab": f"UUID={ROOT_UUID} / xfs defaults 0 0\n",
            "etc/network/interfaces": (
                parts.LOOPBACK
                + parts.static("bond0", BOND_ADDRESS, "bond-slaves ens4 ens5",
                               "bond-mode active-backup", "bond-miimon 100")
                + "\nauto ens6\niface ens6 inet manual\n"
                + parts.static("ens6.7", VLAN_ADDRESS, "vlan-raw-device ens6")
            ),
            "boot/grub/grub.cfg": parts.grub_menu(ROOT_UUID, f"UUID={ROOT_UUID}"),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(
        Card(OLD[0], "e1000", network="first", slot=4),
        Card(OLD[1], "e1000", network="second", slot=5),
        Card(OLD[2], "e1000", network="third", slot=6),
    ),
    target=parts.target_machine(
        Card(NEW[2], "e1000e", network="third", slot=16),
        Card(NEW[0], "e1000e", network="first", slot=17),
        Card(NEW[1], "virtio-net-pci", network="second", slot=18),
    ),
    target_sizes=parts.mebibytes(1400),
    expected=Expected(
        cards=(
            SeenCard("ens4", NEW[0], ()),
            SeenCard("ens5", NEW[1], ()),
            SeenCard("ens6", NEW[2], ()),
            SeenCard("bond0", "", (BOND_ADDRESS,)),
            SeenCard("ens6.7", NEW[2], (VLAN_ADDRESS,)),
        ),
        mounts=(Mount("", "/", "xfs"),),
    ),
)  # fmt: skip
