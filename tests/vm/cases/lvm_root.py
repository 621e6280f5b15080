"""Cases 3 and 11: GPT with a BIOS boot partition, everything else in LVM, predictable names; onto a
larger disk and a card in another slot. Then the server changes, and the same target is refreshed:
its disk holds volumes with the very identities of the source's."""

from dataclasses import replace
from pathlib import Path

from tests.support.image_ranges import ImageRange
from tests.support.volume_groups import Extents, make_volume_group
from tests.vm.case import Case, Expected, Volume
from tests.vm.cases import parts
from tests.vm.disks import (
    BIOS_BOOT_TYPE,
    LVM_TYPE,
    SECTOR,
    Partition,
    Range,
    install_grub,
    make_disk,
    make_ext,
    make_grub_core,
    make_swap,
    mounted,
)
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card
from tests.vm.images import MIB, call
from tests.vm.servers import Recipe, build, write_digests

NUMBER, REFRESH = 3, 11
ROOT_UUID = "03c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0301"
SWAP_UUID = "03c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0302"
SIZE = 1500 * MIB
BIOS_BOOT = Range(2048, 2048)
PHYSICAL = Range(4096, SIZE // SECTOR - 4096 - 2048)
ROOT_EXTENTS, SWAP_EXTENTS = 1300, 64  # of a MiB each; the first begins a MiB into the partition
ROOT = Range(PHYSICAL.start + 2048, ROOT_EXTENTS * 2048)
SWAP = Range(ROOT.start + ROOT.size, SWAP_EXTENTS * 2048)
OLD, NEW = parts.mac(NUMBER, "source"), parts.mac(NUMBER, "target")
ADDRESS = "192.0.2.13/24"


def _prepare(root: Path) -> None:
    parts.copy_grub_modules(root, "i386-pc")
    letters = root / "srv/letters"
    letters.mkdir(parents=True)
    for number in range(40):
        (letters / f"letter-{number}").write_text(f"letter {number}\n" * 4000)


def _lay_out(root: Path, work: Path) -> tuple[Path, ...]:
    image = work / "disk0.img"
    table = (Partition(1, BIOS_BOOT, BIOS_BOOT_TYPE), Partition(2, PHYSICAL, LVM_TYPE))
    make_disk(image, SIZE, "03c5b8a4-6f2e-4f4b-9d0c-2f6b6f5a0310", table, "gpt")
    place = ImageRange(image, PHYSICAL.start * SECTOR, PHYSICAL.size * SECTOR)
    volumes = {
        "root": [Extents(0, 0, ROOT_EXTENTS)],
        "swap": [Extents(0, ROOT_EXTENTS, SWAP_EXTENTS)],
    }
    made = make_volume_group("vg0", [place], volumes)
    if made["root"][0].start != ROOT.start * SECTOR:
        raise RuntimeError(f"The root volume begins at {made['root'][0].start}, not as planned.")
    setup = parts.find_by_uuid(ROOT_UUID, "/boot/grub")
    core = make_grub_core(root, work, "i386-pc", setup, (*parts.BIOS_MODULES, "lvm", "ext2"))
    install_grub(image, root / "usr/lib/grub/i386-pc/boot.img", core, BIOS_BOOT)
    make_ext(image, ROOT, root, ("-t", "ext4", "-U", ROOT_UUID))
    make_swap(image, SWAP, SWAP_UUID)
    return (image,)


def _lay_out_changed(_root: Path, work: Path) -> tuple[Path, ...]:
    """The same server some days later."""
    (before,) = build(CASE.recipe, work.parent).disks
    image = work / "disk0.img"
    call("cp", "--sparse=always", before, image)
    with mounted(image, ROOT, "ext4") as root:
        letters = root / "srv/letters"
        for number in range(10):
            (letters / f"letter-{number}").unlink()
            (letters / f"new-letter-{number}").write_text(f"new {number}\n" * 5000)
        with (letters / "letter-20").open("a") as letter:
            letter.write("one line more\n")
        write_digests(root)
    return (image,)


CASE = Case(
    number=NUMBER,
    source_text="GPT + bios_grub, GRUB 2, LVM root, predictable names (bookworm)",
    target_text="other PCI slot, larger disk",
    recipe=Recipe(
        host_name="lvm-root",
        release="bookworm",
        packages=("grub-pc", "lvm2"),
        files={
            "etc/fstab": (
                "/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n"
                "/dev/mapper/vg0-swap none swap sw 0 0\n"
            ),
            "etc/network/interfaces": parts.LOOPBACK + parts.static("ens4", ADDRESS),
            "boot/grub/grub.cfg": parts.grub_menu(ROOT_UUID, "/dev/mapper/vg0-root"),
        },
        prepare=_prepare,
        lay_out=_lay_out,
    ),
    source=parts.source_machine(Card(OLD, "e1000", network="lan", slot=4)),
    target=parts.target_machine(Card(NEW, "e1000e", network="lan", slot=9)),
    target_sizes=parts.mebibytes(2000),
    expected=Expected(
        cards=(SeenCard("ens4", NEW, (ADDRESS,)),),
        mounts=(Mount("/dev/mapper/vg0-root", "/", "ext4"),),
        swap=True,
    ),
    volumes=(
        Volume(0, ROOT.start * SECTOR, ROOT.size * SECTOR, "vg0/root"),
        Volume(0, SWAP.start * SECTOR, SWAP.size * SECTOR, "vg0/swap"),
    ),
)

REFRESHED = replace(
    CASE,
    number=REFRESH,
    source_text="case 3 after changes on the source",
    target_text="the target of case 3, with its LVM",
    recipe=replace(CASE.recipe, name="refreshed", lay_out=_lay_out_changed),
    after=NUMBER,
)
