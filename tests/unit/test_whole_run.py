"""A whole run: settings and key from the medium, a report whatever happens, and what follows."""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.model.codec import from_json
from payload.model.errors import DiskState, SettingsError, UndecidedError
from payload.model.event import Ended, Event, Level, Note
from payload.model.live_system import Places
from payload.model.report import BootProof, BootVerdict, Report, Result
from payload.model.settings import After, Settings
from payload.session.closing import AFTERMATH
from payload.whole_run import DO_NOT_RELY, PICTURE, WholeRun, read_settings, what_follows
from payload.wire.tls import Site, make_site_key
from tests.support.console_samples import REPORT

SOURCE, TARGET = "a" * 32, "b" * 32  # of the sample report


# --- settings


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "medium", tmp_path / "cmdline", tmp_path / "dev", tmp_path / "state")
    make_site_key(places.medium)
    places.kernel_line.write_text("boot=live quiet\n")
    return places


def test_without_words_of_anybody_the_settings_are_the_usual_ones(places: Places) -> None:
    assert read_settings(places) == Settings()


def test_the_kernel_line_wins_over_the_medium(places: Places) -> None:
    (places.medium / "site.toml").write_text("countdown = 60\nport = 4711\n")
    places.kernel_line.write_text("boot=live failover.countdown=3\n")
    assert read_settings(places) == Settings(countdown=3, port=4711)


def test_a_kernel_line_that_is_no_text_is_read_all_the_same(places: Places) -> None:
    places.kernel_line.write_bytes(b"\xff\xfe failover.countdown=3\n")
    assert read_settings(places).countdown == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_on_the_medium_and_the_kernel_line_are_settings_or_an_error(
    places: Places, toml: bytes, line: bytes
) -> None:
    (places.medium / "site.toml").write_bytes(toml)
    places.kernel_line.write_bytes(line)
    try:
        read_settings(places)
    except SettingsError as error:
        assert str(error)


# --- what follows


@pytest.mark.parametrize("result", Result)
@pytest.mark.parametrize("own", [SOURCE, TARGET, "c" * 32])
def test_only_a_run_that_ended_as_wanted_switches_off(result: Result, own: str) -> None:
    chosen = Settings(after_source=After.REBOOT, after_target=After.POWEROFF)
    follows = what_follows(replace(REPORT, result=result), own, chosen)
    wanted = After.REBOOT if own == SOURCE else After.POWEROFF
    assert follows is (wanted if result in (Result.OK, Result.DRY_RUN) else After.STAY)


def test_a_report_that_names_no_source_is_not_of_the_source() -> None:
    chosen = Settings(after_source=After.REBOOT, after_target=After.STAY)
    assert what_follows(replace(REPORT, source=None), SOURCE, chosen) is After.STAY


# --- the run

Engine = Callable[..., Report]


@dataclass
class Machine:
    """A run in a directory, with a console that remembers and a power switch of paper."""

    places: Places
    patch: pytest.MonkeyPatch
    events: list[Event] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, engine: Engine, own: str = TARGET) -> WholeRun:
        """To its end, but for `follow`."""
        self.patch.setattr("payload.whole_run.engine.run", engine)
        power = SimpleNamespace(
            off=lambda: self.asked.append("off"), reboot=lambda: self.asked.append("reboot")
        )
        host = cast(Any, SimpleNamespace(power=power))
        console = cast(Any, self.events.append)
        whole = WholeRun("0.1.0", host, self.places, console, self.stop)
        whole.run(own)
        return whole

    @property
    def saved(self) -> Report:
        return from_json(Report, (self.places.state / "report.json").read_bytes())

    @property
    def ended(self) -> list[Report]:
        return [event.report for event in self.events if isinstance(event, Ended)]

    def notes(self, level: Level) -> list[str]:
        notes = [event for event in self.events if isinstance(event, Note)]
        return [note.text for note in notes if note.level is level]


