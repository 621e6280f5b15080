"""The plan: what its regions are called, where a disk went, and the digest both sides compare."""

from dataclasses import replace

import pytest

from payload.model.disk import Disk, Hardware
from payload.model.inventory import Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.marker import MachineReference
from payload.model.plan import CopyMode, DiskPair, Method, Plan, PlannedDisk, Region

GB = 10**9
REGIONS = (
    Region(0, 0, 0, 0, 1 << 20, Method.BOOT),
    Region(1, 0, 1, 1 << 20, GB, Method.USED, "ext4"),
    Region(2, 0, 1, GB + (1 << 20), 4096, Method.GAP),
    Region(3, 1, 0, 0, GB, Method.ALL),
    Region(4, 1, 5, 0, GB, Method.HEADER, "swap"),
)


def pair(source: str, target: str) -> DiskPair:
    return DiskPair(
        PlannedDisk(source, "ACME 1", 9 * GB, 512), PlannedDisk(target, "ACME 2", 9 * GB, 512), ""
    )


PLAN = Plan(
    MachineReference("A"), MachineReference("B"), CopyMode.USED,
    (pair("serial:SA", "serial:SB"), pair("serial:TA", "serial:TB")), REGIONS, 1,
)  # fmt: skip


def test_names_of_regions_tell_people_where_they_are() -> None:
    assert [region.name for region in REGIONS] == [
        "disk 1 boot area",
        "disk 1 partition 1",
        "disk 1 gap 1",
        "disk 2 whole disk",
        "disk 2 partition 5",
    ]


def test_neither_the_boot_area_nor_a_gap_may_hold_a_file_system() -> None:
    assert [region.is_volume for region in REGIONS] == [False, True, False, True, True]


def test_where_the_target_has_a_disk_of_the_source() -> None:
    disks = tuple(
        Disk(Hardware(name, f"/dev/{name}", 9 * GB, serial=serial))
        for name, serial in (("sda", "TB"), ("sdb", "SB"))
    )
    target = Inventory(MachineIdentity("B"), Firmware.BIOS, disks=disks)
    assert PLAN.node_of("serial:SA", target) == "/dev/sdb"
    assert PLAN.node_of("serial:TA", target) == "/dev/sda"
    for unknown in ("serial:SB", ""):
        with pytest.raises(KeyError):
            PLAN.node_of(unknown, target)
    with pytest.raises(KeyError):
        PLAN.node_of("serial:SA", replace(target, disks=disks[:1]))


def test_equal_plans_have_equal_digests_of_64_hex_digits() -> None:
    assert PLAN.digest == replace(PLAN).digest
    assert len(PLAN.digest) == 64 and int(PLAN.digest, 16)


CHANGES: dict[str, Plan] = {
    "the target": replace(PLAN, target=MachineReference("C")),
    "the mode": replace(PLAN, mode=CopyMode.EXACT),
    "which disk goes onto which": replace(PLAN, disks=tuple(reversed(PLAN.disks))),
    "what is on a disk": replace(PLAN, disks=(replace(PLAN.disks[0], content="x"), PLAN.disks[1])),
    "a byte of a region": replace(PLAN, regions=(replace(REGIONS[0], size=512), *REGIONS[1:])),
    "the root": replace(PLAN, root=2),
    "a warning": replace(PLAN, warnings=("dust",)),
    "what is read back": replace(PLAN, verify=False),
    "the root's volume": replace(PLAN, root_volume="vg/root"),
    "encryption": replace(PLAN, encrypted=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_differs_shows_in_the_digest(change: str) -> None:
    assert CHANGES[change].digest != PLAN.digest
