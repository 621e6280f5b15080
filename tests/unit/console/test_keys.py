"""A key on a keyboard or a serial line, as against the noise of a line with nobody at it."""

import os
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.console.keys import (
    LONGEST,
    QUIET,
    KeyWatch,
    SerialEar,
    is_key,
    quiet_terminal,
    read_modes,
)
from payload.console.outlet import open_serial
from tests.support.pseudo_terminals import Terminal, pseudo_terminal
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with pseudo_terminal() as ends:
        yield ends


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is listened to on serial lines."""
    bursts, really = list[bytes](), SerialEar.hears_key

    def hears_key(ear: SerialEar, burst: bytes, now: float) -> bool:
        bursts.append(burst)
        return really(ear, burst, now)

    monkeypatch.setattr(SerialEar, "hears_key", hears_key)
    return bursts


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


@given(st.binary(max_size=12))
def test_a_key_is_short_and_of_bytes_that_a_keyboard_sends(burst: bytes) -> None:
    allowed = {*range(0x20, 0x80), *b"\r\n\t\x1b\x08\x03"}
    assert is_key(burst) == (0 < len(burst) <= LONGEST and set(burst) <= allowed)


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from([b"x", b"\x00", b"", b"y" * 9]))))
def test_nothing_is_a_key_within_five_seconds_of_noise(
    bursts: list[tuple[float, bytes]],
) -> None:
    ear, now, noise = SerialEar(), 0.0, float("-inf")
    for pause, burst in bursts:
        now += pause
        heard = ear.hears_key(burst, now)
        if burst != b"x":
            noise = now
        assert heard == (burst == b"x" and now >= noise + QUIET)


# --- terminals


def test_a_quiet_terminal_echoes_nothing_and_only_ctrl_c_gets_through(terminal: Terminal) -> None:
    _, path = terminal
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(line)
    with quiet_terminal(line):
        modes = termios.tcgetattr(line)
        assert not modes[3] & (termios.ECHO | termios.ICANON) and modes[3] & termios.ISIG
        assert not modes[0] & termios.IXON
        assert modes[6][termios.VSUSP] == modes[6][termios.VQUIT] == b"\0"
        assert modes[6][termios.VINTR] == before[6][termios.VINTR] != b"\0"
    assert termios.tcgetattr(line) == before
    os.close(line)


def test_a_terminal_is_given_back_when_the_work_fails(terminal: Terminal) -> None:
    _, path = terminal
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(line)
    with pytest.raises(ZeroDivisionError), quiet_terminal(line):
        raise ZeroDivisionError
    assert termios.tcgetattr(line) == before
    os.close(line)


def test_what_is_no_terminal_is_an_error_of_the_system(tmp_path: Path) -> None:
    """termios.error is no OSError, and would end the run."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError):
        read_modes(descriptor)
    with pytest.raises(OSError), quiet_terminal(descriptor):
        pytest.fail("it is no terminal")
    os.close(descriptor)


def test_a_line_that_cannot_be_listened_to_does_not_silence_the_others(
    terminal: Terminal, tmp_path: Path
) -> None:
    ours, path = terminal
    tty.setraw(ours)
    broken = os.open(tmp_path, os.O_RDONLY)
    line = open_serial(Path(path))
    pressed = threading.Event()
    watch = KeyWatch(broken, [line], pressed.set)
    os.write(ours, b"q")
    assert pressed.wait(PATIENCE)
    watch.close()
    os.close(broken)
    os.close(line)


def test_a_line_that_hung_up_presses_no_key_and_the_others_count(terminal: Terminal) -> None:
    """Of a line that is gone every look gives something: an end of file, for ever."""
    ours, path = terminal
    tty.setraw(ours)
    far, near = os.openpty()
    pressed = threading.Event()
    line = open_serial(Path(path))
    watch = KeyWatch(near, [line], pressed.set)
    os.close(far)
    assert not pressed.wait(0.05)
    os.write(ours, b"\r")
    assert pressed.wait(PATIENCE)
    watch.close()
    os.close(near)
    os.close(line)
