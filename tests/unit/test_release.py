"""What a release still has to pass: kept is only what passed with the very same inputs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.release.__main__ import read_verdicts, write_verdicts
from tests.release.inputs import digest_of_step
from tests.release.planning import (
    Result,
    Step,
    Verdict,
    failures,
    plan_steps,
    render_plan,
    selected,
)
from tests.release.steps import name_of, release_steps
from tests.vm.matrix import CASES

CHECK = Step("check", ("make", "check"), ("",))
FIRST = Step("first copy", ("true",), ("payload",), with_iso=True)
SECOND = Step("refresh", ("true",), ("payload",), with_iso=True, after="first copy")
STEPS = (CHECK, FIRST, SECOND)
DIGESTS = {"check": "c", "first copy": "f", "refresh": "r"}


def verdict(name: str, **changed: object) -> Verdict:
    made = Verdict(name, Result.PASSED, f"{name} ended.", DIGESTS[name], 61.0, "2026-03-01 10:00")
    return replace(made, **changed)  # type: ignore[arg-type]


ALL = {name: verdict(name) for name in DIGESTS}


def to_run(verdicts: Mapping[str, Verdict], *gone: str) -> dict[str, str]:
    plan = plan_steps(STEPS, DIGESTS, verdicts, gone)
    assert [one.step for one in plan] == list(STEPS)
    return {one.step.name: one.reason for one in plan if one.reason}


def test_without_verdicts_all_is_run() -> None:
    assert to_run({}) == dict.fromkeys(DIGESTS, "it was never run")


def test_what_passed_with_these_inputs_is_kept() -> None:
    assert to_run(ALL) == {}


def test_a_failure_is_run_again() -> None:
    assert to_run(ALL | {"check": verdict("check", result=Result.FAILED)}) == {"check": "it failed"}


def test_no_verdict_outlives_a_change() -> None:
    assert to_run(ALL | {"check": verdict("check", digest="before")}) == {
        "check": "what it is run with changed"
    }


def test_a_step_whose_disks_another_needs_is_run_again_when_they_are_gone() -> None:
    assert to_run(ALL, "first copy") == {}, "nobody needs them"
    failed = ALL | {"refresh": verdict("refresh", result=Result.FAILED)}
    assert to_run(failed) == {"refresh": "it failed"}
    assert to_run(failed, "first copy") == {
        "first copy": "refresh goes on with its disks",
        "refresh": "it failed",
    }


def test_the_plan_says_what_is_kept_and_why_the_rest_is_run() -> None:
    known = {"check": verdict("check")}
    plan = plan_steps((CHECK, FIRST), DIGESTS, known, ())
    assert render_plan(plan, known) == [
        "kept    check: passed 2026-03-01 10:00, 61 s",
        "to run  first copy: it was never run",
    ]


def test_every_step_without_a_pass_is_a_failure() -> None:
    plan = plan_steps(STEPS, DIGESTS, ALL, ())
    assert failures(plan, ALL) == []
    known = {"check": verdict("check", result=Result.FAILED), "refresh": verdict("refresh")}
    assert failures(plan, known) == ["check ended.", "first copy has no verdict."]


def test_a_step_depends_on_its_files_only() -> None:
    files = ["payload/cli.py", "payload_other.py", "tests/a.py", "tests/vm/b.py", "Makefile"]
    step = Step("", (), ("payload", "tests", "Makefile"), without=("tests/vm",))
    assert selected(step, files) == ["Makefile", "payload/cli.py", "tests/a.py"]
    assert selected(CHECK, files) == sorted(files)


def test_the_digest_follows_content_mode_name_host_and_iso(tmp_path: Path) -> None:
    (tmp_path / "payload").mkdir()
    file = tmp_path / "payload/a.py"
    file.write_text("1")
    files = ["payload/a.py", "payload/deleted.py"]

    def digest(step: Step = FIRST, host: str = "host", iso: str = "iso") -> str:
        return digest_of_step(step, tmp_path, files, host, iso)

    seen = [digest(), digest(host="other"), digest(iso="other")]
    assert digest() == seen[0]
    assert digest(replace(FIRST, with_iso=False), iso="one") == digest(
        replace(FIRST, with_iso=False), iso="another"
    )
    file.write_text("2")
    seen.append(digest())
    file.chmod(0o755)
    seen.append(digest())
    file.rename(tmp_path / "payload/b.py")
    files[0] = "payload/b.py"
    seen.append(digest())
    seen.append(digest(replace(FIRST, argv=("true", "--case"))))
    assert len(set(seen)) == len(seen)


def test_verdicts_are_read_as_they_were_written(tmp_path: Path) -> None:
    document = tmp_path / "build/release.json"
    assert read_verdicts(document) == {}
    write_verdicts(document, ALL)
    assert read_verdicts(document) == ALL
    assert [path.name for path in document.parent.iterdir()] == ["release.json"]


def test_a_damaged_document_keeps_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "release.json"
    document.write_text('[{"name": "check", "result": "maybe"}]')
    assert read_verdicts(document) == {}
    assert "not believed" in capsys.readouterr().out


def test_every_case_of_the_matrix_is_a_step_and_stands_behind_the_one_it_goes_on_with() -> None:
    steps = release_steps("x.iso", "build/boot-matrix")
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert set(names) >= {"check", "mutate", "integration", "soak", "test-vm"}
    for case in CASES:
        step = steps[names.index(name_of(case.number))]
        assert step.with_iso
        assert not step.after or names.index(step.after) < names.index(step.name)
        own = case.recipe.lay_out.__module__.replace(".", "/") + ".py"
        assert own in selected(step, [own])
    changed = "tests/vm/cases/encrypted.py"
    assert [step.name for step in steps[5:] if selected(step, [changed])] == [name_of(10)]
