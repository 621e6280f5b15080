"""Two machines at work, watched on their serial lines and shown to a person.

The watch ends when both machines have reported and switched themselves off, or as soon as one
thing can no longer become right.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from payload.model.report import Report, Result
from tests.vm.machine import Machine, MachineError, State
from tests.vm.serial_lines import (
    BrokenReportLine,
    ProgressLine,
    ReportLine,
    RoleLine,
    StageLine,
    read_line,
)

LOOK_SECONDS = 0.5
REFUSALS = (3, 4)  # exit codes: no role can be decided, no copy is possible; nothing was written
PLAIN_SECONDS = 10.0


@dataclass
class Seen:
    """What one machine has said so far. `began` are stages with the host's clock."""

    expected_role: str
    stage: str = "boot"
    doing: str = "firmware, kernel, live system"
    progress: ProgressLine | None = None
    report: Report | None = None
    last_line: str = ""
    began: dict[str, float] = field(default_factory=dict)

    def take(self, text: str, now: float) -> bool:
        """Take in one line; True when a new stage began or the report came. Raises MachineError
        when the run cannot end well after this line."""
        self.last_line = text if text.strip() else self.last_line
        match read_line(text):
            case StageLine(name, doing):
                self.stage, self.doing, self.progress = name, doing, None
                self.began.setdefault(name, now)
                return True
            case ProgressLine() as progress:
                self.stage, self.progress = progress.stage, progress
                self.began.setdefault(progress.stage, now)
            case RoleLine(role, reasons) if role != self.expected_role:
                raise MachineError(
                    f"The machine that was to become {self.expected_role} decided for {role}: "
                    f"{reasons}"
                )
            case ReportLine(report):
                self.report = report
                self.stage, self.doing, self.progress = "report", report.sentence, None
                if report.result is not Result.OK:
                    raise NotCopiedError(self.expected_role, report)
                return True
            case BrokenReportLine(why):
                raise MachineError(f"The report of the {self.expected_role} is unreadable: {why}")
        return False


class NotCopiedError(MachineError):
    """A machine reported that there is no copy; `report` is what it said."""

    def __init__(self, role: str, report: Report) -> None:
        super().__init__(f"The {role} reports {report.result}: {report.sentence}")
        self.report = report

    @property
    def refused(self) -> bool:
        """Whether that was said before the first write."""
        return self.report.exit_code in REFUSALS


class Display(Protocol):
    """How a person is told."""

    def show(self, seen: dict[str, Seen], age: float) -> None: ...

    def close(self) -> None: ...


class PlainDisplay:
    """A line per machine whenever something changed, but not too often."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: dict[str, tuple[str, str]] = {}
        self._when = -PLAIN_SECONDS

    def show(self, seen: dict[str, Seen], age: float) -> None:
        stages = {name: (one.stage, one.last_line) for name, one in seen.items()}
        same_stage = all(self._shown.get(name, ("",))[0] == stage[0]
                         for name, stage in stages.items())  # fmt: skip
        if stages == self._shown or (same_stage and age < self._when + PLAIN_SECONDS):
            return
        self._shown, self._when = stages, age
        for name, one in seen.items():
            self._write(f"{age:5.0f} s  {name}: {describe(one)} | {one.last_line[:100]}")

    def close(self) -> None:
        """Nothing is held open."""


class LiveDisplay:
    """A small table that stays in place, for terminals."""

    def __init__(self) -> None:
        self._live = Live(console=Console(), auto_refresh=False)
        self._live.start()

    def show(self, seen: dict[str, Seen], age: float) -> None:
        table = Table(title=f"{age:.0f} s", expand=True)
        for title in ("machine", "doing", "last line of its console"):
            table.add_column(title, no_wrap=True)
        for name, one in seen.items():
            table.add_row(name, describe(one), one.last_line)
        self._live.update(table, refresh=True)

    def close(self) -> None:
        self._live.stop()


def choose_display() -> Display:
    """For a terminal a table, for a log lines."""
    if sys.stdout.isatty():
        return LiveDisplay()
    return PlainDisplay(lambda line: print(line, flush=True))


def describe(seen: Seen) -> str:
    """Stage, percent, speed."""
    if seen.progress is None:
        return seen.stage
    step = seen.progress
    return f"{seen.stage} {step.all_percent}% {step.rate:.1f} MB/s ({step.region})"


def watch(
    source: Machine, target: Machine, display: Display, *, start: float, patience: float
) -> tuple[Seen, Seen]:
    """Follow both until both are off, and return what they said.

    `start` is how many seconds the payload may take to say its first line, `patience` how long
    both may be silent afterwards. Raises MachineError when anything goes another way.
    """
    both = {"source": (source, Seen("source")), "target": (target, Seen("target"))}
    seen = {name: one for name, (_, one) in both.items()}
    begin = heard = time.monotonic()
    while True:
        states = [machine.state for machine, _ in both.values()]
        if _listen(both):
            heard = time.monotonic()
        display.show(seen, time.monotonic() - begin)
        if all(state is not State.RUNNING for state in states):
            return _conclude(both, states)
        for (machine, one), state in zip(both.values(), states, strict=True):
            _check(machine, one, state)
        silent = time.monotonic() - heard
        if silent > (patience if all(one.began for one in seen.values()) else start):
            raise MachineError(f"Both machines have been silent for {silent:.0f} s.")
        time.sleep(LOOK_SECONDS)


def _listen(both: dict[str, tuple[Machine, Seen]]) -> bool:
    """Take in what was said since; a picture of both screens whenever a stage begins."""
    heard = False
    for machine, one in both.values():
        turned = False
        for line in machine.new_lines():
            heard = True
            turned = one.take(line, time.monotonic()) or turned
        if turned:
            machine.take_picture(one.stage)
    return heard


def _check(machine: Machine, one: Seen, state: State) -> None:
    if state is State.RUNNING or (state is State.POWERED_OFF and one.report is not None):
        return
    raise MachineError(f"Machine {machine.name} {state} in stage {one.stage}: {one.last_line}")


def _conclude(both: dict[str, tuple[Machine, Seen]], states: list[State]) -> tuple[Seen, Seen]:
    for (machine, one), state in zip(both.values(), states, strict=True):
        _check(machine, one, state)
    return both["source"][1], both["target"][1]
