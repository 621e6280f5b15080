"""Events as plain ASCII lines: for the serial line, for logs, for whoever reads along.

One event is one line or a few, each beginning with a word in brackets that says what it is. What
comes often (progress, countdown, waiting) is thinned out by `Throttle`, since a serial line
carries about a hundred lines per second at best, and a log is read by people.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace

from payload.console.report_text import render_report
from payload.console.text import duration, megabytes_per_second, percent, plain
from payload.model.codec import to_json
from payload.model.event import (
    Agreement,
    Countdown,
    Decided,
    Ended,
    Event,
    Level,
    Note,
    Progress,
    Stage,
    Waiting,
)
from payload.model.report import Report

PROGRESS_SECONDS = 5.0
PROGRESS_PERCENT = 5
WAITING_SECONDS = 300.0

_LEVELS = {Level.INFO: "note", Level.WARNING: "warning", Level.ERROR: "error"}


def render_banner(version: str, machine: str) -> str:
    """The first line of every run."""
    return plain(f"UGS-Failover {version} on {machine}")


def render_lines(event: Event) -> tuple[str, ...]:
    """What an event reads like: printable ASCII, no line breaks inside."""
    match event:
        case Stage(name, text):
            lines = [f"[{plain(name)}] {plain(text)}"]
        case Note(text, level):
            lines = [f"[{_LEVELS[level]}] {plain(text)}"]
        case Decided(decision):
            lines = [f"[role] {decision.role.value}: {plain(' '.join(decision.reasons))}"]
        case Waiting(text, peers):
            lines = [f"[wait] {plain(text)}", *(f"[wait] - {plain(peer)}" for peer in peers)]
        case Agreement(told):
            lines = [f"[plan] {plain(line)}" for line in told]
        case Countdown(seconds):
            lines = [f"[countdown] {seconds} s, press any key to stop"]
        case Progress():
            lines = [_progress(event)]
        case Ended(report):
            lines = [*_report(report), f"report.json: {compact_json(report)}"]
    return tuple(lines)


def render_line(event: Event) -> str | None:
    """The lines of an event as one text, or None when it has none to show."""
    return "\n".join(render_lines(event)) or None


def _progress(event: Progress) -> str:
    limiter = f", held up by the {event.limiter}" if event.limiter else ""
    return (
        f"[{plain(event.stage)}] {plain(event.region)} {percent(event.done, event.total)}% "
        f"{megabytes_per_second(event.rate)}, {duration(event.remaining)} left, "
        f"all {percent(event.all_done, event.all_total)}%{limiter}"
    )


def _report(report: Report) -> list[str]:
    return [f"[report] {line}" for line in render_report(report).splitlines() if line]


def compact_json(report: Report) -> str:
    """The report as one line of ASCII, without the picture: a serial line is slow."""
    if report.boot_proof is not None:
        report = replace(report, boot_proof=replace(report.boot_proof, picture=""))
    text = json.dumps(json.loads(to_json(report)), ensure_ascii=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f")


class Throttle:
    """Decides which events are worth a line, by time and by what was shown before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._progress: dict[str, tuple[float, int]] = {}  # stage -> when, percent
        self._waiting: tuple[Waiting, float] | None = None

    def admits(self, event: Event) -> bool:
        """True when this event is to be written; remembers that it was."""
        match event:
            case Progress():
                return self._admits_progress(event)
            case Waiting():
                return self._admits_waiting(event)
            case Countdown(seconds):
                return seconds % 10 == 0 or seconds <= 5
            case _:
                self._waiting = None
                return True

    def _admits_progress(self, event: Progress) -> bool:
        now, reached = self._clock(), percent(event.all_done, event.all_total)
        shown = self._progress.get(event.stage)
        if shown is not None:
            when, before = shown
            finished = reached == 100 and before != 100
            stepped = reached >= before + PROGRESS_PERCENT or reached < before
            if not finished and not stepped and now - when < PROGRESS_SECONDS:
                return False
        self._progress[event.stage] = (now, reached)
        return True

    def _admits_waiting(self, event: Waiting) -> bool:
        now = self._clock()
        if self._waiting is not None:
            shown, when = self._waiting
            if shown == event and now - when < WAITING_SECONDS:
                return False
        self._waiting = (event, now)
        return True
