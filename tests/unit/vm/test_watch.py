"""The watch over two machines, without machines."""

import pytest

from payload.console.lines import render_lines
from payload.model.event import Ended
from payload.model.report import Report, Result
from tests.vm.machine import MachineError
from tests.vm.watch import PlainDisplay, Seen, describe


def test_stages_and_progress_are_followed() -> None:
    seen = Seen("target")
    assert seen.take("[connect] looking for the other machine", 5.0)
    assert not seen.take("[copy] disk 1 partition 5 45% 12.3 MB/s, 01:20 left, all 37%", 9.0)
    assert describe(seen) == "copy 37% 12.3 MB/s (disk 1 partition 5)"
    seen.take("[   55.4] a kernel message", 9.5)
    assert seen.last_line == "[   55.4] a kernel message"
    assert seen.began == {"connect": 5.0, "copy": 9.0}


def test_the_wrong_role_ends_the_watch() -> None:
    seen = Seen("target")
    seen.take("[role] target: only blank disks", 1.0)
    with pytest.raises(MachineError, match=r"decided for undecided: sda holds data"):
        seen.take("[role] undecided: sda holds data", 2.0)


@pytest.mark.parametrize("result", [one for one in Result if one is not Result.OK])
def test_a_bad_report_ends_the_watch(result: Result) -> None:
    seen = Seen("source")
    lines = render_lines(Ended(Report(result, "The link was cut.", 5)))
    with pytest.raises(MachineError, match=r"The link was cut"):
        for line in lines:
            seen.take(line, 1.0)


def test_a_good_report_is_kept() -> None:
    seen = Seen("source")
    report = Report(Result.OK, "Done.", 0)
    for line in render_lines(Ended(report)):
        seen.take(line, 1.0)
    assert seen.report == report


def test_lines_for_a_log_are_few() -> None:
    written: list[str] = []
    display = PlainDisplay(written.append)
    seen = {"source": Seen("source"), "target": Seen("target")}
    display.show(seen, 0.0)
    for second in range(1, 10):
        seen["source"].last_line = str(second)
        display.show(seen, float(second))
    assert len(written) == 2
    seen["source"].stage = "copy"
    display.show(seen, 9.5)
    assert len(written) == 4
