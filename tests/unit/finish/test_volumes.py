"""The names a fstab or boot menu calls a file system by."""

import pytest

from payload.finish.volumes import (
    NO_PARTITION,
    Mount,
    Volume,
    extents_of,
    find_volumes,
    mounted_at,
    name_arrays,
    parse_fstab,
    root_of,
)
from payload.model.disk import FileSystem, Partition, PartitionTable
from payload.model.inventory import Inventory
from payload.model.marker import MachineReference
from payload.model.plan import CopyMode, DiskPair, Method, Plan, PlannedDisk, Region
from payload.model.volume import Layer, Segment
from payload.model.volume import Volume as LayeredVolume
from tests.support.machines import disk, machine

ROOT = Volume(0, 6, 0, 0, "ext4", "AAAA-root", "slash", "0xfa-06", "83", place=1)
DATA = Volume(1, 1, 0, 0, "xfs", "bbbb-data", "", "0xda-01", "83", place=0)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("UUID=aaaa-root", ROOT),
        ('UUID="bbbb-data"', DATA),
        ("LABEL=slash", ROOT),
        ("PARTUUID=0xda-01", DATA),
        ("/dev/disk/by-uuid/bbbb-data", DATA),
        ("/dev/sdb6", ROOT),
        ("/dev/hda1", DATA),
        ("/dev/vda1", DATA),
        ("/dev/cciss/c0d1p6", ROOT),
        ("/dev/nvme1n1p6", ROOT),
        ("/dev/sda6", None),
        ("LABEL=", None),
        ("UUID=", None),
        ("/dev/mapper/vg-root", None),
        ("tmpfs", None),
    ],
)
def test_a_name_means_one_volume(spec: str, found: Volume | None) -> None:
    assert mounted_at([DATA, ROOT], [Mount(spec, "/x", "ext4")], "/x") is found


def test_fstab() -> None:
    text = "# c\nUUID=1 / ext4 defaults 0 1\nx none swap sw\n/dev/sda1 /a\\040b/ ext3\nbroken\n"
    assert parse_fstab(text) == (Mount("UUID=1", "/", "ext4"), Mount("/dev/sda1", "/a b", "ext3"))


# Volumes of LVM and MD

MIB = 1 << 20
UUID = "0123456789abcdef" * 2
GROUP_UUID, ROOT_UUID = "G" * 32, "R" * 32
EFI = "c12a7328-f81f-11d2-ba4b-00c04fd430c8"
BOOT_ARRAY = LayeredVolume(
    "md0",
    Layer.MD,
    UUID,
    8 * MIB,
    tuple((Segment(f"serial:S{name}", MIB, 8 * MIB),) for name in "AB"),
    file_system=FileSystem("ext4", "b007"),
    aliases=("md0", "md/0"),
)
LVM_ROOT = LayeredVolume(
    "vg/root",
    Layer.LVM,
    ROOT_UUID,
    20 * MIB,
    ((Segment("serial:SB", 30 * MIB, 10 * MIB), Segment("serial:SA", 30 * MIB, 10 * MIB)),),
    file_system=FileSystem("xfs", "r007"),
    group=GROUP_UUID,
    aliases=("vg/root", "mapper/vg-root"),
)


def layered_plan() -> tuple[Plan, Inventory]:
    """Two disks alike: an array for /boot in partition 1, a physical volume in partition 2."""
    target = machine("T", disk("TA"), disk("TB"))
    table = PartitionTable(
        "gpt",
        "1",
        (
            Partition(1, MIB, 9 * MIB, EFI, file_system=FileSystem("linux_raid_member")),
            Partition(2, 20 * MIB, 40 * MIB, "8e", file_system=FileSystem("LVM2_member")),
        ),
    )
    ends = [[PlannedDisk(f"serial:{side}{name}", "", 1, 1) for side in "ST"] for name in "AB"]
    pairs = tuple(DiskPair(source, here, "", table) for source, here in ends)
    regions = tuple(
        Region(2 * pair + number - 1, pair, number, part.start, part.size, Method.ALL)
        for pair in (0, 1)
        for number, part in enumerate(table.partitions, 1)
    )
    reference = MachineReference("a")
    plan = Plan(
        reference,
        reference,
        CopyMode.USED,
        pairs,
        regions,
        root=3,
        volumes=(BOOT_ARRAY, LVM_ROOT),
        root_volume="vg/root",
    )
    return plan, target


