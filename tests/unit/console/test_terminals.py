"""The first words of the live system, and where they go."""

from pathlib import Path

import pytest

from payload.console.terminals import DEFAULT_SERIAL, greet, read_serial_lines, serial_lines


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("console=ttyS0,115200 console=tty0 quiet", ("ttyS0",)),
        ("console=tty0 console=ttyS1,9600n8 console=ttyUSB0", ("ttyS1", "ttyUSB0")),
        ("quiet", ("ttyS0",)),
        ("console=tty1 console=", ("ttyS0",)),
        ("netconsole=ttyS9", ("ttyS0",)),
        ("console=../../etc/ttyS0", ("ttyS0",)),
    ],
)
def test_serial_lines(line: str, names: tuple[str, ...]) -> None:
    assert serial_lines(line) == names


def test_a_kernel_line_that_cannot_be_read_leaves_the_first_serial_line(tmp_path: Path) -> None:
    assert read_serial_lines(tmp_path / "missing") == (DEFAULT_SERIAL,)


def test_every_terminal_is_greeted_though_another_is_missing(tmp_path: Path) -> None:
    terminal = tmp_path / "ttyS1"
    terminal.touch()
    greet("0.1.0", [tmp_path / "missing", terminal])
    assert terminal.read_text().startswith("UGS-Failover 0.1.0 is starting")
