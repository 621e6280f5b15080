"""Case 10: LUKS root behind a readable /boot. The copy asks for the passphrase as the server did;
what lies behind it cannot be looked into."""

from pathlib import Path

from tests.vm.case import Case, Expected
from tests.vm.cases import parts
from tests.vm.disks import (
    SECTOR,
    Partition,
    Range,
    install_grub,
    make_disk,
    make_ext,
    make_grub_core,
    make_hole,
    put,
)
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card
from tests.vm.images import MIB, ImageError, call
from tests.vm.servers import Recipe, split

NUMBER = 10
BOOT_UUID = "0ac5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0a01"
ROOT_UUID = "0ac5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0a02"
LUKS_UUID = "0ac5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0a03"
LUKS_UUID_AT = 168  # byte of a LUKS 1 header
SIZE = 960 * MIB
BOOT = Range(2048, 200 * 2048)
CONTAINER = Range(BOOT.start + BOOT.size, SIZE // SECTOR - BOOT.start - BOOT.size)
ROOT_SIZE = CONTAINER.size * SECTOR - 4 * MIB  # beside LUKS's own header
GAP = Range(1, 2047)
PASSPHRASE = "nobody reads this"
TRIES = 5
OLD, NEW = parts.mac(NUMBER, "source"), parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.20/24"


def _prepare(root: Path) -> None:
    parts.copy_grub_modules(root, "i386-pc")
    parts.in_chroot(root, "update-initramfs", "-u")


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    (boot,) = split(root, work, "boot")
    image, plain, container = work / "disk0.img", work / "plain.img", work / "container.img"
    table = (Partition(1, BOOT, "83", active=True), Partition(2, CONTAINER, "83"))
    make_disk(image, SIZE, "0x6d62720a", table)
    setup = parts.find_by_uuid(BOOT_UUID, "/grub")
    core = make_grub_core(root, work, "i386-pc", setup, (*parts.BIOS_MODULES, "ext2"))
    install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, GAP)
    make_ext(image, BOOT, boot, ("-t", "ext4", "-U", BOOT_UUID))
    make_hole(plain, ROOT_SIZE)
    make_ext(plain, Range(0, ROOT_SIZE // SECTOR), root, ("-t", "ext4", "-U", ROOT_UUID))
    _encrypt(plain, container)
    with container.open("r+b") as stream:
        stream.seek(LUKS_UUID_AT)
        stream.write(LUKS_UUID.encode().ljust(40, b"\0"))
    put(image, CONTAINER.start * SECTOR, container)
    return (image,)


def _encrypt(plain: Path, container: Path) -> None:
    """With few rounds of key derivation, since an emulated processor has to repeat them. QEMU
    measures what the processor does in a moment, and gives up where others keep it busy."""
    for tries_left in reversed(range(TRIES)):
        try:
            call("qemu-img", "convert", "-f", "raw", "-O", "luks",
                 "--object", f"secret,id=key,data={PASSPHRASE}",
                 "-o", "key-secret=key,iter-time=10", plain, container)  # fmt: skip
        except ImageError as error:
            if not tries_left or "CPU usage" not in str(error):
                raise
        else:
            return


CASE = Case(
    number=NUMBER,
    source_text="LUKS root, unencrypted /boot (trixie)",
    target_text="passphrase asked at the copy's boot",
    recipe=Recipe(
        host_name="encrypted",
        release="trixie",
        packages=("grub-pc", "cryptsetup-initramfs"),
        files={
            "etc/fstab": (
                "/dev/mapper/inner / ext4 errors=remount-ro 0 1\n"
                f"UUID={BOOT_UUID} /boot ext4 defaults 0 2\n"
            ),
            "etc/crypttab": f"inner UUID={LUKS_UUID} none luks,initramfs\n",
            "etc/cryptsetup-initramfs/conf-hook": "CRYPTSETUP=y\n",
            "etc/network/interfaces": parts.LOOPBACK + parts.static("eth0", ADDRESS),
            "boot/grub/grub.cfg": parts.grub_menu(
                BOOT_UUID,
                "/dev/mapper/inner",
                f"cryptopts=target=inner,source=UUID={LUKS_UUID} net.ifnames=0",
                boot="",
            ),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(Card(OLD, "e1000", network="lan")),
    target=parts.target_machine(Card(NEW, "e1000e", network="lan")),
    target_sizes=parts.mebibytes(960),
    expected=Expected(
        cards=(SeenCard("eth0", NEW, (ADDRESS,)),),
        mounts=(Mount("/dev/mapper/inner", "/", "ext4"), Mount("", "/boot", "ext4")),
    ),
    typed=((r"unlock disk inner", PASSPHRASE),),
)
