"""Cases 4 and 5: GPT and UEFI. GRUB alone, onto a machine whose firmware knows no boot entry; and
shim with signed programs, onto one that enforces Secure Boot."""

from collections.abc import Callable
from pathlib import Path

from payload.model.machine import Firmware
from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import (
    ESP_TYPE,
    LINUX_TYPE,
    Partition,
    Range,
    fill,
    make_disk,
    make_esp,
    make_ext,
    make_grub_core,
)
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Bus, Card
from tests.vm.images import MIB, call
from tests.vm.servers import Recipe, split

SIZE, DATA_SIZE = 1400 * MIB, 400 * MIB
ESP = Range(2048, 131072)
ROOT = Range(133120, SIZE // 512 - 133120 - 2048)
DATA = Range(2048, DATA_SIZE // 512 - 4096)


def _uuid(number: int, what: int) -> str:
    return f"{number:02x}c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0{what:03x}"


def _lay_out(number: int) -> Callable[[Path, Path], tuple[Path, ...]]:
    def lay_out(root: Path, work: Path) -> tuple[Path, ...]:
        system, data = work / "disk0.img", work / "disk1.img"
        esp_files, data_files = split(root, work, "boot/efi", "srv/data")
        table = (
            Partition(1, ESP, ESP_TYPE, uuid=_uuid(number, 0x11)),
            Partition(2, ROOT, LINUX_TYPE, uuid=_uuid(number, 0x12)),
        )
        make_disk(system, SIZE, _uuid(number, 0x10), table, "gpt")
        make_esp(system, ESP, f"EF1B-00{number:02X}", esp_files)
        make_ext(system, ROOT, root, ("-t", "ext4", "-U", _uuid(number, 1)))
        data_table = (Partition(1, DATA, LINUX_TYPE, uuid=_uuid(number, 0x21)),)
        make_disk(data, DATA_SIZE, _uuid(number, 0x20), data_table, "gpt")
        make_xfs = ("mkfs.xfs", "-q", "-m", f"uuid={_uuid(number, 2)}")
        fill(data, DATA, "xfs", make_xfs, data_files)
        return system, data

    return lay_out


def _fill_data(root: Path) -> None:
    data = root / "srv/data"
    data.mkdir(parents=True)
    for name in range(20):
        (data / f"record-{name}").write_text(f"record {name}\n" * 2000)


def _own_grub(root: Path) -> None:
    """What grub-install makes of unsigned parts."""
    _fill_data(root)
    parts.copy_grub_modules(root, "x86_64-efi")
    setup = parts.find_by_uuid(_uuid(4, 1), "/boot/grub")
    modules = ("part_gpt", "fat", "ext2", *parts.MENU_MODULES)
    core = make_grub_core(root, root.parent, "x86_64-efi", setup, modules)
    place = root / "boot/efi/EFI/debian"
    place.mkdir(parents=True)
    call("mv", core, place / "grubx64.efi")


def _signed_programs(root: Path) -> None:
    """What grub-install leaves on a machine with Secure Boot: nothing of it made here."""
    _fill_data(root)
    place = root / "boot/efi/EFI/debian"
    place.mkdir(parents=True)
    for program, name in (
        ("shim/shimx64.efi.signed", "shimx64.efi"),
        ("shim/mmx64.efi.signed", "mmx64.efi"),
        ("grub/x86_64-efi-signed/grubx64.efi.signed", "grubx64.efi"),
    ):
        call("cp", root / "usr/lib" / program, place / name)
    (place / "grub.cfg").write_text(
        f"search.fs_uuid {_uuid(5, 1)} root\nset prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n"
    )


def _files(number: int, address: str, name: str) -> dict[str, str]:
    return {
        "etc/fstab": (
            f"UUID={_uuid(number, 1)} / ext4 errors=remount-ro 0 1\n"
            f"UUID=EF1B-00{number:02X} /boot/efi vfat umask=0077 0 1\n"
            f"UUID={_uuid(number, 2)} /srv/data xfs defaults 0 0\n"
        ),
        "etc/network/interfaces": parts.LOOPBACK + parts.static(name, address),
        "boot/grub/grub.cfg": parts.grub_menu(_uuid(number, 1), f"UUID={_uuid(number, 1)}"),
    }


def _case(number: int, target: str, recipe: Recipe, address: str, *, secure_boot: bool) -> Case:
    old, new = parts.mac(number, "source"), parts.mac(number, "target")
    return Case(
        number=number,
        source_text=(
            "UEFI with shim, Secure Boot keys enrolled (bookworm)"
            if secure_boot
            else "UEFI, GPT, ext4 root, xfs data on second disk (trixie)"
        ),
        target_text=target,
        recipe=recipe,
        source=parts.source_machine(
            Card(old, "e1000", network="lan", slot=4),
            bus=Bus.AHCI, firmware=Firmware.UEFI, secure_boot=secure_boot,
        ),
        target=parts.target_machine(
            Card(new, "e1000e", network="lan", slot=5),
            bus=Bus.AHCI, firmware=Firmware.UEFI, secure_boot=secure_boot,
        ),
        target_sizes=parts.mebibytes(1500, 400),
        expected=Expected(
            cards=(SeenCard("enp0s4", new, (address,)),),
            mounts=(
                Mount("", "/", "ext4"),
                Mount("", "/boot/efi", "vfat"),
                Mount("", "/srv/data", "xfs"),
            ),
            firmware="uefi",
        ),
    )  # fmt: skip


EMPTY_NVRAM = _case(
    4, "UEFI with empty NVRAM",
    Recipe(
        host_name="uefi",
        release="trixie",
        packages=("grub-efi-amd64", "xfsprogs"),
        files=_files(4, "192.0.2.14/24", "enp0s4"),
        prepare=_own_grub,
        lay_out=_lay_out(4),
    ),
    "192.0.2.14/24", secure_boot=False,
)  # fmt: skip

SECURE_BOOT = _case(
    5, "the same, enforcing",
    Recipe(
        host_name="secure-boot",
        release="bookworm",
        packages=("grub-efi-amd64", "grub-efi-amd64-signed", "shim-signed", "xfsprogs"),
        files=_files(5, "192.0.2.15/24", "enp0s4"),
        prepare=_signed_programs,
        lay_out=_lay_out(5),
    ),
    "192.0.2.15/24", secure_boot=True,
)  # fmt: skip
