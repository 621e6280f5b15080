"""Which steps of a release are still to be run, given what passed before. No I/O."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True)
class Step:
    """A part of what a release has to pass.

    `paths` are the files and directories of the checkout, `without` those among them, whose change
    makes a verdict void. `after` names the step whose disks this one goes on with.
    """

    name: str
    argv: tuple[str, ...]
    paths: tuple[str, ...]
    without: tuple[str, ...] = ()
    with_iso: bool = False
    after: str = ""


@dataclass(frozen=True)
class Verdict:
    """How a step ended with inputs of this digest. One line of build/release.json."""

    name: str
    result: Result
    sentence: str
    digest: str
    seconds: float
    finished: str  # when, in UTC


@dataclass(frozen=True)
class PlannedStep:
    """A step to be run, and why; or one whose verdict is kept, where `reason` is empty."""

    step: Step
    reason: str


def plan_steps(
    steps: Sequence[Step],
    digests: Mapping[str, str],
    verdicts: Mapping[str, Verdict],
    without_disks: Collection[str],
) -> tuple[PlannedStep, ...]:
    """All steps in their order. Only one that passed with inputs of the same digest is kept.
    `digests` are by name of the step, `without_disks` the steps whose disks are not there."""
    reasons = {step.name: _reason(digests[step.name], verdicts.get(step.name)) for step in steps}
    for step in reversed(steps):  # one that goes on with another's disks stands behind it
        if step.after and reasons[step.name] and step.after in without_disks:
            reasons[step.after] = reasons[step.after] or f"{step.name} goes on with its disks"
    return tuple(PlannedStep(step, reasons[step.name]) for step in steps)


def _reason(digest: str, verdict: Verdict | None) -> str:
    if verdict is None:
        return "it was never run"
    if verdict.digest != digest:
        return "what it is run with changed"
    return "" if verdict.result is Result.PASSED else "it failed"


def selected(step: Step, files: Iterable[str]) -> list[str]:
    """The files of the checkout that a verdict on this step depends on, sorted."""
    return sorted(
        file for file in files if _is_below(file, step.paths) and not _is_below(file, step.without)
    )


def _is_below(file: str, paths: Iterable[str]) -> bool:
    return any(path in ("", file) or file.startswith(f"{path}/") for path in paths)


def render_plan(plan: Sequence[PlannedStep], verdicts: Mapping[str, Verdict]) -> list[str]:
    """A line for each step, for people."""
    lines = []
    for planned in plan:
        name = planned.step.name
        if planned.reason:
            lines.append(f"to run  {name}: {planned.reason}")
        else:
            verdict = verdicts[name]
            lines.append(f"kept    {name}: passed {verdict.finished}, {verdict.seconds:.0f} s")
    return lines


def failures(plan: Sequence[PlannedStep], verdicts: Mapping[str, Verdict]) -> list[str]:
    """A sentence for each step that did not pass."""
    sentences = []
    for planned in plan:
        verdict = verdicts.get(planned.step.name)
        if verdict is None:
            sentences.append(f"{planned.step.name} has no verdict.")
        elif verdict.result is Result.FAILED:
            sentences.append(verdict.sentence)
    return sentences
