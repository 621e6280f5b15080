"""The rule from end to end: from the facts about two machines to the disks of a plan."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from payload.decide.planning import plan_copy
from payload.decide.role import decide_pair, decide_role
from payload.model.errors import PlanError, UndecidedError
from payload.model.inventory import Inventory
from payload.model.plan import CopyMode, Plan
from payload.model.role import Decision, Role
from payload.model.settings import Settings
from payload.session.last_look import check_role
from tests.support.drawn_machines import choices, disk_sets, inventories, willing
from tests.support.effort import examples
from tests.support.machines import (
    GB,
    blank,
    copy,
    machine,
    server,
    system,
    unfinished,
    with_table,
)
from tests.support.overwrite_rule import may_be_overwritten

two_disks = replace(
    server("A"), disks=(*server("A").disks, replace(server("T").disks[0], content=with_table()))
)
sources = st.sampled_from(
    [server("A"), server("B"), two_disks, copy("B", used=True), machine("C"), copy("C", "A")]
)
near = st.sampled_from(
    [
        *(blank("B"), blank("B", *blank("D").disks), blank("C"), machine("B"), server("B")),
        *(copy("B"), copy("B", "C"), copy("B", used=True), copy("D"), copy("C", "A")),
        *(unfinished("B"), unfinished("B", "C"), unfinished("B", target="C")),
    ]
)
targets = inventories(500 * GB) | near


@st.composite
def likely_targets(draw: st.DrawFn) -> Inventory:
    """Targets of the server A, beside whose disks there may be any others."""
    target = draw(st.sampled_from([blank("B"), copy("B"), unfinished("B")]))
    return replace(target, disks=(*target.disks, *draw(disk_sets(500 * GB))))


# Facts drawn at random seldom make a pair that copies, and a property about none says nothing.
pairs = st.tuples(sources, targets, choices, choices) | st.tuples(
    st.sampled_from([server("A"), two_disks]),
    likely_targets(),
    willing(Role.SOURCE),
    willing(Role.TARGET),
)


def plan_for(one: Inventory, other: Inventory, says: tuple[Settings, Settings]) -> Plan | None:
    """The plan, if both machines come to their role beside the other; else None."""
    roles = decide_role(one, says[0]), decide_role(other, says[1])
    source = decide_pair(one, roles[0], other, roles[1], says[0])
    target = decide_pair(other, roles[1], one, roles[0], says[1])
    if (source.role, target.role) != (Role.SOURCE, Role.TARGET):
        return None
    try:
        return plan_copy(one, other, target, CopyMode.USED)
    except PlanError:
        return None


def test_no_plan_writes_to_a_disk_for_which_the_rule_does_not_hold() -> None:
    plans = 0

    @examples(quick=100, thorough=800)
    @given(pairs)
    def check(pair: tuple[Inventory, Inventory, Settings, Settings]) -> None:
        nonlocal plans
        one, other, own, peer = pair
        plan = plan_for(one, other, (own, peer))
        if plan is None:
            return
        plans += 1
        assert plan.source.id == one.machine.id != other.machine.id == plan.target.id
        for copied in plan.disks:
            disk = other.disk(copied.target.id)
            assert may_be_overwritten(other, disk, peer.overwrite)
            named = {disk.hardware.serial, disk.id} & set(peer.overwrite)
            assert named or _is_of_this_source(other, copied.target.id, one.machine.id)

    check()
    assert plans > 3, "the property has to be about something"


def goes_on(
    own: Inventory, decision: Decision, other: Inventory, says: Decision, word: Settings, role: Role
) -> bool:
    """Whether a machine that agreed to `role` goes on, now that both sides are found like this."""
    peer = SimpleNamespace(inventory=other, decision=says)
    agreed = SimpleNamespace(role=role)
    context = SimpleNamespace(other=peer, own_decision=agreed, settings=word)
    try:
        check_role(cast(Any, context), own, decision)
    except UndecidedError:
        return False
    return True


def test_whenever_one_side_changes_its_mind_the_other_stops() -> None:
    """Before the first write, and after every reconnect, whatever it found or was told by then."""
    changes = 0

    @examples(quick=100, thorough=800)
    @given(pairs, targets | likely_targets() | sources, choices)
    def check(
        pair: tuple[Inventory, Inventory, Settings, Settings], now: Inventory, word: Settings
    ) -> None:
        nonlocal changes
        one, other, own, peer = pair
        if plan_for(one, other, (own, peer)) is None:
            return
        source, target = decide_role(one, own), decide_role(other, peer)
        assert goes_on(one, source, other, target, own, Role.SOURCE)
        assert goes_on(other, target, one, source, peer, Role.TARGET)
        found = decide_role(now, word)
        if found.role is not Role.TARGET:
            changes += 1
            assert not goes_on(one, source, now, found, own, Role.SOURCE)
            assert not goes_on(now, found, one, source, word, Role.TARGET), "nor does itself"
        if found.role is not Role.SOURCE:
            changes += 1
            assert not goes_on(other, target, now, found, peer, Role.TARGET)
            assert not goes_on(now, found, other, target, word, Role.SOURCE), "nor does itself"

    check()
    assert changes > 3, "the property has to be about something"


def _is_of_this_source(target: Inventory, disk_id: str, source_id: str) -> bool:
    """Blank disks are nobody's; a copy, whole or broken, may be refreshed by its source alone."""
    content = target.disk(disk_id).content
    if content is not None and content.unfinished:
        return content.unfinished.source_id == source_id
    for found in target.systems:
        made = found.marker
        on_it = made and disk_id in (found.disk, *(mapping.target for mapping in made.disks))
        if made and on_it:
            return any(
                one.marker is not None and one.marker.source.id == source_id
                for one in target.systems
            )
    return True


def test_a_machine_is_never_source_and_target_of_its_own() -> None:
    both = replace(server("A"), systems=(system("SA"),))
    assert plan_for(both, both, (Settings(), Settings(role=Role.TARGET))) is None
