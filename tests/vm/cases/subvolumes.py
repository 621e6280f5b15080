"""Case 7: btrfs with subvolumes, networkd and .link files; onto a machine with one card fewer."""

from pathlib import Path

from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import (
    Partition,
    Range,
    install_grub,
    loop_device,
    make_disk,
    make_grub_core,
    mounted,
)
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card
from tests.vm.images import MIB, call
from tests.vm.servers import Recipe

NUMBER = 7
ROOT_UUID = "07c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0701"
SIZE = 1400 * MIB
ROOT = Range(2048, SIZE // 512 - 2048)
GAP = Range(1, 2047)
LAN, BACKUP = (parts.mac(NUMBER, "source", number) for number in (1, 2))
NEW = parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.17/24"


def _prepare(root: Path) -> None:
    parts.copy_grub_modules(root, "i386-pc")
    home = root / "home/archive"
    home.mkdir()
    for number in range(20):
        (home / f"letter-{number}").write_text(f"letter {number}\n" * 3000)
    parts.in_chroot(root, "systemctl", "enable", "systemd-networkd.service")
    parts.in_chroot(root, "update-initramfs", "-u")  # the .link files belong into it


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    image = work / "disk0.img"
    make_disk(image, SIZE, "0x6d627207", (Partition(1, ROOT, "83", active=True),))
    setup = parts.find_by_uuid(ROOT_UUID, "/@/boot/grub")
    core = make_grub_core(root, work, "i386-pc", setup, (*parts.BIOS_MODULES, "btrfs"))
    install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, GAP)
    with loop_device(image, ROOT) as loop:
        call("mkfs.btrfs", "-q", "-U", ROOT_UUID, loop)
    with mounted(image, ROOT, "btrfs") as top:
        for name, tree in (("@home", root / "home"), ("@", root)):
            call("btrfs", "subvolume", "create", top / name)
            call("cp", "-a", f"{tree}/.", top / name)
        call("rm", "-r", top / "@/home")
        (top / "@/home").mkdir()
    return (image,)


def _link(mac: str, name: str) -> str:
    return f"[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n"


def _network(name: str, address: str) -> str:
    return f"[Match]\nName={name}\n\n[Network]\nAddress={address}\n"


CASE = Case(
    number=NUMBER,
    source_text="btrfs root with subvolumes, systemd-networkd .link (trixie)",
    target_text="one card fewer",
    recipe=Recipe(
        host_name="subvolumes",
        release="trixie",
        packages=("grub-pc", "btrfs-progs"),
        files={
            "etc/fstab": (
                f"UUID={ROOT_UUID} / btrfs subvol=@ 0 0\n"
                f"UUID={ROOT_UUID} /home btrfs subvol=@home 0 0\n"
            ),
            "etc/systemd/network/10-lan0.link": _link(LAN, "lan0"),
            "etc/systemd/network/10-backup0.link": _link(BACKUP, "backup0"),
            "etc/systemd/network/20-lan0.network": _network("lan0", ADDRESS),
            "etc/systemd/network/20-backup0.network": _network("backup0", "198.51.100.17/24"),
            "boot/grub/grub.cfg": parts.grub_menu(
                ROOT_UUID, f"UUID={ROOT_UUID}", "rootflags=subvol=@", boot="/@/boot"
            ),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(
        Card(LAN, "e1000", network="lan"), Card(BACKUP, "e1000", network="backup")
    ),
    target=parts.target_machine(Card(NEW, "e1000e", network="lan")),
    target_sizes=parts.mebibytes(1400),
    expected=Expected(
        cards=(SeenCard("lan0", NEW, (ADDRESS,)),),
        absent=("backup0",),
        mounts=(Mount("", "/", "btrfs"), Mount("", "/home", "btrfs")),
    ),
)
