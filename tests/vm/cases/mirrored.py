"""Case 6: two disks mirrored by MD RAID 1, /boot with the old superblock at its end and LVM on the
new one; onto two disks whose names are the other way round."""

import re
from pathlib import Path

from tests.support.image_ranges import ImageRange
from tests.support.md_arrays import Array, add_to_array
from tests.support.volume_groups import Extents, make_volume_group
from tests.vm.case import Case, Expected, Volume
from tests.vm.cases import parts
from tests.vm.disks import (
    SECTOR,
    Partition,
    Range,
    install_grub,
    loop_device,
    make_disk,
    make_ext,
    make_grub_core,
    make_swap,
)
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card
from tests.vm.images import MIB, call
from tests.vm.servers import Recipe, split

NUMBER = 6
BOOT_UUID = "06c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0601"
ROOT_UUID = "06c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0602"
SWAP_UUID = "06c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0603"
BEYOND_UUID = "06c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0604"
SIZES = (1500 * MIB, 1520 * MIB)
# The second disk has something where the first already ends: it only fits where that one was.
BEYOND = Range(1502 * 2048, 16 * 2048)
BOOT = Range(2048, 200 * 2048)
MEMBER = Range(BOOT.start + BOOT.size, 1290 * 2048)
GAP = Range(1, 2047)
ROOT_EXTENTS, SWAP_EXTENTS = 1200, 64
OLD_ARRAY = Array(2, version="0.90", id=bytes.fromhex("06a0b1c2d3e4f5061728394a5b6c7d8e"))
NEW_ARRAY = Array(2, name="mirrored:1", id=bytes.fromhex("16a0b1c2d3e4f5061728394a5b6c7d8e"))
OLD, NEW = parts.mac(NUMBER, "source"), parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.16/24"


def _place(image: Path, place: Range) -> ImageRange:
    return ImageRange(image, place.start * SECTOR, place.size * SECTOR)


def _range(place: ImageRange) -> Range:
    return Range(place.start // SECTOR, place.size // SECTOR)


BOOT_DATA = _range(OLD_ARRAY.data(_place(Path(), BOOT)))
MEMBER_DATA = _range(NEW_ARRAY.data(_place(Path(), MEMBER)))
ROOT = Range(MEMBER_DATA.start + 2048, ROOT_EXTENTS * 2048)
SWAP = Range(ROOT.start + ROOT.size, SWAP_EXTENTS * 2048)


def _prepare(root: Path) -> None:
    parts.copy_grub_modules(root, "i386-pc")
    (root / "etc/mdadm/mdadm.conf").write_text(_mdadm_conf(root.parent))
    parts.in_chroot(root, "update-initramfs", "-u")


def _mdadm_conf(work: Path) -> str:
    """What mdadm itself says of the two arrays."""
    lines = ["HOMEHOST <system>", "MAILADDR root"]
    for number, array in enumerate((OLD_ARRAY, NEW_ARRAY)):
        image = work / "member"
        with image.open("wb") as stream:
            stream.truncate(64 * MIB)
        place = Range(0, 64 * 2048)
        add_to_array(array, 0, _place(image, place))
        with loop_device(image, place) as loop:
            examined = call("mdadm", "--examine", loop)
        image.unlink()
        found = re.search(r"UUID : ([0-9a-f:]{35})", examined)
        if found is None:
            raise RuntimeError(f"mdadm does not know the array: {examined}")
        lines.append(f"ARRAY /dev/md{number} metadata={array.version} UUID={found[1]}")
    return "\n".join(lines) + "\n"


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    (boot,) = split(root, work, "boot")
    images = (work / "disk0.img", work / "disk1.img")
    setup = parts.find_by_uuid(BOOT_UUID, "/grub")
    modules = (*parts.BIOS_MODULES, "mdraid09", "ext2")
    core = make_grub_core(root, work, "i386-pc", setup, modules)
    for number, (image, size) in enumerate(zip(images, SIZES, strict=True)):
        table = [Partition(1, BOOT, "fd", active=True), Partition(2, MEMBER, "fd")]
        table += [Partition(3, BEYOND, "82")] if number == 1 else []
        make_disk(image, size, f"0x6d62720{number}", table)
        install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, GAP)
        add_to_array(OLD_ARRAY, number, _place(image, BOOT))
        add_to_array(NEW_ARRAY, number, _place(image, MEMBER))
    first, second = images
    volumes = {
        "root": [Extents(0, 0, ROOT_EXTENTS)],
        "swap": [Extents(0, ROOT_EXTENTS, SWAP_EXTENTS)],
    }
    make_volume_group("vg0", [_place(first, MEMBER_DATA)], volumes)
    make_ext(first, BOOT_DATA, boot, ("-t", "ext3", "-U", BOOT_UUID))
    make_ext(first, ROOT, root, ("-t", "ext4", "-U", ROOT_UUID))
    make_swap(first, SWAP, SWAP_UUID)
    make_swap(second, BEYOND, BEYOND_UUID)
    for data in (BOOT_DATA, MEMBER_DATA):
        call("dd", f"if={first}", f"of={second}", f"skip={data.start * SECTOR}",
             f"seek={data.start * SECTOR}", f"count={data.size * SECTOR}", "bs=1M",
             "iflag=skip_bytes,count_bytes", "oflag=seek_bytes", "conv=notrunc,sparse",
             "status=none")  # fmt: skip
    return images


CASE = Case(
    number=NUMBER,
    source_text="two disks, MD RAID 1 (0.90 and 1.2), LVM on it (bookworm)",
    target_text="two disks, names swapped",
    recipe=Recipe(
        host_name="mirrored",
        release="bookworm",
        packages=("grub-pc", "lvm2", "mdadm"),
        files={
            "etc/fstab": (
                "/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n"
                "/dev/md0 /boot ext3 defaults 0 2\n"
                "/dev/mapper/vg0-swap none swap sw 0 0\n"
            ),
            "etc/network/interfaces": parts.LOOPBACK + parts.static("ens4", ADDRESS),
            "boot/grub/grub.cfg": parts.grub_menu(BOOT_UUID, "/dev/mapper/vg0-root", boot=""),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(Card(OLD, "e1000", network="lan", slot=4)),
    target=parts.target_machine(Card(NEW, "e1000e", network="lan", slot=9)),
    target_sizes=(SIZES[1], SIZES[0]),
    order=(1, 0),
    expected=Expected(
        cards=(SeenCard("ens4", NEW, (ADDRESS,)),),
        mounts=(Mount("/dev/mapper/vg0-root", "/", "ext4"), Mount("/dev/md0", "/boot", "ext3")),
        swap=True,
    ),
    volumes=tuple(
        Volume(disk, place.start * SECTOR, place.size * SECTOR, name)
        for disk in (0, 1)
        for name, place in (("/boot", BOOT_DATA), ("vg0/root", ROOT), ("vg0/swap", SWAP))
    ),
)
