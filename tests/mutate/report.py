"""What the trials of mutants say, in sentences. No I/O."""

from collections.abc import Collection, Iterable, Mapping

from tests.mutate.mutants import Mutant
from tests.mutate.trial import Result, Verdict


def line_of(result: Result) -> str:
    """One trial in a line, with its seconds."""
    return f"{result.seconds:6.1f} s  {result.verdict.value}: {result.mutant}"


def failures(
    results: Iterable[Result],
    tests: Mapping[Mutant, tuple[str, ...]],
    names: Collection[str],
    equivalent: Mapping[str, str],
    modules: Collection[str],
) -> list[str]:
    """A sentence for each change that no test noticed, and for each that is listed as no
    difference and cannot be made any more. `tests` guard each change; `names` are those of all
    changes to these `modules`."""
    survived = [
        f"SURVIVED: {mutant}. No test of {_files(tests[mutant])} fails: write one."
        for mutant in (one.mutant for one in results if one.verdict is Verdict.SURVIVED)
        if mutant is not None
    ]
    stale = [
        f"GONE: {name} is listed as no difference ({reason}), but the code has no such place any"
        " more. Take it off the list in tests/mutate/rule.py."
        for name, reason in equivalent.items()
        if name not in names and any(name.startswith(f"{module}.") for module in modules)
    ]
    return survived + stale


def _files(tests: tuple[str, ...]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in tests)
