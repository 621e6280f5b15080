"""Finding disks in a machine that is a directory tree: /sys and /proc as the kernel writes them."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pyudev

from payload.model.disk import Hardware
from payload.model.errors import TargetDiskError, ToolError
from payload.system import block, device
from payload.system.block import LinuxBlocks
from payload.system.command import Completed

GB = 10**9
SATA = "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block"
USB = "devices/pci0000:00/0000:00:14.0/usb2/2-1/host6/target6:0:0/6:0:0:0/block"
# ib_srp's SCSI host is a child of the InfiniBand card, its targets are children of the host
SRP = "devices/pci0000:00/0000:00:03.0/0000:04:00.0/host8/target8:0:0/8:0:0:1/block"


def no_tools(argv: Any, **_: Any) -> Completed:
    return Completed(tuple(argv), 0, "", "")


@dataclass
class Machine:
    """A root directory, what lsblk would say, and what udev would."""

    root: Path
    listed: list[dict[str, str]] = field(default_factory=list)
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    mounts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in ("sys/block", "sys/class/block", "sys/dev/block", "proc/self"):
            self.root.joinpath(path).mkdir(parents=True)

    def device(self, name: str, number: str, bus: str = SATA, **attributes: str) -> Path:
        """A disk, or with a "/" in its name a partition of one."""
        at = self.root / "sys" / bus / name
        at.mkdir(parents=True)
        attributes.setdefault("size", str(500 * GB // 512))
        for key, value in attributes.items():
            at.joinpath(key.replace("__", "/")).parent.mkdir(parents=True, exist_ok=True)
            at.joinpath(key.replace("__", "/")).write_text(value + "\n")
        at.joinpath("holders").mkdir(exist_ok=True)
        if "/" not in name:
            self.root.joinpath("sys/block", name).symlink_to(at)
        self.root.joinpath("sys/class/block", at.name).symlink_to(at)
        self.root.joinpath("sys/dev/block", number).symlink_to(at)
        return at

    def disk(self, name: str, number: str, *, tran: str = "sata", **udev: str) -> Path:
        bus = USB if tran == "usb" else SATA.replace("ata1", f"ata-{name}")
        at = self.device(name, number, bus, queue__rotational="1", ro="1", diskseq=number[-1])
        self.listed.append({"kname": name, "model": "ATA   Samsung SSD", "tran": tran})
        self.known[name] = {"ID_PATH": f"pci-{name}", block.HARDWARE_RO: "0"} | udev
        return at

    def mount(self, number: str, point: str, source: str) -> None:
        self.mounts.append(f"36 25 {number} / {point} rw shared:1 - ext4 {source} rw")

    def find(self) -> dict[str, Hardware]:
        return {disk.name: disk for disk in self.blocks().find()}

    def blocks(self) -> LinuxBlocks:
        self.root.joinpath("proc/self/mountinfo").write_text("\n".join(self.mounts))
        return LinuxBlocks(no_tools, self.root, lambda: self.listed, self._properties)

    def _properties(self, name: str) -> Mapping[str, str]:
        return self.known.get(name, {})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_disk_with_all_it_says_of_itself(machine: Machine) -> None:
    machine.disk(
        "sda",
        "8:1",
        ID_SERIAL_SHORT="S2RB",
        ID_WWN="0x5002538D",
        ID_WWN_WITH_EXTENSION="0x5002538DAA",
        DEVLINKS="/dev/disk/by-path/x /dev/disk/by-id/wwn-0x50 /dev/disk/by-id/ata-S2RB",
    )
    assert machine.find()["sda"] == Hardware(
        name="sda",
        node="/dev/sda",
        size=500 * GB,
        model="Samsung SSD",
        serial="S2RB",
        wwn="0x5002538daa",
        path="pci-sda",
        transport="sata",
        rotational=True,
        aliases=("ata-S2RB", "wwn-0x50"),
        sequence=1,
    )


def test_what_only_one_of_several_tells_of_a_disk(machine: Machine) -> None:
    """Other tools, other words; and where nobody tells anything, nothing is made up."""
    listed = {"model": "", "tran": "", "serial": "LISTED"}
    at = machine.device(
        *("sda", "8:1"), size="", queue__rotational="0", queue__logical_block_size="4096"
    )
    machine.listed.append({"kname": "sda", **listed})
    machine.known["sda"] = {"ID_WWN": "0x5002538D", "ID_BUS": "ata"}
    disk = machine.find()["sda"]
    assert (disk.size, disk.sector_size, disk.sequence) == (0, 4096, 0)
    assert (disk.wwn, disk.transport, disk.rotational) == ("0x5002538d", "ata", False)
    assert (disk.serial, disk.write_protected) == ("LISTED", False)
    machine.known["sda"]["ID_SERIAL_SHORT"] = "SHORT"
    assert machine.find()["sda"].serial == "SHORT"
    machine.known["sda"]["ID_SCSI_SERIAL"] = "PRINTED"
    assert machine.find()["sda"].serial == "PRINTED"
    machine.known["sda"], machine.listed[0]["serial"] = {}, " "
    at.joinpath("serial").write_text("KERNEL\n")
    assert machine.find()["sda"].serial == "KERNEL"


def test_whether_a_disk_can_discard(machine: Machine) -> None:
    machine.disk("sda", "8:1")
    queue = machine.root / "sys/block/sda/queue"
    assert machine.blocks().discard_step("/dev/sda") == 0
    queue.joinpath("discard_granularity").write_text("4096\n")
    queue.joinpath("discard_max_bytes").write_text("0\n")
    assert machine.blocks().discard_step("/dev/sda") == 0, "it has a unit, but takes none"
    queue.joinpath("discard_max_bytes").write_text("2147450880\n")
    assert machine.blocks().discard_step("/dev/sda") == 4096


@pytest.mark.parametrize("tran", ["", "scsi"])
def test_a_disk_that_an_infiniband_card_brings_is_a_network_disk(
    machine: Machine, tran: str
) -> None:
    disk = machine.device("sda", "8:1", SRP)
    machine.listed.append({"kname": "sda", "model": "LIO-ORG disk", "tran": tran})
    machine.known["sda"] = {"ID_WWN": "0x6001405", "ID_PATH": "pci-0000:04:00.0-scsi-0:0:0:1"}
    assert machine.find()["sda"].ineligible == ""  # a controller's own disk looks the same
    host = disk.parents[3]
    for name in ("scsi_host", "srp_host"):
        host.joinpath(name, host.name).mkdir(parents=True)
    found = machine.find()["sda"]
    assert found.ineligible == "it is a network disk (SRP)"
    assert found.unseen


def test_our_own_write_blocker_makes_no_disk_write_protected(machine: Machine) -> None:
    machine.disk("sda", "8:1")
    machine.disk("sdb", "8:2")
    machine.known["sdb"][block.HARDWARE_RO] = "1"
    machine.disk("sdc", "8:3")
    del machine.known["sdc"][block.HARDWARE_RO]  # no blocker: the attribute counts
    found = machine.find()
    assert [found[name].write_protected for name in found] == [False, True, True]
    assert "hardware protects" in found["sdb"].ineligible


@pytest.mark.parametrize(
    "point",
    ["/run/live/medium", "/usr/lib/live/mount/medium", "/lib/live/mount/persistence/sda1"],
)
def test_a_live_usb_stick_enumerated_as_sda_is_the_live_medium(
    machine: Machine, point: str
) -> None:
    machine.disk("sda", "8:0", tran="usb")
    machine.device("sda/sda1", "8:1", USB, partition="1")
    machine.disk("sdb", "8:2")
    machine.mount("8:1", point, "/dev/sda1")
    found = machine.find()
    assert "live medium" in found["sda"].ineligible
    assert found["sda"].bystander
    assert (found["sdb"].ineligible, found["sdb"].bystander) == ("", False)


def test_the_live_medium_is_found_below_a_loop_device(machine: Machine) -> None:
    """findiso=: the medium is an ISO file on a partition of a fixed disk."""
    machine.disk("sda", "8:0")
    machine.device("sda/sda1", "8:1", SATA.replace("ata1", "ata-sda"), partition="1")
    machine.device(
        "loop0", "7:0", "devices/virtual/block", loop__backing_file="/run/live/findiso/u.iso"
    )
    machine.mount("8:1", "/run/live/findiso", "/dev/sda1")
    machine.mount("7:0", "/run/live/medium", "/dev/loop0")
    found = machine.find()
    assert "live medium" in found["sda"].ineligible
    assert not found["sda"].bystander, "it is a fixed disk that holds other things, too"
    assert found["loop0"].ineligible and found["loop0"].bystander


def test_the_disk_below_the_medium_s_file_is_found_by_where_the_file_lies(
    machine: Machine,
) -> None:
    """Of the mount points above it the longest, which hides what is below it."""
    for number, name in enumerate(("sda", "sdb", "sdc")):
        machine.disk(name, f"8:{number}")
    machine.mount("8:0", "/", "/dev/sda")
    machine.mount("8:1", "/media", "/dev/sdb")
    machine.mount("8:2", "/media-of-another", "/dev/sdc")
    machine.device("loop0", "7:0", "devices/virtual/block", loop__backing_file="/media/u.iso")
    machine.mount("7:0", "/run/live/medium", "/dev/loop0")
    found = machine.find()
    assert "live medium" in found["sdb"].ineligible
    assert [found[name].ineligible.rpartition(": ")[2] for name in ("sda", "sdc")] == [
        "mounted on /",
        "mounted on /media-of-another",
    ]


def test_mounts_that_lead_to_no_disk_or_in_a_circle_hold_nothing_up(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    machine.mount("0:21", "/tmp", "tmpfs")
    machine.mount("0:22", "/gone", "/dev/sdz")
    machine.device("loop0", "7:0", "devices/virtual/block", loop__backing_file="/lost (deleted)")
    machine.mount("7:0", "/a", "/dev/loop0")
    machine.device("loop1", "7:1", "devices/virtual/block", loop__backing_file="/b/itself")
    machine.mount("7:1", "/b", "/dev/loop1")
    found = machine.find()
    assert found["sda"].ineligible == ""
    assert all(found[name].ineligible for name in ("loop0", "loop1"))


def test_a_use_is_told_once(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    for _ in range(2):
        machine.mount("8:0", "/mnt", "/dev/sda")
    machine.mount("8:0", "/srv", "/dev/sda")
    assert machine.find()["sda"].ineligible.endswith(": mounted on /mnt, mounted on /srv")


@pytest.mark.parametrize(
    ("number", "source"),
    [
        ("8:1", "/dev/sda1"),
        ("8:1", "/dev/root"),  # what the kernel calls a root it mounted itself
        ("0:41", "/dev/sda1"),
        ("253:0", "/dev/dm-0"),
    ],
)
def test_a_mounted_disk_is_in_use(machine: Machine, number: str, source: str) -> None:
    machine.disk("sda", "8:0")
    machine.device("sda/sda1", "8:1", SATA.replace("ata1", "ata-sda"), partition="1")
    mapping = machine.device("dm-0", "253:0", "devices/virtual/block")
    mapping.joinpath("slaves").mkdir()
    mapping.joinpath("slaves/sda1").touch()
    machine.mount(number, "/mnt/a\\040b", source)
    assert machine.find()["sda"].ineligible.endswith("mounted on /mnt/a b")


def test_what_sysfs_tells_of_how_a_disk_is_connected_counts(machine: Machine) -> None:
    machine.disk("sda", "8:1").joinpath("removable").write_text("1\n")
    machine.disk("sdb", "8:2").parents[1].joinpath("removable").write_text("removable\n")
    card = machine.disk("mmcblk0", "179:3").joinpath("device")
    card.mkdir()
    card.joinpath("type").write_text("SD\n")
    far = machine.disk("nvme0n1", "259:4").joinpath("device")
    far.mkdir()
    far.joinpath("transport").write_text("tcp\n")
    paths = machine.disk("nvme1n1", "259:5").joinpath("device/nvme1")  # native multipath
    paths.mkdir(parents=True)
    paths.joinpath("transport").write_text("rdma\n")
    session = "devices/platform/host9/session1/target9:0:0/9:0:0:0/block"
    machine.device("sdc", "8:6", session)
    machine.known["sdc"] = {"ID_PATH": "ip-10.0.0.1:3260"}
    reasons = {name: disk.ineligible for name, disk in machine.find().items()}
    assert reasons == {
        "sda": "it is removable",
        "sdb": "it is an external disk, never a server's own",
        "sdc": "it is a network disk (iSCSI)",
        "mmcblk0": "it is a memory card",
        "nvme0n1": "it is a network disk (NVMe over Fabrics)",
        "nvme1n1": "it is a network disk (NVMe over Fabrics)",
    }


def test_swap_holders_and_btrfs_members_are_uses(machine: Machine) -> None:
    for number, name in enumerate(("sda", "sdb", "sdc", "sdd")):
        machine.disk(name, f"8:{number}")
    (machine.root / "proc/swaps").write_text("Filename Type\n/dev/sda partition 1 0 -2\n")
    machine.root.joinpath("sys/block/sdb/holders/md0").touch()
    at = SATA.replace("ata1", "ata-sdd")
    machine.device("sdd/sdd1", "8:9", at, partition="1").joinpath("holders/dm-0").touch()
    members = machine.root / "sys/fs/btrfs/1234/devices"
    members.mkdir(parents=True)
    members.joinpath("sdc").touch()
    uses = [disk.ineligible.rpartition(": ")[2] for disk in machine.find().values()]
    assert uses == ["swap", "part of md0", "part of a mounted btrfs", "part of dm-0"]


def test_a_loop_device_over_the_disk_itself_is_no_use(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    machine.device("loop0", "7:0", "devices/virtual/block", ro="1", loop__backing_file="/dev/sda")
    machine.mount("7:0", "/run/ugs-failover/view", "/dev/loop0")
    assert machine.find()["sda"].ineligible == ""


@pytest.mark.parametrize("backing", ["/dev/sda", "/dev/sda1"])
def test_a_mounted_loop_device_that_may_write_to_a_disk_is_a_use(
    machine: Machine, backing: str
) -> None:
    machine.disk("sda", "8:0")
    machine.device("sda/sda1", "8:1", SATA.replace("ata1", "ata-sda"), partition="1")
    machine.device("loop0", "7:0", "devices/virtual/block", ro="0", loop__backing_file=backing)
    machine.mount("7:0", "/mnt", "/dev/loop0")
    assert machine.find()["sda"].ineligible.endswith("mounted on /mnt")


def test_what_blkinfo_leaves_out_is_listed_and_empty_slots_are_not(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    machine.device("md0", "9:0", "devices/virtual/block")
    machine.device("loop7", "7:7", "devices/virtual/block", size="0")
    machine.device("loop8", "7:8", "devices/virtual/block", size="8")
    machine.device("sr0", "11:0", size="0")
    machine.device("nvme0c0n1", "259:0", "devices/virtual/block", hidden="1")
    assert sorted(machine.find()) == ["loop8", "md0", "sda", "sr0"]


def test_an_old_smart_array_keeps_its_slash(machine: Machine) -> None:
    machine.device("cciss!c0d0", "104:0")
    machine.listed.append({"kname": "cciss/c0d0", "model": "HP LOGICAL VOLUME"})
    machine.known["cciss!c0d0"] = {"ID_PATH": "pci-1"}
    (disk,) = machine.find().values()
    assert (disk.node, disk.ineligible) == ("/dev/cciss/c0d0", "")


def test_a_failed_lsblk_is_no_machine_without_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def get_disks(self) -> list[dict[str, str]]:
            return []

    monkeypatch.setattr("payload.system.block.blkinfo.BlkDiskInfo", Silent)
    with pytest.raises(ToolError, match="lsblk told of none"):
        block.list_disks()


@pytest.mark.parametrize("error", [FileNotFoundError("lsblk"), KeyError("blockdevices")])
def test_an_lsblk_that_cannot_be_asked_is_an_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken:
        def get_disks(self) -> list[dict[str, str]]:
            raise error

    monkeypatch.setattr("payload.system.block.blkinfo.BlkDiskInfo", Broken)
    with pytest.raises(ToolError, match="could not be listed by lsblk"):
        block.list_disks()


def test_udev_is_waited_for_before_the_disks_are_listed(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    asked: list[tuple[str, ...]] = []

    def run(argv: Any, **_: Any) -> Completed:
        asked.append(tuple(argv))
        return no_tools(argv)

    assert replace(machine.blocks(), run=run).find()
    assert asked == [("udevadm", "settle", "--timeout=30")]


def test_the_write_block_is_lifted_and_put_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.disk("sda", "8:0")
    did: list[tuple[object, ...]] = []

    def noted(name: str) -> Any:
        return lambda *given: did.append((name, *given))

    for name in ("set_read_only", "drop_cache", "discard", "zero"):
        monkeypatch.setattr(device, name, noted(name))
    blocks = machine.blocks()
    blocks.set_writable("/dev/sda")
    blocks.set_read_only("/dev/sda")
    blocks.drop_cache("/dev/sda")
    blocks.discard(3, 512, 1024)
    blocks.zero(3, 512, 1024)
    assert did == [
        ("set_read_only", "/dev/sda", False),
        ("set_read_only", "/dev/sda", True),
        ("drop_cache", "/dev/sda"),
        ("discard", 3, 512, 1024),
        ("zero", 3, 512, 1024),
    ]


def test_one_odd_property_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            if key == "ID_MODEL":
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
            return super().get(key, default)

    class Device:
        properties = Odd(ID_SERIAL_SHORT="S1", ID_PATH="pci-1")

    monkeypatch.setattr("payload.system.block.pyudev.Context", lambda: None)
    monkeypatch.setattr("payload.system.block.pyudev.Devices.from_name", lambda *_: Device())
    assert block.udev_properties("sda") == {"ID_SERIAL_SHORT": "S1", "ID_PATH": "pci-1"}


def test_a_disk_udev_never_saw_has_no_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise pyudev.DeviceNotFoundByNameError("block", "sdzz")

    monkeypatch.setattr("payload.system.block.pyudev.Context", lambda: None)
    monkeypatch.setattr("payload.system.block.pyudev.Devices.from_name", unknown)
    assert block.udev_properties("sdzz") == {}


def test_recheck_passes_what_is_still_the_same(machine: Machine) -> None:
    machine.disk("sda", "8:1", ID_SERIAL_SHORT="S1")
    blocks = machine.blocks()
    (disk,) = blocks.find()
    blocks.recheck(disk)
    blocks.recheck(replace(disk, serial=""))  # cleared by the inventory: shared with another
    blocks.recheck(replace(disk, sequence=0))  # a kernel that counts none (before Linux 5.15)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"node": "/dev/sdq"}, "/dev/sdq is gone"),
        ({"sequence": 99}, "another device came in its place"),
        ({"size": 1}, "its size was 1 and is 500000000000"),
        ({"sector_size": 4096}, "its sector size was 4096 and is 512"),
        ({"serial": "S2"}, "its serial was S2 and is S1"),
        ({"wwn": "0x5"}, "its wwn was 0x5 and is empty"),
        ({"path": "pci-b"}, "its path was pci-b and is pci-sda"),
    ],
)
def test_recheck_refuses_another_disk(
    machine: Machine, changed: dict[str, Any], words: str
) -> None:
    machine.disk("sda", "8:1", ID_SERIAL_SHORT="S1")
    blocks = machine.blocks()
    (disk,) = blocks.find()
    with pytest.raises(TargetDiskError, match=words):
        blocks.recheck(replace(disk, **changed))


def test_recheck_refuses_a_disk_that_tells_more_than_before(machine: Machine) -> None:
    machine.disk("sda", "8:1", ID_SERIAL_SHORT="S1")
    (before,) = machine.find().values()
    machine.known["sda"]["ID_WWN"] = "0x5"
    with pytest.raises(TargetDiskError, match="its wwn was empty and is 0x5"):
        machine.blocks().recheck(before)


def test_two_disks_whose_names_swapped_are_noticed(machine: Machine) -> None:
    machine.disk("sda", "8:1", ID_SERIAL_SHORT="S1")
    machine.disk("sdb", "8:2", ID_SERIAL_SHORT="S2")
    before = machine.find()
    machine.known["sda"], machine.known["sdb"] = machine.known["sdb"], machine.known["sda"]
    for disk in before.values():
        with pytest.raises(TargetDiskError, match="no longer the disk"):
            machine.blocks().recheck(disk)


def test_recheck_and_set_writable_refuse_a_disk_that_came_into_use(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    (disk,) = machine.find().values()
    machine.mount("8:0", "/mnt", "/dev/sda")
    with pytest.raises(TargetDiskError, match="mounted on /mnt"):
        machine.blocks().recheck(disk)
    with pytest.raises(TargetDiskError, match="mounted on /mnt"):
        machine.blocks().set_writable("/dev/sda")
    with pytest.raises(TargetDiskError, match="there is no such disk"):
        machine.blocks().set_writable("/dev/sdx")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_kernel_that_does_not_obey_the_write_block_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    node = tmp_path / "disk"
    node.touch()
    is_read_only = [wanted]
    monkeypatch.setattr(
        "payload.system.device.fcntl.ioctl", lambda *_: struct.pack("i", is_read_only[0])
    )
    device.set_read_only(str(node), wanted)
    is_read_only[0] = not wanted
    with pytest.raises(TargetDiskError, match="did not obey"):
        device.set_read_only(str(node), wanted)


def test_the_controllers_a_disk_hangs_on_end_at_the_pci_device(machine: Machine) -> None:
    sata, virtio = "pci:v00008086d00002922", "virtio:d00000002v00001AF4"
    machine.disk("sda", "8:0")
    pci = machine.root / "sys" / SATA.split("/ata", maxsplit=1)[0]
    assert re.fullmatch(r"0000:..:..\..", pci.name)
    pci.joinpath("modalias").write_text(f"{sata}\n")
    pci.parent.joinpath("modalias").write_text("pci:v00001111d00002222\n")
    at = machine.device("vda", "252:0", "devices/pci0000:00/0000:00:05.0/virtio2/block")
    machine.listed.append({"kname": "vda", "model": "", "tran": "virtio"})
    at.parents[1].joinpath("modalias").write_text(f"{virtio}\n")
    at.parents[2].joinpath("modalias").write_text("pci:v00001AF4d00001001\n")
    found = machine.find()
    assert found["sda"].controllers == (sata,)
    assert found["vda"].controllers == (virtio, "pci:v00001AF4d00001001")
