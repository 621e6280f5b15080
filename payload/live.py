"""A whole run on the live system: settings from the medium, the real machine, what comes after.

Whatever goes wrong here ends in a report on the screen with the machine left on, since nobody may
be there to see it happen.
"""

import base64
import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from payload.console.console import Console
from payload.console.report_text import render_report
from payload.console.terminals import read_serial_lines
from payload.model.codec import to_pretty_json
from payload.model.errors import DiskState, FailoverError
from payload.model.event import Ended, Level, Note
from payload.model.report import Report, Result
from payload.model.settings import After, Settings, read_kernel_line, read_site_toml
from payload.session import engine
from payload.session.closing import AFTERMATH
from payload.system.command import Run
from payload.system.host import Host
from payload.system.linux import linux_host
from payload.wire.tls import Site, load_site

PICTURE = "boot-proof.png"  # beside the report
DO_NOT_RELY = "Do not rely on a copy that this run began: boot both machines from the medium again."
DEVICES = 120  # seconds that udev has for the disks and cards found at boot
LAST_LOOK = 10.0  # seconds between the report on the screen and switching off


@dataclass(frozen=True)
class Places:
    """Where the live system keeps things. Tests pass others."""

    medium: Path = Path("/run/live/medium/ugs-failover")  # site.toml, site.key, site.crt
    kernel_line: Path = Path("/proc/cmdline")
    devices: Path = Path("/dev")
    state: Path = Path("/run/ugs-failover")  # report.json, report.txt, console.log


def run_live_system(version: str) -> int:
    """What the live system starts. Returns the exit code of the report."""
    signal.signal(signal.SIGTERM, _end_from_outside)
    host = linux_host()
    _wait_for_devices(host.run)
    return LiveRun(version, host, Places()).run()


def _wait_for_devices(run: Run) -> None:
    """Until udev has seen what the kernel found at boot: which machine this is, its cards tell.

    The unit starts us while that is under way. Where it takes too long, a disk or card that is
    missing will be missed by whoever needs it.
    """
    with contextlib.suppress(FailoverError):
        run(["udevadm", "settle", f"--timeout={DEVICES}"], timeout=DEVICES + 10.0, ok=(0, 1))


def _end_from_outside(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def read_settings(places: Places) -> Settings:
    """site.toml, then the kernel line, which wins. Raises SettingsError."""
    settings = Settings()
    site_toml = places.medium / "site.toml"
    if site_toml.exists():
        settings = read_site_toml(settings, site_toml.read_text(errors="replace"))
    return read_kernel_line(settings, places.kernel_line.read_text(errors="replace"))


def what_follows(report: Report, own_id: str, settings: Settings) -> After:
    """Only a run that ended as wanted switches off; all else stays for a person to see."""
    if report.result not in (Result.OK, Result.DRY_RUN):
        return After.STAY
    is_source = report.source is not None and report.source.id == own_id
    return settings.after_source if is_source else settings.after_target


class LiveRun:
    """One run, with a console around it."""

    def __init__(self, version: str, host: Host, places: Places) -> None:
        self._version = version
        self._host = host
        self._places = places
        self._settings = Settings()
        self._stop = threading.Event()

    def run(self) -> int:
        """To the report, and to what follows it."""
        own_id, label = self._identity()
        with _own_terminal() as screen:
            console = Console(
                self._version,
                label,
                self._stop.set,
                screen=screen,
                serials=self._serials(screen),
                logs=[self._places.state / "console.log"],
            )
            with console:
                report = self._to_report(console)
                self._save(report, console)
                following = what_follows(report, own_id, self._settings)
                if following is After.STAY:
                    self._hold()
                else:
                    word = "off" if following is After.POWEROFF else "off and on again"
                    console(
                        Note(f"In {LAST_LOOK:.0f} seconds this machine switches itself {word}.")
                    )
                    threading.Event().wait(LAST_LOOK)
        if following is After.POWEROFF:
            self._host.power.off()
        elif following is After.REBOOT:
            self._host.power.reboot()
        return report.exit_code

    def _identity(self) -> tuple[str, str]:
        """Who we are, for the first line: even when the cards cannot be asked."""
        try:
            macs = tuple(card.mac for card in self._host.links.cards())
            machine = self._host.board.identity(macs)
        except FailoverError:
            return "", "this machine"  # the run will say what is wrong
        return machine.id, machine.label

    def _serials(self, screen: int | None) -> Sequence[Path]:
        names = read_serial_lines(self._places.kernel_line)
        own = os.ttyname(screen) if screen is not None else ""
        paths = [self._places.devices / name for name in names]
        return [path for path in paths if str(path) != own]

    def _to_report(self, console: Console) -> Report:
        """The engine's report, or one about why it could not be started or broke."""
        try:
            self._settings = read_settings(self._places)
            site = load_site(self._places.medium)
        except FailoverError as error:
            sentence = f"{error} {AFTERMATH[DiskState.UNTOUCHED]}"
            report = self._failure(sentence, error.exit_code)
        else:
            return self._run(site, console)
        console(Ended(report))
        return report

    def _run(self, site: Site, console: Console) -> Report:
        """The engine's report, or one of our own when not even the engine comes to its end."""

        def explain(error: Exception) -> str:
            return self._explain(error, console)

        try:
            return engine.run(
                self._host, site, self._settings, console, self._stop, self._version, explain
            )
        except FailoverError as error:
            report = self._failure(f"{error} {DO_NOT_RELY}", error.exit_code)
        except Exception as error:  # noqa: BLE001  nobody else would tell the person in front of it
            report = self._failure(f"{explain(error)} {DO_NOT_RELY}", FailoverError.exit_code)
        console(Ended(report))
        return report

    def _explain(self, error: Exception, console: Console) -> str:
        """Keep the trace of an error nobody foresaw, and return the sentences for its report."""
        trace = self._places.state / "traceback.txt"
        with contextlib.suppress(OSError):
            trace.parent.mkdir(parents=True, exist_ok=True)
            trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        console(Note(f"{type(error).__name__}: {error}", Level.ERROR))
        return (
            f"This is a mistake in UGS-Failover: {type(error).__name__}: {error}. Please report it "
            f"with {trace} (Alt-F2 has a shell)."
        )

    def _failure(self, sentence: str, exit_code: int) -> Report:
        return Report(Result.FAILED, sentence, exit_code, version=self._version)

    def _save(self, report: Report, console: Console) -> None:
        """For whoever comes with a shell or collects reports. A full RAM disk ends no run."""
        try:
            self._places.state.mkdir(parents=True, exist_ok=True)
            (self._places.state / "report.json").write_bytes(to_pretty_json(report))
            text = render_report(report)
            (self._places.state / "report.txt").write_text(text, encoding="ascii")
            if report.boot_proof is not None and report.boot_proof.picture:
                picture = base64.b64decode(report.boot_proof.picture, validate=True)
                (self._places.state / PICTURE).write_bytes(picture)
        except (OSError, ValueError) as error:
            console(Note(f"The report could not be saved: {error}.", Level.WARNING))

    def _hold(self) -> None:
        """Keep the picture on the screen until the service is stopped."""
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


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
