"""A copy behind another controller: its own files and its initramfs know the disks there."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from payload.finish.storage.initramfs import OLD
from payload.identify.content import look_at
from payload.identify.installed import find_systems, locations_of
from payload.identify.survey import take_survey
from payload.model.disk import Disk
from payload.model.errors import AdaptError
from tests.support.chroot_system import install, make_small_system
from tests.support.copy_before_finish import Copy
from tests.support.cpio_archives import archive
from tests.support.server_image import (
    BOOT_UUID,
    DATA_UUID,
    MIB,
    ROOT_UUID,
    ServerImages,
    make_server,
    write_tree,
)

pytestmark = pytest.mark.root

AHCI = ("pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",)
VIRTIO = ("virtio:d00000002v00001AF4", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00")
MODULES = {
    "lib/modules/6.1/modules.alias": "alias pci:v*d*sv*sd*bc01sc06i01* ahci\n"
    "alias virtio:d00000002v* virtio_blk\nalias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\n",
    "lib/modules/6.1/modules.dep": "kernel/drivers/ata/ahci.ko:\nkernel/drivers/scsi/sd_mod.ko:\n"
    "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko\n"
    "kernel/drivers/virtio/virtio.ko:\nkernel/drivers/virtio/virtio_pci.ko:\n",
}
SIGN = {"conf/initramfs.conf": b"MODULES=dep\n"}
FOR_AHCI = archive({**SIGN, "k/ahci.ko": b"", "k/sd_mod.ko": b""})
FOR_ALL = archive({**SIGN, **{f"k/{name}.ko": b"" for name in (
    "ahci", "sd_mod", "virtio", "virtio_blk", "virtio_pci")}})  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerImages:
    return make_server(tmp_path_factory.mktemp("server"), files=1)


@pytest.fixture
def copy(tmp_path: Path, server: ServerImages) -> Iterator[Copy]:
    """The server's disks hang on AHCI, those here on virtio; its kernel knows both."""
    copy = Copy(tmp_path, server)
    copy.source = replace(copy.source, disks=tuple(_behind(AHCI, copy.source.disks)))
    copy.target = replace(copy.target, disks=tuple(_behind(VIRTIO, copy.target.disks)))
    with copy.root(writable=True) as root:
        write_tree(root, MODULES)
    with copy.boot() as boot:
        (boot / "initrd.img-6.1").write_bytes(FOR_AHCI)
        menu = boot / "grub/grub.cfg"
        menu.write_text(menu.read_text().replace(f"root=UUID={ROOT_UUID}", "root=/dev/sda6"))
    yield copy


def _behind(controllers: tuple[str, ...], disks: tuple[Disk, ...]) -> Iterator[Disk]:
    for disk in disks:
        yield replace(disk, hardware=replace(disk.hardware, controllers=controllers))


def give_maker(copy: Copy, script: str = 'cp /next "$4"\n') -> None:
    with copy.root(writable=True) as root:
        make_small_system(root)
        install(root, "usr/sbin/mkinitramfs", script)
        (root / "etc/initramfs-tools").mkdir()
        (root / "next").write_bytes(FOR_ALL)


def test_names_and_initramfs_are_those_of_this_machine(copy: Copy) -> None:
    give_maker(copy)
    done = copy.finish()
    with copy.root() as root:
        fstab = (root / "etc/fstab").read_text().splitlines()
    assert fstab == [
        f"UUID={ROOT_UUID} / ext4 defaults 0 1",
        f"UUID={BOOT_UUID} /boot ext4 defaults 0 2",
        "/dev/vda5 none swap sw 0 0",
        f"UUID={DATA_UUID} /srv ext4 defaults 0 2",
    ]
    with copy.boot() as boot:
        assert (boot / "initrd.img-6.1").read_bytes() == FOR_ALL
        assert (boot / f"initrd.img-6.1{OLD}").read_bytes() == FOR_AHCI
    places = [change.where for change in done.changes]
    assert {"/etc/fstab", "/boot/grub/grub.cfg", "/boot/initrd.img-6.1"} <= set(places)
    assert done.marker.changes == done.changes
    assert f"root=UUID={ROOT_UUID}" in " / ".join(copy.check())


def test_what_sda_was_is_told_by_the_fstab_and_not_by_this_boot(copy: Copy) -> None:
    """The live system found the disks the other way round, and so may the cables have been laid:
    but only one of them has a swap in partition 5."""
    give_maker(copy)
    system, data = copy.source.disks
    turned = (
        replace(data, hardware=replace(data.hardware, path="pci-0000:00:1f.2-ata-1")),
        replace(system, hardware=replace(system.hardware, path="pci-0000:00:1f.2-ata-2")),
    )
    copy.source = replace(copy.source, disks=turned)
    copy.finish()
    with copy.root() as root:
        fstab = (root / "etc/fstab").read_text().splitlines()
    assert fstab[1] == f"UUID={BOOT_UUID} /boot ext4 defaults 0 2"
    assert fstab[3] == f"UUID={DATA_UUID} /srv ext4 defaults 0 2"
    with copy.boot() as boot:
        assert (boot / "initrd.img-6.1").read_bytes() == FOR_ALL


def test_the_survey_finds_the_maker_on_a_usr_of_its_own(copy: Copy) -> None:
    """Without it, a copy that can be helped would be refused."""
    with copy.root(writable=True) as root:
        shutil.rmtree(root / "usr", ignore_errors=True)
        (root / "usr").mkdir()
    data = copy.host.blocks.view(str(copy.disks[1]), MIB, 63488 * 512, writable=True)
    with data as node, copy.host.mounts.mount(node, "ext4", writable=True) as usr:
        write_tree(usr, {"sbin/mkinitramfs": "", "bin/who": "", "share/doc/x": ""})
    disks = tuple(Disk(one, look_at(copy.host, one)) for one in copy.host.blocks.find())
    found = find_systems(copy.host, [place for disk in disks for place in locations_of(disk)])
    source = replace(copy.source, disks=disks, systems=tuple(found.systems))
    survey = take_survey(copy.host, source, copy.target, 0)
    assert survey.initramfs is not None
    assert (survey.initramfs.kernel, survey.initramfs.maker) == ("6.1", "initramfs-tools")
    assert survey.late[0].modules == ("virtio_blk", "virtio_pci")


def test_a_copy_that_nothing_helps_is_told_with_the_cure(copy: Copy) -> None:
    with pytest.raises(AdaptError, match=r"does not hold virtio_blk, virtio_pci .* Give the mac"):
        copy.finish()


def test_a_maker_that_fails_where_the_initramfs_is_needed_fails_the_run(copy: Copy) -> None:
    give_maker(copy, "echo no room >&2; exit 1\n")
    with pytest.raises(AdaptError, match=r"could not be made anew.*code 1: no room.*unchanged"):
        copy.finish()
    with copy.boot() as boot:
        assert (boot / "initrd.img-6.1").read_bytes() == FOR_AHCI


def test_behind_the_same_controller_not_a_byte_of_boot_changes(copy: Copy) -> None:
    copy.target = replace(copy.target, disks=tuple(_behind(AHCI, copy.target.disks)))
    give_maker(copy)
    with copy.disks[0].open("rb") as disk:
        disk.seek(2048 * 512)
        before = disk.read(32768 * 512)
    done = copy.finish()
    with copy.disks[0].open("rb") as disk:
        disk.seek(2048 * 512)
        assert disk.read(32768 * 512) == before
    assert not [one for one in done.changes if "initrd" in one.where or "fstab" in one.where]
