"""Two machines that met: what fits together, and everything that must not start a copy."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.role import PAIR_RULES, decide_pair, decide_role
from payload.decide.shared import shared_disks
from payload.model.inventory import Inventory
from payload.model.marker import Usage
from payload.model.role import Decision, Ground, Permission, Role
from payload.model.settings import Settings
from tests.support.drawn_machines import choices, inventories
from tests.support.effort import examples
from tests.support.machines import (
    BLANK,
    DATA,
    blank,
    copy,
    disk,
    machine,
    server,
    system,
    unfinished,
    with_table,
)


def meet(
    own: Inventory, peer: Inventory, own_says: Any = None, peer_says: Any = None
) -> tuple[Decision, Decision]:
    """What each of two machines decides about itself beside the other."""
    own_settings, peer_settings = Settings(**own_says or {}), Settings(**peer_says or {})
    own_role, peer_role = decide_role(own, own_settings), decide_role(peer, peer_settings)
    return (
        decide_pair(own, own_role, peer, peer_role, own_settings),
        decide_pair(peer, peer_role, own, own_role, peer_settings),
    )


def assert_nothing_happens(pair: tuple[Decision, Decision], rule: str) -> None:
    for decision in pair:
        assert (decision.role, decision.permissions) == (Role.UNDECIDED, ())
    assert pair[0].rule == rule
    assert pair[0].reasons[0] == next(row.reason for row in PAIR_RULES if row.name == rule)
    assert all(reason.endswith(".") for decision in pair for reason in decision.reasons)


def assert_copies(pair: tuple[Decision, Decision], *disks: str) -> None:
    source, target = pair
    assert (source.role, target.role) == (Role.SOURCE, Role.TARGET)
    assert source.permissions == ()
    assert tuple(permission.disk for permission in target.permissions) == disks


def test_system_and_blank() -> None:
    pair = meet(server(), blank())
    assert_copies(pair, "serial:SB")
    assert pair[1].reasons == ("groupware is the source, Box B B is the target.",)


def test_system_and_our_unused_copy_of_it() -> None:
    pair = meet(server(), copy())
    assert_copies(pair, "serial:SB", "serial:TB")
    assert pair[1].ready_since


def test_system_and_our_used_copy_of_it() -> None:
    pair = meet(server(), copy(now=Usage("ext4", 9, 9)))
    assert_nothing_happens(pair, "other undecided")
    assert "was in service" in " ".join(pair[0].reasons)


def test_system_and_our_copy_made_for_another_machine() -> None:
    assert_nothing_happens(meet(server(), copy(target="C")), "other undecided")


def test_system_and_copy_of_another_source() -> None:
    assert_nothing_happens(meet(server("Z"), copy()), "copy of another source")
    named = {"overwrite": ("SB", "TB")}
    assert_copies(meet(server("Z"), copy(), None, named), "serial:SB", "serial:TB")


def test_system_and_system() -> None:
    assert_nothing_happens(meet(server("A"), server("B")), "two sources")


def test_blank_and_blank() -> None:
    assert_nothing_happens(meet(blank("B"), blank("C")), "two targets")


def test_our_copy_and_our_copy() -> None:
    assert_nothing_happens(meet(copy("B"), copy("C")), "two targets")


def test_copy_and_blank_only_by_a_persons_word() -> None:
    """The standby serves now, and a new standby is wanted."""
    serving = copy(used=True)
    assert_nothing_happens(meet(serving, blank("C")), "own role undecided")
    assert_copies(meet(serving, blank("C"), {"role": Role.SOURCE}), "serial:SC")


def test_interrupted_copy_and_the_same_source() -> None:
    assert_copies(meet(server(), unfinished()), "serial:SB")


def test_interrupted_copy_and_another_source() -> None:
    assert_nothing_happens(meet(server("Z"), unfinished()), "copy of another source")


def test_a_copy_of_another_source_beside_a_blank_disk() -> None:
    (broken,) = unfinished().disks
    both = machine("B", broken, disk("T", BLANK))
    assert_nothing_happens(meet(server("Z"), both), "copy of another source")


def test_source_with_one_disk_and_target_with_three() -> None:
    target = blank("B", disk("T"), disk("U", DATA))
    assert_copies(meet(server(), target), "serial:SB", "serial:T")


def test_the_same_machine_seen_twice() -> None:
    assert_nothing_happens(meet(server("A"), server("A")), "same machine")
    without_cards = replace(blank("B"), machine=replace(server("A").machine, macs=()))
    assert_nothing_happens(meet(server("A"), without_cards), "same machine")
    twin = replace(blank("B"), machine=replace(blank("B").machine, macs=server().machine.macs))
    assert_nothing_happens(meet(server(), twin), "same machine")


def test_cloned_machines_with_one_uuid_are_two_by_their_cards() -> None:
    uuid = "4c4c4544-0042-3510-8052-b4c04f4a3132"
    source, target = server(), blank()
    source = replace(source, machine=replace(source.machine, uuid=uuid))
    target = replace(target, machine=replace(target.machine, uuid=uuid))
    assert_copies(meet(source, target), "serial:SB")


def test_fail_back_needs_a_persons_word_on_both_machines() -> None:
    """The repaired old source A, and the copy B that serves."""
    old, serving = server("A"), copy("B", used=True)
    assert_nothing_happens(meet(old, serving), "other undecided")
    as_source = {"role": Role.SOURCE}
    assert_nothing_happens(meet(serving, old, as_source), "two sources")
    named = {"overwrite": ("SA",)}
    assert_nothing_happens(meet(serving, old, None, named), "own role undecided")
    assert_copies(meet(serving, old, as_source, named), "serial:SA")


def test_a_copy_asked_to_be_target_is_not_overwritten_by_the_wrong_source() -> None:
    asked = {"role": Role.TARGET}
    assert_nothing_happens(meet(server("Z"), copy(), None, asked), "copy of another source")


def test_a_disk_both_machines_see() -> None:
    shared = "0x600508b1"
    source = machine("A", disk("SA", with_table(), wwn=shared), systems=server().systems)
    source = replace(source, systems=(replace(source.systems[0], disk=f"wwn:{shared}"),))
    target = machine("B", disk("SB", BLANK, wwn=shared))
    assert_nothing_happens(meet(source, target), "shared disk")


@pytest.mark.parametrize("word", ["path:ata-1", "/dev/disk/by-path/ata-1"])
def test_a_place_that_both_machines_have_names_no_disk(word: str) -> None:
    """Meant for the spare, it would make the server the target of the spare's old system."""
    spare = machine("B", disk("SB", DATA, path="ata-1"))
    server_disk = replace(server().disks[0].hardware, path="ata-1")
    here = replace(server(), disks=(replace(server().disks[0], hardware=server_disk),))
    old = machine("C", disk("SC", with_table(), path="ata-2"), systems=(system("SC"),))
    beside = replace(old, disks=(*old.disks, disk("TC", DATA, path="ata-1")))
    named = {"overwrite": (word,)}
    for machine_, other in ((spare, here), (here, beside)):
        decision, _ = meet(machine_, other, named, {**named, "role": Role.SOURCE})
        assert_nothing_happens((decision, decision), "name for both")
        mine, theirs = (one.disks[-1].hardware.label for one in (machine_, other))
        assert f"{word} means {mine} here and {theirs} there." in decision.reasons
    as_target = {**named, "role": Role.TARGET}
    assert_copies(meet(here, spare, None, as_target), "serial:SB")
    assert_nothing_happens(meet(here, spare, as_target, as_target), "two targets")
    other = replace(spare, disks=(disk("SB", DATA, path="ata-2"),))
    assert_copies(meet(here, other, None, {"overwrite": ("path:ata-2",)}), "serial:SB")


