"""The steps of a release, in the order in which they are worth knowing."""

import sys
from pathlib import Path

from tests.release.planning import Step
from tests.vm.case import Case
from tests.vm.matrix import CASES, module_of

PROJECT = Path(__file__).resolve().parents[2]
# What makes a program of ours behave as it does, whatever is tried with it.
_COMMON = ("Makefile", ".ci/packages", "pyproject.toml", "requirements.lock",
           "requirements-dev.lock", "payload", "autorun", "tests/__init__.py", "tests/conftest.py",
           "tests/support", "tests/fixtures")  # fmt: skip
_MEDIUM = ("live-build", "iso-config")


def release_steps(iso: str, matrix: str) -> tuple[Step, ...]:
    """All of them, for this ISO. `matrix` is the directory of the boot matrix."""
    return (
        Step("check", ("make", "check"), ("",)),
        Step("mutate", ("make", "mutate"), (*_COMMON, "tests/unit", "tests/mutate")),
        Step(
            "integration",
            ("make", "test-integration"),
            (*_COMMON, *_MEDIUM, "tests/integration", "tests/vm", "tests/soak.py", "tests/bench"),
        ),
        Step("soak", ("make", "soak"), (*_COMMON, "tests/soak.py")),
        Step(
            "test-vm",
            ("make", "test-vm"),
            (*_COMMON, *_MEDIUM, "tests/vm"),
            with_iso=True,
        ),
        *(_step_of(case, iso, matrix) for case in CASES),
    )


def name_of(number: int) -> str:
    return f"boot matrix, case {number}"


def _step_of(case: Case, iso: str, matrix: str) -> Step:
    others = {module_of(other) for other in CASES} - {module_of(case)}
    words = ("-m", "tests.vm.matrix", "--iso", iso, "--output", matrix)
    return Step(
        name_of(case.number),
        (sys.executable, *words, "--case", str(case.number)),
        (*_COMMON, *_MEDIUM, "tests/vm"),
        without=tuple(sorted(str(path.relative_to(PROJECT)) for path in others)),
        with_iso=True,
        after=name_of(case.after) if case.after else "",
    )
