"""Looking at disks that real tools made: tables, file systems, systems, and blankness."""

import errno
import hashlib
import itertools
import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.decide.role import decide_role
from payload.formats.disk.superblocks import read_usage
from payload.formats.disk.unfinished_mark import MARK_OFFSET, encode_mark
from payload.identify.content import SAMPLES, look_at, sample_offsets
from payload.identify.installed import find_systems, locations_of
from payload.identify.inventory import take_inventory
from payload.model.codec import from_json, to_json, to_pretty_json
from payload.model.disk import MIB, Content, Disk, FileSystem, Unfinished
from payload.model.errors import ToolError
from payload.model.inventory import Inventory
from payload.model.machine import Card
from payload.model.marker import MARKER_PATH, CopyMarker, DiskMapping, MachineReference, Usage
from payload.model.role import Ground, Role
from payload.model.settings import Settings
from payload.system.board import LinuxBoard
from payload.system.command import run
from payload.system.device import view
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from payload.system.power import LinuxPower
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.machine_process import NoEmulator

pytestmark = pytest.mark.root

CARD = Card("eth0", "00:16:3e:00:00:01", "virtio_net")
SYSTEM = {
    "etc/fstab": "/dev/sda6 / ext3 defaults 0 1\n",
    "etc/hostname": "groupware\n",
    "etc/debian_version": "4.0\n",
    "etc/univention/base.conf": "# UCR\nversion/version: 2.4\nversion/patchlevel: 0\n",
    "sbin/init": "",
}


def host_of(blocks: ImageBlocks) -> Host:
    links: Any = SimpleNamespace(cards=lambda: (CARD,))
    mdns: Any = None
    return Host(run, blocks, LinuxMounts(), LinuxBoard(), LinuxPower(), links, mdns, NoEmulator())


def look(image: Path, **more: Any) -> Content:
    host = host_of(ImageBlocks([ImageDisk(image, serial="S1", **more)]))
    return look_at(host, host.blocks.find()[0])