def test_a_name_of_the_sources_disk_alone_does_no_harm_on_the_target() -> None:
    assert_copies(meet(server(), blank(), None, {"overwrite": ("SA",)}), "serial:SB")


SHARED = "0x600508b1"


@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_disk_both_machines_see_that_may_not_be_copied(side: int) -> None:
    """One of them sees it on two paths, or both do."""
    far = {"wwn": SHARED, "ineligible": "it is the same disk seen twice"}
    here, there = far if side != 1 else {"wwn": SHARED}, far if side != 0 else {"wwn": SHARED}
    source = server("A", disk("L1", None if "ineligible" in here else DATA, **here))
    content = None if "ineligible" in there else BLANK
    target = machine("B", disk("SB", BLANK), disk("L2", content, **there))
    words = {"role": Role.TARGET}
    assert_nothing_happens(meet(source, target, None, words), "shared disk")


def test_a_disk_both_machines_see_that_tells_its_serial_alone() -> None:
    named = {"overwrite": ("SA",), "role": Role.TARGET}
    pair = meet(server("A"), replace(server("A"), machine=blank("B").machine), None, named)
    assert_nothing_happens(pair, "shared disk")
    assert "sd-SA SA 500.0 GB here is sd-SA SA 500.0 GB there." in pair[0].reasons


def test_a_serial_that_one_machine_alone_tells_the_wwn_of_is_compared_too() -> None:
    source, target = server("A"), replace(server("A"), machine=blank("B").machine)
    with_wwn = replace(target, disks=(disk("SA", with_table(), wwn="0x5"),), systems=())
    named = {"overwrite": ("SA",), "role": Role.TARGET}
    assert_nothing_happens(meet(source, with_wwn, None, named), "shared disk")


