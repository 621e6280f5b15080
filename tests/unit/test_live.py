"""The run around the run: settings from the medium, reports kept, and what follows."""

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from payload.live import LiveRun
from payload.model.errors import DiskState, SettingsError, ToolError, UndecidedError
from payload.model.event import Ended, Monitor
from payload.model.live_system import Places
from payload.model.machine import Firmware, MachineIdentity
from payload.model.report import BootProof, BootVerdict, Report, Result
from payload.model.settings import After, Settings
from payload.session.closing import AFTERMATH
from payload.system.host import Host
from payload.system.links import Links
from payload.whole_run import PICTURE, WholeRun, read_settings, what_follows
from payload.wire.tls import Site, make_site_key
from tests.support.console_samples import REPORT

Engine = Callable[[Host, Site, Settings, Monitor, threading.Event, str], Report]


class RecordingPower:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def off(self) -> None:
        self.asked.append("off")

    def reboot(self) -> None:
        self.asked.append("reboot")


class PaperBoard:
    """The target of the sample report."""

    def identity(self, macs: tuple[str, ...]) -> MachineIdentity:
        return MachineIdentity("b" * 32, "HP", "DL", macs=macs)

    def firmware(self) -> Firmware:
        return Firmware.BIOS

    def memory(self) -> int:
        return 1 << 30


