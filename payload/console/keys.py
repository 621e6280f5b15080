"""Notices a key on the screen's keyboard or on a serial line, during the countdown only.

A keyboard sends nothing by itself, so any byte from it is a key. A serial line with nobody at the
other end may float and send noise, or come back as an echo of what we write. There a key is what
a person does: one to eight printable characters, Enter, Tab, Escape, Backspace or Ctrl-C with
silence before and after. Bytes with framing or parity errors and breaks are dropped by the kernel;
any other byte (NUL, 0xFF, control characters, an echoed line) makes the line count as noisy, and
nothing from it is a key until it has been quiet for five seconds.

Terminal modes are changed at once (TCSANOW), never after the output has drained: on a stuck serial
line that would wait for ever.
"""

import contextlib
import os
import select
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

GAP = 0.03  # seconds: bytes closer together than this are one burst, made by a machine or one key
LONGEST = 8  # bytes: an arrow key is 3, function keys up to 6, a few keys at once
QUIET = 5.0  # seconds a noisy line must be silent before it is listened to again
_KEYS = frozenset(range(0x20, 0x80)) | frozenset(b"\r\n\t\x1b\x08\x03")

_IFLAG, _LFLAG, _CC = 0, 3, 6  # places in what termios.tcgetattr returns


def is_key(burst: bytes) -> bool:
    """Whether a burst from a serial line is a person's doing."""
    return 0 < len(burst) <= LONGEST and all(byte in _KEYS for byte in burst)


class SerialEar:
    """Tells keys from noise on one serial line, given each burst and when it came."""

    def __init__(self) -> None:
        self._noisy_until = float("-inf")

    def hears_key(self, burst: bytes, now: float) -> bool:
        if not is_key(burst):
            self._noisy_until = now + QUIET
            return False
        return now >= self._noisy_until


def read_modes(descriptor: int) -> list[Any]:
    """The terminal's modes. Raises OSError: no terminal, or a serial port without hardware."""
    try:
        modes = termios.tcgetattr(descriptor)
    except termios.error as error:
        raise OSError(*error.args) from error
    modes[_CC] = list(modes[_CC])
    return modes


@contextlib.contextmanager
def quiet_terminal(descriptor: int) -> Iterator[None]:
    """No echo (over the picture, or for ever between a serial line and a plug that loops it
    back), no Ctrl-S, Ctrl-Z or Ctrl-\\ by accident; Ctrl-C stays. Raises OSError."""
    before = read_modes(descriptor)
    modes = read_modes(descriptor)
    modes[_IFLAG] &= ~termios.IXON
    modes[_LFLAG] &= ~(termios.ECHO | termios.ICANON)
    modes[_CC][termios.VSUSP] = modes[_CC][termios.VQUIT] = b"\0"
    termios.tcsetattr(descriptor, termios.TCSANOW, modes)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


@contextlib.contextmanager
def _listening(descriptor: int) -> Iterator[None]:
    """Single keys, Ctrl-C included, no echo; damaged bytes and breaks dropped; old input too."""
    before = read_modes(descriptor)
    modes = read_modes(descriptor)
    modes[_IFLAG] &= ~(termios.PARMRK | termios.BRKINT | termios.IXON)
    modes[_IFLAG] |= termios.IGNBRK | termios.IGNPAR
    modes[_LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    modes[_CC][termios.VMIN], modes[_CC][termios.VTIME] = b"\1", b"\0"
    termios.tcsetattr(descriptor, termios.TCSANOW, modes)
    termios.tcflush(descriptor, termios.TCIFLUSH)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


class KeyWatch:
    """Calls `pressed` at every key until closed. Runs in a thread of its own."""

    def __init__(
        self,
        keyboard: int | None,
        serials: Sequence[int],
        pressed: Callable[[], None],
    ) -> None:
        self._keyboard = keyboard
        self._ears = {descriptor: SerialEar() for descriptor in serials}
        self._pressed = pressed
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._modes = contextlib.ExitStack()
        self._listened = self._prepare()
        self._thread = threading.Thread(target=self._work, name="console keys", daemon=True)
        self._thread.start()

    def _prepare(self) -> set[int]:
        """A line that cannot be listened to is left out: the other ones still stop the run."""
        wanted = [*self._ears] if self._keyboard is None else [self._keyboard, *self._ears]
        ready = set()
        for descriptor in wanted:
            with contextlib.suppress(termios.error, OSError):
                self._modes.enter_context(_listening(descriptor))
                ready.add(descriptor)
        return ready

    def close(self) -> None:
        """Stop listening and restore the terminals."""
        os.write(self._waker, b"x")
        self._thread.join()
        with contextlib.suppress(termios.error, OSError):
            self._modes.close()
        os.close(self._wake)
        os.close(self._waker)

    def _work(self) -> None:
        while True:
            readable, _, _ = select.select([self._wake, *self._listened], [], [])
            if self._wake in readable:
                return
            for descriptor in readable:
                self._hear(descriptor)

    def _hear(self, descriptor: int) -> None:
        burst = _read_burst(descriptor)
        if not burst:
            self._listened.discard(descriptor)  # hung up
        elif descriptor == self._keyboard or self._ears[descriptor].hears_key(
            burst, time.monotonic()
        ):
            self._pressed()


def _read_burst(descriptor: int) -> bytes:
    """What came without a pause, at most 4 KiB of it; empty when the line is gone."""
    burst = b""
    readable = [descriptor]
    while readable and len(burst) < 4096:
        try:
            piece = os.read(descriptor, 512)
        except BlockingIOError:
            break
        except OSError:
            return b""
        if not piece:
            break
        burst += piece
        readable, _, _ = select.select([descriptor], [], [], GAP)
    return burst
