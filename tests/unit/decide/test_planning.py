"""Who is copied onto what, and the clear no where it cannot be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.planning import describe, plan_copy
from payload.formats.disk.boot_area import table_range
from payload.model.account import Treatment
from payload.model.codec import from_json, to_json
from payload.model.disk import MIB, Content, Disk, FileSystem, PartitionTable
from payload.model.errors import PlanError
from payload.model.gap import BOOT_LIMIT, GAP_END, backup_size
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Firmware
from payload.model.map_kinds import FAT12_LIMIT
from payload.model.marker import CopyMarker, DiskMapping, MachineReference, Usage
from payload.model.plan import CopyMode, Method, Plan, Region
from payload.model.role import Decision, Ground, Permission, Role
from payload.model.volume import Layer, Segment, Volume
from tests.support.machines import machine
from tests.support.sized_machines import (
    GB,
    SECTOR,
    allow,
    data_disk,
    hardware,
    partition,
    plan,
    server_table,
    sized_disk,
    sized_server,
)


def mapping(
    source: Inventory, target: Inventory, decision: Decision | None = None
) -> dict[str, str]:
    made = plan_copy(source, target, decision or allow(target), CopyMode.USED)
    return {pair.source.id: pair.target.id for pair in made.disks}


def test_that_nothing_is_read_back_is_part_of_the_plan_and_shown() -> None:
    source, target = sized_server(), machine("7a", sized_disk("X", 8 * GB, None))
    made = [
        plan_copy(source, target, allow(target), CopyMode.USED, verify=verify)
        for verify in (True, False)
    ]
    assert made[0].digest != made[1].digest
    shown = ["\n".join(describe(one)) for one in made]
    assert "failover.verify=off" not in shown[0] and "failover.verify=off" in shown[1]


def test_regions_of_the_sample_server() -> None:
    made = plan(
        sized_server(data_disk("B", 2 * GB)),
        machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 3 * GB, None, 2)),
    )
    assert [(one.pair, one.number, one.method, one.file_system) for one in made.regions] == [
        (0, 0, Method.BOOT, ""),
        (0, 1, Method.USED, "ext3"),
        (0, 1, Method.GAP, ""),  # what chains the first logical partition is in it
        (0, 5, Method.HEADER, "swap"),
        (0, 2, Method.GAP, ""),
        (0, 6, Method.USED, "ext4"),
        (0, 3, Method.GAP, ""),
        (0, 4, Method.GAP, ""),
        (1, 0, Method.BOOT, ""),
        (1, 1, Method.USED, "xfs"),
        (1, 1, Method.GAP, ""),
    ]
    assert made.regions[0].size == 63 * SECTOR
    assert made.regions[8].size == BOOT_LIMIT
    assert made.root == 5
    assert [one.index for one in made.regions] == list(range(11))
    assert [one.size for one in made.regions[6:8]] == [GAP_END] * 2, "the rest is not looked at"
    assert made.regions[7].start + GAP_END == 6 * GB
    names = [one.name for one in made.regions]
    assert names[:3] == ["disk 1 boot area", "disk 1 partition 1", "disk 1 gap 1"]
    assert len(set(names)) == len(names)


def test_exact_takes_every_block() -> None:
    made = plan(sized_server(), machine("7a", sized_disk("X", 8 * GB, None)), CopyMode.EXACT)
    assert {one.method for one in made.regions} == {Method.BOOT, Method.ALL, Method.GAP}
    assert sum(one.size for one in made.regions) == 6 * GB, "every sector"


def region_of(made: Plan, number: int) -> Region:
    """The region of the partition with that number."""
    return next(one for one in made.regions if one.is_volume and one.number == number)


@pytest.mark.parametrize("kind", ["", "crypto_LUKS", "zfs_member", "f2fs"])
def test_what_has_no_map_is_copied_whole(kind: str) -> None:
    table = replace(
        server_table(), partitions=(*server_table().partitions, partition(3, 5300 * MIB, MIB, kind))
    )
    source = replace(sized_server(), disks=(sized_disk("A", 7 * GB, table),))
    made = plan(source, machine("7a", sized_disk("X", 8 * GB, None)))
    assert region_of(made, 3).method is Method.ALL


@pytest.mark.parametrize(
    ("size", "method"), [(FAT12_LIMIT, Method.ALL), (FAT12_LIMIT + MIB, Method.USED)]
)
def test_a_fat_that_may_be_a_fat12_is_copied_whole(size: int, method: Method) -> None:
    table = replace(
        server_table(),
        partitions=(*server_table().partitions, partition(3, 5300 * MIB, size, "vfat")),
    )
    source = replace(sized_server(), disks=(sized_disk("A", 7 * GB, table),))
    made = plan(source, machine("7a", sized_disk("X", 8 * GB, None)))
    assert region_of(made, 3).method is method


def test_the_plan_says_why_every_block_is_copied() -> None:
    third = replace(
        partition(3, 5300 * MIB, 300 * MIB, "ext4"),
        file_system=FileSystem("ext4", doubt="it was not unmounted cleanly"),
    )
    fourth = partition(4, 5600 * MIB, 300 * MIB, "f2fs")
    table = replace(server_table(), partitions=(*server_table().partitions, third, fourth))
    source = replace(sized_server(), disks=(sized_disk("A", 7 * GB, table),))
    target = machine("7a", sized_disk("X", 8 * GB, None))
    lines = "\n".join(describe(plan(source, target)))
    assert "ext4, 314.6 MB, every block, because it was not unmounted cleanly\n" in lines
    assert "f2fs, 314.6 MB, every block, because the map of a f2fs is not read\n" in lines


def test_the_plan_says_that_maps_are_read_later() -> None:
    target = machine("7a", sized_disk("X", 8 * GB, None))
    used, exact = (
        plan_copy(sized_server(), target, allow(target), mode)
        for mode in (CopyMode.USED, CopyMode.EXACT)
    )
    words = "Maps of used blocks are read when the copy begins"
    assert any(line.startswith(words) for line in describe(used))
    assert not any(line.startswith(words) for line in describe(exact))


def test_the_plan_tells_of_room_behind_a_file_system() -> None:
    third = replace(
        partition(3, 5300 * MIB, 300 * MIB, "ext4"), file_system=FileSystem("ext4", behind=9 * MIB)
    )
    table = replace(server_table(), partitions=(*server_table().partitions, third))
    source = replace(sized_server(), disks=(sized_disk("A", 7 * GB, table),))
    target = machine("7a", sized_disk("X", 8 * GB, None))
    made = plan(source, target)
    region = region_of(made, 3)
    assert region.behind == 9 * MIB
    lines = "\n".join(describe(made))
    assert "ext4, 314.6 MB, blocks in use, and all 9.4 MB behind its end\n" in lines
    last = [one for one in made.accounts[0].stretches if one.region == region.index][-1]
    assert (last.size, last.treatment) == (9 * MIB, Treatment.COPIED)
    assert region_of(plan(source, target, CopyMode.EXACT), 3).behind == 0


def test_a_file_system_on_the_whole_disk_is_one_region() -> None:
    whole = Disk(hardware("B", 2 * GB, 2), Content(False, "seen", None, FileSystem("ext4")))
    made = plan(
        sized_server(whole),
        machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 2 * GB, None, 2)),
    )
    last = made.regions[-1]
    assert (last.number, last.start, last.size, last.method) == (0, 0, 2 * GB, Method.USED)
    assert made.disks[1].table is None


def test_the_plan_is_the_same_on_both_sides_of_the_wire() -> None:
    source, target = (
        sized_server(data_disk("B", 2 * GB)),
        machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 3 * GB, None, 2)),
    )
    there = plan_copy(
        from_json(Inventory, to_json(source)),
        from_json(Inventory, to_json(target)),
        from_json(Decision, to_json(allow(target))),
        CopyMode.USED,
    )
    assert there.digest == plan(source, target).digest


def test_kernel_names_clocks_and_the_order_of_finding_change_nothing() -> None:
    source, target = (
        sized_server(data_disk("B", 2 * GB)),
        machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 3 * GB, None, 2)),
    )

    def other_boot(inventory: Inventory) -> Inventory:
        disks = tuple(
            replace(
                one, hardware=replace(one.hardware, name=f"hd{n}", node=f"/dev/hd{n}", sequence=n)
            )
            for n, one in enumerate(reversed(inventory.disks))
        )
        return replace(inventory, disks=disks, clock=99, warnings=("dust",), memory=1)

    assert plan(other_boot(source), other_boot(target)).digest == plan(source, target).digest


# --- which disk onto which


def test_the_order_of_the_firmware_is_kept_where_sizes_allow() -> None:
    source = sized_server(data_disk("B", 2 * GB))
    target = machine("7a", sized_disk("Y", 7 * GB, None, 10), sized_disk("X", 80 * GB, None, 2))
    assert mapping(source, target) == {"serial:A": "serial:X", "serial:B": "serial:Y"}


def test_smallest_fit_where_the_order_does_not_allow_it_and_a_warning() -> None:
    source = sized_server(data_disk("B", 20 * GB))
    target = machine("7a", sized_disk("X", 80 * GB, None, 1), sized_disk("Y", 7 * GB, None, 2))
    assert mapping(source, target) == {"serial:A": "serial:Y", "serial:B": "serial:X"}
    assert "set the firmware to start from it" in " ".join(plan(source, target).warnings)


def test_the_disk_of_the_root_is_first_in_the_plan() -> None:
    source = sized_server(data_disk("B", 2 * GB, place=0))
    target = machine("7a", sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 8 * GB, None, 2))
    made = plan(source, target)
    assert [pair.source.id for pair in made.disks] == ["serial:A", "serial:B"]
    assert {pair.source.id: pair.target.id for pair in made.disks} == {
        "serial:B": "serial:X",
        "serial:A": "serial:Y",
    }


def test_the_disks_of_a_root_on_a_volume_are_in_the_order_of_their_places() -> None:
    """Any of them may be the one that starts the machine. The root is the region that holds the
    volume's first byte."""
    other = data_disk("B", 2 * GB, place=0)
    leg = (Segment("serial:A", 800 * MIB + SECTOR, GB), Segment("serial:B", MIB, GB))
    root = Volume("vg/root", Layer.LVM, "u", 2 * GB, (leg,))
    source = replace(
        sized_server(other),
        volumes=(root,),
        systems=(InstalledSystem("serial:A", 0, "ext4", volume="vg/root"),),
    )
    made = plan(
        source, machine("7a", sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 8 * GB, None, 2))
    )
    assert [pair.source.id for pair in made.disks] == ["serial:B", "serial:A"]
    assert made.regions[made.root].name == "disk 2 partition 6"


