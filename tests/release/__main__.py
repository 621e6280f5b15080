"""Runs what a release has to pass and did not pass yet as it is now: `make release-check`.

    python -m tests.release --iso ISO [--output build/release.json] [--list]

Each verdict is written to OUTPUT when it is known, so that a run which was broken off goes on where
it was. It holds for the very inputs it was made with; a failure is run again. Exit status: 0 all
passed, 1 not all (the reasons are the last lines).
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from payload.model.codec import DocumentError, from_json, to_pretty_json
from tests.release.inputs import digest_of_step, files_of, host_digest, iso_digest
from tests.release.planning import (
    Result,
    Step,
    Verdict,
    failures,
    plan_steps,
    render_plan,
)
from tests.release.steps import name_of, release_steps
from tests.vm.images import ImageError
from tests.vm.matrix import CASES

PROJECT = Path(__file__).resolve().parents[2]


def read_verdicts(document: Path) -> dict[str, Verdict]:
    """By name of the step; none when there is no such document, or it cannot be understood."""
    try:
        known = from_json(tuple[Verdict, ...], document.read_bytes())
    except FileNotFoundError:
        return {}
    except DocumentError as error:
        print(f"release: {document} is not believed: {error}")
        return {}
    return {verdict.name: verdict for verdict in known}


def write_verdicts(document: Path, verdicts: Mapping[str, Verdict]) -> None:
    """All at once: whoever reads meanwhile, or after a crash, sees the old or the new."""
    document.parent.mkdir(parents=True, exist_ok=True)
    unfinished = document.with_suffix(".unfinished")
    unfinished.write_bytes(to_pretty_json(tuple(verdicts.values())))
    unfinished.replace(document)


class Checkout:
    """The inputs of the steps, as they are at the moment of asking."""

    def __init__(self, project: Path, iso: Path) -> None:
        self._project = project
        self._iso = iso

    def digests(self, steps: tuple[Step, ...]) -> dict[str, str]:
        """By name of the step. Raises ImageError and OSError."""
        host, iso = host_digest(self._project), iso_digest(self._iso)
        files = files_of(self._project)
        return {step.name: digest_of_step(step, self._project, files, host, iso) for step in steps}


def run_step(step: Step, digest: str, project: Path) -> Verdict:
    begun = time.monotonic()
    code = subprocess.run(step.argv, cwd=project, check=False).returncode
    seconds = round(time.monotonic() - begun, 1)
    words = f"{step.name} ended with status {code} after {seconds:.0f} s"
    return Verdict(
        step.name,
        Result.FAILED if code else Result.PASSED,
        f"{words}: `{' '.join(step.argv)}`.",
        digest,
        seconds,
        time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    )


def run_all(steps: tuple[Step, ...], checkout: Checkout, document: Path, matrix: Path) -> int:
    """Raises ImageError and OSError when the inputs cannot be read."""
    verdicts = read_verdicts(document)
    plan = plan_steps(steps, checkout.digests(steps), verdicts, without_disks(matrix))
    print(*render_plan(plan, verdicts), sep="\n", flush=True)
    for planned in plan:
        step = planned.step
        if not planned.reason:
            continue
        print(f"release: {step.name}", flush=True)
        digest = checkout.digests((step,))[step.name]
        verdicts.pop(step.name, None)
        write_verdicts(document, verdicts)
        verdict = run_step(step, digest, PROJECT)
        if checkout.digests((step,))[step.name] != digest:
            print(f"release: {step.name}: what it is run with changed meanwhile; no verdict.")
            continue
        verdicts[step.name] = verdict
        write_verdicts(document, verdicts)
        print(f"release: {step.name} {verdict.result.value}, {verdict.seconds:.0f} s", flush=True)
    sentences = failures(plan, verdicts)
    print(*(f"release: {sentence}" for sentence in sentences), sep="\n")
    print(f"release: {len(plan) - len(sentences)} of {len(plan)} steps passed.")
    return 1 if sentences else 0


def without_disks(matrix: Path) -> list[str]:
    """The cases whose copy is not there any more for another to go on with."""
    gone = [case for case in CASES if not list((matrix / f"case-{case.number}").glob("target*"))]
    return [name_of(case.number) for case in gone]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("--iso", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("build/release.json"))
    parser.add_argument("--list", action="store_true", help="only say what would be run")
    given = parser.parse_args(arguments)
    matrix = Path("build/boot-matrix")
    steps = release_steps(str(given.iso), str(matrix))
    checkout = Checkout(PROJECT, given.iso)
    try:
        if given.list:
            verdicts = read_verdicts(given.output)
            plan = plan_steps(steps, checkout.digests(steps), verdicts, without_disks(matrix))
            print(*render_plan(plan, verdicts), sep="\n")
            return 0
        return run_all(steps, checkout, given.output, matrix)
    except (ImageError, OSError) as error:
        print(f"release: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
