"""Mutants are tried in real processes: a toy of the rule, with tests that notice some of it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutate.mutants import Mutant, Target, mutants_of
from tests.mutate.processes import Plan, Result, TrialError, Verdict
from tests.mutate.trial import try_mutants

TOY = """
LIMITS = (10, 20)
STEPS = ("begin", "end")
COUNT = len(STEPS)
CHECKS = (lambda size: size > 0, lambda size: size < 90)

def allowed(blank, named):
    if not blank and not named:
        raise ValueError("neither")
    return True

def inside(size):
    return LIMITS[0] < size < LIMITS[1]

def count():
    return COUNT

def is_sound(size):
    return all(check(size) for check in CHECKS)

def unused(size):
    return size == 1
"""
TESTS = """
import pytest
from mutate_toy import allowed, count, inside, is_sound

def test_neither():
    with pytest.raises(ValueError):
        allowed(False, False)

def test_named():
    assert allowed(False, True)

def test_inside():
    assert inside(15) and not inside(20)

def test_count():
    assert count() == 2

def test_is_sound():
    assert is_sound(1) and not is_sound(0)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mutate_toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TESTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert "mutate_toy" not in sys.modules, "it was imported by this process"


def plan(toy: Path, mutants: list[Mutant], cpu_limit: int = 60) -> Plan:
    options = ("--rootdir", str(toy), "--confcutdir", str(toy), "-c", "/dev/null")
    return Plan(dict.fromkeys(mutants, (str(toy / "test_toy.py"),)), 2, cpu_limit, 300.0, options)


def tried(toy: Path) -> dict[str, Verdict]:
    results: list[Result] = []
    mutants = mutants_of(Target("mutate_toy", ("test_toy",)), TOY)
    assert len(try_mutants(plan(toy, mutants), results.append)) == len(mutants)
    return {
        f"{one.mutant.scope}: {one.mutant.change}": one.verdict for one in results if one.mutant
    }


def test_each_change_is_tried_in_a_process_of_its_own(toy: Path) -> None:
    verdicts = tried(toy)
    assert verdicts["allowed: `not blank and (not named)` never holds"] is Verdict.KILLED
    assert verdicts["allowed: without `and not named`"] is Verdict.KILLED
    assert verdicts["allowed: without `and not blank`"] is Verdict.SURVIVED
    assert verdicts["LIMITS: without the element `10`"] is Verdict.KILLED
    assert verdicts["CHECKS: `size > 0` is always True"] is Verdict.KILLED
    assert verdicts["CHECKS: `size < 90` is always True"] is Verdict.SURVIVED
    assert verdicts["unused: `size == 1` is always True"] is Verdict.SURVIVED
    assert (toy / "mutate_toy.py").read_text() == TOY


def test_a_constant_that_was_read_while_it_was_imported_is_tried_again(toy: Path) -> None:
    """`COUNT` keeps its value when `STEPS` is changed later."""
    assert tried(toy)["STEPS: without the element `'begin'`"] is Verdict.KILLED


def test_tests_that_fail_by_themselves_prove_nothing(toy: Path) -> None:
    (toy / "test_toy.py").write_text("def test_it():\n    assert False\n")
    with pytest.raises(TrialError, match="fail without any change"):
        tried(toy)


def test_tests_that_cannot_be_collected_prove_nothing(toy: Path) -> None:
    (toy / "test_toy.py").write_text("import no_such_module\n")
    with pytest.raises(TrialError, match="no_such_module"):
        tried(toy)


def test_a_change_that_never_ends_is_noticed_by_that(toy: Path) -> None:
    (toy / "mutate_toy.py").write_text(
        "def wait(busy):\n    while True:\n        if not busy:\n            return\n"
    )
    (toy / "test_toy.py").write_text("from mutate_toy import wait\ndef test_it(): wait(False)\n")
    mutants = mutants_of(Target("mutate_toy", ()), (toy / "mutate_toy.py").read_text())
    (endless,) = (one for one in mutants if one.change == "`not busy` never holds")
    (result,) = try_mutants(plan(toy, [endless], cpu_limit=2), lambda result: None)
    assert result.verdict is Verdict.ENDLESS
