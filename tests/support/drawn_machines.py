"""Machines and settings drawn at random, sound or not, for properties of the decisions."""

from hypothesis import strategies as st

from payload.model.disk import Content, Disk, Hardware
from payload.model.disk import Unfinished as Mark
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.marker import CopyMarker, DiskMapping, MachineReference, Usage
from payload.model.role import Role
from payload.model.settings import Settings
from tests.support.machines import FINISHED_AT, with_table

ids = st.sampled_from(["A", "B", "C"])
serials = st.sampled_from(["S1", "S2", "S3"])
usages = st.builds(
    Usage, st.sampled_from(["ext4", "btrfs", "xfs"]), st.integers(-1, 2), st.integers(0, 2)
)
disk_ids = serials.map("serial:{}".format)
contents = st.builds(
    Content,
    blank=st.booleans(),
    evidence=st.just("what was seen"),
    table=st.sampled_from([None, with_table().table]),
    file_system=st.none(),
    signatures=st.sampled_from([(), ("ext4",), ("LVM2_member",)]),
    unfinished=st.none() | st.builds(Mark, st.just("c"), ids, ids, disk_ids, st.integers(0, 9)),
    hidden=st.sampled_from([(), ("LVM",)]),
)
mappings = st.builds(
    DiskMapping, disk_ids, disk_ids, st.sampled_from(["", "x", with_table().fingerprint])
)
markers = st.builds(
    CopyMarker,
    copy_id=st.just("c"),
    source=st.builds(MachineReference, ids),
    target=st.builds(MachineReference, ids),
    disks=st.lists(mappings, max_size=3).map(tuple),
    finished_at=st.integers(0, 2**63),
    usage=usages,
    used=st.booleans(),
)
systems = st.builds(
    InstalledSystem,
    disk=disk_ids,
    partition=st.integers(0, 2),
    file_system=st.just("ext4"),
    host_name=st.sampled_from(["", "groupware"]),
    marker=st.none() | markers,
    usage=st.none() | usages,
    started_at=st.sampled_from([0, 0, FINISHED_AT]),
)


@st.composite
def disk_sets(draw: st.DrawFn, size: int = 10**9) -> tuple[Disk, ...]:
    disks = []
    for serial in draw(st.lists(serials, unique=True, max_size=3)):
        reason = draw(st.sampled_from(["", "", "", "it is removable", "it is a network disk"]))
        hardware = Hardware(
            serial,
            f"/dev/{serial}",
            size,
            serial=serial,
            removable=reason == "it is removable",
            ineligible=reason,
        )
        disks.append(Disk(hardware, draw(st.none() | contents) if not reason else None))
    return tuple(disks)


@st.composite
def inventories(draw: st.DrawFn, size: int = 10**9) -> Inventory:
    return Inventory(
        MachineIdentity(draw(ids)),
        Firmware.BIOS,
        disks=draw(disk_sets(size)),
        systems=tuple(draw(st.lists(systems, max_size=3))),
    )


overwrites = st.lists(st.sampled_from(["S1", "serial:S2", "S3", "S9"]), max_size=2).map(tuple)
choices = st.builds(
    Settings, role=st.sampled_from([None, Role.SOURCE, Role.TARGET]), overwrite=overwrites
)


def willing(role: Role) -> st.SearchStrategy[Settings]:
    """Settings that leave this role open."""
    return st.builds(Settings, role=st.sampled_from([None, role]), overwrite=overwrites)