def test_volumes_follow_the_partitions_they_lie_on() -> None:
    plan, target = layered_plan()
    volumes = find_volumes(plan)
    boot, root = volumes[-2:]
    assert [one.number for one in volumes] == [1, 2, 1, 2, NO_PARTITION, NO_PARTITION]
    assert (boot.kind, boot.type_id, root.kind, root.type_id) == ("ext4", EFI, "xfs", "")
    assert root_of(plan, volumes) is root
    node = "/dev/sd-T{}".format
    assert extents_of(plan, target, root) == (
        ((node("B"), 30 * MIB, 10 * MIB), (node("A"), 30 * MIB, 10 * MIB)),
    )
    assert extents_of(plan, target, boot) == (
        ((node("A"), MIB, 8 * MIB),),
        ((node("B"), MIB, 8 * MIB),),
    )


def test_a_loader_that_knows_no_raid_finds_an_array_in_its_partitions() -> None:
    boot, root = find_volumes(layered_plan()[0])[-2:]
    assert boot.is_partition(1, 0) and boot.is_partition(1, 1)
    assert not boot.is_partition(2, 0) and not boot.is_partition(NO_PARTITION, 0)
    assert boot.is_partition(1, 0, elsewhere=True)
    assert not any(root.is_partition(number, disk) for number in (0, 1, 2) for disk in (0, 1))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("/dev/mapper/vg-root", "vg/root"),
        ("/dev/vg/root", "vg/root"),
        ("UUID=r007", "vg/root"),
        ("/dev/md/0", "md0"),
        ("/dev/md0", "md0"),
        ("/dev/sda1", "linux_raid_member"),
        ("/dev/md1", ""),
        ("/dev/mapper/vg-swap", ""),
    ],
)
def test_what_a_fstab_calls_a_volume(spec: str, name: str) -> None:
    found = mounted_at(find_volumes(layered_plan()[0]), [Mount(spec, "/x", "")], "/x")
    assert (found.layered.name if found and found.layered else found.kind if found else "") == name


@pytest.mark.parametrize(
    ("device", "names"),
    [
        ("lvm/vg-root", ["vg/root"]),
        (f"lvmid/{GROUP_UUID[:6]}-{GROUP_UUID[6:]}/{ROOT_UUID[:6]}-{ROOT_UUID[6:]}", ["vg/root"]),
        ("md/0", ["md0"]),
        (f"mduuid/{UUID}", ["md0"]),
        ("lvm/other", []),
        ("hd0,1", []),
    ],
)
def test_what_grub_calls_a_volume(device: str, names: list[str]) -> None:
    volumes = find_volumes(layered_plan()[0])
    called = [one.layered.name for one in volumes if one.layered and one.is_called_by_grub(device)]
    assert called == names


def test_arrays_have_the_names_of_mdadm_conf() -> None:
    dashed = ":".join(UUID[place : place + 8] for place in range(0, 32, 8))
    text = f"# ARRAY /dev/md7 UUID={dashed}\nARRAY /dev/md/3 metadata=1.2 name=h:0 UUID={dashed}\n"
    volumes = name_arrays(find_volumes(layered_plan()[0]), text)
    for spec in ("/dev/md3", "/dev/md/3", "/dev/md0"):
        found = mounted_at(volumes, [Mount(spec, "/boot", "")], "/boot")
        assert found and found.layered and found.layered.name == "md0"
    assert mounted_at(volumes, [Mount("/dev/md7", "/boot", "")], "/boot") is None
