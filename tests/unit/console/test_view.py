"""What the screen shows, folded together from events."""

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.console.view import MESSAGES_KEPT, View, loud, observe
from payload.model.event import (
    Agreement,
    Countdown,
    Decided,
    Ended,
    Event,
    Level,
    Note,
    Stage,
    Waiting,
)
from payload.model.role import Decision, Role
from tests.support.console_samples import EVENTS, PROGRESS, REPORT

START = View("0.1.0", "Dell PowerEdge 1a2b3c4d")
TARGET = Decided(Decision(Role.TARGET, "blank", ("Disk sda is blank.",)))
PLAN = Agreement(("sda -> sda",))
NOTE = Note("The link is back.")


def view_after(*events: Event) -> View:
    return reduce(observe, events, START)


def test_a_stage_begins_with_what_holds_for_the_whole_run() -> None:
    before = view_after(TARGET, PLAN, NOTE, Countdown(3), PROGRESS, Waiting("Nobody.", ("a",)))
    view = observe(before, Stage("finish", "making it boot"))
    assert view == View(
        *("0.1.0", "Dell PowerEdge 1a2b3c4d", "target", ("Disk sda is blank.",)),
        stage="finish",
        doing="making it boot",
        agreement=PLAN.lines,
        messages=(NOTE,),
    )


def test_only_the_last_messages_are_kept() -> None:
    view = view_after(*(Note(str(number)) for number in range(MESSAGES_KEPT + 3)))
    assert [note.text for note in view.messages] == [str(n) for n in range(3, MESSAGES_KEPT + 3)]


def test_who_waits_before_the_copy_has_no_agreement_any_more() -> None:
    """Whoever comes next may be another."""
    view = view_after(PLAN, Countdown(7), Waiting("The other machine left."))
    assert (view.agreement, view.countdown) == ((), None)
    assert view.waiting == Waiting("The other machine left.")


def test_who_waits_in_the_middle_of_a_copy_still_has_its_agreement() -> None:
    view = view_after(PLAN, PROGRESS, Waiting("The cable is out."))
    assert view.agreement == PLAN.lines and view.latest == PROGRESS


@pytest.mark.parametrize("event", [PLAN, Countdown(9), PROGRESS, Ended(REPORT)])
def test_nobody_is_waited_for_once_it_goes_on(event: Event) -> None:
    assert view_after(Waiting("Nobody."), event).waiting is None


@pytest.mark.parametrize("event", [Waiting("Nobody."), PROGRESS, Ended(REPORT), Stage("copy", "")])
def test_a_countdown_that_is_over_is_gone(event: Event) -> None:
    assert view_after(Countdown(1), event).countdown is None


def test_regions_keep_the_order_in_which_they_came() -> None:
    one, two = replace(PROGRESS, region="b"), replace(PROGRESS, region="a")
    further = replace(one, done=one.done + 1)
    view = view_after(one, two, further)
    assert list(view.progress.values()) == [further, two] and view.latest == further


def test_an_earlier_view_is_not_changed_by_what_follows() -> None:
    before = view_after(PROGRESS)
    observe(before, replace(PROGRESS, region="another"))
    assert list(before.progress) == [PROGRESS.region]


@pytest.mark.parametrize(
    ("stage", "told", "shown"),
    [
        ("copy", "verify", "verify"),
        ("verify", "copy", "verify"),
        ("", "copy", "copy"),
        ("finish", "of another version", "finish"),
    ],
)
def test_no_stage_is_a_step_back(stage: str, told: str, shown: str) -> None:
    assert view_after(Stage(stage, ""), replace(PROGRESS, stage=told)).stage == shown


def test_the_report_takes_the_place_of_messages() -> None:
    view = view_after(NOTE, PLAN, Ended(REPORT))
    assert (view.report, view.messages, view.agreement) == (REPORT, (), PLAN.lines)


def test_warnings_and_errors_are_loud() -> None:
    notes = [Note(level.value, level) for level in Level]
    assert [note.level for note in loud(view_after(*notes))] == [Level.WARNING, Level.ERROR]


@given(st.lists(EVENTS, max_size=12))
def test_the_same_events_make_the_same_view_which_keeps_its_bounds(events: list[Event]) -> None:
    view = view_after(*events)
    assert view == view_after(*events)
    assert (view.version, view.machine) == (START.version, START.machine)
    assert len(view.messages) <= MESSAGES_KEPT
    assert (view.countdown is None) or (view.waiting is None)
    decided = [event.decision for event in events if isinstance(event, Decided)]
    assert view.role == (decided[-1].role.value if decided else "")
