"""Drivers for other hardware: what the kernels of the system to be copied claim."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from payload.formats.kernel.kernel_modules import (
    Kernel,
    parse_built_in,
    parse_modules_alias,
    read_kernels,
)
from payload.identify.survey import find_drivers, take_survey
from payload.model.disk import Content, FileSystem, Partition, PartitionTable
from payload.model.machine import Card
from payload.model.survey import FixedRoot, Initramfs, LateDisk, Offer, OfferKind, Survey
from payload.system.command import run
from tests.support.cpio_archives import archive
from tests.support.machines import disk, machine, system

AHCI = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
E1000 = "pci:v00008086d0000100Fsv00001AF4sd00001100bc02sc00i00"
ALIASES = b"""\
# Aliases extracted from modules themselves.
alias pci:v*d*sv*sd*bc01sc06i01* ahci
alias pci:v00008086d0000100Fsv*sd*bc*sc*i* e1000
alias scsi:t-0x00* sd_mod
alias symbol:foo foo
a line that is none
"""
BUILT_IN = b"virtio_pci.alias=pci:v00001AF4d*sv*sd*bc*sc*i*\0virtio_pci.license=GPL\0ahci.parm=x\0"


def install(root: Path, version: str, aliases: bytes, built_in: bytes | None = b"") -> None:
    place = root / "lib/modules" / version
    place.mkdir(parents=True)
    (place / "modules.alias").write_bytes(aliases)
    if built_in is not None:
        (place / "modules.builtin.modinfo").write_bytes(built_in)


def test_both_lists_are_read() -> None:
    assert list(parse_modules_alias(ALIASES))[1] == (
        "pci:v00008086d0000100Fsv*sd*bc*sc*i*",
        "e1000",
    )
    assert len(list(parse_modules_alias(ALIASES))) == 4
    assert list(parse_built_in(BUILT_IN)) == [("pci:v00001AF4d*sv*sd*bc*sc*i*", "virtio_pci")]
    assert list(parse_modules_alias(b"\xff\xfe alias")) == list(parse_built_in(b"\xff")) == []


def test_a_device_is_claimed_by_class_or_by_number_or_by_none() -> None:
    kernel = Kernel("6.1", tuple(parse_modules_alias(ALIASES)), tells_built_in=True)
    assert find_drivers(AHCI, [kernel]).modules == ("ahci",)
    assert find_drivers(E1000, [kernel]).modules == ("e1000",)
    other = find_drivers(E1000.replace("100F", "1533"), [kernel])
    assert (other.modules, other.without, other.missing) == ((), ("6.1",), True)


def test_a_kernel_that_does_not_tell_what_is_built_in_never_lacks_a_driver_for_certain() -> None:
    old = Kernel("2.6.18", (), tells_built_in=False)
    assert not find_drivers(AHCI, [old]).missing
    new = Kernel("6.1", tuple(parse_modules_alias(ALIASES)), tells_built_in=True)
    both = find_drivers(AHCI, [old, new])
    assert (both.modules, both.without) == (("ahci",), ("2.6.18",))


def test_a_configuration_tells_what_an_old_kernel_has_built_in() -> None:
    virtio = "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"
    etch = Kernel("2.6.18", (), tells_built_in=False, options=frozenset({"CONFIG_EXT3_FS"}))
    assert find_drivers(virtio, [etch]).missing
    assert not find_drivers(AHCI.replace("2922", "1234"), [etch]).missing, "who knows"
    own = Kernel("2.6.27", (), tells_built_in=False, options=frozenset({"CONFIG_VIRTIO_BLK"}))
    assert find_drivers(virtio, [own]).modules == ("CONFIG_VIRTIO_BLK (built in)",)


def test_kernels_are_found_below_the_root_and_nowhere_else(tmp_path: Path) -> None:
    assert read_kernels([tmp_path]) == ()
    (tmp_path / "usr").mkdir()
    install(tmp_path / "usr", "6.1.0-18-amd64", ALIASES, BUILT_IN)
    install(tmp_path / "usr", "2.6.18-6-amd64", ALIASES, None)
    (tmp_path / "usr/lib/modules/left-over").mkdir()
    (tmp_path / "lib").symlink_to("/usr/lib")
    old, new = read_kernels([tmp_path])
    assert (old.version, old.tells_built_in) == ("2.6.18-6-amd64", False)
    assert (new.version, new.tells_built_in) == ("6.1.0-18-amd64", True)
    assert find_drivers("pci:v00001AF4d00001000sv0sd0bc0sc0i0", [new]).modules == ("virtio_pci",)


class Rooms:
    """Blocks and mounts by which a directory stands for every file system."""

    def __init__(self, root: Path, error: Exception | None = None) -> None:
        self.root, self.error = root, error
        self.run = run

    @contextmanager
    def assemble(self, legs: Any) -> Any:
        yield legs[0][0][0]

    @contextmanager
    def mount(
        self, device: str, kind: str, *, options: tuple[str, ...], at: Path | None = None
    ) -> Any:
        assert options == ()
        if self.error:
            raise self.error
        yield self.root

    @property
    def blocks(self) -> "Rooms":
        return self

    mounts = blocks


def source_of(doubt: str = "") -> Any:
    parts = (
        Partition(1, 1 << 20, 8 << 30, "83", file_system=FileSystem("ext4", "r")),
        Partition(2, 9 << 30, 1 << 30, "82", file_system=FileSystem("swap", "s", doubt=doubt)),
        Partition(3, 10 << 30, 5 << 30, "83", file_system=FileSystem("ntfs", "n")),
    )
    content = Content(False, "seen", PartitionTable("dos", "0x1", parts))
    return machine("A", disk("SA", content), systems=(system("SA"),))


def target_with(*controllers: str, modalias: str = E1000) -> Any:
    made = machine("B", disk("SB", controllers=controllers))
    card = Card("eth0", "02:00:00:00:00:02", modalias=modalias)
    return type(made)(made.machine, made.firmware, (card,), made.disks)


def test_a_survey_of_a_source(tmp_path: Path) -> None:
    install(tmp_path, "6.1", ALIASES)
    found = take_survey(Rooms(tmp_path), source_of(), target_with(AHCI), 7)  # type: ignore[arg-type]
    assert (found.kernels, found.clock_ahead) == (("6.1",), 7)
    assert [one.modules for one in found.drivers] == [("ahci",), ("e1000",)]
    assert found.of(AHCI) is found.drivers[0] and found.of("pci:x") is None


@pytest.mark.parametrize(("doubt", "swap"), [("", 0), ("it is larger than that", 1)])
def test_all_but_what_is_free_counts_as_used(
    doubt: str, swap: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 GiB of ext4 all but 3, of NTFS, which is not looked into, 5, of swap what is no swap."""
    free = SimpleNamespace(f_bfree=3 << 18, f_frsize=4096)
    monkeypatch.setattr("payload.identify.survey.os.statvfs", lambda _root: free)
    install(tmp_path, "6.1", ALIASES)
    found = take_survey(Rooms(tmp_path), source_of(doubt=doubt), target_with(AHCI), 7)  # type: ignore[arg-type]
    assert found.used == 8 - 3 + 5 + swap << 30