class Machine:
    """A live system in a directory; `run` gives the exit code."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places = Places(
            directory / "medium", directory / "cmdline", directory / "dev", directory / "state"
        )
        make_site_key(self.places.medium)
        self.places.kernel_line.write_text("boot=live quiet\n")
        self.power = RecordingPower()
        self.held = 0
        self.said_when_loaded: list[str] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(WholeRun, "_hold", lambda _: self._hold())
        monkeypatch.setattr("payload.whole_run.LAST_LOOK", 0.0)

    def _hold(self) -> None:
        self.held += 1

    def run(self, engine: Engine) -> int:
        self._monkeypatch.setattr("payload.whole_run.engine.run", engine)
        links = cast(Links, SimpleNamespace(cards=lambda: ()))
        run = LiveRun("0.1.0", PaperBoard(), links, self.places)
        return run.run(self._load)

    def _load(self) -> tuple[type[WholeRun], Host]:
        end = time.monotonic() + 60
        while not self.log:  # by a thread of its own
            assert time.monotonic() < end, "nothing was said before the program is loaded"
            time.sleep(0.005)
        self.said_when_loaded = self.log
        return WholeRun, cast(Host, SimpleNamespace(power=self.power))

    @property
    def report(self) -> dict[str, object]:
        loaded: dict[str, object] = json.loads((self.places.state / "report.json").read_text())
        return loaded

    @property
    def log(self) -> list[str]:
        path = self.places.state / "console.log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def ending_with(report: Report) -> Engine:
    def engine(
        _host: Host, _site: Site, _settings: Settings, monitor: Monitor, *_rest: object
    ) -> Report:
        monitor(Ended(report))
        return report

    return engine


def raising(error: Exception) -> Engine:
    def engine(*_: object) -> Report:
        raise error

    return engine


def test_a_good_end_switches_off_with_the_report_kept(machine: Machine) -> None:
    assert machine.run(ending_with(REPORT)) == 0
    assert machine.power.asked == ["off"]
    assert machine.held == 0
    assert machine.report["result"] == "ok"
    assert (machine.places.state / "report.txt").read_text().startswith("DONE: ")
    assert machine.log[0] == "UGS-Failover 0.1.0 on HP DL bbbbbbbb"
    assert sum(line.startswith("report.json: ") for line in machine.log) == 1
    assert machine.log[-1] == "[note] In 0 seconds this machine switches itself off."


def test_the_name_of_the_machine_is_said_before_the_program_is_loaded(machine: Machine) -> None:
    machine.run(ending_with(REPORT))
    assert machine.said_when_loaded == ["UGS-Failover 0.1.0 on HP DL bbbbbbbb"]


def test_the_picture_of_the_boot_proof_lies_beside_the_report(machine: Machine) -> None:
    picture = base64.b64encode(b"\x89PNG").decode()
    proof = BootProof(BootVerdict.LOGIN, "It showed a login prompt.", picture=picture)
    machine.run(ending_with(replace(REPORT, boot_proof=proof)))
    assert (machine.places.state / PICTURE).read_bytes() == b"\x89PNG"
    (line,) = (line for line in machine.log if line.startswith("report.json: "))
    assert '"verdict":"login"' in line and picture not in line


def test_a_picture_that_is_none_costs_the_picture_only(machine: Machine) -> None:
    proof = BootProof(BootVerdict.KERNEL, "Its kernel ran.", picture="no base64")
    assert machine.run(ending_with(replace(REPORT, boot_proof=proof))) == 0
    assert machine.report["result"] == "ok"
    assert any("could not be saved" in line for line in machine.log)


def test_settings_of_the_medium_and_the_kernel_line_count(machine: Machine) -> None:
    (machine.places.medium / "site.toml").write_text('[after]\ntarget = "stay"\n')
    machine.places.kernel_line.write_text("failover.after.target=reboot failover.countdown=3\n")
    seen: list[Settings] = []

    def engine(_host: Host, _site: Site, settings: Settings, *_rest: object) -> Report:
        seen.append(settings)
        return REPORT

    assert machine.run(engine) == 0
    assert seen == [Settings(after_target=After.REBOOT, countdown=3)]
    assert machine.power.asked == ["reboot"]


def test_a_look_that_ended_as_wanted_switches_off_too(machine: Machine) -> None:
    report = replace(REPORT, result=Result.DRY_RUN, exit_code=0)
    assert machine.run(ending_with(report)) == 0
    assert machine.power.asked == ["off"]


@pytest.mark.parametrize("result", [Result.HOLES, Result.STOPPED, Result.FAILED])
def test_any_other_end_stays_on(result: Result, machine: Machine) -> None:
    report = replace(REPORT, result=result, exit_code=5)
    assert machine.run(ending_with(report)) == 5
    assert machine.power.asked == []
    assert machine.held == 1


def test_a_wrong_setting_is_shown_and_nothing_is_run(machine: Machine) -> None:
    machine.places.kernel_line.write_text("failover.overwrit=S1\n")
    assert machine.run(raising(AssertionError("must not run"))) == SettingsError.exit_code
    assert machine.held == 1
    assert "'overwrit'" in str(machine.report["sentence"])
    assert str(machine.report["sentence"]).endswith(AFTERMATH[DiskState.UNTOUCHED])
    assert any("'overwrit'" in line for line in machine.log)


def test_a_medium_without_a_key_is_shown(machine: Machine) -> None:
    (machine.places.medium / "site.key").unlink()
    assert machine.run(ending_with(REPORT)) == SettingsError.exit_code
    assert "site key" in str(machine.report["sentence"])
    assert machine.power.asked == []


def test_an_error_is_shown_with_its_code(machine: Machine) -> None:
    assert machine.run(raising(UndecidedError("Two systems."))) == UndecidedError.exit_code
    assert str(machine.report["sentence"]).startswith("Two systems. Do not rely on a copy")


def test_a_mistake_of_ours_ends_in_a_report_and_a_trace(machine: Machine) -> None:
    assert machine.run(raising(ZeroDivisionError("oops"))) == 1
    assert machine.held == 1
    assert "ZeroDivisionError: oops" in str(machine.report["sentence"])
    assert "ZeroDivisionError" in (machine.places.state / "traceback.txt").read_text()
    assert any(line == "[error] ZeroDivisionError: oops" for line in machine.log)


def test_a_power_switch_that_refuses_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ToolError("not our medium")

    monkeypatch.setattr(machine.power, "off", refuse)
    with pytest.raises(ToolError):
        machine.run(ending_with(REPORT))
    assert machine.report["result"] == "ok"


def test_cards_that_cannot_be_asked_stop_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: PaperBoard, _macs: tuple[str, ...]) -> MachineIdentity:
        raise ToolError("no cards")

    monkeypatch.setattr(PaperBoard, "identity", broken)
    assert machine.run(ending_with(REPORT)) == 0
    assert machine.log[0] == "UGS-Failover 0.1.0 on this machine"


def test_site_toml_that_is_no_text_is_a_setting_error(machine: Machine) -> None:
    (machine.places.medium / "site.toml").write_bytes(b"\xff\x00=")
    with pytest.raises(SettingsError, match=r"site\.toml is not valid TOML"):
        read_settings(machine.places)


def test_each_role_follows_its_own_setting() -> None:
    settings = Settings(after_source=After.REBOOT, after_target=After.STAY)
    assert what_follows(REPORT, "a" * 32, settings) is After.REBOOT
    assert what_follows(REPORT, "b" * 32, settings) is After.STAY
    assert what_follows(replace(REPORT, result=Result.HOLES), "a" * 32, settings) is After.STAY
