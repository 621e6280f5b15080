"""A bit copy on image files becomes the server of this machine, and proves that it would boot."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from payload.finish.marker import record_marker
from payload.formats.disk.superblocks import read_usage
from payload.identify.content import look_at
from payload.identify.installed import find_systems, locations_of, read_marker
from payload.identify.survey import look_into_root
from payload.model.disk import Disk
from payload.model.errors import AdaptError
from payload.model.inventory import Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.marker import CopyMarker, DiskMapping, MachineReference, Usage
from payload.system import device
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.support.copy_before_finish import HERE, ROOT_START, SECTOR, SPARE, UNUSED, Copy
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.mount_namespace import other_mounts
from tests.support.server_image import (
    DATA_UUID,
    MIB,
    ROOT_UUID,
    SOURCE_MAC,
    ServerImages,
    make_image,
    make_server,
    tool,
    write_tree,
)

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerImages:
    return make_server(tmp_path_factory.mktemp("server"), files=4)


@pytest.fixture
def copy(tmp_path: Path, server: ServerImages) -> Iterator[Copy]:
    yield Copy(tmp_path, server)


def test_a_finished_copy_has_its_name_its_marker_and_a_way_to_boot(copy: Copy) -> None:
    done = copy.finish()
    assert {entry.name: entry.mac for entry in done.cards} == {"eth0": HERE, "eth1": SPARE}
    with copy.root() as root:
        rules = (root / "etc/udev/rules.d/z25_persistent-net.rules").read_text()
        marker = read_marker(root)
        mode = (root / "var/lib/ugs-failover/copy.json").stat().st_mode & 0o7777
    assert f'\n#SUBSYSTEM=="net", DRIVERS=="?*", ATTRS{{address}}=="{SOURCE_MAC}"' in rules
    assert f'\nSUBSYSTEM=="net", DRIVERS=="?*", ATTRS{{address}}=="{HERE}", NAME="eth0"' in rules
    assert marker == done.marker
    assert (marker.copy_id, marker.finished_at, mode) == ("copy-1", 1234, 0o600)
    assert [change.where for change in marker.changes] == [
        f"disk {copy.plan.disks[0].target.id} bytes {ROOT_START}-{ROOT_START + 67108864 - 1}",
        "/etc/udev/rules.d/z25_persistent-net.rules",
        "/etc/systemd/system/ugs-failover-used.service",
        "/etc/systemd/system/ugs-failover-up.service",
        "/etc/systemd/system/sysinit.target.wants/ugs-failover-used.service",
        "/etc/systemd/system/multi-user.target.wants/ugs-failover-up.service",
        "/var/lib/ugs-failover/copy.json",
    ]
    checks = " / ".join(copy.check())
    assert "in the gap before the first partition" in checks
    assert "/vmlinuz-6.1, /initrd.img-6.1 there and not empty" in checks
    assert f"root=UUID={ROOT_UUID}" in checks


@dataclass
class _HeldElsewhere:
    """`Mounts` of a machine on which another program has the same mounts, for itself."""

    stack: ExitStack

    @contextmanager
    def mount(self, *place: Any, **how: Any) -> Iterator[Path]:
        with LinuxMounts().mount(*place, **how) as root:
            self.stack.enter_context(other_mounts())
            yield root


def test_a_root_that_is_still_mounted_elsewhere_is_no_finished_copy(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes behind this in a run, the table and the boot code, is then not written."""
    monkeypatch.setattr("payload.system.mounts._PAUSE", 0.01)
    with ExitStack() as stack, pytest.raises(AdaptError, match="its journal still holds"):
        copy.host = replace(copy.host, mounts=_HeldElsewhere(stack))
        copy.finish()


def test_looking_is_no_use_and_mounting_is(copy: Copy) -> None:
    written = copy.finish().marker.usage
    assert written == copy.usage()
    with copy.root() as root:
        assert (root / "etc/hostname").read_text() == "groupware\n"
    copy.check()
    assert copy.usage() == written
    with copy.root(writable=True):
        pass
    assert copy.usage() != written


