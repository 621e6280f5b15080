"""A disk cut into regions, and the tables of which no copy would be right."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.layout import (
    FIRMWARE_RAID,
    check_layout,
    choose_method,
    contradictions,
    cut_regions,
)
from payload.model.disk import (
    MIB,
    Content,
    Disk,
    FileSystem,
    Partition,
    PartitionTable,
    Remnant,
)
from payload.model.errors import PlanError
from payload.model.gap import BOOT_LIMIT, GAP_END, GAP_LIMIT, backup_size, table_end
from payload.model.map_kinds import FAT12_LIMIT, MAPPED, MEMBERS
from payload.model.plan import CopyMode, DiskPair, Method, PlannedDisk, Region
from tests.support.machines import disk as other_disk
from tests.support.sized_machines import (
    GB,
    SECTOR,
    hardware,
    partition,
    server_table,
    sized_disk,
    sized_server,
)

SOURCE = sized_server()


def pair_of(disk: Disk, target_size: int = 0) -> DiskPair:
    size, sector = disk.hardware.size, disk.hardware.sector_size
    table = disk.content.table if disk.content else None
    return DiskPair(
        PlannedDisk(disk.id, "", size, sector),
        PlannedDisk("serial:X", "", target_size or size, sector),
        "",
        table if table and table.partitions else None,
    )


def cut(disk: Disk, mode: CopyMode = CopyMode.USED, target_size: int = 0) -> list[Region]:
    return list(cut_regions([pair_of(disk, target_size)], [disk], mode))


def with_partition(change: Partition) -> PartitionTable:
    return replace(server_table(), partitions=(*server_table().partitions, change))


# --- damaged tables


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (partition(3, 6 * GB, GB), "behind the end"),
        (partition(3, 50 * MIB, MIB), "overlaps"),
        (partition(3, 300 * MIB, MIB), "overlaps"),
        (partition(3, 5300 * MIB + 1, MIB), "whole sectors"),
        (partition(3, 5300 * MIB, 0), "whole sectors"),
        (partition(3, 5300 * MIB, -MIB), "whole sectors"),
        (partition(3, 0, SECTOR), "overlaps the table"),
        (partition(3, -MIB, MIB), "overlaps the table"),
        (partition(1, 5300 * MIB, MIB), "twice"),
        (partition(0, 5300 * MIB, MIB), "twice"),
        (partition(7, 5300 * MIB, MIB), "not inside the extended"),
        (partition(3, 5300 * MIB, MIB, "", "f"), "extended"),
    ],
)
def test_damaged_tables(change: Partition, fault: str) -> None:
    disk = sized_disk("A", 6 * GB, with_partition(change))
    with pytest.raises(PlanError, match=fault) as refusal:
        check_layout(SOURCE, disk)
    sentence = str(refusal.value)
    assert sentence.startswith("The partition table of disk ACME A 6.0 GB of the source ")
    assert sentence.endswith("Repair the table first.")


def test_a_logical_partition_at_the_begin_of_its_extended_one_is_damage() -> None:
    """There the first sector is what chains it."""
    box, inside = partition(2, 200 * MIB, GB, "", "5"), partition(5, 200 * MIB, MIB)
    with pytest.raises(PlanError, match="logical partition 5 is not inside"):
        check_layout(SOURCE, sized_disk("A", 6 * GB, PartitionTable("dos", "", (box, inside))))


def test_a_gpt_knows_no_extended_partition_and_any_number() -> None:
    parts = (partition(5, MIB, MIB), partition(128, 2 * MIB, MIB))
    check_layout(SOURCE, sized_disk("A", GB, PartitionTable("gpt", "", parts)))


@pytest.mark.parametrize("label", ["sun", "bsd", "", "atari"])
def test_a_table_of_a_kind_that_is_not_supported_is_named(label: str) -> None:
    table = PartitionTable(label, "", (partition(1, MIB, MIB),))
    with pytest.raises(PlanError, match=f"its kind '{label}' is not supported"):
        check_layout(SOURCE, sized_disk("A", GB, table))


def test_sound_tables_and_disks_without_one_are_no_damage() -> None:
    check_layout(SOURCE, SOURCE.disks[0])
    check_layout(SOURCE, sized_disk("A", GB, None))
    check_layout(SOURCE, sized_disk("A", GB, PartitionTable("sun", "", ())))


@given(
    st.sampled_from(["dos", "gpt"]),
    st.lists(
        st.tuples(
            st.integers(0, 8),
            st.integers(-2, 260).map(lambda unit: unit * 256),
            st.integers(-1, 120).map(lambda unit: unit * 256),
            st.sampled_from(["83", "83", "5"]),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_a_table_that_is_not_refused_overlaps_nothing_and_stays_on_the_disk(
    label: str, told: list[tuple[int, int, int, str]]
) -> None:
    parts = tuple(partition(number, start, size, "", kind) for number, start, size, kind in told)
    table, size = PartitionTable(label, "", parts), 128 * SECTOR
    try:
        check_layout(SOURCE, sized_disk("A", size, table))
    except PlanError:
        return
    plain = sorted((one.start, one.end) for one in parts if not one.is_extended)
    position = table_end(table, SECTOR)
    for start, end in plain:
        assert position <= start < end <= size
        assert not start % SECTOR and not end % SECTOR
        position = end
    assert len({one.number for one in parts}) == len(parts)


# --- regions


def test_the_gaps_of_a_disk_are_regions_and_large_ones_give_their_ends() -> None:
    limit = GAP_LIMIT
    for size, methods in (
        (limit, [(16 * MIB, limit)]),
        (limit + SECTOR, [(16 * MIB, GAP_END), (16 * MIB + limit + SECTOR - GAP_END, GAP_END)]),
    ):
        table = PartitionTable("dos", "", (partition(1, MIB, 15 * MIB),))
        regions = cut(sized_disk("A", 16 * MIB + size, table))
        assert [(one.start, one.size) for one in regions[2:]] == methods
        assert [one.number for one in regions[2:]] == list(range(1, len(methods) + 1))
        assert {one.method for one in regions[2:]} == {Method.GAP}


def test_a_large_gap_is_copied_whole_for_its_remnant_or_on_demand() -> None:
    disk = sized_disk("A", 4 * GB, PartitionTable("dos", "", (partition(1, MIB, 15 * MIB),)))
    assert disk.content
    gap = (16 * MIB, 4 * GB - 16 * MIB)
    for start, whole in ((16 * MIB, True), (17 * MIB, False)):
        content = replace(disk.content, remnants=(Remnant(start, "xfs"),))
        last = cut(replace(disk, content=content))[-1]
        assert ((last.start, last.size) == gap) is whole
    last = cut(disk, CopyMode.EXACT)[-1]
    assert (last.start, last.size) == gap


def test_a_gap_ends_with_the_targets_disk() -> None:
    table = PartitionTable("gpt", "", (partition(1, MIB, 15 * MIB),))
    disk = sized_disk("A", 40 * MIB, table)
    backup = backup_size(table, SECTOR)
    assert cut(disk)[-1].start + cut(disk)[-1].size == 40 * MIB - backup
    small = cut(disk, target_size=20 * MIB)[-1]
    assert small.start + small.size == 20 * MIB - backup
    none = cut(disk, target_size=16 * MIB + backup)
    assert [one.method for one in none] == [Method.BOOT, Method.USED]


def test_the_boot_area_is_in_front_of_the_first_partition_wherever_that_is_listed() -> None:
    parts = (partition(2, 20 * MIB, MIB), partition(1, 63 * SECTOR, MIB))
    regions = cut(sized_disk("A", 30 * MIB, PartitionTable("dos", "", parts)))
    assert [(one.method, one.number) for one in regions][:4] == [
        (Method.BOOT, 0), (Method.USED, 1), (Method.GAP, 1), (Method.USED, 2),
    ]  # fmt: skip
    assert regions[0].size == 63 * SECTOR
    late = cut(sized_disk("A", 30 * MIB, PartitionTable("dos", "", parts[:1])))
    assert (late[0].size, late[1].start) == (BOOT_LIMIT, BOOT_LIMIT)


def test_regions_of_all_disks_are_counted_on_and_know_their_pair() -> None:
    disks = [sized_disk("A", GB, None), sized_disk("B", 2 * GB, None)]
    first, second = cut_regions([pair_of(one) for one in disks], disks, CopyMode.USED)
    assert (first.index, first.pair, first.size) == (0, 0, GB)
    assert (second.index, second.pair, second.size) == (1, 1, 2 * GB)
    assert (first.number, first.start, first.method) == (0, 0, Method.ALL)


def test_why_and_room_behind_stand_only_where_they_count() -> None:
    parts = (
        replace(partition(1, MIB, 9 * MIB), file_system=FileSystem("ext4", behind=2 * MIB)),
        replace(
            partition(2, 10 * MIB, 9 * MIB),
            file_system=FileSystem("ext4", doubt="of a reason", behind=2 * MIB),
        ),
    )
    disk = sized_disk("A", 20 * MIB, PartitionTable("dos", "", parts))
    used, whole = (one for one in cut(disk) if one.is_volume)
    assert (used.method, used.why, used.behind) == (Method.USED, "", 2 * MIB)
    assert (whole.method, whole.why, whole.behind) == (Method.ALL, "of a reason", 0)
    for region in cut(disk, CopyMode.EXACT):
        assert (region.why, region.behind) == ("", 0)


# --- signatures beside a table


@pytest.mark.parametrize("raid", sorted(FIRMWARE_RAID))
def test_raid_of_firmware_beside_a_table_is_no_contradiction(raid: str) -> None:
    disk = sized_disk("A", GB, server_table())
    assert disk.content
    seen = replace(disk, content=replace(disk.content, signatures=("dos", "PMBR", raid)))
    assert contradictions(seen) == ()


def test_another_content_of_the_whole_disk_beside_its_table_is_a_contradiction() -> None:
    disk = sized_disk("A", 6 * GB, server_table())
    assert disk.content
    content = replace(disk.content, signatures=("zfs_member", "dos", "ext4", "zfs_member"))
    odd = replace(disk, content=content)
    assert contradictions(odd) == ("ext4", "zfs_member")
    regions = cut(odd)
    assert {one.method for one in regions} == {Method.BOOT, Method.ALL, Method.GAP}
    assert sum(one.size for one in regions) == 6 * GB
    undivided = sized_disk("A", GB, None)
    assert undivided.content
    content = replace(undivided.content, signatures=("ext4", "xfs"))
    assert contradictions(replace(undivided, content=content)) == ()


@pytest.mark.parametrize(
    ("kind", "signatures", "method"),
    [
        ("ext4", ("ext4",), Method.USED),
        ("vfat", ("vfat", "dos"), Method.USED),
        ("ext4", ("ext4", "xfs"), Method.ALL),
        ("linux_raid_member", ("linux_raid_member", "ext4"), Method.USED),
        ("LVM2_member", ("LVM2_member", "gpt", "xfs"), Method.USED),
        ("swap", ("swap", "ext4"), Method.ALL),
    ],
)
def test_a_whole_disk_with_signatures_of_others_is_copied_by_no_map(
    kind: str, signatures: tuple[str, ...], method: Method
) -> None:
    content = Content(False, "seen", None, FileSystem(kind), signatures)
    (region,) = cut(Disk(hardware("B", GB), content))
    assert (region.method, region.start, region.size) == (method, 0, GB)


# --- how content is copied


@pytest.mark.parametrize("kind", sorted(MAPPED | MEMBERS | {"swap", "crypto_LUKS", ""}))
def test_every_block_on_demand_whatever_it_is(kind: str) -> None:
    assert choose_method(FileSystem(kind), GB, CopyMode.EXACT) is Method.ALL


@pytest.mark.parametrize(
    ("system", "method"),
    [
        (None, Method.ALL),
        (FileSystem("swap"), Method.HEADER),
        (FileSystem("swap", doubt="of a reason"), Method.ALL),
        (FileSystem("crypto_LUKS"), Method.ALL),
        (FileSystem("a file system of tomorrow"), Method.ALL),
        (FileSystem("xfs"), Method.USED),
        (FileSystem("LVM2_member"), Method.USED),
    ],
)
def test_what_has_no_map_is_copied_whole(system: FileSystem | None, method: Method) -> None:
    assert choose_method(system, GB, CopyMode.USED) is method
    assert choose_method(FileSystem("vfat"), FAT12_LIMIT, CopyMode.USED) is Method.ALL


def test_a_disk_that_was_not_looked_at_is_not_cut() -> None:
    unseen = other_disk("U", None)
    for decide in (contradictions, lambda disk: check_layout(SOURCE, disk)):
        with pytest.raises(PlanError, match="was not looked at"):
            decide(unseen)
