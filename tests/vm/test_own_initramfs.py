"""A real installation makes its own initramfs anew: Debian's initramfs-tools, in a chroot.

No machine is started; it stands here since it needs the system that the sample server is made of.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload.finish.storage.initramfs import OLD, plan_rebuild, rebuild_initramfs
from payload.formats.kernel.disk_names import name_disks
from payload.formats.kernel.initramfs import read_initramfs
from payload.formats.kernel.startup import Startup, read_startup
from payload.system.command import run
from payload.system.files import Place
from tests.vm.conftest import PROJECT
from tests.vm.debian import base_system
from tests.vm.images import call
from tests.vm.sample_server import RECIPE

pytestmark = [pytest.mark.vm, pytest.mark.root]

AHCI = ("pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",)
IDE = ("pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80",)
VIRTIO = ("virtio:d00000002v00001AF4", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The installation, with an initramfs that was made for AHCI alone."""
    root = tmp_path_factory.mktemp("installation")
    archive = base_system(PROJECT / "build/cache", RECIPE.release, RECIPE.packages)
    call("tar", "-C", root, "--numeric-owner", "-xpf", archive)
    narrow = root / "tmp/narrow"
    shutil.copytree(root / "etc/initramfs-tools", narrow)
    (narrow / "conf.d/driver-policy").write_text("MODULES=list\n")
    (narrow / "modules").write_text("ahci\nsd_mod\next4\n")
    (image,) = (root / "boot").glob("initrd.img-*")
    version = image.name.removeprefix("initrd.img-")
    in_root(root, "mkinitramfs", "-d", "/tmp/narrow", "-o", f"/boot/{image.name}", version)
    yield root
    shutil.rmtree(root)


def in_root(root: Path, *argv: str) -> str:
    """What a program of the system says that may change it, as when it runs by itself."""
    script = 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, str(root)]
    return run([*words, *argv], timeout=600).stdout


def look(root: Path) -> Startup:
    startup = read_startup([root])
    assert startup.kernel and startup.start and startup.start.image and startup.contents
    return startup


def test_an_initramfs_made_for_one_controller_is_made_for_all(root: Path) -> None:
    startup = look(root)
    assert startup.kernel and startup.start and startup.start.image
    assert name_disks(startup.kernel, [(AHCI, ""), (VIRTIO, ""), (IDE, "")]) == (
        "sda", "vda", "sdb",
    )  # fmt: skip
    assert plan_rebuild(startup, AHCI, [AHCI], stale=False) is None
    rebuild = plan_rebuild(startup, VIRTIO, [VIRTIO, AHCI], stale=False)
    assert rebuild and rebuild.vital
    assert rebuild.modules == ("virtio_blk", "virtio_pci")

    before = sorted((root / "etc/initramfs-tools").rglob("*"))
    changes = rebuild_initramfs(run, root, rebuild)

    path = startup.start.image.path
    assert [change.where for change in changes][:2] == [path + OLD, path]
    after = look(root)
    for controllers in (VIRTIO, AHCI, IDE):
        assert plan_rebuild(after, controllers, [controllers], stale=False) is None
    assert after.start and after.start.path == startup.start.path
    old = read_initramfs(Place(root, path + OLD))
    assert "virtio_blk" not in old.modules
    assert sorted((root / "etc/initramfs-tools").rglob("*")) == before
    assert not list((root / "var/tmp").iterdir())


def test_the_copy_goes_on_making_its_own(root: Path) -> None:
    """Its next one is its own affair again, and the old one is no image of any kernel."""
    version = look(root).start.version  # type: ignore[union-attr]
    (root / "etc/initramfs-tools/conf.d/small").write_text("MODULES=list\n")
    said = in_root(root, "update-initramfs", "-u", "-k", "all")
    assert said.split() == ["update-initramfs:", "Generating", f"/boot/initrd.img-{version}"]
