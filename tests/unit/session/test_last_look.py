"""Who the peer is, and whether this machine is still what the plan was agreed for."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from payload.model.disk import Content
from payload.model.errors import PeerError, TargetDiskError, UndecidedError
from payload.model.inventory import Inventory
from payload.model.marker import Usage
from payload.model.plan import DiskPair, PlannedDisk
from payload.model.role import Decision, Ground, Permission, Role
from payload.session import last_look
from payload.session.agreement import compute_plan
from payload.session.context import Context
from payload.session.last_look import check_permission, check_role, look_again
from payload.session.meeting import check_hello, check_peer, judge
from tests.support.machines import DATA, blank, copy, disk, server
from tests.support.meetings import SOURCE, TARGET, hello, meeting


@pytest.fixture
def context() -> Iterator[Context]:
    """The target, when the plan is agreed."""
    with meeting(Role.TARGET, ()) as made:
        made.plan = compute_plan(made)
        made.link.peer_id = SOURCE.machine.id
        yield made


def found_now(monkeypatch: pytest.MonkeyPatch, inventory: Inventory) -> None:
    monkeypatch.setattr(last_look, "take_inventory", lambda *_: inventory)


def now(**changed: object) -> Inventory:
    (only,) = TARGET.disks
    hardware = replace(only.hardware, **changed)  # type: ignore[arg-type]
    return replace(TARGET, disks=(replace(only, hardware=hardware),))


def test_what_a_peer_says_of_itself_is_measured_by_its_certificate() -> None:
    check_hello(hello(SOURCE), SOURCE.machine.id)
    with pytest.raises(PeerError, match="calls itself A but its certificate says E"):
        check_hello(hello(SOURCE), "E" * 32)
    with pytest.raises(PeerError, match="protocol 99"):
        check_hello(replace(hello(SOURCE), protocol=99), SOURCE.machine.id)


def test_a_newcomer_is_believed_by_its_certificate_only(context: Context) -> None:
    assert judge(context, context.link, hello(SOURCE)).verdict.role is Role.TARGET
    context.link.peer_id = "E" * 32
    with pytest.raises(PeerError, match="calls itself A but its certificate says E"):
        judge(context, context.link, hello(SOURCE))


def test_after_a_broken_link_only_the_machine_of_the_plan_is_the_peer(context: Context) -> None:
    check_peer(context)
    context.peer = hello(server("Z"))
    context.link.peer_id = "Z"
    with pytest.raises(PeerError, match="is not the one the plan was agreed with"):
        check_peer(context)
    context.link.peer_id = SOURCE.machine.id
    with pytest.raises(PeerError, match="its certificate says"):
        check_peer(context)


def test_a_peer_that_changed_its_mind_is_no_peer(context: Context) -> None:
    check_role(context, context.own, context.own_decision)
    for other in (copy("A", "Z", used=True), blank("A")):
        context.peer = hello(other)
        with pytest.raises(UndecidedError, match="no longer what it was"):
            check_role(context, context.own, context.own_decision)


def test_nothing_changed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found_now(monkeypatch, TARGET)
    look_again(context)
    found_now(monkeypatch, replace(TARGET, clock=5, warnings=("slow",)))
    look_again(context)


@pytest.mark.parametrize("changed", [{"node": "/dev/sdz"}, {"sequence": 9}])
def test_another_device_behind_the_same_name_is_not_written_to(
    context: Context, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    found_now(monkeypatch, now(**changed))
    with pytest.raises(TargetDiskError, match="another device is"):
        look_again(context)


def test_a_disk_that_is_gone_while_another_is_there_is_not_guessed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_now(monkeypatch, now(serial="OTHER"))
    with pytest.raises(TargetDiskError, match=r"is gone\. Check the disks\."):
        look_again(context)


def test_a_disk_in_use_by_now_is_not_written_to(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = replace(TARGET, disks=(*now(ineligible="it is in use").disks, disk("S2")))
    found_now(monkeypatch, beside)
    with pytest.raises(UndecidedError, match="it is in use"):
        look_again(context)
    context.settings = replace(context.settings, role=Role.TARGET)  # whatever else it holds
    with pytest.raises(TargetDiskError, match="changed since it was looked at"):
        look_again(context)


@pytest.mark.parametrize(
    "content", [DATA, Content(blank=True, evidence="zeros, but seen otherwise")]
)
def test_content_that_changed_is_not_overwritten(
    context: Context, monkeypatch: pytest.MonkeyPatch, content: Content
) -> None:
    (only,) = TARGET.disks
    found_now(monkeypatch, replace(TARGET, disks=(replace(only, content=content), disk("S2"))))
    with pytest.raises(TargetDiskError, match="on it was blank, now there is"):
        look_again(context)


def test_a_copy_that_was_used_meanwhile_is_not_overwritten(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy("B", "A")
    with meeting(Role.TARGET, ()) as refresh:
        refresh.inventory = made
        refresh.decision = hello(made).decision
        refresh.verdict = refresh.decision
        refresh.plan = compute_plan(refresh)
        found_now(monkeypatch, made)
        look_again(refresh)
        found_now(monkeypatch, copy("B", "A", now=Usage("ext4", 9, 9)))
        with pytest.raises(UndecidedError, match="was in service"):
            look_again(refresh)


def test_what_was_never_permitted_is_not_written_to(context: Context) -> None:
    (pair,) = context.agreed.disks
    nothing = replace(context.own_decision, permissions=())
    with pytest.raises(TargetDiskError, match="something that may not be overwritten"):
        last_look.check_permission(pair, nothing, nothing)


def test_a_permission_for_another_reason_is_another_permission(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_now(monkeypatch, TARGET)
    (given,) = context.own_decision.permissions
    other = replace(context.own_decision, permissions=(replace(given, content="our copy"),))
    context.decision = other
    with pytest.raises(TargetDiskError, match="changed since it was looked at"):
        look_again(context)


def test_each_disk_is_asked_for_its_own_permission() -> None:
    first, second = (Permission(f"serial:{name}", Ground.BLANK, "blank") for name in ("T1", "T2"))
    planned = PlannedDisk("serial:T2", "T2", 1000, 512)
    pair = DiskPair(planned, planned, "blank", None)
    then = Decision(Role.TARGET, "blank", (), (first, second))
    check_permission(pair, then, then)
    for others in ((first,), (first, replace(second, ground=Ground.NAMED))):
        with pytest.raises(TargetDiskError, match="T2 of the target changed"):
            check_permission(pair, then, replace(then, permissions=others))
    with pytest.raises(TargetDiskError, match="T2 of the target changed"):
        check_permission(pair, replace(then, permissions=(first,)), then)
