"""Events as lines: the formats that people and the rehearsal read."""

import json
from dataclasses import replace

import pytest
from hypothesis import given

from payload.console.lines import Throttle, compact_json, render_banner, render_line, render_lines
from payload.model.codec import from_json
from payload.model.event import (
    Agreement,
    Countdown,
    Decided,
    Ended,
    Event,
    Level,
    Limiter,
    Note,
    Stage,
    Waiting,
)
from payload.model.report import Report
from payload.model.role import Decision, Role
from tests.support.console_samples import EVENTS, PROGRESS, REPORT, REPORTS


def test_banner() -> None:
    banner = render_banner("0.1.0", "Dell PowerEdge 1a2b3c4d")
    assert banner == "UGS-Failover 0.1.0 on Dell PowerEdge 1a2b3c4d"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Stage("copy", "copying what is in use"), "[copy] copying what is in use"),
        (
            replace(PROGRESS, limiter=Limiter.WIRE),
            "[copy] disk 1 partition 5 45% 12.3 MB/s, 01:20 left, all 37%, held up by the wire",
        ),
        (Note("The link is back."), "[note] The link is back."),
        (Note("Slow.", Level.WARNING), "[warning] Slow."),
        (Note("Broken.", Level.ERROR), "[error] Broken."),
        (Countdown(30), "[countdown] 30 s, press any key to stop"),
        (Waiting("None.", ("a: no", "b: no")), "[wait] None.\n[wait] - a: no\n[wait] - b: no"),
        (Agreement(("one", "two")), "[plan] one\n[plan] two"),
        (Agreement(()), None),
        (Decided(Decision(Role.TARGET, "blank", ("Disk sda is blank.",))),
         "[role] target: Disk sda is blank."),
    ],
)  # fmt: skip
def test_formats(event: Event, line: str | None) -> None:
    assert render_line(event) == line


def test_the_end_is_the_readable_report_and_one_line_of_json() -> None:
    lines = render_lines(Ended(REPORT))
    documents = [line for line in lines if line.startswith("report.json: ")]
    assert len(documents) == 1 and documents[0] == lines[-1]
    assert from_json(Report, documents[0].removeprefix("report.json: ")) == REPORT
    assert all(line.startswith("[report] ") for line in lines[:-1])
    assert lines[0] == "[report] DONE: the copy is finished and verified"


@given(REPORTS)
def test_the_json_line_is_ascii_and_says_the_same(report: Report) -> None:
    text = compact_json(report)
    assert all(" " <= character <= "~" for character in text)
    assert json.loads(text)["exit_code"] == report.exit_code


@given(EVENTS)
def test_no_event_breaks_a_line_or_sends_an_escape(event: Event) -> None:
    for line in render_lines(event):
        assert all(" " <= character <= "~" for character in line)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_comes_every_five_seconds_or_five_percent() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    assert throttle.admits(replace(PROGRESS, all_done=10))
    assert not throttle.admits(replace(PROGRESS, all_done=14))
    assert throttle.admits(replace(PROGRESS, all_done=15))
    clock.now += 4.9
    assert not throttle.admits(replace(PROGRESS, all_done=16))
    clock.now += 0.2
    assert throttle.admits(replace(PROGRESS, all_done=16))
    assert throttle.admits(replace(PROGRESS, all_done=2, stage="verify"))


def test_the_end_of_a_stage_is_told_once() -> None:
    throttle = Throttle(Clock())
    assert throttle.admits(replace(PROGRESS, all_done=98))
    assert throttle.admits(replace(PROGRESS, all_done=100))
    assert not throttle.admits(replace(PROGRESS, all_done=100))


def test_ten_thousand_steps_make_some_twenty_lines() -> None:
    throttle = Throttle(Clock())
    steps = (replace(PROGRESS, all_done=step, all_total=10_000) for step in range(10_001))
    assert sum(throttle.admits(step) for step in steps) == 21


def test_the_same_waiting_is_not_repeated_at_once() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    assert throttle.admits(Waiting("No peer."))
    assert not throttle.admits(Waiting("No peer."))
    assert throttle.admits(Waiting("No peer.", ("somebody",)))
    clock.now += 301
    assert throttle.admits(Waiting("No peer.", ("somebody",)))


def test_the_countdown_is_told_in_tens_and_at_the_end() -> None:
    throttle = Throttle(Clock())
    told = [second for second in range(30, 0, -1) if throttle.admits(Countdown(second))]
    assert told == [30, 20, 10, 5, 4, 3, 2, 1]
