"""Up to the first write: whatever the other machine says or does, only one way leads on."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.disk import Disk
from payload.model.errors import FailoverError, LinkError, PlanError, StoppedError, UndecidedError
from payload.model.event import Agreement, Countdown, Event
from payload.model.message import Go, MapRequest, PlanOffer, Stop
from payload.model.network import NamesInUse
from payload.model.role import Ground, Permission, Role
from payload.model.survey import Survey
from payload.session import agreement
from payload.session.agreement import agree, check_permissions, compute_plan
from payload.session.context import Context
from payload.session.states import Outcome
from tests.support.machines import disk
from tests.support.meetings import SOURCE, hello, meeting


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True)])
def test_one_machine_alone_does_not_turn_the_reading_back_off(
    role: Role, ours: bool, theirs: bool
) -> None:
    with meeting(role, (), verify=ours) as context:
        context.peer = replace(context.other, verify=theirs)
        assert compute_plan(context).verify
        context.peer = replace(context.other, verify=False)
        assert compute_plan(context).verify is ours


def right_offer() -> PlanOffer:
    with meeting(Role.TARGET, ()) as context:
        return PlanOffer(compute_plan(context).digest, survey=Survey())


RIGHT = right_offer()
GONE = LinkError("the cable is out.")
SAYINGS: tuple[Any, ...] = (
    RIGHT,
    PlanOffer("0" * 64),
    PlanOffer("", "too small."),
    Go(),
    Stop("a key was pressed.", by_person=True),
    Stop("the disk failed."),
    MapRequest(0),
    GONE,
)


@pytest.fixture(autouse=True)
def no_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source would mount its disks."""
    monkeypatch.setattr(agreement, "take_survey", lambda *_: Survey())
    monkeypatch.setattr(agreement, "look_into_root", lambda *_: None)


def alone() -> None:
    """Nobody else fits."""


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
def test_equal_plans_and_go_lead_on(role: Role) -> None:
    with meeting(role, (RIGHT, Go())) as context:
        assert agree(context, alone) is Outcome.AGREED
        assert context.agreed.digest == RIGHT.digest
        offer, go = context.link.channel.sent  # type: ignore[attr-defined]
        assert (offer.digest, go) == (RIGHT.digest, Go())


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
@given(script=st.lists(st.sampled_from(SAYINGS), max_size=4).map(tuple))
def test_nothing_else_leads_on(role: Role, script: tuple[Any, ...]) -> None:
    with meeting(role, (*script, GONE)) as context:
        try:
            outcome = agree(context, alone)
        except FailoverError:
            outcome = Outcome.FAILED
    agreed = script[:2] == (RIGHT, Go())
    assert (outcome is Outcome.AGREED) is agreed


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True)])
def test_a_look_by_either_machine_ends_before_go(role: Role, ours: bool, theirs: bool) -> None:
    with meeting(role, (RIGHT, Go()), dry_run=ours) as context:
        context.peer = replace(context.other, dry_run=theirs)
        assert agree(context, alone) is Outcome.LOOKED
        assert Go() not in context.link.channel.sent  # type: ignore[attr-defined]


def test_a_peer_that_refuses_is_quoted() -> None:
    script = (PlanOffer("", "The target is too small."), GONE)
    with meeting(Role.TARGET, script) as context, pytest.raises(PlanError, match="too small"):
        agree(context, alone)


def test_a_stop_during_the_countdown_ends_it_at_once() -> None:
    script = (RIGHT, Stop("a person pressed a key.", by_person=True))
    with meeting(Role.TARGET, script, countdown=60) as context, pytest.raises(StoppedError):
        agree(context, alone)


def test_a_peer_that_vanishes_during_the_countdown_is_waited_for_again() -> None:
    with meeting(Role.TARGET, (RIGHT, Go(), GONE), countdown=60) as context:
        assert agree(context, alone) is Outcome.PEER_LEFT
        assert context.link.channel.closed  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
@pytest.mark.parametrize("looks", [0, 3])
def test_another_one_that_fits_ends_the_countdown_without_go(role: Role, looks: int) -> None:
    """Both machines go back to waiting: a countdown is no choice between two servers."""
    rounds = iter(range(looks))

    def check_alone() -> None:
        if next(rounds, None) is None:
            raise LinkError("Another machine fits, too.")

    with meeting(role, (RIGHT, Go()), countdown=60) as context:
        shown: list[Event] = []
        context.monitor = shown.append
        assert agree(context, check_alone) is Outcome.PEER_LEFT
        assert Go() not in context.link.channel.sent  # type: ignore[attr-defined]
        assert context.link.channel.closed  # type: ignore[attr-defined]
    assert any("fits, too. Nothing was written." in str(event) for event in shown)