def test_an_encrypted_root_is_named_in_the_plan() -> None:
    (system,) = sized_server().systems
    for encrypted in (False, True):
        source = replace(sized_server(), systems=(replace(system, encrypted=encrypted),))
        made = plan(source, machine("7a", sized_disk("X", 8 * GB, None)))
        assert made.encrypted is encrypted
        assert any("asks for the passphrase" in one for one in made.warnings) is encrypted


def refreshed(source_id: str, *mappings: DiskMapping) -> Inventory:
    marker = CopyMarker(
        "c", MachineReference(source_id), MachineReference("7a"), mappings, 1, Usage("ext4")
    )
    disks = (sized_disk("X", 8 * GB, server_table(), 1), sized_disk("Y", 8 * GB, server_table(), 2))
    system = InstalledSystem("serial:Y", 6, "ext4", marker=marker)
    return machine("7a", *disks, systems=(system,))


def test_a_refresh_goes_where_it_went_last_time() -> None:
    source = sized_server(data_disk("B", 2 * GB))
    swapped = (DiskMapping("serial:A", "serial:Y"), DiskMapping("serial:B", "serial:X"))
    target = refreshed(source.machine.id, *swapped)
    decision = allow(target, Ground.OUR_COPY, source.machine.id)
    assert mapping(source, target, decision) == {"serial:A": "serial:Y", "serial:B": "serial:X"}


