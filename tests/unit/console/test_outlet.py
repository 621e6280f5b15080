"""Lines to a serial line or a log file, which never hold up the work."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from payload.console.outlet import QUEUE, Outlet, open_log, open_serial
from tests.support.pseudo_terminals import Terminal, pseudo_terminal, read_until
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with pseudo_terminal() as ends:
        yield ends


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


# --- files


def ignore(_: str) -> None:
    """No trouble is expected."""


def write_log(path: Path, *lines: str, ended: Callable[[str], None] = ignore) -> bytes:
    outlet = Outlet("the log", open_log(path), ended)
    for line in lines:
        outlet.put(line)
    outlet.close(PATIENCE)
    return path.read_bytes()


def test_a_log_is_appended_to_and_is_nobody_else_s(tmp_path: Path) -> None:
    path = tmp_path / "logs/deep/console.log"
    assert write_log(path, "first", "second") == b"first\nsecond\n"
    assert write_log(path, "third").endswith(b"second\nthird\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_that_was_put_is_written_before_it_is_closed(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(QUEUE * 3)]
    assert write_log(tmp_path / "log", *lines).decode().splitlines() == lines


def test_what_is_not_ascii_stays_readable_and_on_its_line(tmp_path: Path) -> None:
    assert write_log(tmp_path / "log", "M\xfcller \udcff") == b"M\\xfcller \\udcff\n"


def test_a_closed_outlet_has_let_go_of_its_file(tmp_path: Path) -> None:
    descriptor = open_log(tmp_path / "log")
    Outlet("the log", descriptor, ignore).close(PATIENCE)
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_a_file_system_that_is_full_is_said_once_and_the_run_goes_on() -> None:
    troubles: list[str] = []
    descriptor = os.open("/dev/full", os.O_WRONLY)
    outlet = Outlet("the log", descriptor, troubles.append)
    outlet.put("one")
    wait_until(lambda: troubles)
    outlet.put("two")
    outlet.close(PATIENCE)
    assert troubles == [
        "Nothing more is written to the log: No space left on device. The run goes on."
    ]


def test_a_log_in_the_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        open_log(tmp_path)
