"""The live system's program, from the machine's name on its terminals to switching off.

Imports little: which machine this is, a person reads before all of the program is loaded.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from payload.console.console import Console
from payload.console.terminals import read_serial_lines
from payload.model.errors import FailoverError
from payload.model.live_system import Places
from payload.system.board import LinuxBoard
from payload.system.command import Run, run
from payload.system.links import Links

if TYPE_CHECKING:
    from payload.system.host import Board, Host
    from payload.whole_run import WholeRun

DEVICES = 120  # seconds that udev has for the disks and cards found at boot


def run_live_system(version: str) -> int:
    """What the live system starts. Returns the exit code of the report."""
    signal.signal(signal.SIGTERM, _end_from_outside)
    _wait_for_devices(run)
    return LiveRun(version, LinuxBoard(), Links(run), Places()).run(load_run)


def load_run() -> "tuple[type[WholeRun], Host]":
    """Import what a machine needs to find its role. `session.engine.load_roles` has the rest."""
    from payload.system.linux import linux_host  # noqa: PLC0415
    from payload.whole_run import WholeRun  # noqa: PLC0415

    return WholeRun, linux_host()


def _wait_for_devices(run: Run) -> None:
    """Until udev has seen what the kernel found at boot: which machine this is, its cards tell.

    The unit starts us while that is under way. Where it takes too long, a disk or card that is
    missing will be missed by whoever needs it.
    """
    with contextlib.suppress(FailoverError):
        run(["udevadm", "settle", f"--timeout={DEVICES}"], timeout=DEVICES + 10.0, ok=(0, 1))


def _end_from_outside(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class LiveRun:
    """One run, with a console around it."""

    def __init__(self, version: str, board: "Board", links: Links, places: Places) -> None:
        self._version = version
        self._board = board
        self._links = links
        self._places = places

    def run(self, load: "Callable[[], tuple[type[WholeRun], Host]]") -> int:
        """To the report, and to what follows it. `load` is called once the machine's name is
        shown."""
        own_id, label = self._identity()
        stop = threading.Event()
        with _own_terminal() as screen:
            console = Console(
                self._version,
                label,
                stop.set,
                screen=screen,
                serials=self._serials(screen),
                logs=[self._places.state / "console.log"],
            )
            with console:
                whole_run, host = load()
                ended = whole_run(self._version, host, self._places, console, stop)
                ended.run(own_id)
        ended.follow()
        return ended.exit_code

    def _identity(self) -> tuple[str, str]:
        """Who we are, for the first line: even when the cards cannot be asked."""
        try:
            macs = tuple(card.mac for card in self._links.cards())
            machine = self._board.identity(macs)
        except FailoverError:
            return "", "this machine"  # the run will say what is wrong
        return machine.id, machine.label

    def _serials(self, screen: int | None) -> Sequence[Path]:
        names = read_serial_lines(self._places.kernel_line)
        own = os.ttyname(screen) if screen is not None else ""
        paths = [self._places.devices / name for name in names]
        return [path for path in paths if str(path) != own]


@contextlib.contextmanager
def _own_terminal() -> Iterator[int | None]:
    """A descriptor of our own for the terminal we print to, None when it is no terminal."""
    if not os.isatty(1):
        yield None
        return
    descriptor = os.open(os.ttyname(1), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
