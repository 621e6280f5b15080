"""Two machines that met: what fits together, and everything that must not start a copy."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.identify.role import PAIR_RULES, decide_pair, decide_role
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


def test_a_source_that_shows_no_system() -> None:
    source, target = server(), blank()
    claims = replace(source, systems=())
    decision = decide_pair(
        target,
        decide_role(target, Settings()),
        claims,
        decide_role(source, Settings()),
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
