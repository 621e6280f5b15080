"""The decision about one machine: each row of the table, and the rule no row may break."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from payload.decide.role import RULES, decide_role
from payload.model.disk import SMALLEST_SYSTEM, FileSystem, Partition
from payload.model.disk import Unfinished as Mark
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.marker import DiskMapping, MachineReference, Usage
from payload.model.role import Decision, Ground, Role
from payload.model.settings import Settings
from tests.support.drawn_machines import choices, inventories
from tests.support.effort import examples
from tests.support.machines import (
    BLANK,
    DATA,
    FINISHED_AT,
    GB,
    LVM,
    UNTOUCHED,
    blank,
    copy,
    disk,
    machine,
    server,
    system,
    table,
    unfinished,
    with_table,
)
from tests.support.overwrite_rule import may_be_overwritten


def decide(inventory: Inventory, **chosen: Any) -> Decision:
    return decide_role(inventory, Settings(**chosen))


def assert_undecided(decision: Decision, rule: str) -> None:
    assert (decision.role, decision.rule, decision.permissions) == (Role.UNDECIDED, rule, ())
    assert all(reason.endswith(".") for reason in decision.reasons)


def permitted(decision: Decision) -> dict[str, Ground]:
    return {permission.disk: permission.ground for permission in decision.permissions}


def test_system_is_source() -> None:
    decision = decide(server("A", disk("T", LVM), disk("U", BLANK)))
    assert (decision.role, decision.rule) == (Role.SOURCE, "installed system")
    assert decision.permissions == ()
    assert "sd-SA SA 500.0 GB: the system groupware (Debian 12) on partition 1." in decision.reasons


def test_blank_is_target() -> None:
    decision = decide(blank("B", disk("T")))
    assert (decision.role, decision.rule) == (Role.TARGET, "blank")
    assert permitted(decision) == {"serial:SB": Ground.BLANK, "serial:T": Ground.BLANK}


def test_our_unused_copy_is_target_with_all_its_disks() -> None:
    decision = decide(copy())
    assert (decision.role, decision.rule) == (Role.TARGET, "unused copy")
    assert permitted(decision) == {"serial:SB": Ground.OUR_COPY, "serial:TB": Ground.OUR_COPY}
    assert {permission.source_id for permission in decision.permissions} == {"A"}
    assert (
        decision.permissions[0].content == "our copy of groupware of 2026-03-01 10:00 UTC, unused"
    )
    assert decision.ready_since == FINISHED_AT


@pytest.mark.parametrize(
    ("made", "sign"),
    [
        (copy(used=True), "its own mark says so"),
        (copy(now=replace(UNTOUCHED, counter=8)), "went from 7 to 8"),
        (copy(now=replace(UNTOUCHED, time=FINISHED_AT + 86400)), "last on 2026-03-02 10:00 UTC"),
        (copy(now=Usage("xfs")), "cannot be excluded"),
        (copy(now=replace(UNTOUCHED, kind="btrfs")), "the counter"),
    ],
)
def test_our_used_copy_is_undecided_and_tells_the_sign(made: Inventory, sign: str) -> None:
    decision = decide(made)
    assert_undecided(decision, "used copy")
    assert sign in " ".join(decision.reasons)


def test_a_copy_that_noted_its_first_start_was_used() -> None:
    """Even if its file system was put back since."""
    made = copy()
    (root,) = made.systems
    decision = decide(replace(made, systems=(replace(root, started_at=FINISHED_AT + 60),)))
    assert_undecided(decision, "used copy")
    assert "it was started first on 2026-03-01 10:01 UTC" in " ".join(decision.reasons)


def test_a_copy_whose_file_system_counts_nothing_may_have_been_used() -> None:
    made = copy(now=Usage("xfs"))
    (root,) = made.systems
    assert root.marker
    silent = replace(root, marker=replace(root.marker, usage=Usage("xfs")))
    assert_undecided(decide(replace(made, systems=(silent,))), "used copy")
    named = decide(replace(made, systems=(silent,)), overwrite=("SB", "TB"))
    assert permitted(named) == {"serial:SB": Ground.NAMED, "serial:TB": Ground.NAMED}


def test_a_copy_of_whose_file_system_nothing_is_known_may_have_been_used() -> None:
    made = copy()
    (root,) = made.systems
    decision = decide(replace(made, systems=(replace(root, usage=None),)))
    assert_undecided(decision, "used copy")
    assert "(ext4) does not tell" in " ".join(decision.reasons)


def test_a_copy_made_for_another_machine_is_undecided() -> None:
    assert_undecided(decide(copy(target="C")), "copy for another machine")


def test_a_copy_made_for_another_disk_of_this_machine_is_undecided() -> None:
    made = copy()
    moved = replace(made, disks=(disk("X", with_table()), made.disks[1]))
    moved = replace(moved, systems=(replace(made.systems[0], disk="serial:X"),))
    assert_undecided(decide(moved), "copy for another machine")


def test_a_data_disk_that_got_another_use_gets_no_permission() -> None:
    made = copy()
    other_use = replace(made, disks=(made.disks[0], disk("TB", DATA)))
    assert permitted(decide(other_use)) == {"serial:SB": Ground.OUR_COPY}


def test_a_data_disk_the_marker_tells_no_content_of_gets_no_permission() -> None:
    made = copy()
    (root,) = made.systems
    assert root.marker
    mappings = tuple(replace(mapping, content="") for mapping in root.marker.disks)
    silent = replace(root, marker=replace(root.marker, disks=mappings))
    decision = decide(replace(made, systems=(silent,)))
    assert permitted(decision) == {"serial:SB": Ground.OUR_COPY}
    blank_now = replace(made, disks=(made.disks[0], disk("TB")), systems=(silent,))
    assert "serial:TB" not in permitted(decide(blank_now))


def test_a_copy_beside_which_somebody_made_a_partition_gets_no_permission() -> None:
    """Nobody started it, but the room behind it holds something else now."""
    made = copy()
    grown = table()
    more = Partition(2, 9 * GB, GB, "83", file_system=FileSystem("ext4", "theirs"))
    grown = replace(grown, partitions=(*grown.partitions, more))
    root = disk("SB", replace(with_table(), table=grown))
    assert permitted(decide(replace(made, disks=(root, made.disks[1])))) == {
        "serial:TB": Ground.OUR_COPY
    }
    alone = decide(replace(made, disks=(root,)))
    assert_undecided(alone, "foreign data")
    assert "not what our copy of groupware of 2026-03-01 10:00 UTC had there" in alone.reasons[1]
    hiding = replace(with_table(), table=grown, hidden=("LVM on partition 2",))
    assert_undecided(
        decide(replace(made, disks=(disk("SB", hiding), disk("T")))), "not looked into"
    )


def with_another_copy(made: Inventory, another: InstalledSystem) -> tuple[Inventory, Inventory]:
    """A machine with one more copied system, found after the first, and before it."""
    (root,) = made.systems
    return replace(made, systems=(root, another)), replace(made, systems=(another, root))


def test_of_two_copies_on_a_disk_the_worse_decides() -> None:
    made = copy()
    (root,) = made.systems
    assert root.marker
    used = replace(root, partition=2, usage=Usage("ext4", 9, 9))
    other = replace(root.marker, source=MachineReference("Z"))
    foreign = replace(root, partition=2, marker=other)
    for worse in (used, replace(used, marker=other)):
        for both in with_another_copy(made, worse):
            assert_undecided(decide(both), "used copy")
    for both in with_another_copy(made, foreign):
        assert_undecided(decide(both), "foreign data")
        assert "copies of more than one machine" in " ".join(decide(both).reasons)


def test_a_data_disk_is_of_the_copy_that_left_what_is_on_it() -> None:
    """An older copy, on a disk that was put back, names it as well."""
    made = copy(now=Usage("ext4", 9, 9))  # it was in service, and so was its data
    (root,) = made.systems
    assert root.marker
    mappings = (
        DiskMapping("serial:SA", "serial:X", with_table().fingerprint),
        DiskMapping("serial:TA", "serial:TB", "another content"),
    )
    older = replace(
        root, disk="serial:X", usage=UNTOUCHED, marker=replace(root.marker, disks=mappings)
    )
    made = replace(made, disks=(*made.disks, disk("X", with_table())))
    for both in with_another_copy(made, older):
        decision = decide(both, role=Role.TARGET)
        assert permitted(decision) == {"serial:X": Ground.OUR_COPY}
        assert sum("used since" in reason for reason in decision.reasons) == 2


def test_a_data_disk_two_copies_left_alike_counts_as_used_with_either() -> None:
    made = copy(now=Usage("ext4", 9, 9))
    (root,) = made.systems
    assert root.marker
    older = replace(root, disk="serial:X", usage=UNTOUCHED)
    for both in with_another_copy(made, older):
        assert "serial:TB" not in permitted(decide(both, role=Role.TARGET))


def test_interrupted_copy_for_this_machine_is_target() -> None:
    decision = decide(unfinished())
    assert (decision.role, decision.rule) == (Role.TARGET, "unfinished copy")
    assert permitted(decision) == {"serial:SB": Ground.OUR_COPY}
    assert decision.permissions[0].source_id == "A"


def test_interrupted_copy_for_another_machine_or_disk_is_undecided() -> None:
    assert_undecided(decide(unfinished(target="C")), "unfinished copy for another machine")
    (broken,) = unfinished().disks
    moved = machine("B", replace(broken, hardware=replace(broken.hardware, serial="X")))
    assert_undecided(decide(moved), "unfinished copy for another machine")


def test_a_foreign_disk_beside_blank_ones_is_not_touched() -> None:
    decision = decide(blank("B", disk("T", DATA)))
    assert (decision.role, decision.rule) == (Role.TARGET, "blank beside foreign data")
    assert permitted(decision) == {"serial:SB": Ground.BLANK}


def test_foreign_data_alone_is_undecided() -> None:
    assert_undecided(decide(machine("B", disk("SB", DATA))), "foreign data")


def test_a_disk_that_may_hide_a_system_makes_the_machine_undecided() -> None:
    hiding = blank("B", disk("T", LVM))
    assert_undecided(decide(hiding), "not looked into")
    assert permitted(decide(hiding, role=Role.TARGET)) == {"serial:SB": Ground.BLANK}


def test_a_machine_without_eligible_disks_is_undecided_and_says_why() -> None:
    usb = disk("U", None, ineligible="it is removable")
    decision = decide(machine("B", usb))
    assert_undecided(decision, "no disk")
    assert "sd-U U 500.0 GB was not looked into: it is removable." in decision.reasons


def test_a_live_stick_beside_a_blank_disk_is_never_permitted() -> None:
    stick = disk("U", None, name="sda", ineligible="it holds the live medium", bystander=True)
    assert permitted(decide(blank("B", stick))) == {"serial:SB": Ground.BLANK}


FAR = "it is a network disk (Fibre Channel)"


@pytest.mark.parametrize(
    "reason",
    [
        FAR,
        "it is an external disk (USB), never a server's own",
        "it cannot be told from another disk, or is the same disk seen twice (wwn:0x5)",
        "it is in use by this live system: part of dm-0",
    ],
)
def test_a_fixed_disk_out_of_reach_beside_a_blank_one_may_be_a_server(reason: str) -> None:
    inventory = blank("B", disk("F", None, ineligible=reason))
    decision = decide(inventory)
    assert_undecided(decision, "disk out of reach")
    assert f"sd-F F 500.0 GB was not looked into: {reason}." in decision.reasons
    asked = decide(inventory, role=Role.TARGET)
    assert permitted(asked) == {"serial:SB": Ground.BLANK}
    assert f"sd-F F 500.0 GB was not looked into: {reason}." in asked.reasons


@pytest.mark.parametrize("beside", [copy(), unfinished(), machine("B", disk("SB", DATA))])
def test_a_disk_out_of_reach_beside_no_system_is_no_spare_without_a_word(beside: Inventory) -> None:
    far = replace(beside, disks=(*beside.disks, disk("F", None, ineligible=FAR)))
    assert_undecided(decide(far), "disk out of reach")
    assert_undecided(decide(far, overwrite=("SB",)), "disk out of reach")
    assert "serial:SB" in permitted(decide(far, overwrite=("SB",), role=Role.TARGET))


def test_a_server_with_a_disk_out_of_reach_is_still_a_source() -> None:
    decision = decide(server("A", disk("F", None, ineligible=FAR)))
    assert (decision.role, decision.rule) == (Role.SOURCE, "installed system")


@pytest.mark.parametrize(
    ("more", "is_spare"),
    [
        ({"bystander": True}, True),
        ({"removable": True}, True),
        ({"size": SMALLEST_SYSTEM - 512}, True),
        ({"size": SMALLEST_SYSTEM}, False),
        ({}, False),
    ],
)
def test_what_no_server_runs_from_leaves_a_blank_machine_a_spare(
    more: dict[str, Any], is_spare: bool
) -> None:
    decision = decide(blank("B", disk("F", None, ineligible="for a reason", **more)))
    assert decision.rule == ("blank" if is_spare else "disk out of reach")
    assert any("not looked into" in reason for reason in decision.reasons) is not is_spare


def test_a_system_beside_a_copy_is_undecided() -> None:
    made = copy()
    both = replace(
        made,
        disks=(*made.disks, disk("SA", with_table())),
        systems=(*made.systems, system("SA")),
    )
    assert_undecided(decide(both), "system beside a copy")


def test_a_system_on_a_disk_of_a_copy_is_undecided() -> None:
    made = copy()
    reinstalled = replace(made, systems=(*made.systems, system("TB", "other")))
    assert_undecided(decide(reinstalled), "system beside a copy")
    both_on_one = replace(made, systems=(*made.systems, replace(system("SB"), partition=2)))
    assert_undecided(decide(both_on_one), "system beside a copy")


def test_a_system_and_a_copy_on_the_only_disk_are_undecided() -> None:
    made = copy()
    (only, _), (copied,) = made.disks, made.systems
    both = machine("B", only, systems=(copied, replace(system("SB"), partition=2)))
    assert_undecided(decide(both), "system beside a copy")


@pytest.mark.parametrize(
    "beside", [copy(), copy(used=True), copy(target="C"), unfinished(), unfinished(target="C")]
)
def test_a_system_beside_any_kind_of_copy_is_undecided(beside: Inventory) -> None:
    both = replace(
        beside,
        disks=(*beside.disks, disk("SA", with_table())),
        systems=(*beside.systems, system("SA")),
    )
    assert_undecided(decide(both), "system beside a copy")


def test_a_readable_system_under_our_mark_is_undecided() -> None:
    assert_undecided(decide(replace(unfinished(), systems=(system("SB"),))), "system beside a copy")


def broken_before_its_boot_code(made: Inventory, copy_id: str = "c" * 32) -> Inventory:
    """The machine of a copy, its mark still there and its partition table, too."""
    disks = []
    for one in made.disks:
        assert one.content
        mark = Mark(copy_id, "A", made.machine.id, one.id, FINISHED_AT)
        disks.append(replace(one, content=replace(one.content, unfinished=mark)))
    return replace(made, disks=tuple(disks))


def test_a_copy_that_broke_before_its_boot_code_is_carried_on_unless_it_was_used() -> None:
    ours = {"serial:SB": Ground.OUR_COPY, "serial:TB": Ground.OUR_COPY}
    decision = decide(broken_before_its_boot_code(copy()))
    assert (decision.rule, permitted(decision)) == ("unfinished copy", ours)
    decision = decide(broken_before_its_boot_code(copy(), "e" * 32))
    assert (decision.rule, permitted(decision)) == ("unused copy", ours)
    # Its table is enough for UEFI to start it.
    assert_undecided(decide(broken_before_its_boot_code(copy(used=True))), "used copy")


def test_a_copy_that_broke_between_two_tables_is_carried_on_where_nothing_else_can_be() -> None:
    root, data = broken_before_its_boot_code(copy()).disks
    assert root.content
    bare = replace(root, content=replace(root.content, table=None))
    decision = decide(machine("B", bare, data))
    assert permitted(decision) == {"serial:SB": Ground.OUR_COPY}


def test_what_was_made_of_a_disk_under_our_mark_is_not_ours() -> None:
    other_use = broken_before_its_boot_code(machine("B", disk("SB", with_table())))
    decision = decide(other_use)
    assert_undecided(decision, "foreign data")
    assert "made after our copy to it broke off" in decision.reasons[1]
    (one,) = other_use.disks
    assert one.content
    hidden = replace(one, content=replace(one.content, hidden=("ZFS on partition 2",)))
    assert_undecided(decide(replace(other_use, disks=(hidden,))), "not looked into")
    assert_undecided(decide(other_use, role=Role.TARGET), "asked target, nothing to overwrite")


def test_a_whole_disk_that_was_put_to_use_under_our_mark_is_not_ours() -> None:
    (broken,) = unfinished().disks
    marked = broken.content
    assert marked

    def now(kind: str) -> Inventory:
        content = replace(marked, file_system=FileSystem(kind))
        return replace(unfinished(), disks=(replace(broken, content=content),))

    assert decide(unfinished()).rule == "unfinished copy"
    assert_undecided(decide(now("LVM2_member")), "foreign data")
    assert_undecided(decide(now("ext4")), "foreign data")
    assert decide(now("linux_raid_member")).rule == "unfinished copy"  # its last partition's


def test_a_source_with_an_unfinished_copy_in_it_is_undecided() -> None:
    apart = disk("SA", None, ineligible="it is removable")
    only_there = machine("A", apart, disk("T", DATA), systems=(system("SA"),))
    assert_undecided(decide(only_there, role=Role.SOURCE), "asked source, no system")
    (broken,) = unfinished().disks
    assert_undecided(decide(server("A", broken)), "system beside a copy")


# What a person may ask for


def test_asked_to_be_source_a_serving_copy_is_one() -> None:
    decision = decide(copy(used=True), role=Role.SOURCE)
    assert (decision.role, decision.rule, decision.permissions) == (
        Role.SOURCE,
        "asked source",
        (),
    )


def test_asked_to_be_source_an_empty_or_broken_machine_is_none() -> None:
    assert_undecided(decide(blank(), role=Role.SOURCE), "asked source, no system")
    assert_undecided(decide(unfinished(), role=Role.SOURCE), "asked source, unfinished copy")
    apart = disk("SA", None, ineligible="it is removable")
    only_there = machine("A", apart, disk("T", DATA), systems=(system("SA"),))
    assert_undecided(decide(only_there, role=Role.SOURCE), "asked source, no system")
    (broken,) = unfinished().disks
    assert_undecided(decide(server("A", broken), role=Role.SOURCE), "asked source, unfinished copy")


def test_asked_to_be_target_no_foreign_datamay_be_overwritten() -> None:
    mixed = replace(unfinished(), systems=(system("SB"),))
    for inventory in (
        *(server(), copy(used=True), copy(target="C"), unfinished(target="C"), mixed),
        *(
            machine("B", disk("S", DATA)),
            machine("B", disk("S", LVM)),
            machine("B", disk("S", None)),
        ),
    ):
        decision = decide(inventory, role=Role.TARGET)
        assert_undecided(decision, "asked target, nothing to overwrite")
    assert permitted(decide(server("A", disk("T")), role=Role.TARGET)) == {"serial:T": Ground.BLANK}


@pytest.mark.parametrize(
    "word",
    [
        "SB",
        "serial:SB",
        "wwn:0x5000c5",
        "0x5000c5",
        "wwn-0x5000c5",
        "/dev/disk/by-id/wwn-0x5000c5",
        "ata-DISK_SB",
        "/dev/disk/by-id/ata-DISK_SB",
        "/dev/disk/by-path/pci-1",
        "path:pci-1",
    ],
)
def test_a_person_names_a_disk_by_what_is_stable(word: str) -> None:
    hardware: dict[str, Any] = {"wwn": "0x5000c5", "path": "pci-1", "aliases": ("ata-DISK_SB",)}
    if word == "serial:SB":
        del hardware["wwn"]
    decision = decide(machine("B", disk("SB", DATA, **hardware)), overwrite=(word,))
    assert (decision.role, decision.rule) == (Role.TARGET, "named disk")
    (permission,) = decision.permissions
    assert permission.ground is Ground.NAMED
    assert permission.content == "named by a person; on it is ext4 on the whole disk"


def test_a_disk_that_tells_its_wwn_alone_has_a_name() -> None:
    only = machine("B", disk("", DATA, wwn="0x5000c5"))
    assert permitted(decide(only, overwrite=("wwn:0x5000c5",))) == {"wwn:0x5000c5": Ground.NAMED}


@pytest.mark.parametrize("word", ["", "wwn-", "wwn:", "/dev/disk/by-id/wwn-", "path:sd-"])
def test_a_disk_that_tells_nothing_has_no_name(word: str) -> None:
    assert_undecided(decide(machine("B", disk("", DATA)), overwrite=(word,)), "foreign data")


@pytest.mark.parametrize(
    "word", ["sd-SB", "/dev/sd-SB", "sda", "S", "path:", "", "serial:", "all", "*"]
)
def test_no_kernel_name_and_no_part_of_a_name_means_a_disk(word: str) -> None:
    decision = decide(machine("B", disk("SB", DATA)), overwrite=(word,))
    assert_undecided(decision, "foreign data")
    assert f"failover.overwrite={word} means no disk here." in decision.reasons


def test_a_name_that_means_two_disks_is_refused() -> None:
    twins = machine("B", disk("S1", DATA, aliases=("ata-X",)), disk("S2", DATA, aliases=("ata-X",)))
    decision = decide(twins, overwrite=("ata-X",))
    assert_undecided(decision, "ambiguous name")
    assert "failover.overwrite=ata-X means sd-S2 S2 500.0 GB." in decision.reasons


def test_a_named_disk_that_is_not_eligible_stays_untouched() -> None:
    usb = disk("U", None, ineligible="it is removable")
    decision = decide(blank("B", usb), overwrite=("U",))
    assert_undecided(decision, "ambiguous name")
    assert "may not be written to: it is removable." in " ".join(decision.reasons)


def test_a_name_for_the_other_machine_does_no_harm_here() -> None:
    decision = decide(server(), overwrite=("SB",))
    assert decision.role is Role.SOURCE
    assert "failover.overwrite=SB means no disk here." in decision.reasons


def test_a_named_disk_beside_a_system_needs_a_word_on_the_role() -> None:
    both = server("A", disk("T", DATA))
    assert_undecided(decide(both, overwrite=("T",)), "system beside a named disk")
    assert permitted(decide(both, overwrite=("T",), role=Role.TARGET)) == {"serial:T": Ground.NAMED}


def test_a_repaired_old_source_is_target_only_when_its_disk_is_named() -> None:
    decision = decide(server(), overwrite=("SA",))
    assert (decision.role, permitted(decision)) == (Role.TARGET, {"serial:SA": Ground.NAMED})


def test_content_that_calls_itself_blank_against_the_evidence_is_not() -> None:
    for odd in (
        replace(BLANK, signatures=("ext4",)),
        replace(BLANK, file_system=FileSystem("ext4")),
        replace(BLANK, table=with_table().table),
        replace(BLANK, hidden=("LVM",)),
    ):
        assert decide(machine("B", disk("SB", odd))).role is Role.UNDECIDED


def test_an_impossible_time_is_no_crash() -> None:
    made = copy(now=replace(UNTOUCHED, time=10**30))
    assert "an impossible time" in " ".join(decide(made).reasons)


def test_every_row_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.reason.endswith(".") for rule in RULES)


# The rule itself, for whatever facts


@examples(quick=100, thorough=800)
@given(inventories(500 * GB), choices)
def test_no_facts_end_with_a_permission_the_rule_does_not_give(
    inventory: Inventory, chosen: Settings
) -> None:
    decision = decide_role(inventory, chosen)
    assert decision.reasons
    if decision.role is not Role.TARGET:
        assert decision.permissions == ()
        return
    assert decision.permissions
    assert chosen.role is Role.TARGET or not any(one.hardware.unseen for one in inventory.disks)
    for permission in decision.permissions:
        one = inventory.disk(permission.disk)
        assert may_be_overwritten(inventory, one, chosen.overwrite), permission