def find(image: Path) -> tuple[Disk, Any]:
    host = host_of(ImageBlocks([ImageDisk(image, serial="S1")]))
    hardware = host.blocks.find()[0]
    disk = Disk(hardware, look_at(host, hardware))
    return disk, find_systems(host, locations_of(disk))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def put(image: Path, offset: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def partitioned(path: Path, script: str, size: int = 100 * MIB) -> Path:
    sparse(path, size)
    subprocess.run(["sfdisk", "--quiet", path], input=script, text=True, check=True)
    return path


def tree(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        directory.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        directory.joinpath(name).write_text(text)
    return directory


def ext(directory: Path, files: dict[str, str], kind: str = "ext4", *options: str) -> bytes:
    """A small file system with these files."""
    place = tree(directory / f"tree-{kind}", files)
    image = sparse(directory / f"{kind}.part", 8 * MIB)
    argv = [f"mkfs.{kind}", "-q", "-F", *options, "-d", str(place), str(image)]
    subprocess.run(argv, check=True)
    return image.read_bytes()


MBR = """label: dos
label-id: 0xfa110e55
start=2048, size=20480, type=83, bootable
start=22528, size=61440, type=5
start=24576, size=8192, type=82
start=34816, size=16384, type=83
"""


# What lies on a disk


def test_mbr_with_logical_partitions(tmp_path: Path) -> None:
    image = partitioned(tmp_path / "disk7", MBR)  # ends in a digit: sfdisk says "disk7p1"
    put(image, 34816 * 512, ext(tmp_path, {}, "ext3", "-I", "128", "-L", "my root"))
    content = look(image)
    assert not content.blank
    assert content.table
    assert (content.table.label, content.table.id) == ("dos", "0xfa110e55")
    first, extended, swap, root = content.table.partitions
    assert [part.number for part in content.table.partitions] == [1, 2, 5, 6]
    assert (first.start, first.size, first.bootable) == (MIB, 10 * MIB, True)
    assert (root.uuid, root.type_id) == ("fa110e55-06", "83")
    assert extended.is_extended
    assert swap.file_system is None
    assert root.file_system
    assert (root.file_system.kind, root.file_system.label) == ("ext3", "my root")
    assert content.evidence == "a dos partition table with 4 partitions (ext3)"


def test_gpt_with_names_and_attributes(tmp_path: Path) -> None:
    script = 'label: gpt\nsize=20480, name="system \\x22A\\x22", attrs="LegacyBIOSBootable"\n'
    content = look(partitioned(tmp_path / "disk.img", script))
    assert content.table
    (part,) = content.table.partitions
    assert content.table.label == "gpt"
    assert content.table.first_lba
    assert content.table.last_lba
    assert part.type_id == "0fc63daf-8483-4772-8e79-3d69d8477de4"
    assert part.uuid == part.uuid.lower() != ""
    assert part.attributes == "LegacyBIOSBootable"
    assert "A" in part.name


def test_a_file_system_on_the_whole_disk(tmp_path: Path) -> None:
    image = sparse(tmp_path / "disk.img", 8 * MIB)
    image.write_bytes(ext(tmp_path, {}, "ext4", "-L", "data"))
    content = look(image)
    assert content.file_system
    assert (content.file_system.kind, content.file_system.label) == ("ext4", "data")
    assert content.table is None
    assert not content.blank


def test_a_disk_of_zeros_is_blank(tmp_path: Path) -> None:
    content = look(sparse(tmp_path / "disk.img", 300 * MIB + 512))
    assert content == Content(True, content.evidence)
    assert content.evidence.startswith("no partition table, no signature, zeros at both ends")


@pytest.mark.parametrize("size", [64 * MIB, 300 * MIB + 512, 5 * 10**9 // 512 * 512])
def test_one_byte_anywhere_we_look_makes_it_not_blank(tmp_path: Path, size: int) -> None:
    image = sparse(tmp_path / "disk.img", size)
    looked_at = sample_offsets(size)
    assert len(looked_at) >= min(SAMPLES, size // MIB)
    places = [1, MIB - 1, size - MIB, size - 1, size // 2, looked_at[20] + 5, looked_at[-3]]
    for place in places:
        if not any(offset <= place < offset + MIB for offset in looked_at):
            assert place == size // 2  # between two samples of a large disk
            continue
        put(image, place, b"\x01")
        content = look(image)
        assert not content.blank, place
        assert content.evidence == f"no known signature, but data at byte {place}"
        put(image, place, b"\0")
    assert look(image).blank


@given(st.integers(MIB, 1 << 50).map(lambda size: size // 512 * 512))
def test_both_ends_and_64_places_between_are_looked_at(size: int) -> None:
    offsets = sample_offsets(size)
    assert all(0 <= offset < size and offset % 4096 == 0 for offset in offsets)
    covered = [(offset, min(offset + MIB, size)) for offset in offsets]
    assert covered[0][0] == 0
    assert covered[-1][1] == size
    assert any(start <= size - MIB and end + 4096 >= size for start, end in covered)
    if size > 200 * MIB:
        assert len(offsets) >= SAMPLES + 2
        gaps = [after - before for before, after in itertools.pairwise(offsets)]
        assert max(gaps) <= size // SAMPLES + 4096


def _gpt_backup(tmp_path: Path) -> Path:
    image = partitioned(tmp_path / "disk.img", "label: gpt\nsize=20480\n")
    put(image, 0, bytes(34 * 512))
    return image


def _md_1_0(tmp_path: Path) -> Path:
    """A RAID 1 superblock of version 1.0 lies 8 KiB before the end."""
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    place = 100 * MIB - 8192
    block = bytearray(512)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = os.urandom(16)
    struct.pack_into("<Q", block, 144, place // 512)  # super_offset
    struct.pack_into("<I", block, 220, 128)  # max_dev
    total = sum(struct.unpack("<128I", block))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    put(image, place, bytes(block))
    return image


def _md_0_90(tmp_path: Path) -> Path:
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    put(image, 100 * MIB - 65536, struct.pack("<IIII", 0xA92B4EFC, 0, 90, 0) + bytes(8) + b"uuid")
    return image


def _lvm(tmp_path: Path) -> Path:
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    put(image, 512, lvm_label())
    return image


def lvm_label() -> bytes:
    rest = struct.pack("<I8s32s", 32, b"LVM2 001", b"A" * 32).ljust(492, b"\0")
    checksum = zlib.crc32(rest, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    return struct.pack("<8sQI", b"LABELONE", 1, checksum) + rest


def _luks(tmp_path: Path) -> Path:
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    head = struct.pack(">6sH32s32s32s", b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256")
    uuid = b"12345678-1234-4234-8234-123456789abc"
    put(image, 0, head.ljust(168, b"\0") + uuid)
    return image


@pytest.mark.parametrize(
    ("make", "signature", "hidden"),
    [
        (_gpt_backup, "gpt", ()),
        (_md_1_0, "linux_raid_member", ("MD RAID",)),
        (_md_0_90, "linux_raid_member", ("MD RAID",)),
        (_lvm, "LVM2_member", ("LVM",)),
        (_luks, "crypto_LUKS", ("LUKS",)),
    ],
)
def test_a_signature_without_a_table_is_not_blank(
    tmp_path: Path, make: Callable[[Path], Path], signature: str, hidden: tuple[str, ...]
) -> None:
    content = look(make(tmp_path))
    assert not content.blank
    assert signature in content.signatures
    assert content.hidden == hidden


def test_lvm_in_a_partition_is_hidden(tmp_path: Path) -> None:
    image = partitioned(tmp_path / "disk.img", MBR)
    put(image, MIB + 512, lvm_label())
    content = look(image)
    assert content.hidden == ("LVM on partition 1",)


def test_two_file_systems_in_one_place_are_neither(tmp_path: Path) -> None:
    image = partitioned(tmp_path / "disk.img", MBR)
    other = sparse(tmp_path / "btrfs", 128 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", "-f", other], check=True)
    both = bytearray(ext(tmp_path, {}))
    both[65536 : 65536 + 4096] = other.read_bytes()[65536 : 65536 + 4096]
    put(image, 34816 * 512, bytes(both))
    content = look(image)
    assert content.table
    assert content.table.partitions[3].file_system is None
    assert content.hidden == ("signatures of more than one file system on partition 6",)


def test_our_mark_is_found_on_an_otherwise_empty_disk(tmp_path: Path) -> None:
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    mark = Unfinished("c" * 32, "a" * 32, "b" * 32, "serial:S1", 1_790_000_000)
    put(image, MARK_OFFSET, encode_mark(mark))
    content = look(image)
    assert (content.unfinished, content.blank) == (mark, False)
    assert content.evidence == "our mark of an unfinished copy"
    put(image, MARK_OFFSET + 40, b"!")
    assert look(image).unfinished is None
    assert not look(image).blank


def test_our_mark_is_found_beside_a_table(tmp_path: Path) -> None:
    image = partitioned(tmp_path / "disk.img", MBR)
    mark = Unfinished("c" * 32, "a" * 32, "b" * 32, "serial:S1", 1_790_000_000)
    put(image, MARK_OFFSET, encode_mark(mark))
    content = look(image)
    assert content.unfinished == mark
    assert content.table


class UnreadableBlocks(ImageBlocks):
    def open_to_read(self, node: str) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_cannot_be_read_is_not_blank(tmp_path: Path) -> None:
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    host = host_of(UnreadableBlocks([ImageDisk(image, serial="S1")]))
    content = look_at(host, host.blocks.find()[0])
    assert not content.blank
    assert "cannot be read (Input/output error)" in content.evidence


def test_a_failed_tool_is_no_empty_disk(tmp_path: Path) -> None:
    image = sparse(tmp_path / "disk.img", 100 * MIB)
    host = host_of(ImageBlocks([ImageDisk(image)]))
    (hardware,) = host.blocks.find()
    with pytest.raises(ToolError, match="could not be read by sfdisk"):
        look_at(host, replace(hardware, node=str(tmp_path / "gone")))

    def without_wipefs(argv: Any, **more: Any) -> Any:
        return run(["no-such-wipefs" if word == "wipefs" else word for word in argv], **more)

    with pytest.raises(ToolError, match="could not be started"):
        look_at(replace(host, run=without_wipefs), hardware)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return partitioned(tmp_path_factory.mktemp("intact") / "disk.img", MBR, 42 * MIB).read_bytes()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=66), st.sampled_from([0, 446, 512, 1024, 22528 * 512 + 446]))
def test_damaged_tables_are_never_blank_and_never_a_crash(
    tmp_path: Path, intact: bytes, damage: bytes, place: int
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(intact)
    put(image, place, damage)
    content = look(image)
    assert not content.blank
    assert from_json(Content, to_json(content)) == content


# The systems on it


def test_a_system_in_a_logical_partition(tmp_path: Path) -> None:
    image = partitioned(tmp_path / "disk.img", MBR)
    put(image, 34816 * 512, ext(tmp_path, SYSTEM, "ext3", "-I", "128"))
    before = digest(image)
    disk, findings = find(image)
    (system,) = findings.systems
    assert (system.disk, system.partition, system.file_system) == ("serial:S1", 6, "ext3")
    assert (system.host_name, system.os_name, system.ucs_version) == (
        "groupware",
        "Debian 4.0",
        "2.4-0",
    )
    assert system.marker is None
    assert system.usage.counter == 0
    assert (findings.hidden, findings.warnings) == ([], [])
    assert digest(image) == before
    assert disk.content


ROOT_AND_TMP = "label: dos\nstart=2048, size=20480\nstart=24576, size=16384\n"


@pytest.mark.parametrize("marker", ["", "whole", "damaged"])
def test_what_a_user_puts_into_a_tmp_of_its_own_is_no_second_system(
    tmp_path: Path, marker: str
) -> None:
    image = partitioned(tmp_path / "disk", ROOT_AND_TMP)
    put(image, 2048 * 512, ext(tmp_path, SYSTEM))
    planted = {"etc/fstab": "", "etc/os-release": "", "sbin/init": ""}
    if marker == "whole":
        here = MachineReference("1" * 32)
        whole = CopyMarker(
            "copy", here, here, (DiskMapping("serial:S", "serial:S1"),), 1, Usage("")
        )
        planted[MARKER_PATH] = to_json(whole).decode()
    elif marker:
        planted[MARKER_PATH] = "damaged"
    for path in tree(tmp_path / "tree-ext3", planted).rglob("*"):
        os.chown(path, 65534, 65534)
    put(image, 24576 * 512, ext(tmp_path, planted, "ext3"))
    inventory = inventory_of(ImageDisk(image, serial="S1"))
    assert [system.partition for system in inventory.systems] == [1]
    assert decide_role(inventory, Settings()).role is Role.SOURCE
    if marker != "damaged":
        assert any("not taken for one" in warning for warning in inventory.warnings)


def test_a_server_whose_root_directory_has_another_owner_is_a_server(tmp_path: Path) -> None:
    """Somebody unpacked an archive there. It is no spare machine for that."""
    image = partitioned(tmp_path / "disk", ROOT_AND_TMP)
    for path in tree(tmp_path / "tree-ext4", SYSTEM).rglob("*"):
        os.chown(path, 1000, 1000)
    put(image, 2048 * 512, ext(tmp_path, SYSTEM))
    inventory = inventory_of(ImageDisk(image, serial="S1"))
    assert [system.partition for system in inventory.systems] == [1]
    assert decide_role(inventory, Settings()).role is Role.SOURCE


def test_a_data_file_system_is_no_system(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(ext(tmp_path, {"etc/hostname": "x", "mail/1": "hello"}))
    _, findings = find(image)
    assert (findings.systems, findings.hidden) == ([], [])


def test_a_server_that_died_is_looked_at_without_replay(tmp_path: Path) -> None:
    image = tmp_path / "running.img"
    image.write_bytes(ext(tmp_path, SYSTEM))
    died = tmp_path / "died.img"
    size = image.stat().st_size
    with (
        view(run, str(image), 0, size, writable=True) as node,
        LinuxMounts().mount(node, "ext4", writable=True) as root,
    ):
        root.joinpath("mail").write_text("new")
        subprocess.run(["sync", "--file-system", root], check=True)
        subprocess.run(["sync", node], check=True)
        died.write_bytes(image.read_bytes())
    before = digest(died)
    _, findings = find(died)
    assert [system.host_name for system in findings.systems] == ["groupware"]
    assert "was not unmounted cleanly" in findings.warnings[0]
    assert digest(died) == before


@pytest.mark.parametrize("subvolume", ["", "@", "root"])
def test_a_system_on_btrfs(tmp_path: Path, subvolume: str) -> None:
    image = sparse(tmp_path / "disk.img", 128 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", "-f", image], check=True)
    with (
        view(run, str(image), 0, 128 * MIB, writable=True) as node,
        LinuxMounts().mount(node, "btrfs", writable=True) as root,
    ):
        if subvolume:
            subprocess.run(["btrfs", "-q", "subvolume", "create", root / subvolume], check=True)
        tree(root / subvolume, SYSTEM)
    before = digest(image)
    _, findings = find(image)
    (system,) = findings.systems
    assert (system.host_name, system.partition) == ("groupware", 0)
    assert system.usage.counter > 0
    assert digest(image) == before


def test_a_system_on_xfs_tells_how_far_its_log_is(tmp_path: Path) -> None:
    image = sparse(tmp_path / "disk.img", 320 * MIB)
    subprocess.run(["mkfs.xfs", "-q", "-f", image], check=True)
    with (
        view(run, str(image), 0, 320 * MIB, writable=True) as node,
        LinuxMounts().mount(node, "xfs", writable=True) as root,
    ):
        tree(root, SYSTEM)
    before = digest(image)
    _, findings = find(image)
    (system,) = findings.systems
    assert system.host_name == "groupware" and system.usage.counter > 0
    assert digest(image) == before


def test_odd_and_hostile_files_stay_on_their_disk(tmp_path: Path) -> None:
    place = tree(
        tmp_path / "tree-ext4", SYSTEM | {"usr/lib/os-release": 'PRETTY_NAME="\x1b[2JX"\n'}
    )
    place.joinpath("etc/hostname").unlink()
    place.joinpath("etc/hostname").symlink_to("/proc/sys/kernel/hostname")
    place.joinpath("etc/os-release").symlink_to("../usr/lib/os-release")
    place.joinpath("etc/univention/base.conf").write_bytes(b"version/version: \xff\xfe4\n")
    place.joinpath("etc/debian_version").unlink()
    image = tmp_path / "disk.img"
    image.write_bytes(ext(tmp_path, {}))
    _, findings = find(image)
    (system,) = findings.systems
    assert system.host_name == ""
    assert system.os_name == "[2JX"
    assert system.ucs_version.endswith("4")
    assert to_json(system)


def test_a_file_system_that_cannot_be_mounted_is_hidden_and_told(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(ext(tmp_path, SYSTEM, "ext4", "-O", "^metadata_csum"))
    put(image, 1024 + 0x60 + 3, b"\x80")  # an incompatible feature of the far future
    disk, findings = find(image)
    assert disk.content
    assert disk.content.file_system
    assert findings.systems == []
    assert findings.hidden == ["ext4 on the whole disk"]
    assert "could not be looked into: The command `mount" in findings.warnings[-1]


def test_a_kind_nobody_can_look_into_is_hidden(tmp_path: Path) -> None:
    image = sparse(tmp_path / "disk.img", MIB)
    host = host_of(ImageBlocks([ImageDisk(image, serial="S1")]))
    content = Content(False, "jfs", file_system=FileSystem("jfs"))
    findings = find_systems(host, locations_of(Disk(host.blocks.find()[0], content)))
    assert findings.hidden == ["jfs on the whole disk"]


def _copy_of(tmp_path: Path, inventory: Inventory, change: Any = None) -> Path:
    """A copy made for the machine of `inventory`, with its marker."""
    image = tmp_path / "copy.img"
    files = {**SYSTEM, MARKER_PATH: "x" * 2000}
    image.write_bytes(ext(tmp_path, files))
    marker = CopyMarker(
        copy_id="c" * 32,
        source=MachineReference("a" * 32, host_name="groupware"),
        target=MachineReference(inventory.machine.id),
        disks=(DiskMapping("serial:S0", "serial:S1"),),
        finished_at=1_790_000_000,
        usage=read_usage(str(image), "ext4"),
    )
    document = to_pretty_json(change(marker) if change else marker)
    content = image.read_bytes().replace(b"x" * 2000, document.ljust(2000))
    image.write_bytes(content)
    return image


def inventory_of(*images: ImageDisk, **more: Any) -> Inventory:
    return take_inventory(host_of(ImageBlocks(images, **more)), "1.0", 1_790_000_100)


def test_our_unused_copy_is_known_again_and_a_mount_makes_it_used(tmp_path: Path) -> None:
    empty = inventory_of(ImageDisk(sparse(tmp_path / "empty.img", 64 * MIB), serial="S9"))
    image = _copy_of(tmp_path, empty)
    found = inventory_of(ImageDisk(image, serial="S1"))
    decision = decide_role(found, Settings())
    assert (decision.role, decision.rule) == (Role.TARGET, "unused copy")
    assert decision.permissions[0].ground is Ground.OUR_COPY
    with (
        view(run, str(image), 0, 8 * MIB, writable=True) as node,
        LinuxMounts().mount(node, "ext4", writable=True),
    ):
        pass
    decision = decide_role(inventory_of(ImageDisk(image, serial="S1")), Settings())
    assert (decision.role, decision.rule) == (Role.UNDECIDED, "used copy")
    assert "went from 0 to 1" in " ".join(decision.reasons)


@pytest.mark.parametrize(
    "change",
    [lambda marker: replace(marker, format=99), lambda marker: {"copy_id": 7}],
)
def test_a_marker_that_cannot_be_read_never_makes_an_original(tmp_path: Path, change: Any) -> None:
    empty = inventory_of(ImageDisk(sparse(tmp_path / "empty.img", 64 * MIB), serial="S9"))
    image = _copy_of(tmp_path, empty, change)
    found = inventory_of(ImageDisk(image, serial="S1"))
    assert found.systems == ()
    assert decide_role(found, Settings()).rule == "not looked into"
    assert "could not be looked into" in " ".join(found.warnings)


# All of it


def test_the_inventory_of_a_server_with_a_blank_disk_and_a_stick(tmp_path: Path) -> None:
    system = partitioned(tmp_path / "system.img", MBR)
    put(system, 34816 * 512, ext(tmp_path, SYSTEM))
    put(system, MIB + 512, lvm_label())
    found = inventory_of(
        ImageDisk(system, serial="S1"),
        ImageDisk(sparse(tmp_path / "blank.img", 64 * MIB), serial="S2"),
        ImageDisk(
            sparse(tmp_path / "usb.img", 64 * MIB), serial="S3", ineligible="it is removable"
        ),
        ImageDisk(sparse(tmp_path / "anonymous.img", 64 * MIB), by_path="pci-9"),
    )
    assert from_json(Inventory, to_pretty_json(found)) == found
    assert [disk.content is None for disk in found.disks] == [False, False, True, False]
    assert found.machine.macs == (CARD.mac,)
    assert (found.host_name, found.memory > 0, found.clock) == ("groupware", True, 1_790_000_100)
    warnings = " ".join(found.warnings)
    assert "holds LVM on partition 1: whether there is a system in it was not looked at" in warnings
    assert "known only by where it is plugged in (pci-9)" in warnings
    assert decide_role(found, Settings()).rule == "installed system"


def test_one_disk_that_cannot_be_looked_at_does_not_stop_the_others(tmp_path: Path) -> None:
    good = sparse(tmp_path / "good.img", 64 * MIB)
    bad = tmp_path / "bad.img"
    bad.mkdir()  # whatever opens it gets an error
    found = inventory_of(ImageDisk(good, serial="S1"), ImageDisk(bad, serial="S2"))
    assert [disk.content.blank for disk in found.disks if disk.content] == [True, False]
    assert "bad.img" in found.warnings[0]
    assert decide_role(found, Settings()).rule == "not looked into"
