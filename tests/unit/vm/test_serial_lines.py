"""What the payload prints is what the rehearsal reads: written by one, read by the other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.console.lines import render_banner, render_lines
from payload.model.event import Ended, Limiter, Note, Progress, Stage
from payload.model.report import Report, Result
from tests.vm.machine import clean
from tests.vm.serial_lines import (
    BANNER,
    BrokenReportLine,
    ProgressLine,
    ReportLine,
    RoleLine,
    StageLine,
    read_line,
)


def test_stage() -> None:
    (line,) = render_lines(Stage("connect", "looking for the other machine"))
    assert read_line(line) == StageLine("connect", "looking for the other machine")


def test_progress() -> None:
    event = Progress("copy", "disk 1 partition 5", 45, 100, 37, 100, 5, 12_300_000.0, 80.0)
    for shown in (event, replace(event, limiter=Limiter.WIRE)):
        (line,) = render_lines(shown)
        assert read_line(line) == ProgressLine("copy", "disk 1 partition 5", 45, 12.3, "01:20", 37)


def test_role() -> None:
    line = "[role] undecided: the disk sda holds foreign data"
    assert read_line(line) == RoleLine("undecided", "the disk sda holds foreign data")


def test_report_survives_the_line() -> None:
    report = Report(Result.OK, "The copy is finished.", 0, verified=True, seconds={"copy": 1.5})
    line = next(line for line in render_lines(Ended(report)) if line.startswith("report.json"))
    assert read_line(line) == ReportLine(report)


def test_a_torn_report_is_not_taken_for_one() -> None:
    report = Report(Result.OK, "The copy is finished.", 0)
    line = next(line for line in render_lines(Ended(report)) if line.startswith("report.json"))
    assert isinstance(read_line(line[:40] + "[   55.4] reboot: Power down"), BrokenReportLine)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[   55.401519] reboot: Power down",
        "[  OK  ] Reached target",
        "login:",
        "[role]",
        "[copy]",
    ],
)
def test_what_others_say_is_passed_over(line: str) -> None:
    assert read_line(line) is None


def test_a_note_is_no_stage() -> None:
    (line,) = render_lines(Note("the link is slow"))
    assert read_line(line) is None


@given(st.text())
def test_no_line_upsets_the_reader(line: str) -> None:
    read_line(line)
    read_line("report.json: " + line)
    read_line("[copy] " + line)


def test_banner() -> None:
    import re

    assert re.search(BANNER, render_banner("0.1.0", "source"))
    assert not re.search(BANNER, "systemd: Starting UGS-Failover 0.1.0 on tty1")


def test_terminal_controls_are_taken_out() -> None:
    assert clean("\x1b[2J\x1b[01;31mDebian\x1b[0m\r\nlogin: \x07") == "Debian\nlogin: "