def test_the_marker_of_another_source_says_nothing() -> None:
    source = sized_server(data_disk("B", 2 * GB))
    swapped = (DiskMapping("serial:A", "serial:Y"), DiskMapping("serial:B", "serial:X"))
    target = refreshed("f" * 32, *swapped)
    assert mapping(source, target, allow(target, Ground.NAMED))["serial:A"] == "serial:X"


def test_a_mapping_that_no_longer_fits_is_given_up() -> None:
    """The source got a larger second disk, which fits only where the first went."""
    source = sized_server(data_disk("B", 7 * GB))
    target = refreshed(source.machine.id, DiskMapping("serial:A", "serial:Y"))
    small = replace(target.disks[0], hardware=replace(target.disks[0].hardware, size=6 * GB))
    target = replace(target, disks=(small, target.disks[1]))
    decision = allow(target, Ground.OUR_COPY, source.machine.id)
    assert mapping(source, target, decision) == {"serial:A": "serial:X", "serial:B": "serial:Y"}


def test_a_copy_of_another_server_is_not_refreshed() -> None:
    target = machine("7a", sized_disk("X", 8 * GB, None))
    with pytest.raises(PlanError, match="may be overwritten by a copy of"):
        plan_copy(sized_server(), target, allow(target, Ground.OUR_COPY, "0" * 32), CopyMode.USED)