def test_without_a_countdown_it_is_looked_around_once_all_the_same() -> None:
    def check_alone() -> None:
        raise LinkError("Another machine fits, too.")

    with meeting(Role.TARGET, (RIGHT, Go())) as context:
        assert agree(context, check_alone) is Outcome.PEER_LEFT
        assert Go() not in context.link.channel.sent  # type: ignore[attr-defined]


def test_a_key_here_ends_the_countdown_and_tells_the_peer() -> None:
    with meeting(Role.TARGET, (RIGHT,), countdown=60) as context:

        def press(event: Event) -> None:
            if isinstance(event, Countdown):
                context.stop.set()

        context.monitor = press
        with pytest.raises(StoppedError, match="pressed a key"):
            agree(context, alone)
        sent = context.link.channel.sent  # type: ignore[attr-defined]
        assert isinstance(sent[-1], Stop) and sent[-1].by_person


def test_the_longer_countdown_of_both_counts() -> None:
    with meeting(Role.TARGET, (RIGHT, GONE)) as context:
        context.peer = replace(context.other, countdown=60)
        assert agree(context, alone) is Outcome.PEER_LEFT
        assert Go() not in context.link.channel.sent  # type: ignore[attr-defined]


def test_the_agreement_shows_what_is_lost_and_the_preflight() -> None:
    with meeting(Role.TARGET, (RIGHT, Go())) as context:
        shown: list[Event] = []
        context.monitor = shown.append
        agree(context, alone)
    (lines,) = (event.lines for event in shown if isinstance(event, Agreement))
    assert "  on the target disk now, and lost: blank" in lines
    assert "Preflight:" in lines


def test_a_plan_is_refused_on_the_source_when_the_copy_would_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise PlanError("no driver.")

    monkeypatch.setattr(agreement, "check_copy", refuse)
    with meeting(Role.SOURCE, (RIGHT,)) as context, pytest.raises(PlanError):
        agree(context, alone)
    assert context.link.channel.sent[-1] == PlanOffer("", "no driver.")  # type: ignore[attr-defined]


LOST = NamesInUse(
    {}, ("eth0", "eth1"), (), {"eth1": ("the SAN (10.0.0.1)",)}
)  # and none of the paper machines has two cards


def test_a_way_without_a_card_is_refused_on_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "look_into_root", lambda *_: LOST)
    with meeting(Role.SOURCE, (RIGHT,)) as context:
        with pytest.raises(PlanError, match="no network card for eth1, which leads"):
            agree(context, alone)
        said = context.link.channel.sent[-1]  # type: ignore[attr-defined]
    assert said.digest == "" and "the SAN (10.0.0.1)" in said.refusal


def test_a_way_without_a_card_is_refused_on_the_target_too() -> None:
    offer = replace(RIGHT, survey=Survey(network=LOST))
    with meeting(Role.TARGET, (offer, Go())) as context, pytest.raises(PlanError, match="the SAN"):
        agree(context, alone)


def test_a_plan_for_a_disk_without_permission_is_refused() -> None:
    with meeting(Role.TARGET, ()) as context:
        plan = compute_plan(context)
        assert context.verdict
        context.verdict = replace(context.verdict, permissions=())
        with pytest.raises(UndecidedError, match="no permission"):
            check_permissions(context, plan)
        other = Permission("serial:SX", Ground.BLANK, "blank")
        context.verdict = replace(context.verdict, permissions=(other,))
        with pytest.raises(UndecidedError, match="no permission"):
            compute_plan(context)


def test_a_source_that_sends_another_inventory_gets_another_plan() -> None:
    with meeting(Role.TARGET, (RIGHT, Go())) as context:
        grown: Disk = disk("SZ", SOURCE.disks[0].content)
        more = replace(SOURCE, disks=(*SOURCE.disks, grown))
        context.peer = hello(more)
        with pytest.raises(PlanError):
            agree(context, alone)


def test_nothing_is_counted_after_a_key() -> None:
    with meeting(Role.TARGET, ()) as context:

        def press(event: Event) -> None:
            assert not context.stop.is_set(), event
            context.stop.set()

        context.monitor = press
        with pytest.raises(StoppedError):
            agreement.count_down(context, 60, alone)


def test_a_key_in_the_last_moment_of_the_countdown_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def wait(context: Context, left: float) -> None:
        nonlocal now
        now += left
        context.stop.set()

    monkeypatch.setattr(agreement, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(agreement, "wait_a_second", wait)
    with meeting(Role.TARGET, ()) as context, pytest.raises(StoppedError):
        agreement.count_down(context, 1, alone)
