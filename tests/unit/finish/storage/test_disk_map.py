"""What names of the source's disks mean, and what they have to become on this machine."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.storage.disk_map import CopiedDisk, DiskMap, map_disks
from payload.finish.volumes import Volume, device_number, find_volumes
from payload.formats.kernel.kernel_modules import Kernel
from payload.model.inventory import Inventory
from tests.support.machines import machine
from tests.support.sized_machines import GB, data_disk, plan, sized_disk, sized_server

BOOT, ROOT, SWAP = "b007-1", "c0de-2", "5a1a-5"


def disk(
    before: str,
    now: str,
    place: int,
    volumes: Iterable[Volume] = (),
    *links: str,
    same: bool = False,
    others: tuple[str, ...] = (),
) -> CopiedDisk:
    table = {one.number: one for one in volumes}
    return CopiedDisk(before, now, place, frozenset(links), same, table, frozenset(others))


SYSTEM = (
    Volume(0, 1, 0, 1, "ext3", BOOT), Volume(0, 2, 1, 1, "ext3", ROOT),
    Volume(0, 5, 3, 1, "swap", SWAP), Volume(0, 6, 4, 1, "LVM2_member", "not-of-it"),
)  # fmt: skip
LINK = "ata-WDC_WD800_1234"
IDE_TO_SATA = DiskMap(
    (disk("hda", "sda", 0, SYSTEM, LINK, "pci-0000:00:07.1-ata-1"), disk("hdc", "sdb", 1)),
    frozenset({"sda", "sdb", "sdc"}),
)


@pytest.mark.parametrize(
    ("disks", "spec", "new"),
    [
        (DiskMap((disk("", "", 0, SYSTEM),)), "/dev/hda2", f"UUID={ROOT}"),
        (DiskMap((disk("", "", 0, SYSTEM, same=True),)), "/dev/hda2", "/dev/hda2"),
        (DiskMap((disk("", "sda", 0, SYSTEM),)), "/dev/sda2", "/dev/sda2"),
        (DiskMap((disk("sda", "sda", 0, SYSTEM),)), "/dev/hda2", f"UUID={ROOT}"),
        (DiskMap((disk("sda", "sda", 0, SYSTEM, same=True),)), "/dev/hda2", "/dev/hda2"),
        (DiskMap((disk("cciss/c0d0", "sda", 0, SYSTEM),)), "/dev/cciss/c0d0p2", f"UUID={ROOT}"),
        (DiskMap((disk("nvme0n1", "vda", 0, SYSTEM),)), "/dev/nvme0n1p6", "/dev/vda6"),
        (DiskMap((disk("sda", "nvme0n1", 0, SYSTEM),)), "/dev/sda6", "/dev/nvme0n1p6"),
        (DiskMap((disk("sda", "", 0, SYSTEM),)), "/dev/sda6", "/dev/sda6"),
        (DiskMap((disk("sda", "vda", 0, SYSTEM),)), "/dev/sdb2", "/dev/sdb2"),
    ],
)
def test_what_a_name_becomes(disks: DiskMap, spec: str, new: str) -> None:
    assert disks.by_uuid(spec) == new


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("/dev/hda", (0, 0)),
        ("/dev/hda5", (0, 5)),
        ("/dev/hdc12", (1, 12)),
        ("/dev/hdb1", None),
        ("/dev/hd", None),
        ("/dev/hda5x", None),
        ("hda5", None),
        ("/dev/HDA5", None),
        ("/dev/md0", None),
        (f"/dev/disk/by-id/{LINK}", (0, 0)),
        (f"/dev/disk/by-id/{LINK}-part6", (0, 6)),
        ("/dev/disk/by-path/pci-0000:00:07.1-ata-1-part2", (0, 2)),
        (f"/dev/disk/by-id/{LINK}-part", None),
        ("/dev/disk/by-id/ata-another", None),
        (f"/dev/disk/by-uuid/{ROOT}", None),
        (f"UUID={ROOT}", None),
        ("", None),
    ],
)
def test_which_disk_and_partition_a_name_means(spec: str, found: tuple[int, int] | None) -> None:
    answer = IDE_TO_SATA.find(spec)
    assert (answer and (IDE_TO_SATA.disks.index(answer[0]), answer[1])) == found


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("/dev/sdb1", 1),
        ("/dev/sdz", 25),
        ("/dev/sdaa3", 26),
        ("/dev/xvdc", 2),
        ("/dev/nvme2n1p4", 2),
        ("/dev/mmcblk1p1", 1),
        ("/dev/cciss/c0d3p1", 3),
        ("/dev/ida/c1d0", 0),
    ],
)
def test_where_no_name_is_known_disks_are_counted(spec: str, place: int) -> None:
    disks = DiskMap(tuple(disk("", "", number) for number in range(30)))
    found = disks.find(spec)
    assert found and found[0].place == place


def test_of_a_family_whose_names_are_known_no_disk_is_guessed() -> None:
    disks = DiskMap((disk("sda", "sda", 0), disk("", "", 1)))
    assert disks.find("/dev/sdb") is None
    found = disks.find("/dev/hdb1")
    assert found and found[0].place == 1


def test_by_name_gives_the_new_name_alone() -> None:
    assert IDE_TO_SATA.by_name("/dev/hda2") == "/dev/sda2"
    assert IDE_TO_SATA.by_name(f"/dev/disk/by-id/{LINK}-part2") == "/dev/sda2"
    assert IDE_TO_SATA.by_name("/dev/mapper/vg-root") == "/dev/mapper/vg-root"
    unknown = DiskMap((disk("sda", "", 0, SYSTEM),))
    assert unknown.by_name("/dev/sda2") == "/dev/sda2"
    assert unknown.by_uuid("/dev/sda2") == f"UUID={ROOT}"


def test_the_uuid_of_a_member_is_not_that_of_what_is_on_it() -> None:
    assert IDE_TO_SATA.by_uuid("/dev/hda6") == "/dev/sda6"
    assert IDE_TO_SATA.by_uuid("/dev/hda9") == "/dev/sda9", "no volume of that number is known"


def test_a_disk_that_was_not_copied_is_foreign_where_its_name_means_another_here() -> None:
    only = DiskMap((disk("sda", "sdb", 0, SYSTEM),), frozenset({"sda", "sdb", "sdc"}))
    assert only.is_foreign("/dev/sdb1") and only.is_foreign("/dev/sdc")
    assert not only.is_foreign("/dev/sdd1"), "there is none of that name here"
    assert not only.is_foreign("/dev/sda1"), "it was copied"
    assert not only.is_foreign("/dev/disk/by-id/sdb")


@pytest.mark.parametrize(
    ("one", "renamed", "names"),
    [
        (disk("hda", "sda", 0), True, ("sda",)),
        (disk("sda", "sda", 0), False, ()),
        (disk("sda", "sda", 0, same=True), False, ()),
        (disk("sda", "sdb", 0, same=True), True, ("sdb",)),
        (disk("sda", "sda", 0, others=("sdc", "sdb")), True, ("sdb", "sdc")),
        (disk("sda", "sda", 0, same=True, others=("sdb",)), False, ()),
        (disk("sda", "sdb", 0, others=("sda",)), True, ("sdb",)),
        (disk("sda", "", 0), True, ()),
        (disk("", "sda", 0, same=True), False, ()),
    ],
)
def test_whether_a_disk_has_another_name_here_or_may_have(
    one: CopiedDisk, renamed: bool, names: tuple[str, ...]
) -> None:
    assert (one.renamed, one.new_names) == (renamed, names)


def test_a_disk_by_a_name_has_that_name_and_those_of_its_partitions() -> None:
    volumes = (*SYSTEM[:2], Volume(0, -1, 0, 0, "ext4"))
    assert disk("hda", "sda", 0, volumes).names("sda") == ("/dev/sda", "/dev/sda1", "/dev/sda2")
    assert disk("hda", "sda", 0, volumes[:1]).names("nvme0n1") == ("/dev/nvme0n1", "/dev/nvme0n1p1")


NAMES = ["/dev/", "sda", "hda", "hdc", "nvme0n1", "cciss/c0d0", "p", "1", "12", "disk/by-id/", LINK]
NAMES += ["-part", "\u0661", "xvda", "mmcblk0", " ", "\n", "/", "by-path", "UUID="]


@given(st.lists(st.sampled_from(NAMES) | st.text(max_size=2), max_size=6).map("".join))
def test_any_name_becomes_one_that_stays(spec: str) -> None:
    for disks in (IDE_TO_SATA, DiskMap(()), DiskMap((disk("", "", 0, SYSTEM),))):
        new = disks.by_uuid(spec)
        assert disks.is_stale(spec) or new == spec
        assert disks.find(spec) is not None or new == spec == disks.by_name(spec)


# --- worked out for a kernel

AHCI, IDE = "pci:v00008086d00002922sv0sd0bc01sc06i01", "pci:v00008086d00007111sv0sd0bc01sc01i8A"
OLD = Kernel(
    "2.6.18",
    (("pci:v*d*sv*sd*bc01sc06i01*", "ahci"), ("pci:v00008086d00007111sv*", "piix")),
    True,
    places={"ahci": "kernel/drivers/ata/ahci.ko", "piix": "kernel/drivers/ide/pci/piix.ko"},
)


def behind(inventory: Inventory, modalias: str) -> Inventory:
    """The same machine, its disks behind such a controller."""
    disks = (
        replace(one, hardware=replace(one.hardware, controllers=(modalias,)))
        for one in inventory.disks
    )
    return replace(inventory, disks=tuple(disks))


def mapped(before: str, now: str, kernel: Kernel | None = OLD) -> DiskMap:
    """A server of two disks behind one controller, copied onto a machine with another."""
    source = behind(sized_server(data_disk("B", 2 * GB)), before)
    disks = sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 3 * GB, None, 2)
    target = behind(machine("7a", *disks), now)
    made = plan(source, target)
    return map_disks(made, source, target, ["serial:A", "serial:B"], find_volumes(made), kernel)


def test_names_before_and_now_are_those_of_the_copys_own_kernel() -> None:
    """An IDE disk is named by its place at the cables."""
    found = mapped(IDE, AHCI)
    assert [(one.before, one.now) for one in found.disks] == [("hda", "sda"), ("hdc", "sdb")]
    assert [one.same_hardware for one in found.disks] == [False, False]
    assert found.here == {"sda", "sdb"}
    assert found.disks[0].links == {"pci-0000:00:1f.2-ata-1"}
    assert sorted(found.disks[0].volumes) == [1, 5, 6]


def test_the_same_controller_of_another_board_is_the_same_hardware() -> None:
    found = mapped(AHCI, AHCI.replace("sv0sd0", "sv15ADsd1"))
    assert [(one.before, one.now, one.same_hardware) for one in found.disks] == [
        ("sda", "sda", True),
        ("sdb", "sdb", True),
    ]


def test_without_a_kernel_no_name_is_known_and_places_count() -> None:
    found = mapped(IDE, AHCI, None)
    assert [(one.before, one.now, one.place) for one in found.disks] == [("", "", 0), ("", "", 1)]
    assert found.here == frozenset()
    assert all(one.others == frozenset() for one in found.disks)


MANY = "9" * 5000  # digits; Python refuses to read more than 4300 as one number


@pytest.mark.parametrize(
    "spec",
    [
        f"/dev/sda{MANY}",
        f"/dev/nvme0n{MANY}",
        f"/dev/disk/by-id/ata-x-part{MANY}",
        "/dev/mmcblk12345",
    ],
)
def test_a_number_that_no_kernel_gives_names_no_disk(spec: str) -> None:
    disks = DiskMap((CopiedDisk("sda", "sdb", 0), CopiedDisk("mmcblk1234", "sdc", 1)))
    assert disks.find(spec) is None
    assert disks.by_uuid(spec) == spec
    assert device_number(spec) is None or spec == "/dev/mmcblk12345"
