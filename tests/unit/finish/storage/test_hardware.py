"""Whether an initramfs has to be made anew, decided from what is known of it."""

from pathlib import Path

import pytest

from payload.finish.storage.hardware import names_cards
from payload.finish.storage.initramfs import Rebuild, plan_rebuild, refuse_worse
from payload.formats.boot.menu_files import Start
from payload.formats.kernel.initramfs import Contents, InitramfsError
from payload.formats.kernel.kernel_modules import Kernel
from payload.formats.kernel.startup import Startup
from payload.model.errors import AdaptError
from payload.system.files import Place

VIRTIO = "virtio:d00000002v00001AF4"
KERNEL = Kernel(
    "6.1",
    (("virtio:d00000002v*", "virtio_blk"), ("pci:v*d*sv*sd*bc01sc06i01*", "ahci")),
    True,
    places={
        "virtio_blk": "kernel/drivers/block/virtio_blk.ko",
        "ahci": "kernel/drivers/ata/ahci.ko",
        "sd_mod": "kernel/drivers/scsi/sd_mod.ko",
        "ext4": "kernel/fs/ext4/ext4.ko",
    },
)
AHCI = "pci:v00008086d00002922sv0sd0bc01sc06i01"


def contents(*paths: str, **kept: bytes) -> Contents:
    return Contents(frozenset(paths), kept)


def startup(*modules: str, maker: str = "initramfs-tools") -> Startup:
    held = contents(*(f"k/{name}.ko" for name in modules))
    return Startup(
        (KERNEL,), Start("6.1", Place(Path("/r"), "/boot/i"), "/boot/i"), held, maker=maker
    )


def test_nothing_is_made_where_all_is_there_or_nothing_is_known() -> None:
    assert plan_rebuild(startup("virtio_blk"), [VIRTIO], [[VIRTIO]], stale=False) is None
    assert plan_rebuild(Startup((KERNEL,)), [VIRTIO], [], stale=True) is None
    unread = Startup((KERNEL,), Start("6.1", Place(Path("/"), "/i"), "/i"), unknown="cramfs")
    assert plan_rebuild(unread, [VIRTIO], [], stale=True) is None
    assert plan_rebuild(startup(), ["pci:v0000FFFF"], [["pci:v0000FFFF"]], stale=False) is None


def test_what_is_missing_for_any_disk_is_added_and_for_the_root_it_is_vital() -> None:
    rebuild = plan_rebuild(startup("ahci"), [VIRTIO], [[VIRTIO], [AHCI]], stale=False)
    assert rebuild and (rebuild.modules, rebuild.vital) == (("virtio_blk", "sd_mod"), True)
    assert plan_rebuild(startup("virtio_blk"), [VIRTIO], [[VIRTIO], [AHCI]], stale=False) is None


def test_old_names_alone_are_not_vital() -> None:
    rebuild = plan_rebuild(startup("virtio_blk"), [VIRTIO], [[VIRTIO]], stale=True)
    assert rebuild and (rebuild.modules, rebuild.vital) == ((), False)
    assert "files as they were" in rebuild.why
    assert plan_rebuild(startup("virtio_blk", maker=""), [VIRTIO], [], stale=True) is None


def test_a_copy_that_would_not_start_and_cannot_be_helped_is_no_copy() -> None:
    with pytest.raises(AdaptError, match="does not hold virtio_blk for the controller"):
        plan_rebuild(startup("ahci", maker=""), [VIRTIO], [], stale=False)
    bare = Startup((KERNEL,), Start("6.1"))
    with pytest.raises(AdaptError, match="its kernel, which has no initramfs"):
        plan_rebuild(bare, [VIRTIO], [], stale=False)


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        (contents("k/ext4.ko"), contents("k/ahci.ko"), "ext4"),
        (contents("usr/sbin/lvm"), contents("sbin/lvm", "k/ahci.ko"), ""),
        (contents("sbin/cryptsetup"), contents("k/ahci.ko"), "cryptsetup"),
        (contents(**{"cryptroot/crypttab": b"x"}), contents("k/ahci.ko"), "cryptroot/crypttab"),
        (contents(), contents("k/virtio_blk.ko"), "ahci"),
    ],
)
def test_a_new_one_that_lost_a_way_to_the_root_is_refused(
    old: Contents, new: Contents, lost: str
) -> None:
    rebuild = Rebuild(KERNEL, "/i", old, "initramfs-tools", ("ahci",), True, "it lacked ahci")
    if not lost:
        refuse_worse(rebuild, new)
        return
    with pytest.raises(InitramfsError, match=f"does not hold {lost}"):
        refuse_worse(rebuild, new)


@pytest.mark.parametrize(
    ("paths", "library", "cards", "wrong"),
    [
        (["usr/lib/systemd/network/99-default.link"], "systemd/libsystemd-shared-252", 1, False),
        (["usr/lib/systemd/network/99-default.link"], "systemd/libsystemd-shared-252", 2, True),
        (
            ["usr/lib/systemd/network/x.link"],
            "x86_64-linux-gnu/systemd/libsystemd-shared-257",
            1,
            False,
        ),
        (["lib/systemd/network/99-default.link"], "systemd/libsystemd-shared-232", 1, True),
        (["lib/systemd/network/99-default.link"], "", 1, True),
        (["etc/udev/rules.d/70-persistent-net.rules"], "", 1, False),
        (["etc/udev/rules.d/70-persistent-net.rules"], "", 2, True),
        (["init"], "", 4, False),
    ],
)
def test_when_old_network_names_in_the_initramfs_matter(
    tmp_path: Path, paths: list[str], library: str, cards: int, wrong: bool
) -> None:
    (tmp_path / "lib").symlink_to("usr/lib")
    if library:
        place = tmp_path / f"usr/lib/{library}.so"
        place.parent.mkdir(parents=True)
        place.write_bytes(b"")
    found = Startup(contents=contents(*paths))
    assert names_cards(tmp_path, found, cards) is wrong
