"""An installed initramfs that lacks the driver of an AHCI controller, which its kernel has."""

from pathlib import Path

from payload.finish.storage.initramfs import Rebuild, plan_rebuild
from payload.formats.kernel.startup import read_startup
from tests.support.chroot_system import install

VERSION = "6.1.0-18-amd64"
IMAGE = f"boot/initrd.img-{VERSION}"
AHCI = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"


def add_initramfs_without_ahci(
    root: Path, before: bytes, after: bytes, mkinitramfs: str
) -> Rebuild:
    """Give the system at `root` an initramfs (`before`) and a script `mkinitramfs`, which finds
    `after` as /next. Returns the rebuild planned for a machine with AHCI."""
    modules = root / "lib/modules" / VERSION
    modules.mkdir(parents=True)
    (modules / "modules.alias").write_text("alias pci:v*d*sv*sd*bc01sc06i01* ahci\n")
    (modules / "modules.dep").write_text("kernel/drivers/ata/ahci.ko:\n")
    (root / IMAGE).write_bytes(before)
    (root / "etc/initramfs-tools").mkdir()
    (root / "next").write_bytes(after)
    install(root, "usr/sbin/mkinitramfs", mkinitramfs)
    rebuild = plan_rebuild(read_startup([root]), [AHCI], [[AHCI]], stale=False)
    assert rebuild is not None
    return rebuild
