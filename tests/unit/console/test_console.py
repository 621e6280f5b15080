"""The console on real terminals: pseudo terminals stand for the screen and the serial line."""

import array
import fcntl
import os
import termios
import threading
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from payload.console.console import Console
from payload.console.keys import SerialEar
from payload.console.outlet import open_serial
from payload.model.event import Countdown, Ended, Note, Stage
from tests.support.console_samples import PROGRESS, REPORT
from tests.support.pseudo_terminals import Terminal, pseudo_terminal, read_until
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with pseudo_terminal() as ends:
        yield ends


def unread(descriptor: int) -> int:
    """Bytes that came in at a terminal and that nobody took."""
    waiting = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return waiting[0]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is listened to on serial lines."""
    bursts, really = list[bytes](), SerialEar.hears_key

    def hears_key(ear: SerialEar, burst: bytes, now: float) -> bool:
        bursts.append(burst)
        return really(ear, burst, now)

    monkeypatch.setattr(SerialEar, "hears_key", hears_key)
    return bursts


def nothing() -> None:
    """A key nobody waits for."""


def test_lines_reach_the_serial_line_in_order(terminal: Terminal) -> None:
    ours, path = terminal
    with Console("0.1.0", "box", nothing, serials=[Path(path)]) as console:
        console(Stage("copy", "copying"))
        console(PROGRESS)
        console(Ended(REPORT))
        got = read_until(ours, b"}\r\n").decode()
    lines = got.splitlines()
    assert lines[:2] == ["UGS-Failover 0.1.0 on box", "[copy] copying"]
    assert lines[2].startswith("[copy] disk 1 partition 5 45%")
    assert lines[-1].startswith("report.json: {") and lines[-1].endswith("}")


def test_a_missing_serial_line_is_noted_and_ignored(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "console.log"
    with Console("0.1.0", "box", nothing, serials=[tmp_path / "ttyS0"], logs=[log]) as console:
        console(Note("still here"))
        notes = [note.text for note in console.view.messages]
    assert any("ttyS0 is not used: No such file" in text for text in notes)
    assert log.read_text().splitlines() == ["UGS-Failover 0.1.0 on box", "[note] still here"]


def test_a_key_on_the_serial_line_stops_during_the_countdown_only(
    terminal: Terminal, heard: list[bytes]
) -> None:
    ours, path = terminal
    tty.setraw(ours)
    line = open_serial(Path(path))
    pressed = threading.Event()
    with Console("0.1.0", "box", pressed.set, serials=[Path(path)]) as console:
        console(Stage("connect", "looking"))
        os.write(ours, b"q")
        wait_until(lambda: unread(line))
        console(Countdown(30))
        os.write(ours, b"\r")
        assert pressed.wait(PATIENCE)
        assert heard == [b"\r"], "what was typed before does not count"
        pressed.clear()
        console(Stage("copy", "copying"))
        os.write(ours, b"q")
        assert not pressed.wait(0.2)
    os.close(line)


def test_the_screen_shows_the_last_state_and_gives_the_terminal_back(
    terminal: Terminal,
) -> None:
    ours, path = terminal
    screen = os.open(path, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(screen)
    with Console("0.1.0", "box", nothing, screen=screen) as console:
        console(replace(PROGRESS, region="disk 7 partition 3"))
        got = read_until(ours, b"disk 7 partition 3")
        assert not termios.tcgetattr(screen)[3] & termios.ECHO
        console(Ended(REPORT))
    got += read_until(ours, b"\x1b[?25h")
    assert b"DONE: the copy is finished and verified" in got
    assert b"\n" not in got, "no line feed: nothing ever scrolls"
    assert termios.tcgetattr(screen) == before
    os.close(screen)


def test_a_screen_that_takes_nothing_holds_up_nothing() -> None:
    """A pipe nobody reads stands for a terminal stopped for good: who waits for it never ends."""
    reading, writing = os.pipe()

    def work() -> None:
        with Console("0.1.0", "box", nothing, screen=writing) as console:
            for number in range(1000):
                console(Note(f"note {number}"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    os.close(reading)
    os.close(writing)