DEPENDENCIES = b"""\
kernel/drivers/ata/libahci.ko:
kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libahci.ko
kernel/drivers/scsi/sd_mod.ko:
kernel/drivers/net/e1000.ko:
"""


def start_by(root: Path, *modules: str) -> None:
    """Kernel 6.1 and an initramfs with these modules, made by initramfs-tools."""
    (root / "lib/modules/6.1/modules.dep").write_bytes(DEPENDENCIES)
    (root / "usr/sbin").mkdir(parents=True)
    (root / "usr/sbin/mkinitramfs").write_text("#!/bin/sh")
    (root / "boot").mkdir()
    files = {f"lib/modules/6.1/kernel/{name}.ko": b"" for name in modules}
    (root / "boot/initrd.img-6.1").write_bytes(archive({"conf/initramfs.conf": b"", **files}))


def test_what_the_initramfs_lacks_for_the_targets_disk_is_told(tmp_path: Path) -> None:
    install(tmp_path, "6.1", ALIASES)
    start_by(tmp_path, "ahci", "sd_mod")
    found = take_survey(Rooms(tmp_path), source_of(), target_with(AHCI), 0)  # type: ignore[arg-type]
    assert found.initramfs == Initramfs("6.1", "/boot/initrd.img-6.1", "", "initramfs-tools")
    assert found.late == (LateDisk("serial:SB", ("ahci",)),), "libahci is missing"


