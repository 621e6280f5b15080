"""What the copy's own kernel calls the disks of another machine."""

from dataclasses import replace

import pytest

from payload.formats.kernel.disk_names import (
    driver_of,
    missing_modules,
    name_disks,
    name_family,
    other_names,
    partition_name,
)
from payload.formats.kernel.kernel_modules import Kernel

PIIX = "pci:v00008086d00007111sv0sd0bc01sc01i8A"
AHCI = "pci:v00008086d00002922sv0sd0bc01sc06i01"
VIRTIO = ("virtio:d00000002v00001AF4", "pci:v00001AF4d00001001sv0sd0bc01sc00i00")
NVME = "pci:v0000144Dd0000A808sv0sd0bc01sc08i02"
SMART_ARRAY = "pci:v00000E11d0000B060sv0sd0bc01sc04i00"
ALIASES = (
    ("pci:v00008086d00007111sv*sd*bc*sc*i*", "ata_piix"),
    ("pci:v00008086d00007111sv*sd*bc*sc*i*", "piix"),
    ("pci:v*d*sv*sd*bc01sc01i*", "ata_generic"),
    ("pci:v*d*sv*sd*bc01sc06i01*", "ahci"),
    ("virtio:d00000002v*", "virtio_blk"),
    ("pci:v00001AF4d*sv*sd*bc*sc*i*", "virtio_pci"),
    ("pci:v*d*sv*sd*bc01sc08i02*", "nvme"),
    ("pci:v00000E11d0000B060sv*sd*bc*sc*i*", "cciss"),
)
PLACES = {
    "ata_piix": "kernel/drivers/ata/ata_piix.ko",
    "ata_generic": "kernel/drivers/ata/ata_generic.ko",
    "ahci": "kernel/drivers/ata/ahci.ko",
    "sd_mod": "kernel/drivers/scsi/sd_mod.ko",
    "virtio_blk": "kernel/drivers/block/virtio_blk.ko",
    "virtio_pci": "kernel/drivers/virtio/virtio_pci.ko",
    "nvme": "kernel/drivers/nvme/host/nvme.ko",
    "cciss": "/lib/modules/2.6.18/kernel/drivers/block/cciss.ko",
}
IDE = {
    "piix": "/lib/modules/2.6.18/kernel/drivers/ide/pci/piix.ko",
    "ide_disk": "/lib/modules/2.6.18/kernel/drivers/ide/ide-disk.ko",
}
NEW = Kernel("6.1.0-18-amd64", ALIASES, True, PLACES)
OLD = Kernel("2.6.18-6-686", ALIASES, False, PLACES | IDE)


@pytest.mark.parametrize(
    ("kernel", "disks", "names"),
    [
        (NEW, [([PIIX], "pci-0000:00:07.1-ata-1")], ("sda",)),
        (OLD, [([PIIX], "pci-0000:00:07.1-ata-1")], ("hda",)),
        (OLD, [([PIIX], "pci-0000:00:07.1-ata-2.0")], ("hdc",)),
        (OLD, [([PIIX], "pci-0000:00:07.1-ata-2.1")], ("hdd",)),
        (OLD, [([PIIX], "")], ("hda",)),
        (OLD, [([AHCI], "pci-0000:00:1f.2-ata-3")], ("sda",)),
        (NEW, [(VIRTIO, ""), (VIRTIO, "")], ("vda", "vdb")),
        (NEW, [([AHCI], ""), (VIRTIO, ""), ([AHCI], "")], ("sda", "vda", "sdb")),
        (NEW, [([NVME], ""), ([NVME], "")], ("nvme0n1", "nvme1n1")),
        (OLD, [([SMART_ARRAY], ""), ([SMART_ARRAY], "")], ("cciss/c0d0", "cciss/c0d1")),
        (NEW, [(["pci:v0000FFFFd0sv0sd0bc01sc04i00"], "")], ("",)),
    ],
)  # fmt: skip
def test_names_follow_from_the_driver_and_the_order(
    kernel: Kernel, disks: list[tuple[list[str], str]], names: tuple[str, ...]
) -> None:
    assert name_disks(kernel, disks) == names


def test_after_z_comes_aa() -> None:
    assert name_disks(NEW, [([AHCI], "")] * 28)[24:] == ("sdy", "sdz", "sdaa", "sdab")


def test_of_two_drivers_the_age_of_the_kernel_decides() -> None:
    lenny = Kernel("2.6.26-2-686", ALIASES, False, PLACES | IDE)
    squeeze = Kernel("2.6.32-5-686", ALIASES, False, PLACES | IDE)
    assert driver_of(lenny, [PIIX]) == ("hd", "piix")
    assert driver_of(squeeze, [PIIX]) == ("sd", "ata_piix")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("hdc", "hd"),
        ("sda1", "sd"),
        ("vdb", "vd"),
        ("xvda1", "xvd"),
        ("nvme0n1p2", "nvme"),
        ("cciss/c0d0p5", "cciss"),
        ("ida/c0d0", "ida"),
        ("mmcblk0p1", "mmcblk"),
    ],
)
def test_each_driver_has_names_of_its_kind(name: str, family: str) -> None:
    assert name_family(name) == family


def test_partitions_of_disks_whose_name_ends_with_a_digit() -> None:
    assert partition_name("sda", 1) == "sda1"
    assert partition_name("nvme0n1", 2) == "nvme0n1p2"
    assert partition_name("cciss/c0d0", 5) == "cciss/c0d0p5"
    assert partition_name("sdb", 0) == "sdb"


@pytest.mark.parametrize(
    ("held", "controllers", "missing"),
    [
        (set(), VIRTIO, ("virtio_blk", "virtio_pci")),
        ({"virtio_blk"}, VIRTIO, ("virtio_pci",)),
        ({"virtio_blk", "virtio_pci"}, VIRTIO, ()),
        ({"virtio_blk", "virtio_pci"}, [AHCI], ("ahci", "sd_mod")),
        ({"ahci", "sd_mod"}, [AHCI], ()),
        ({"ata_generic", "sd_mod"}, [PIIX], ("ata_piix",)),
        (set(), ["pci:v0000FFFFd0sv0sd0bc01sc04i00"], ()),
    ],
)
def test_what_an_initramfs_lacks(
    held: set[str], controllers: list[str], missing: tuple[str, ...]
) -> None:
    assert missing_modules(NEW, frozenset(held), controllers) == missing


@pytest.mark.parametrize(
    ("version", "name", "names", "others"),
    [
        ("5.2.21", "sda", ("sda", "sdb"), set()),
        ("5.3.0-1-amd64", "sda", ("sda", "sdb", "vda"), {"sdb"}),
        ("6.12.1", "sdb", ("sda", "sdb", "sdc"), {"sda", "sdc"}),
        ("6.12.1", "sda", ("sda", "vda", "nvme0n1"), set()),
        ("6.12.1", "vda", ("vda", "vdb"), set()),
        ("4.14.0", "nvme0n1", ("nvme0n1", "nvme1n1"), set()),
        ("4.15.0", "nvme0n1", ("nvme0n1", "nvme1n1", "sda"), {"nvme1n1"}),
        ("6.12.1", "", ("sda", "sdb"), set()),
    ],
)  # fmt: skip
def test_which_names_a_kernel_gives_in_any_order(
    version: str, name: str, names: tuple[str, ...], others: set[str]
) -> None:
    assert other_names(replace(NEW, version=version), name, names) == others
