"""Keeps the picture on a terminal: whole lines, only those that changed, a few times a second.

Written straight to the terminal instead of by a library's live display, for two reasons: the Linux
console has no second screen to switch to, and the kernel's own messages must not stay in the
picture (it is painted anew every few seconds, without clearing, so nothing flickers).
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from io import StringIO

from rich.console import Console as RichConsole
from rich.text import Text

from payload.console.screen import SMALLEST, render_screen
from payload.console.view import View

INTERVAL = 0.3  # seconds between two looks at the view
ANEW = 5.0  # seconds after which every line is written again
PAGE = 8.0  # seconds a page is shown

_BEGIN = "\x1b[9;0]\x1b[14;0]\x1b[?25l\x1b[2J"  # no screen saver, no power down, no cursor
_END = "\x1b[0m\x1b[?25h"


def encode(line: Text, width: int) -> str:
    """One whole line with its colours as escape sequences of a plain 8-colour terminal.

    Filled up with blanks: to erase the rest of a line would take the last character of a full one.
    """
    stream = StringIO()
    line = line.copy()
    line.pad_right(width - len(line.plain))
    console = RichConsole(
        file=stream,
        force_terminal=True,
        color_system="standard",
        width=width,
        legacy_windows=False,
        _environ={},
    )
    console.print(line, end="", no_wrap=True, overflow="ignore", crop=False, highlight=False)
    return stream.getvalue()


def changed_rows(before: Sequence[str], after: Sequence[str]) -> str:
    """What to write so that a terminal showing `before` shows `after`."""
    rows = []
    for index, line in enumerate(after):
        if index >= len(before) or before[index] != line:
            rows.append(f"\x1b[{index + 1};1H{line}\x1b[0m")
    return "".join(rows)


class Painter:
    """Paints what `view` gives until closed; the last picture stays on the screen."""

    def __init__(
        self,
        descriptor: int,
        view: Callable[[], View],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._descriptor = descriptor
        self._view = view
        self._clock = clock
        self._begun = clock()
        self._shown: list[str] = []
        self._shown_at = float("-inf")
        self._size = (0, 0)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="console screen", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Paint once more and stop; a terminal that takes nothing is left behind."""
        self._closing.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        try:
            self._write(_BEGIN)
            while not self._closing.wait(INTERVAL):
                self.paint()
            self._shown = []
            self.paint()
            self._write(_END)
        except OSError:
            return  # the terminal is gone; the lines on the serial line tell the same

    def paint(self) -> None:
        """Write what has changed, or all of it when that was long ago. Raises OSError."""
        now = self._clock()
        size = self._measure()
        if size != self._size or now - self._shown_at >= ANEW:
            self._shown, self._shown_at, self._size = [], now, size
        page = int((now - self._begun) / PAGE)
        picture = render_screen(self._view(), *size, page)
        lines = [encode(line, max(size[0], SMALLEST[0])) for line in picture]
        self._write(changed_rows(self._shown, lines))
        self._shown = lines

    def _measure(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return SMALLEST
        return size.columns or SMALLEST[0], size.lines or SMALLEST[1]

    def _write(self, text: str) -> None:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