def test_an_initramfs_with_all_that_is_needed_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    install(tmp_path, "6.1", ALIASES)
    start_by(tmp_path, "ahci", "libahci", "sd_mod")

    def look() -> Survey:
        return take_survey(Rooms(tmp_path), source_of(), target_with(AHCI), 0)  # type: ignore[arg-type]

    assert look().late == ()
    (tmp_path / "boot/initrd.img-6.1").write_bytes(b"\x45\x3d\xcd\x28" * 99)
    found = look().initramfs
    assert found and "cramfs" in found.unknown


def test_a_virtual_machine_is_offered_what_it_has_and_the_system_knows(tmp_path: Path) -> None:
    install(tmp_path, "6.1", ALIASES)
    start_by(tmp_path, "ahci", "libahci", "sd_mod")
    target = target_with("pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc07i00")
    target = replace(target, machine=replace(target.machine, vendor="VMware, Inc."))
    found = take_survey(Rooms(tmp_path), source_of(), target, 0)  # type: ignore[arg-type]
    assert found.offers == (
        Offer(OfferKind.CONTROLLER, "a SATA (AHCI) controller"),
        Offer(OfferKind.CARD, "an E1000 card"),
    )


@pytest.mark.parametrize(
    ("name", "renamed", "controllers"),
    [
        ("/dev/hda1", ("serial:SB",), ["an IDE controller"]),
        ("/dev/sda1", (), ["a SATA (AHCI) controller"]),
    ],
)
def test_lilo_is_asked_for_the_kind_of_name_its_root_has(
    tmp_path: Path, name: str, renamed: tuple[str, ...], controllers: list[str]
) -> None:
    """Linux 2.6.18: what hangs on an IDE controller is hda, on an AHCI controller sda."""
    ide = b"alias pci:v00008086d00007111sv*sd*bc*sc*i* piix\n"
    install(tmp_path, "2.6.18", ALIASES + ide)
    modules = "kernel/drivers/ide/pci/piix.ko:\nkernel/drivers/ata/ahci.ko:\n"
    (tmp_path / "lib/modules/2.6.18/modules.dep").write_text(modules)
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-2.6.18").write_bytes(b"k")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/lilo.conf").write_text(f"image=/boot/vmlinuz-2.6.18\n root={name}\n")
    target = target_with(AHCI)
    target = replace(target, machine=replace(target.machine, vendor="VMware, Inc."))
    found = take_survey(Rooms(tmp_path), source_of(), target, 0)  # type: ignore[arg-type]
    assert found.fixed_root == FixedRoot(name, renamed)
    offers = [one.name for one in found.offers if one.kind is OfferKind.CONTROLLER]
    assert offers == controllers


@pytest.mark.parametrize("error", [OSError("gone")])
def test_what_cannot_be_mounted_is_unknown_and_counts_whole(
    tmp_path: Path, error: Exception
) -> None:
    found = take_survey(Rooms(tmp_path, error), source_of(), target_with(AHCI), 0)  # type: ignore[arg-type]
    assert found == Survey(used=13 << 30)