def test_a_disk_that_one_machine_does_not_look_into_may_be_the_others() -> None:
    far = disk("L", None, ineligible="it is in use")
    reads, writes = server("A", far), machine("B", disk("L", DATA), disk("SB", BLANK))
    named = {"overwrite": ("L",), "role": Role.TARGET}
    assert_nothing_happens(meet(reads, writes, None, named), "shared disk")
    both_far = machine("B", far, disk("SB", BLANK))
    assert_copies(meet(reads, both_far, None, {"role": Role.TARGET}), "serial:SB")
    smaller = machine("B", disk("L", DATA, size=499 * 10**9), disk("SB", BLANK))
    assert_copies(meet(reads, smaller, None, named), "serial:L", "serial:SB")


def test_a_disk_that_one_machine_alone_may_run_from_is_not_the_others_stick() -> None:
    stick = disk("L", None, ineligible="it is removable", removable=True)
    assert_copies(meet(server("A", disk("L", DATA)), blank("B", stick)), "serial:SB")
    beside = machine("B", disk("L", DATA), disk("SB", BLANK))
    assert_copies(meet(server("A", stick), beside), "serial:SB")


def test_disks_that_tell_neither_serial_nor_wwn_are_not_compared() -> None:
    mine, theirs = (disk("", with_table(), path=path) for path in ("ata-1", "ata-2"))
    assert shared_disks(machine("A", mine), machine("B", theirs)) == ()


def test_a_copy_that_is_out_of_reach_now_may_be_the_disk_of_the_other_machine() -> None:
    made = copy("B")
    far = disk("SB", None, ineligible="it is in use")
    away = replace(made, disks=(far, made.disks[1]))
    both = shared_disks(machine("A", disk("SB", with_table())), away)
    assert both == ((disk("SB").hardware, far.hardware),)


@pytest.mark.parametrize("apart", [{"bystander": True}, {"removable": True}, {"size": 0}])
def test_the_same_serial_of_what_no_server_runs_from_is_no_shared_disk(
    apart: dict[str, Any],
) -> None:
    drive = disk("QM00003", None, ineligible="it is a CD or DVD drive", **apart)
    assert_copies(meet(server("A", drive), blank("B", drive)), "serial:SB")


def test_other_serial_other_content_or_other_wwn_is_another_disk() -> None:
    source = server("A")
    named = {"overwrite": ("SA", "S2", "wwn:0x6"), "role": Role.TARGET}
    for there in (
        disk("S2", with_table()),
        disk("SA", with_table("0x99999999")),
        disk("SA", BLANK),
        disk("", with_table(), wwn="0x6"),
    ):
        (permission,) = meet(source, machine("B", there), None, named)[1].permissions or (None,)
        assert permission and permission.disk == there.id
    first, second = disk("SA", with_table(), wwn="0x5"), disk("SA", with_table(), wwn="0x6")
    source = replace(source, disks=(first,), systems=(replace(source.systems[0], disk=first.id),))
    assert_copies(meet(source, machine("B", second), None, named), "wwn:0x6")


def with_serials_of(made: Inventory, other: Inventory) -> Inventory:
    """The machine of a copy whose disks have the serials of the other's: virtual machines do."""
    assert made.systems[0].marker
    serials = dict(zip((one.id for one in made.disks), other.disks, strict=True))
    mappings = tuple(
        replace(mapping, target=serials[mapping.target].id)
        for mapping in made.systems[0].marker.disks
    )
    root = replace(
        made.systems[0],
        disk=other.disks[0].id,
        marker=replace(made.systems[0].marker, disks=mappings),
    )
    return replace(made, disks=other.disks, systems=(root,))


def test_our_copy_on_disks_of_equal_serials_is_no_shared_disk() -> None:
    source = server("A", disk("TA", with_table("0x22222222", "data")))
    made = with_serials_of(copy("B"), source)
    named = {"overwrite": ("SA", "TA")}
    assert_copies(meet(source, made), "serial:SA", "serial:TA")
    assert_copies(
        meet(made, source, {"role": Role.SOURCE}, {**named, "role": Role.TARGET}),
        "serial:SA",
        "serial:TA",
    )


