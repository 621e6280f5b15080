"""Lines to a serial line or a log file, without ever holding up the work.

The work only puts lines into a queue. A thread writes them, non-blocking; what takes nothing for
a while (a serial line with flow control and nobody at the other end) is given up. A full queue
drops progress lines, never others.
"""

import array
import contextlib
import fcntl
import os
import select
import termios
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from payload.console.keys import read_modes

QUEUE = 500  # lines waiting before progress is dropped
PATIENCE = 10.0  # seconds without a single byte taken


def open_serial(path: Path) -> int:
    """A descriptor that blocks neither now nor later. Raises OSError when there is no such
    line: boards without a serial port still have the device node, and it fails here."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        read_modes(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_log(path: Path) -> int:
    """A file to append to. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Outlet:
    """One place lines go to. Owns `descriptor`; `trouble` is told once when it is given up."""

    def __init__(
        self,
        name: str,
        descriptor: int,
        trouble: Callable[[str], None],
        patience: float = PATIENCE,
    ) -> None:
        self.name = name
        self.descriptor = descriptor
        self._trouble = trouble
        self._patience = patience
        self._lines: deque[str] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._dead = False
        self._thread = threading.Thread(target=self._work, name=f"console {name}", daemon=True)
        self._thread.start()

    def put(self, text: str, *, droppable: bool = False) -> None:
        """Queue one or more lines. Never waits, never fails."""
        with self._change:
            if self._dead or (droppable and len(self._lines) >= QUEUE):
                return
            self._lines.append(text)
            self._change.notify()

    def close(self, timeout: float) -> None:
        """Let the rest out, for at most `timeout` seconds, and close."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            os.close(self.descriptor)

    def _work(self) -> None:
        while (text := self._next()) is not None:
            try:
                self._write(text.encode("ascii", "backslashreplace") + b"\n")
            except OSError as error:
                self._give_up(error.strerror or str(error))
                return
        self._drain()

    def _next(self) -> str | None:
        with self._change:
            while not self._lines and not self._closing:
                self._change.wait()
            return self._lines.popleft() if self._lines else None

    def _write(self, data: bytes) -> None:
        """Raises OSError when nothing was taken for too long."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                _, writable, _ = select.select([], [self.descriptor], [], self._patience)
                if not writable:
                    raise TimeoutError(0, f"it took nothing for {self._patience:.0f} s") from None

    def _drain(self) -> None:
        """Wait until the hardware has sent what the kernel holds: after this comes power off."""
        end = time.monotonic() + self._patience
        waiting = array.array("i", [0])
        while os.isatty(self.descriptor) and time.monotonic() < end:
            fcntl.ioctl(self.descriptor, termios.TIOCOUTQ, waiting)
            if not waiting[0]:
                return
            time.sleep(0.05)

    def _give_up(self, why: str) -> None:
        with self._change:
            self._dead = True
            self._lines.clear()
        with contextlib.suppress(termios.error):
            termios.tcflush(self.descriptor, termios.TCOFLUSH)  # else closing waits for it
        self._trouble(f"Nothing more is written to {self.name}: {why}. The run goes on.")