def test_only_permitted_disks_are_used() -> None:
    target = machine("7a", sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 8 * GB, None, 2))
    only = Decision(Role.TARGET, "", (), (Permission("serial:Y", Ground.NAMED, "old things"),))
    made = plan_copy(sized_server(), target, only, CopyMode.USED)
    assert [(pair.target.id, pair.content) for pair in made.disks] == [("serial:Y", "old things")]
    assert any("old things" in line for line in describe(made))


def test_each_target_disk_is_shown_with_what_is_on_it() -> None:
    target = machine("7a", sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 8 * GB, None, 2))
    both = tuple(
        Permission(f"serial:{name}", Ground.NAMED, f"things of {name}") for name in ("Y", "X")
    )
    source = sized_server(data_disk("B", 2 * GB))
    made = plan_copy(source, target, Decision(Role.TARGET, "", (), both), CopyMode.USED)
    assert [(pair.target.id, pair.content) for pair in made.disks] == [
        ("serial:X", "things of X"),
        ("serial:Y", "things of Y"),
    ]


def test_a_gap_is_no_root_though_it_has_the_number_of_its_partition() -> None:
    table = PartitionTable("dos", "0x1", (partition(1, 500 * MIB, 4 * GB),))
    source = machine(
        *("5ce", sized_disk("A", 6 * GB, table)), systems=(InstalledSystem("serial:A", 1, "ext4"),)
    )
    made = plan(source, BLANK)
    assert [region.name for region in made.regions][:2] == ["disk 1 boot area", "disk 1 gap 1"]
    assert made.regions[made.root].name == "disk 1 partition 1"


def test_a_permission_makes_no_disk_eligible() -> None:
    stick = Disk(hardware("X", 8 * GB, ineligible="it holds the live medium"))
    target = machine("7a", stick)
    only = Decision(Role.TARGET, "", (), (Permission("serial:X", Ground.NAMED, "old things"),))
    with pytest.raises(PlanError, match="may be overwritten by a copy of"):
        plan_copy(sized_server(), target, only, CopyMode.USED)


def test_blank_and_ineligible_source_disks_are_left_out_and_named() -> None:
    san = Disk(hardware("S", GB, 5, ineligible="network disk (iSCSI)"))
    cdrom = Disk(hardware("C", GB, 6, ineligible="removable", removable=True))
    made = plan(
        sized_server(sized_disk("B", GB, None, 2), san, cdrom),
        machine("7a", sized_disk("X", 8 * GB, None)),
    )
    assert len(made.disks) == 1
    assert len(made.warnings) == 2
    assert "B" in made.warnings[0] and "blank" in made.warnings[0]
    assert "iSCSI" in made.warnings[1]


# --- the clear no


def test_too_small_by_one_sector() -> None:
    end = server_table().end
    assert plan(sized_server(), machine("7a", sized_disk("X", end, None)))
    with pytest.raises(PlanError) as caught:
        plan(sized_server(), machine("7a", sized_disk("X", end - SECTOR, None)))
    text = str(caught.value)
    assert "512 bytes (1 sectors) too small" in text and "ACME X" in text and "ACME A" in text
    assert str(end) in text


def test_an_array_of_whole_disks_with_its_superblock_at_the_end_needs_disks_of_its_size() -> None:
    member = Disk(
        hardware("B", 2 * GB, 2),
        Content(False, "seen", file_system=FileSystem("linux_raid_member")),
    )
    for start, layer, fits in ((0, Layer.MD, False), (MIB, Layer.MD, True), (0, Layer.LVM, True)):
        leg = (Segment("serial:B", start, GB),)
        array = Volume("md0", layer, "0" * 32, GB, (leg,))
        source = replace(sized_server(member), volumes=(array,))
        alike = machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 2 * GB, None, 2))
        assert plan(source, alike)
        larger = machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 3 * GB, None, 2))
        if fits:
            assert plan(source, larger)
        else:
            text = refused(source, larger)
            assert "RAID md0" in text and str(2 * GB) in text


def test_a_gpt_needs_room_for_its_second_half() -> None:
    source = machine(
        "5ce", data_disk("B", 2 * GB), systems=(InstalledSystem("serial:B", 1, "xfs"),)
    )
    needed = 2 * GB - MIB + 33 * SECTOR
    assert plan(source, machine("7a", sized_disk("X", needed, None)))
    assert "1 sectors" in refused(source, machine("7a", sized_disk("X", needed - SECTOR, None)))


