"""The picture kept on a terminal: whole lines, only those that changed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from payload.console.painter import ANEW, PAGE, Painter, changed_rows, encode
from payload.console.screen import SMALLEST, render_screen
from payload.console.view import View
from payload.model.event import Level, Note
from tests.support.pseudo_terminals import read_until
from tests.support.waiting import PATIENCE

START = View("0.1.0", "Dell PowerEdge 1a2b3c4d")


def test_only_changed_rows_are_written() -> None:
    assert changed_rows(["a", "b"], ["a", "c"]) == "\x1b[2;1Hc\x1b[0m"
    assert changed_rows(["a", "b"], ["a", "b"]) == ""


def test_colours_are_those_of_a_plain_terminal() -> None:
    title = render_screen(START, 80, 25)[0]
    assert encode(title, 80).startswith("\x1b[1;37;44m")


def test_lines_are_written_over_their_whole_width() -> None:
    written = re.sub(r"\x1b\[[0-9;]*m", "", encode(render_screen(START, 80, 25)[1], 80))
    assert len(written) == 80
    assert written.startswith("  identify ")


ROWS = st.lists(st.text("abc", min_size=1, max_size=3), max_size=6)


@given(ROWS, ROWS)
def test_what_is_written_turns_one_picture_into_the_other(
    before: list[str], after: list[str]
) -> None:
    shown = before + [""] * (len(after) - len(before))
    written = changed_rows(before, after)
    rows = re.findall(r"\x1b\[(\d+);1H([abc]*)\x1b\[0m", written)
    assert "".join(f"\x1b[{row};1H{text}\x1b[0m" for row, text in rows) == written
    for row, text in rows:
        assert shown[int(row) - 1] != text, "it was there already"
        shown[int(row) - 1] = text
    assert shown[: len(after)] == after


@pytest.mark.parametrize("text", ["", "short", "[bold red]no markup[/]", "x" * 80])
def test_every_line_covers_what_was_there_before(text: str) -> None:
    written = encode(Text(text), 80)
    assert written == text + " " * (80 - len(text)) and "\n" not in written


# --- a terminal


@dataclass
class Paper:
    """A pipe for a terminal, whose size nobody knows."""

    reading: int
    writing: int

    def read(self) -> str:
        """What was written since the last time."""
        got = b""
        while True:
            try:
                got += os.read(self.reading, 1 << 16)
            except BlockingIOError:
                return got.decode()


@pytest.fixture
def paper() -> Iterator[Paper]:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    yield Paper(reading, writing)
    os.close(reading)
    os.close(writing)


class Showing:
    """A view that changes, and a clock, both moved by the test."""

    def __init__(self, paper: Paper) -> None:
        self.view, self.now, self.paper = START, 100.0, paper
        self.painter = Painter(paper.writing, lambda: self.view, lambda: self.now)

    def paint(self) -> str:
        self.painter.paint()
        return self.paper.read()


def rows_of(written: str) -> list[int]:
    return [int(row) for row in re.findall(r"\x1b\[(\d+);1H", written)]


def test_the_first_picture_is_whole_and_the_next_has_what_changed(paper: Paper) -> None:
    showing = Showing(paper)
    assert rows_of(showing.paint()) == list(range(1, SMALLEST[1] + 1))
    assert showing.paint() == ""
    showing.view = replace(START, doing="copying what is in use")
    written = showing.paint()
    assert "copying what is in use" in written and 0 < len(rows_of(written)) < 5


def test_what_the_kernel_wrote_over_the_picture_goes_away(paper: Paper) -> None:
    showing = Showing(paper)
    showing.paint()
    showing.now += ANEW
    assert rows_of(showing.paint()) == list(range(1, SMALLEST[1] + 1))
    assert showing.paint() == ""


def test_pages_are_turned(paper: Paper) -> None:
    showing = Showing(paper)
    words = [f"word{number:03}" for number in range(400)]
    showing.view = replace(START, messages=(Note(" ".join(words), Level.ERROR),))
    first = showing.paint()
    showing.now += PAGE
    second = showing.paint()
    assert "word000" in first and "word000" not in second
    assert re.search(r"word\d{3}", second)


def test_a_terminal_that_is_gone_ends_the_painting_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    painter = Painter(writing, lambda: START)
    with pytest.raises(OSError):
        painter.paint()
    painter.start()
    painter.close(PATIENCE)
    os.close(writing)


def test_the_last_state_is_painted_whole_and_the_cursor_comes_back() -> None:
    reading, writing = os.pipe()
    view = START
    painter = Painter(writing, lambda: view)
    painter.start()
    begun = read_until(reading, b"\x1b[%d;1H" % SMALLEST[1])
    view = replace(START, doing="the last words")
    painter.close(PATIENCE)
    ended = read_until(reading, b"\x1b[?25h").decode()
    assert begun.startswith(b"\x1b[9;0]\x1b[14;0]\x1b[?25l")
    assert "the last words" in ended and ended.endswith("\x1b[0m\x1b[?25h")
    assert set(range(1, SMALLEST[1] + 1)) <= set(rows_of(ended))
    os.close(reading)
    os.close(writing)
