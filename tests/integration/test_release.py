"""Steps of a release as real processes: what is run, what is written when, and what is kept."""

import sys
from pathlib import Path

import pytest

from tests.release import inputs
from tests.release.__main__ import PROJECT, Checkout, read_verdicts, run_all
from tests.release.planning import Result, Step
from tests.release.steps import release_steps
from tests.vm.images import ImageError


class Paper(Checkout):
    """Inputs of which a file tells the digest, so that a step can change them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text("first")

    def digests(self, steps: tuple[Step, ...]) -> dict[str, str]:
        return {step.name: self.file.read_text() for step in steps}


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "inputs")


def step(name: str, script: str) -> Step:
    return Step(name, (sys.executable, "-c", script), ("",))


def counting(name: str, directory: Path, then: str = "") -> Step:
    """A step that leaves a line each time it is run."""
    return step(name, f"open({str(directory / name)!r}, 'a').write('run\\n'); {then}")


def runs(directory: Path, name: str) -> int:
    file = directory / name
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_what_passed_is_kept_until_its_inputs_change(
    paper: Paper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "build/release.json"
    steps = (counting("good", tmp_path), counting("bad", tmp_path, "raise SystemExit(7)"))
    assert run_all(steps, paper, document, tmp_path) == 1
    assert "bad ended with status 7" in capsys.readouterr().out
    kept = read_verdicts(document)
    assert [kept[name].result for name in ("good", "bad")] == [Result.PASSED, Result.FAILED]
    assert run_all(steps, paper, document, tmp_path) == 1
    assert (runs(tmp_path, "good"), runs(tmp_path, "bad")) == (1, 2)
    paper.file.write_text("second")
    assert run_all(steps[:1], paper, document, tmp_path) == 0
    assert runs(tmp_path, "good") == 2


def test_a_broken_off_run_goes_on_where_it_was(paper: Paper, tmp_path: Path) -> None:
    document = tmp_path / "release.json"
    steps = (counting("first", tmp_path), Step("second", ("/no/such/program",), ("",)))
    with pytest.raises(OSError, match="/no/such/program"):
        run_all(steps, paper, document, tmp_path)
    assert list(read_verdicts(document)) == ["first"]
    assert run_all((steps[0], counting("second", tmp_path)), paper, document, tmp_path) == 0
    assert (runs(tmp_path, "first"), runs(tmp_path, "second")) == (1, 1)


def test_inputs_that_change_meanwhile_leave_no_verdict(
    paper: Paper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "release.json"
    change = step("check", f"open({str(paper.file)!r}, 'w').write('second')")
    assert run_all((change,), paper, document, tmp_path) == 1
    assert "check has no verdict" in capsys.readouterr().out
    assert read_verdicts(document) == {}


def test_the_inputs_of_this_checkout_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.release.__main__.iso_digest", lambda iso: "0" * 64)
    steps = release_steps("x.iso", "build/boot-matrix")
    checkout = Checkout(PROJECT, Path("x.iso"))
    first = checkout.digests(steps)
    assert set(first) == {one.name for one in steps}
    assert len(set(first.values())) == len(first)
    assert checkout.digests(steps) == first
    monkeypatch.setenv("ACCEL", "another")
    assert checkout.digests(steps)["check"] != first["check"]


def test_an_iso_that_was_not_built_here_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="run `make iso` first"):
        inputs.iso_digest(tmp_path / "other.iso")