def test_disks_that_fit_one_by_one_but_not_together() -> None:
    source = sized_server(data_disk("B", 7 * GB))
    target = machine("7a", sized_disk("X", 8 * GB, None), sized_disk("Y", 3 * GB, None, 2))
    text = refused(source, target)
    assert all(name in text for name in ("ACME A", "ACME B", "ACME X", "ACME Y"))


def refused(source: Inventory, target: Inventory) -> str:
    with pytest.raises(PlanError) as caught:
        plan(source, target)
    text = str(caught.value)
    assert source.machine.label in text
    return text


BLANK = machine("7a", sized_disk("X", 8 * GB, None))


def test_other_refusals() -> None:
    large = replace(
        BLANK, disks=(Disk(hardware("X", 8 * GB, sector_size=4096), Content(True, "")),)
    )
    assert "4096-byte" not in refused(sized_server(), large) and "512" in refused(
        sized_server(), large
    )
    assert "has 2 disks in use" in refused(sized_server(data_disk("B", 2 * GB)), BLANK)
    assert "may be overwritten" in refused(sized_server(), machine("7a"))
    assert "UEFI" in refused(sized_server(), replace(BLANK, firmware=Firmware.UEFI))
    assert "No installed system" in refused(replace(sized_server(), systems=()), BLANK)
    assert "no disk with anything" in refused(machine("5ce", sized_disk("A", GB, None)), BLANK)
    two = (*sized_server().systems, InstalledSystem("serial:A", 1, "ext3", host_name="old"))
    assert "more than one installed system" in refused(replace(sized_server(), systems=two), BLANK)
    elsewhere = (InstalledSystem("serial:Z", 1, "ext3", host_name="old"),)
    assert "not among the disks" in refused(replace(sized_server(), systems=elsewhere), BLANK)


@pytest.mark.parametrize(
    ("kind", "word"),
    [("LVM2_member", "LVM"), ("linux_raid_member", "software RAID"), ("crypto_LUKS", "LUKS")],
)
def test_a_root_in_a_layer_that_could_not_be_looked_into(kind: str, word: str) -> None:
    table = replace(server_table(), partitions=(partition(1, MIB, 3 * GB, kind),))
    source = replace(sized_server(), disks=(sized_disk("A", 6 * GB, table),), systems=())
    text = refused(source, BLANK)
    assert word in text and "could not be looked into" in text


def test_a_damaged_table_is_refused() -> None:
    """What is damage, tests/unit/decide/test_layout.py tells."""
    table = server_table()
    table = replace(table, partitions=(*table.partitions, partition(3, 6 * GB, GB)))
    source = replace(sized_server(), disks=(sized_disk("A", 6 * GB, table),))
    assert "behind the end" in refused(source, BLANK)


# --- whatever the table, the regions are sound


@st.composite
def tables(draw: st.DrawFn) -> tuple[PartitionTable, int]:
    """A sound table in sectors of 512 bytes, and the size of a disk that holds it."""
    gpt = draw(st.booleans())
    position = 40 if gpt else draw(st.integers(1, 4096))
    parts = []
    numbers = draw(st.permutations(range(1, 5 if not gpt else 9)))
    for number in numbers[: draw(st.integers(1, 4))]:
        position += draw(st.integers(0, 3000))
        size = draw(st.integers(1, 9000))
        kind = draw(st.sampled_from(["ext4", "swap", "", "xfs", "LVM2_member"]))
        parts.append(
            partition(number, position * SECTOR, size * SECTOR, kind, "0fc6" if gpt else "83")
        )
        position += size
    table = PartitionTable("gpt" if gpt else "dos", "id", tuple(parts), 34 if gpt else 0)
    return table, (position + 34 + 4096) * SECTOR


@given(tables(), st.sampled_from(CopyMode))
def test_regions_never_overlap_leave_the_disk_or_touch_the_table(
    made: tuple[PartitionTable, int], mode: CopyMode
) -> None:
    table, size = made
    source = replace(
        sized_server(),
        disks=(sized_disk("A", size, table),),
        systems=(InstalledSystem("serial:A", table.partitions[0].number, "ext4"),),
    )
    result = plan(source, machine("7a", sized_disk("X", size, None)), mode)
    end = 0
    _, table_end = table_range(table, SECTOR)
    for region in result.regions:
        assert region.start >= end and region.size > 0
        assert region.method is Method.BOOT or region.start >= table_end
        assert not region.size % SECTOR and not region.start % SECTOR
        end = region.start + region.size
    assert end == size - backup_size(table, SECTOR), "there is no gap that is too large"
    assert {one.number for one in result.regions if one.is_volume} == {
        one.number for one in table.partitions
    }
