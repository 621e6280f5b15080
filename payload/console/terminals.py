"""The terminals of the live system, and the first words on them.

Imports little: it speaks while the rest of the program is being loaded.
"""

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

DEFAULT_SERIAL = "ttyS0"


def serial_lines(kernel_line: str) -> tuple[str, ...]:
    """The serial lines that the kernel line names as consoles, else the first one."""
    found = re.findall(r"(?<!\S)console=(tty[A-Z]+[0-9]+)(?=[,\s]|$)", kernel_line)
    return tuple(dict.fromkeys(found)) or (DEFAULT_SERIAL,)


def read_serial_lines(kernel_line: Path) -> tuple[str, ...]:
    """Those of the running kernel, read from /proc/cmdline at `kernel_line`."""
    try:
        return serial_lines(kernel_line.read_text(errors="replace"))
    except OSError:
        return (DEFAULT_SERIAL,)


def greet(version: str, terminals: Sequence[Path]) -> None:
    """Say on each terminal that the program is on its way. What takes nothing now gets nothing."""
    words = f"UGS-Failover {version} is starting: it waits for the disks and cards to appear.\r\n"
    for terminal in terminals:
        with contextlib.suppress(OSError):
            descriptor = os.open(terminal, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                os.write(descriptor, words.encode())
            finally:
                os.close(descriptor)