@pytest.fixture
def machine(places: Places, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Nobody ends the service here, and the last look at the screen takes no time."""
    machine = Machine(places, monkeypatch)
    monkeypatch.setattr(WholeRun, "_hold", lambda _: machine.held.append(True))
    monkeypatch.setattr("payload.whole_run.LAST_LOOK", 0.0)
    return machine


def ending_with(report: Report) -> Engine:
    return lambda *_: report


def raising(error: Exception) -> Engine:
    def engine(*_: object) -> Report:
        raise error

    return engine


def test_the_engine_gets_the_medium_s_settings_and_key(machine: Machine) -> None:
    machine.places.kernel_line.write_text("failover.countdown=3\n")
    given: list[Any] = []

    def engine(*arguments: Any) -> Report:
        given.extend(arguments)
        return REPORT

    machine.run(engine)
    _, site, chosen, console, stop, version, _ = given
    assert isinstance(site, Site) and chosen == Settings(countdown=3)
    console(Note("It is heard."))
    assert machine.events[-1] == Note("It is heard.")
    assert stop is machine.stop and version == "0.1.0"


@pytest.mark.parametrize(
    ("after", "asked", "word"),
    [("poweroff", ["off"], "off"), ("reboot", ["reboot"], "off and on again")],
)
def test_the_power_is_switched_when_the_console_is_closed(
    machine: Machine, after: str, asked: list[str], word: str
) -> None:
    machine.places.kernel_line.write_text(f"failover.after.target={after}\n")
    whole = machine.run(ending_with(REPORT))
    assert machine.asked == [] and machine.held == []
    said = machine.notes(Level.INFO)
    assert said == [f"In 0 seconds this machine switches itself {word}."]
    whole.follow()
    assert machine.asked == asked


def test_a_machine_that_is_to_stay_on_is_held(machine: Machine) -> None:
    machine.places.kernel_line.write_text("failover.after.target=stay\n")
    machine.run(ending_with(REPORT)).follow()
    assert (machine.asked, machine.held) == ([], [True])


def test_a_run_that_never_began_follows_up_nothing(machine: Machine) -> None:
    host = cast(Any, SimpleNamespace(power=None))
    whole = WholeRun("0.1.0", host, machine.places, cast(Any, None), machine.stop)
    whole.follow()
    assert whole.exit_code == 1


def test_the_report_is_kept_for_programs_and_people(machine: Machine) -> None:
    assert machine.run(ending_with(REPORT)).exit_code == 0
    assert machine.saved == REPORT
    assert (machine.places.state / "report.txt").read_text().startswith("DONE: ")
    assert not (machine.places.state / PICTURE).exists()
    assert machine.ended == [], "the engine shows its own report"


def test_a_picture_is_kept_beside_it(machine: Machine) -> None:
    picture = base64.b64encode(b"\x89PNG").decode()
    proof = BootProof(BootVerdict.LOGIN, "It showed a login prompt.", picture=picture)
    machine.run(ending_with(replace(REPORT, boot_proof=proof)))
    assert (machine.places.state / PICTURE).read_bytes() == b"\x89PNG"


def test_a_place_where_no_report_can_be_kept_ends_no_run(machine: Machine) -> None:
    machine.places.state.write_text("a file stands where the directory should be")
    whole = machine.run(ending_with(REPORT))
    assert whole.exit_code == 0
    (warning,) = machine.notes(Level.WARNING)
    assert warning.startswith("The report could not be saved: ")
    whole.follow()
    assert machine.asked == ["off"]


@pytest.mark.parametrize("missing", ["site.key", "site.crt"])
def test_a_medium_without_its_key_runs_nothing(machine: Machine, missing: str) -> None:
    (machine.places.medium / missing).unlink()
    whole = machine.run(raising(AssertionError("must not run")))
    assert whole.exit_code == SettingsError.exit_code
    (report,) = machine.ended
    assert "site key" in report.sentence
    assert report.sentence.endswith(AFTERMATH[DiskState.UNTOUCHED])
    assert (report.result, report.disks) == (Result.FAILED, DiskState.UNTOUCHED)
    assert report == machine.saved and machine.held == [True]


def test_settings_that_are_wrong_do_not_switch_anything_off(machine: Machine) -> None:
    line = "failover.after.target=poweroff failover.countdwn=3\n"
    machine.places.kernel_line.write_text(line)
    whole = machine.run(raising(AssertionError("must not run")))
    whole.follow()
    assert (machine.asked, machine.held) == ([], [True])
    assert "'countdwn'" in machine.saved.sentence


def test_an_error_that_even_the_engine_lets_out_is_shown_with_its_code(machine: Machine) -> None:
    whole = machine.run(raising(UndecidedError("Two systems.")))
    assert whole.exit_code == UndecidedError.exit_code
    (report,) = machine.ended
    assert report.sentence == f"Two systems. {DO_NOT_RELY}" and report == machine.saved
    assert machine.held == [True]


def test_a_mistake_of_ours_is_shown_and_its_trace_is_kept(machine: Machine) -> None:
    whole = machine.run(raising(ZeroDivisionError("oops")))
    trace = machine.places.state / "traceback.txt"
    assert whole.exit_code == 1 and machine.held == [True]
    (report,) = machine.ended
    assert "mistake in UGS-Failover: ZeroDivisionError: oops" in report.sentence
    assert str(trace) in report.sentence and report.sentence.endswith(DO_NOT_RELY)
    assert trace.read_text().startswith("Traceback")
    assert machine.notes(Level.ERROR) == ["ZeroDivisionError: oops"]


def test_a_trace_that_cannot_be_kept_costs_the_trace_only(machine: Machine) -> None:
    machine.places.state.write_text("a file stands where the directory should be")
    machine.run(raising(ZeroDivisionError("oops")))
    assert "ZeroDivisionError: oops" in machine.ended[0].sentence


def test_the_engine_can_have_a_mistake_explained(machine: Machine) -> None:
    """It goes on to say what is on the disks."""

    def engine(*arguments: Any) -> Report:
        sentence = arguments[-1](ValueError("oops"))
        return replace(REPORT, result=Result.FAILED, sentence=sentence, exit_code=1)

    machine.run(engine)
    assert machine.saved.sentence.startswith("This is a mistake in UGS-Failover: ValueError: oops.")
    assert "ValueError: oops" in (machine.places.state / "traceback.txt").read_text()
    assert machine.ended == []


def test_a_mistake_whose_words_are_no_utf8_ends_in_a_report_too(machine: Machine) -> None:
    whole = machine.run(raising(ValueError("M\udcfcller")))
    assert whole.exit_code == 1 and machine.held == [True]
    assert machine.ended == [machine.saved]
