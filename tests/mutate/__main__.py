"""Takes every condition of the rule about overwriting away, one at a time: `make mutate`.

    python -m tests.mutate [--only MODULE ...] [--list]

A test has to fail for each. Exit status: 0 every change was noticed, 1 one was not (its sentence is
among the last lines), or the list of what is no difference names a change that cannot be made any
more.
"""

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutate.mutants import Mutant, Target, TargetError, mutants_of
from tests.mutate.processes import Plan, TrialError
from tests.mutate.report import failures, line_of, summary
from tests.mutate.rule import EQUIVALENT, TARGETS
from tests.mutate.trial import load_libraries, try_mutants

UNIT_TESTS = Path(__file__).parents[1] / "unit"
CPU_LIMIT = 60  # seconds of the processor for the tests of one mutant, which take some
LIMIT = 600.0  # seconds, for tests that wait for ever
OPTIONS = ("--hypothesis-profile=mutate",)


def find_mutants(targets: Sequence[Target]) -> dict[Mutant, tuple[str, ...]]:
    """Each change, with the files of unit tests that guard it. Raises TargetError."""
    made: dict[Mutant, tuple[str, ...]] = {}
    for target in targets:
        spec = importlib.util.find_spec(target.module)
        if spec is None or spec.origin is None:
            raise TargetError(f"There is no module {target.module}.")
        tests = tuple(str(UNIT_TESTS / f"{name}.py") for name in target.tests)
        for mutant in mutants_of(target, Path(spec.origin).read_text()):
            made[mutant] = tests
    return made


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate")
    parser.add_argument("--only", nargs="+", default=[], metavar="MODULE",
                        help="as payload.decide.role")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="only say what would be tried")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    targets = [one for one in TARGETS if not given.only or one.module in given.only]
    try:
        mutants = find_mutants(targets)
        tried = {one: tests for one, tests in mutants.items() if one.name not in EQUIVALENT}
        if given.list:
            print(*tried, sep="\n")
            return 0
        load_libraries()
        jobs = len(os.sched_getaffinity(0))
        print(f"mutate: {len(tried)} changes, {jobs} at a time", flush=True)
        plan = Plan(tried, jobs, CPU_LIMIT, LIMIT, OPTIONS)
        results = try_mutants(plan, lambda result: print(line_of(result), flush=True))
    except (TargetError, TrialError) as error:
        print(f"mutate: {error}")
        return 1
    modules = {target.module for target in targets}
    names = {one.name for one in mutants}
    sentences = failures(results, mutants, names, EQUIVALENT, modules)
    print(*sentences, sep="\n")
    print(*(f"mutate: {line}" for line in summary(results, names, EQUIVALENT)), sep="\n")
    print(f"mutate: {len(sentences)} failures, {time.monotonic() - begun:.0f} s")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