def test_finishing_again_changes_the_marker_alone(copy: Copy) -> None:
    copy.finish()
    done = copy.finish()
    assert [change.where for change in done.changes][1:] == ["/var/lib/ugs-failover/copy.json"]
    assert done.marker.usage == copy.usage()


def test_a_full_root_file_system_is_told(copy: Copy) -> None:
    with copy.root(writable=True) as root:
        for size in (MIB, 4096, 1024):
            with (root / f"filler{size}").open("wb", buffering=0) as filler:
                _fill(filler, size)
    with pytest.raises(AdaptError, match="No space left on device"):
        copy.finish()


def _fill(file: FileIO, size: int) -> None:
    with pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(size))


def test_a_root_that_is_no_file_system_is_told(copy: Copy) -> None:
    copy.write(ROOT_START, bytes(8 * MIB))
    with pytest.raises(AdaptError, match="copied, but the copy could not be adapted"):
        copy.finish()


@pytest.mark.parametrize(
    ("place", "content", "sentence"),
    [
        (0, bytes(446), "No disk of the copy has boot code"),
        (510, bytes(2), "55 AA"),
        (512, bytes(512), "sector 1, where GRUB's core is not"),
        (1024, bytes(512 * 400), "should go on in sectors 2"),
    ],
)
def test_a_gap_in_the_chain_is_found(copy: Copy, place: int, content: bytes, sentence: str) -> None:
    copy.write(place, content)
    with pytest.raises(AdaptError, match=sentence):
        copy.check()


def test_an_empty_kernel_is_found(copy: Copy) -> None:
    with copy.boot() as boot:
        (boot / "vmlinuz-6.1").write_bytes(b"")
    with pytest.raises(AdaptError, match=r"/vmlinuz-6\.1 is missing or empty"):
        copy.check()


def test_a_missing_menu_is_found_where_grub_looks_not_anywhere(copy: Copy) -> None:
    with copy.boot() as boot:
        (boot / "grub").rename(boot / "grub-old")
        write_tree(boot, {"boot/grub/grub.cfg": "menuentry x {\n linux /vmlinuz-6.1\n}\n"})
    with pytest.raises(AdaptError, match=r"menu \(grub\.cfg\) in /grub is on no file system"):
        copy.check()


def test_a_root_nobody_is_called_by_is_found(copy: Copy) -> None:
    with copy.boot() as boot:
        menu = boot / "grub/grub.cfg"
        menu.write_text(menu.read_text().replace(ROOT_UUID, DATA_UUID.replace("3", "4")))
    with pytest.raises(AdaptError, match="no file system of the copy is called UUID=44444444"):
        copy.check()


