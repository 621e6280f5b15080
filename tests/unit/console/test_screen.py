"""The picture on the screen, in the two sizes a server's console usually has."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.console.screen import next_steps, render_screen
from payload.console.view import View, observe
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
from payload.model.report import Result
from payload.model.role import Decision, Role
from tests.support.console_samples import EVENTS, PROGRESS, REPORT

SIZES = [(80, 25), (132, 43)]
DRAWN = "─█░"
START = View("0.1.0", "Dell PowerEdge 1a2b3c4d")
TARGET = Decided(Decision(Role.TARGET, "blank", ("Disk sda is blank.",)))


def view_after(*events: Event) -> View:
    view = START
    for event in events:
        view = observe(view, event)
    return view


def picture(view: View, width: int = 80, height: int = 25, page: int = 0) -> list[str]:
    lines = [line.plain for line in render_screen(view, width, height, page)]
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    return lines


def all_pages(view: View, width: int = 80, height: int = 25) -> str:
    return "\n".join(
        line for page in range(60) for line in picture(view, width, height, page)
    )  # fmt: skip


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_waiting(width: int, height: int) -> None:
    view = view_after(
        Stage("identify", "looking at this machine"),
        TARGET,
        Stage("connect", "bringing the network up"),
        Waiting("No source found yet.", ("groupware on HP 12345678: it is a target too.",)),
    )
    lines = picture(view, width, height)
    assert lines[0].startswith(" UGS-Failover 0.1.0   TARGET")
    assert lines[0].endswith("Dell PowerEdge 1a2b3c4d ")
    assert len(lines[0]) == width
    assert lines[1].split() == [
        "identify",
        "[CONNECT]",
        "plan",
        "copy",
        "verify",
        "finish",
        "report",
    ]
    assert lines[2] == "─" * width
    assert lines[3] == " No source found yet."
    assert " Machines seen:" in lines
    assert "   - groupware on HP 12345678: it is a target too." in lines
    assert "   - Disk sda is blank." in lines


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_countdown_is_big_and_shows_what_goes_where(width: int, height: int) -> None:
    view = view_after(TARGET, Agreement(("sda (500.1 GB) -> sda (600.1 GB)",)), Countdown(30))
    lines = picture(view, width, height)
    assert sum("██████" in line for line in lines) >= 2
    assert any("The copy starts in 30 seconds. Press any key to stop." in line for line in lines)
    assert " sda (500.1 GB) -> sda (600.1 GB)" in lines


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_progress(width: int, height: int) -> None:
    view = view_after(Stage("copy", "copying what is in use"), PROGRESS)
    lines = picture(view, width, height)
    total = next(line for line in lines if line.startswith(" all together"))
    region = next(line for line in lines if line.startswith(" disk 1 partition 5"))
    assert total.endswith("  37%")
    assert region.endswith("  45%  45.0M of  100M, 12.0M sent")
    assert any("11.0 MB/s on average, held up by the source disk" in line for line in lines)
    assert 0 < total.count("█") < region.count("█") < width
    assert any("12.3 MB/s" in line and "01:20 left" in line for line in lines)


def test_regions_in_work_are_shown_before_finished_ones() -> None:
    events = [
        replace(PROGRESS, region=f"disk 1 partition {number}", done=PROGRESS.total)
        for number in range(1, 40)
    ]
    view = view_after(Stage("copy", "copying"), *events, replace(PROGRESS, region="disk 2"))
    shown = "\n".join(picture(view))
    assert "disk 2 " in shown
    assert "disk 1 partition 39" in shown
    assert "disk 1 partition 1 " not in shown


def test_a_new_stage_starts_new_bars() -> None:
    view = view_after(PROGRESS, replace(PROGRESS, stage="verify", region="disk 2 partition 1"))
    assert list(view.progress) == ["disk 2 partition 1"]
    assert "[VERIFY]" in picture(view)[1]


def test_work_of_an_earlier_stage_is_no_step_back() -> None:
    view = view_after(Stage("verify", "writing the held back heads"), PROGRESS)
    assert "[VERIFY]" in picture(view)[1]


def test_what_is_done_stands_above_the_agreement() -> None:
    view = view_after(TARGET, Agreement(("one onto two",)), Stage("finish", "making it boot"))
    lines = picture(view)
    assert lines[3:6] == [" making it boot", "", " one onto two"]


def test_one_second_is_singular() -> None:
    assert any("starts in 1 second." in line for line in picture(view_after(Countdown(1))))


def test_warnings_stay_when_notes_follow() -> None:
    notes = [Note(f"note {number}") for number in range(30)]
    view = view_after(Note("The battery is low.", Level.WARNING), *notes)
    shown = picture(view)
    assert " WARNING: The battery is low." in shown
    assert " note 29" in shown


@pytest.mark.parametrize(
    "others",
    [
        (Countdown(12),),
        (Agreement(tuple(f"line {number}" for number in range(40))), Countdown(12)),
        (PROGRESS,),
        (Waiting("Nobody.", tuple(f"peer {number}" for number in range(40))),),
    ],
)
def test_a_long_error_is_shown_whole_page_by_page(others: tuple[Event, ...]) -> None:
    words = [f"word{number:03}" for number in range(400)]
    shown = all_pages(view_after(*others, Note(" ".join(words), Level.ERROR)))
    assert all(word in shown for word in words)


@pytest.mark.parametrize("result", list(Result))
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_end(result: Result, width: int, height: int) -> None:
    words = [f"word{number:03}" for number in range(400)]
    for sentence in (REPORT.sentence, " ".join(words)):
        report = replace(REPORT, result=result, sentence=sentence)
        view = view_after(TARGET, PROGRESS, Note("Gone.", Level.WARNING), Ended(report))
        shown = all_pages(view, width, height)
        assert all(word in shown for word in sentence.split())
        assert "353" in shown and "word 12" not in shown
        assert "The journal of the root file system was not empty." in shown


def test_the_end_says_what_to_do() -> None:
    target = "\n".join(picture(view_after(TARGET, Ended(REPORT))))
    assert "DONE: the copy is finished and verified" in target
    assert "keep it switched off" in target
    assert "start it: it is unchanged" in " ".join(next_steps(Result.OK, Role.SOURCE.value))


@given(
    st.lists(EVENTS, max_size=12),
    st.sampled_from([*SIZES, (80, 24), (20, 5), (200, 60)]),
    st.integers(0, 9),
)
def test_any_events_make_a_whole_picture_of_harmless_characters(
    events: list[Event], size: tuple[int, int], page: int
) -> None:
    width, height = max(size[0], 80), max(size[1], 24)
    lines = [line.plain for line in render_screen(view_after(*events), *size, page)]
    assert len(lines) == height
    for line in lines:
        assert len(line) <= width
        assert all(" " <= character <= "~" or character in DRAWN for character in line)