def test_a_marker_explains_equality_only_where_the_other_machine_does_not_see_it() -> None:
    source = server("A", disk("TA", with_table("0x22222222", "data")))
    made = with_serials_of(copy("B"), source)
    both_see_it = replace(source, systems=made.systems)
    as_source = {"role": Role.SOURCE}
    assert_nothing_happens(meet(both_see_it, made, as_source), "shared disk")
    assert made.systems[0].marker
    for other in (
        replace(made.systems[0].marker, target=replace(made.systems[0].marker.target, id="C")),
        replace(made.systems[0].marker, disks=()),
        replace(
            made.systems[0].marker,
            disks=tuple(replace(one, target="serial:X") for one in made.systems[0].marker.disks),
        ),
        replace(
            made.systems[0].marker,
            disks=tuple(replace(one, content="x") for one in made.systems[0].marker.disks),
        ),
    ):
        unexplained = replace(made, systems=(replace(made.systems[0], marker=other),))
        words = {"overwrite": ("SA", "TA"), "role": Role.TARGET}
        pair = meet(source, unexplained, None, words)
        assert_nothing_happens(pair, "shared disk")


def test_a_marker_explains_no_equal_wwn() -> None:
    source, made = server("A"), copy("B")
    here = (replace(source.disks[0], hardware=replace(source.disks[0].hardware, wwn=SHARED)),)
    there = replace(made.disks[0], hardware=replace(made.disks[0].hardware, wwn=SHARED))
    source = replace(
        source, disks=here, systems=(replace(source.systems[0], disk=f"wwn:{SHARED}"),)
    )
    assert made.systems[0].marker
    mappings = tuple(
        replace(one, target=there.id if one.target == "serial:SB" else one.target)
        for one in made.systems[0].marker.disks
    )
    root = replace(
        made.systems[0], disk=there.id, marker=replace(made.systems[0].marker, disks=mappings)
    )
    made = replace(made, disks=(there, made.disks[1]), systems=(root,))
    assert_nothing_happens(meet(source, made), "shared disk")


@pytest.mark.parametrize(
    "claims",
    [
        replace(server(), systems=()),
        replace(server(), disks=(disk("SA", None, ineligible="it is removable"),)),
    ],
)
def test_a_source_that_shows_no_system_on_a_disk_that_is_copied(claims: Inventory) -> None:
    target = blank()
    decision = decide_pair(
        target,
        decide_role(target, Settings()),
        claims,
        decide_role(server(), Settings()),
        Settings(),
    )
    assert decision.rule == "source without a system"


def test_a_target_that_permits_nothing() -> None:
    source, target = server(), blank()
    empty = replace(decide_role(target, Settings()), permissions=())
    decision = decide_pair(source, decide_role(source, Settings()), target, empty, Settings())
    assert (decision.role, decision.rule) == (Role.UNDECIDED, "nothing to overwrite")


def test_a_permission_that_our_own_facts_do_not_give() -> None:
    source, target = server(), blank()
    invented = Permission("serial:S9", Ground.BLANK, "blank")
    decided = decide_role(target, Settings())
    decided = replace(decided, permissions=(*decided.permissions, invented))
    decision = decide_pair(target, decided, source, decide_role(source, Settings()), Settings())
    assert (decision.role, decision.rule) == (Role.UNDECIDED, "permission without a ground")


def test_every_row_is_reached_by_a_test_above() -> None:
    source = __import__("pathlib").Path(__file__).read_text()
    missing = [rule.name for rule in PAIR_RULES if f'"{rule.name}"' not in source]
    assert missing == []
    assert all(rule.reason.endswith(".") for rule in PAIR_RULES)


@examples(quick=100, thorough=400)
@given(inventories(), inventories(), choices, choices)
def test_no_two_machines_start_a_copy_unless_both_came_to_opposite_roles(
    one: Inventory, other: Inventory, one_says: Settings, other_says: Settings
) -> None:
    roles = decide_role(one, one_says), decide_role(other, other_says)
    decision = decide_pair(one, roles[0], other, roles[1], one_says)
    if decision.role is Role.UNDECIDED:
        assert decision.permissions == ()
        return
    assert {role.role for role in roles} == {Role.SOURCE, Role.TARGET}
    assert one.machine.id != other.machine.id
    assert decision.role is roles[0].role
    source = one if decision.role is Role.SOURCE else other
    target = roles[0] if decision.role is Role.TARGET else roles[1]
    assert target.permissions
    for permission in target.permissions:
        ours = permission.ground is Ground.OUR_COPY
        assert not ours or permission.source_id == source.machine.id


@pytest.mark.parametrize("side", [0, 1])
@given(data=st.data())
def test_both_sides_agree_or_neither_starts(side: int, data: st.DataObject) -> None:
    machines = [server(), blank(), copy(), unfinished(), server("Z"), copy(used=True)]
    own, peer = (data.draw(st.sampled_from(machines)) for _ in range(2))
    pair = meet(own, peer)[:: 1 if side else -1]
    started = [decision.role is not Role.UNDECIDED for decision in pair]
    assert started[0] == started[1]