def test_a_usr_of_its_own_tells_what_udev_and_init_are(copy: Copy) -> None:
    data = copy.host.blocks.view(str(copy.disks[1]), MIB, 63488 * 512, writable=True)
    with data as node, copy.host.mounts.mount(node, "ext4", writable=True) as usr:
        write_tree(
            usr,
            {
                "lib/systemd/systemd": "",
                "lib/udev/rules.d/80-net-setup-link.rules": "",
                "lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so": "",
            },
        )
        (usr / "sbin").mkdir()
        (usr / "sbin/init").symlink_to("/lib/systemd/systemd")
    with copy.root(writable=True) as root:
        fstab = root / "etc/fstab"
        fstab.write_text(re.sub(r"\s/srv\s", " /usr ", fstab.read_text()))
        for name in ("lib", "sbin"):
            if (root / name).exists():
                shutil.rmtree(root / name)
            (root / name).symlink_to(f"usr/{name}")
        shutil.rmtree(root / "usr", ignore_errors=True)
        (root / "usr").mkdir()
        for rules in (root / "etc/udev/rules.d").glob("*"):
            rules.unlink()
    copy.finish()
    with copy.root() as root:
        links = [place.name for place in (root / "etc/systemd/network").iterdir()]
        assert "10-failover-eth0.link" in links
        assert (root / "etc/systemd/system/ugs-failover-used.service").is_file()
        assert not (root / "etc/init.d/ugs-failover-used").exists()
        assert list((root / "usr").iterdir()) == []


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "btrfs", "xfs"])
def test_the_marker_records_the_use_that_holds_afterwards(tmp_path: Path, kind: str) -> None:
    image = make_image(tmp_path / "root.img", (320 if kind == "xfs" else 120) * MIB)
    tool(f"mkfs.{kind}", "-q", str(image))
    machine = MachineReference("a" * 32)
    marker = CopyMarker("c", machine, machine, (DiskMapping("s", "t"),), 1, Usage(kind))
    mounts = LinuxMounts()
    with device.view(run, str(image), 0, image.stat().st_size, writable=True) as node:
        written = record_marker(mounts, node, kind, marker)
        assert written.usage == read_usage(node, kind)
        assert written.usage.counter >= 0
        with mounts.mount(node, kind) as root:
            assert read_marker(root) == written
        assert written.usage == read_usage(node, kind)
        with mounts.mount(node, kind, writable=True) as root:
            (root / "mail").write_text("new")
        assert written.usage != read_usage(node, kind)


def test_the_marker_goes_into_the_subvolume_that_is_the_root(tmp_path: Path) -> None:
    image = make_image(tmp_path / "root.img", 120 * MIB)
    tool("mkfs.btrfs", "-q", str(image))
    machine = MachineReference("a" * 32)
    marker = CopyMarker("c", machine, machine, (DiskMapping("s", "t"),), 1, Usage("btrfs"))
    mounts = LinuxMounts()
    with device.view(run, str(image), 0, image.stat().st_size, writable=True) as node:
        with mounts.mount(node, "btrfs", writable=True) as top:
            tool("btrfs", "-q", "subvolume", "create", str(top / "@"))
            files = {
                "etc/fstab": "",
                "etc/debian_version": "12",
                "etc/hostname": "old",
                "sbin/init": "",
            }
            write_tree(top / "@", files)
        written = record_marker(mounts, node, "btrfs", marker, ("subvol=@",))
        assert written.usage == read_usage(node, "btrfs")
        with mounts.mount(node, "btrfs", options=("subvolid=5",)) as top:
            assert read_marker(top) is None
            assert read_marker(top / "@") == written
    blocks = ImageBlocks([ImageDisk(image, serial="S1")])
    host = Host(run, blocks, mounts, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED)
    hardware = blocks.find()[0]
    disk = Disk(hardware, look_at(host, hardware))
    found = find_systems(host, locations_of(disk)).systems
    assert [(one.subvolume, one.marker) for one in found] == [("@", written)]
    inventory = Inventory(MachineIdentity("m"), Firmware.BIOS, disks=(disk,), systems=tuple(found))
    names = look_into_root(host, inventory, lambda root: (root / "etc/hostname").read_text(), "")
    assert names == "old"


def test_a_separate_var_gets_the_marker_too(copy: Copy) -> None:
    with copy.root(writable=True) as root:
        fstab = root / "etc/fstab"
        fstab.write_text(fstab.read_text() + "/dev/sdb1 /var ext4 defaults 0 2\n")
    done = copy.finish()
    view = copy.host.blocks.view(str(copy.disks[1]), MIB, 63488 * SECTOR)
    with view as node, copy.host.mounts.mount(node, "ext4") as var:
        assert (var / "lib/ugs-failover/copy.json").is_file()
    with copy.root() as root:
        assert read_marker(root) == done.marker
    assert done.marker.usage == copy.usage()


def test_a_damaged_file_system_of_data_hinders_no_boot(copy: Copy) -> None:
    with copy.disks[1].open("r+b") as disk:
        disk.seek(MIB)
        disk.write(bytes(4096))
    assert "partition 1 of disk 2 of the copy cannot be looked into" in copy.check()[-1]
