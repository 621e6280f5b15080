"""The console on real terminals: pseudo terminals stand for the screen and the serial line."""

import array
import fcntl
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from payload.console.console import Console
from payload.console.keys import KeyWatch, SerialEar, is_key
from payload.console.outlet import Outlet, open_serial
from payload.model.event import Countdown, Ended, Note, Stage
from tests.support.console_samples import PROGRESS, REPORT
from tests.support.waiting import PATIENCE, wait_until

Terminal = tuple[int, str]  # our end, and the path of the other


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ours, theirs = os.openpty()
    yield ours, os.ttyname(theirs)
    os.close(theirs)
    os.close(ours)


def read_until(descriptor: int, word: bytes) -> bytes:
    """What comes out until `word` does."""
    end = time.monotonic() + PATIENCE
    got = b""
    while word not in got and time.monotonic() < end:
        if select.select([descriptor], [], [], 0.1)[0]:
            got += os.read(descriptor, 65536)
    assert word in got, got
    return got


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


def test_a_port_that_is_no_terminal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ttyS0"
    path.touch()
    with pytest.raises(OSError):
        open_serial(path)


def test_a_stuck_serial_line_holds_up_nothing(terminal: Terminal) -> None:
    """Nobody reads: the buffer fills. Were any line waited for, it would be given up meanwhile."""
    ours, path = terminal
    troubles: list[str] = []
    stuck = Outlet("ttyS0", open_serial(Path(path)), troubles.append, patience=PATIENCE)
    for number in range(20_000):
        stuck.put(f"line {number} " + "x" * 60, droppable=True)
    assert troubles == []
    stuck.put("last")
    closing = threading.Thread(target=stuck.close, args=(PATIENCE,))
    closing.start()
    read_until(ours, b"last\r\n")
    closing.join()


def test_a_serial_line_that_takes_nothing_is_given_up(terminal: Terminal) -> None:
    _, path = terminal
    troubles: list[str] = []
    stuck = Outlet("ttyS0", open_serial(Path(path)), troubles.append, patience=0.2)
    for number in range(1000):
        stuck.put(f"line {number} " + "x" * 60, droppable=True)
    wait_until(lambda: troubles)
    stuck.close(PATIENCE)
    assert troubles == [
        "Nothing more is written to ttyS0: it took nothing for 0 s. The run goes on."
    ]


def test_progress_is_dropped_before_anything_else(terminal: Terminal) -> None:
    ours, path = terminal
    os.set_blocking(ours, False)
    outlet = Outlet("ttyS0", open_serial(Path(path)), lambda _: None, patience=PATIENCE)
    for number in range(3000):
        outlet.put(f"progress {number}", droppable=True)
    for number in range(50):
        outlet.put(f"sentence {number}")
    got = read_until(ours, b"sentence 49\r\n").decode()
    outlet.close(PATIENCE)
    assert got.count("sentence") == 50
    assert 0 < got.count("progress") < 3000


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


def test_any_key_on_the_keyboard_stops(terminal: Terminal) -> None:
    ours, path = terminal
    keyboard = os.open(path, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(keyboard)
    pressed = threading.Event()
    watch = KeyWatch(keyboard, [], pressed.set)
    os.write(ours, b"\x00")
    assert pressed.wait(PATIENCE)
    watch.close()
    assert termios.tcgetattr(keyboard) == before
    os.close(keyboard)


def test_line_noise_stops_nothing(terminal: Terminal, heard: list[bytes]) -> None:
    ours, path = terminal
    tty.setraw(ours)
    pressed = threading.Event()
    line = open_serial(Path(path))
    watch = KeyWatch(None, [line], pressed.set)
    said = b""
    for burst in (
        b"\x00",
        b"\xff\xfe",
        b"a\x00",
        b"[countdown] 30 s, press any key to stop\r\n",
        b"x",  # right after noise: not believed either
    ):
        os.write(ours, burst)
        said += burst
        wait_until(lambda: b"".join(heard) == said)  # noqa: B023  (it is done before the next)
    watch.close()
    assert not pressed.is_set()
    os.close(line)


def test_what_counts_as_a_key() -> None:
    assert all(map(is_key, (b" ", b"\r", b"\r\n", b"x", b"\x1b[A", b"\x03", b"asdf")))
    assert not any(map(is_key, (b"", b"\x00", b"\x80", b"a\xff", b"123456789")))


def test_a_noisy_line_is_trusted_again_after_silence() -> None:
    ear = SerialEar()
    assert ear.hears_key(b"x", 100.0)
    assert not ear.hears_key(b"\x00", 101.0)
    assert not ear.hears_key(b"x", 105.9)
    assert ear.hears_key(b"x", 106.1)


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
