"""What a run remembers of itself."""

import threading
from typing import Any, cast

import pytest

from payload.model.errors import LinkError
from payload.model.event import Event, Level, Note, Stage
from payload.model.settings import Settings
from payload.session.context import Context

NOTHING = cast(Any, None)


def a_context(events: list[Event]) -> Context:
    return Context(NOTHING, NOTHING, Settings(), events.append, threading.Event(), "test")


def test_a_stage_is_announced_and_its_seconds_are_added_up() -> None:
    events: list[Event] = []
    context = a_context(events)
    with context.stage("copy", "copying"):
        assert events == [Stage("copy", "copying")] and "copy" not in context.seconds
    context.seconds["copy"] = 100.0
    with context.stage("copy", "copying on"):
        pass
    assert context.seconds["copy"] >= 100.0 and list(context.seconds) == ["copy"]


def test_the_seconds_of_a_stage_that_failed_count() -> None:
    context = a_context([])
    with pytest.raises(LinkError), context.stage("copy", "copying"):
        raise LinkError("The cable is out.")
    assert "copy" in context.seconds


def test_a_warning_is_shown_once_and_kept_for_the_report() -> None:
    events: list[Event] = []
    context = a_context(events)
    for text in ("The battery is low.", "The clock is wrong.", "The battery is low."):
        context.warn(text)
    assert context.warnings == ["The battery is low.", "The clock is wrong."]
    assert events == [Note(text, Level.WARNING) for text in context.warnings]


def test_a_note_is_said_each_time_or_once() -> None:
    events: list[Event] = []
    context = a_context(events)
    for _ in range(2):
        context.note("again")
        context.note_once("once")
    assert events == [Note("again"), Note("once"), Note("again")]
    assert context.warnings == []


def test_each_run_has_a_name_and_memories_of_its_own() -> None:
    one, other = a_context([]), a_context([])
    assert one.run_id != other.run_id and len(one.run_id) == 32
    one.warn("x")
    one.seconds["copy"] = 1.0
    assert other.warnings == [] and other.seconds == {}


@pytest.mark.parametrize("name", ["own", "own_decision", "other", "link", "agreed"])
def test_what_is_not_there_yet_cannot_be_taken_for_something(name: str) -> None:
    with pytest.raises(AssertionError):
        getattr(a_context([]), name)
