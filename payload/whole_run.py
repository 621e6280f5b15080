"""A whole run with the settings and the key of the medium: to a report, and to what follows it.

Whatever goes wrong here ends in a report on the screen with the machine left on, since nobody may
be there to see it happen.
"""

import base64
import contextlib
import threading
import traceback

from payload.console.console import Console
from payload.console.report_text import render_report
from payload.model.codec import to_pretty_json
from payload.model.errors import DiskState, FailoverError
from payload.model.event import Ended, Level, Note
from payload.model.live_system import Places
from payload.model.report import Report, Result
from payload.model.settings import After, Settings, read_kernel_line, read_site_toml
from payload.session import engine
from payload.session.closing import AFTERMATH
from payload.system.host import Host
from payload.wire.tls import Site, load_site

PICTURE = "boot-proof.png"  # beside the report
DO_NOT_RELY = "Do not rely on a copy that this run began: boot both machines from the medium again."
LAST_LOOK = 10.0  # seconds between the report on the screen and switching off


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


class WholeRun:
    """One run on a console; `exit_code` is that of its report."""

    def __init__(
        self, version: str, host: Host, places: Places, console: Console, stop: threading.Event
    ) -> None:
        self._version = version
        self._host = host
        self._places = places
        self._console = console
        self._stop = stop
        self._settings = Settings()
        self._following = After.STAY
        self.exit_code = FailoverError.exit_code

    def run(self, own_id: str) -> None:
        """To the report, and on the screen until what follows."""
        report = self._to_report()
        self.exit_code = report.exit_code
        self._save(report)
        self._following = what_follows(report, own_id, self._settings)
        if self._following is After.STAY:
            self._hold()
            return
        word = "off" if self._following is After.POWEROFF else "off and on again"
        self._console(Note(f"In {LAST_LOOK:.0f} seconds this machine switches itself {word}."))
        threading.Event().wait(LAST_LOOK)

    def follow(self) -> None:
        """Switch off or over, if that follows: the last act, when the console is closed."""
        if self._following is After.POWEROFF:
            self._host.power.off()
        elif self._following is After.REBOOT:
            self._host.power.reboot()

    def _to_report(self) -> Report:
        """The engine's report, or one about why it could not be started or broke."""
        try:
            self._settings = read_settings(self._places)
            site = load_site(self._places.medium)
        except FailoverError as error:
            sentence = f"{error} {AFTERMATH[DiskState.UNTOUCHED]}"
            report = self._failure(sentence, error.exit_code)
        else:
            return self._run(site)
        self._console(Ended(report))
        return report

    def _run(self, site: Site) -> Report:
        """The engine's report, or one of our own when not even the engine comes to its end."""
        try:
            return engine.run(
                self._host,
                site,
                self._settings,
                self._console,
                self._stop,
                self._version,
                self._explain,
            )
        except FailoverError as error:
            report = self._failure(f"{error} {DO_NOT_RELY}", error.exit_code)
        except Exception as error:  # noqa: BLE001  nobody else would tell the person in front of it
            report = self._failure(f"{self._explain(error)} {DO_NOT_RELY}", FailoverError.exit_code)
        self._console(Ended(report))
        return report

    def _explain(self, error: Exception) -> str:
        """Keep the trace of an error nobody foresaw, and return the sentences for its report."""
        trace = self._places.state / "traceback.txt"
        with contextlib.suppress(OSError):
            trace.parent.mkdir(parents=True, exist_ok=True)
            lines = "".join(traceback.format_exception(error))
            trace.write_text(lines, encoding="utf-8", errors="backslashreplace")
        # What a tool said comes with stray bytes as it was said; no report could hold them.
        words = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
        self._console(Note(words, Level.ERROR))
        return (
            f"This is a mistake in UGS-Failover: {words}. Please report it with {trace} (Alt-F2 has"
            " a shell)."
        )

    def _failure(self, sentence: str, exit_code: int) -> Report:
        return Report(Result.FAILED, sentence, exit_code, version=self._version)

    def _save(self, report: Report) -> None:
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
            self._console(Note(f"The report could not be saved: {error}.", Level.WARNING))

    def _hold(self) -> None:
        """Keep the picture on the screen until the service is stopped."""
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
