"""The console: one callable that takes events and shows them on every terminal there is.

It is told and never asked. Calling it costs the work a few microseconds: the picture is painted
and the lines are written by threads of their own, and no terminal can hold them up.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from payload.console.keys import KeyWatch, quiet_terminal
from payload.console.lines import Throttle, render_banner, render_line
from payload.console.outlet import Outlet, open_log, open_serial
from payload.console.view import View, observe
from payload.model.event import Countdown, Ended, Event, Note, Progress, Stage, Waiting

if TYPE_CHECKING:
    from payload.console.painter import Painter

FAREWELL = 15.0  # seconds that slow lines have to take the report before the machine goes off


class Console:
    """A context manager, and a `Monitor` while it is entered.

    `screen` is a terminal's descriptor, which stays the caller's, or None. `serials` are paths of
    serial lines, `logs` of files to append to; what cannot be opened is noted and left out.
    `key_pressed` is called, from a thread, at every key during the countdown; it must not call the
    console.
    """

    def __init__(
        self,
        version: str,
        machine: str,
        key_pressed: Callable[[], None],
        *,
        screen: int | None = None,
        serials: Sequence[Path] = (),
        logs: Sequence[Path] = (),
    ) -> None:
        self._view = View(version, machine)
        self._banner = render_banner(version, machine)
        self._key_pressed = key_pressed
        self._screen = screen
        self._paths = (tuple(serials), tuple(logs))
        self._lock = threading.RLock()
        self._throttle = Throttle()
        self._serials: list[Outlet] = []
        self._logs: list[Outlet] = []
        self._watch: KeyWatch | None = None
        self._painter: Painter | None = None
        self._terminal = contextlib.ExitStack()

    @property
    def view(self) -> View:
        """What is on the screen now."""
        return self._view

    def __enter__(self) -> Self:
        serials, logs = self._paths
        self._serials = self._open(serials, open_serial)
        self._logs = self._open(logs, open_log)
        self._put(self._banner)
        for outlet in self._serials:
            self._terminal.enter_context(quiet_terminal(outlet.descriptor))
        if self._screen is not None:
            with contextlib.suppress(OSError):  # a picture can be painted into a file, too
                self._terminal.enter_context(quiet_terminal(self._screen))
            self._painter = self._paint(self._screen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._stop_listening()
        if self._painter is not None:
            self._painter.close()
        self._terminal.close()
        for outlet in (*self._serials, *self._logs):
            outlet.close(FAREWELL)

    def __call__(self, event: Event) -> None:
        """Show an event. Never waits for a terminal and never raises for one."""
        with self._lock:
            self._view = observe(self._view, event)
            if self._throttle.admits(event):
                text = render_line(event)
                if text is not None:
                    self._put(text, droppable=isinstance(event, Progress))
            self._attend(event)

    def _paint(self, screen: int) -> "Painter":
        """The picture, which needs rich: imported when the lines have said the first of theirs."""
        from payload.console.painter import Painter  # noqa: PLC0415

        painter = Painter(screen, lambda: self._view)
        painter.start()
        return painter

    def _open(self, paths: Sequence[Path], opener: Callable[[Path], int]) -> list[Outlet]:
        outlets = []
        for path in paths:
            try:
                descriptor = opener(path)
            except OSError as error:
                self._note(f"{path} is not used: {error.strerror or error}.")
                continue
            outlets.append(Outlet(str(path), descriptor, self._trouble))
        return outlets

    def _note(self, sentence: str) -> None:
        self._view = observe(self._view, Note(sentence))

    def _trouble(self, sentence: str) -> None:
        """An outlet was given up; said on the screen and in the lines that are left."""
        self(Note(sentence))

    def _put(self, text: str, *, droppable: bool = False) -> None:
        for outlet in (*self._serials, *self._logs):
            outlet.put(text, droppable=droppable)

    def _attend(self, event: Event) -> None:
        """Keys count from the first second of a countdown to the next thing that happens."""
        if isinstance(event, Countdown) and self._watch is None:
            lines = [outlet.descriptor for outlet in self._serials]
            self._watch = KeyWatch(self._screen, lines, self._key_pressed)
        elif isinstance(event, Stage | Waiting | Ended):
            self._stop_listening()

    def _stop_listening(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
