"""What the trials of mutants say, in sentences. No I/O."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from tests.mutate.mutants import Mutant
from tests.mutate.processes import Result, Verdict


def line_of(result: Result) -> str:
    """One trial in a line, with its seconds of the processor."""
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


def summary(
    results: Sequence[Result], names: Collection[str], equivalent: Mapping[str, str]
) -> Iterator[str]:
    """How many changes were noticed, and why the others were not tried."""
    killed = sum(one.verdict is not Verdict.SURVIVED for one in results)
    used = sum(one.seconds for one in results)
    yield f"{len(names)} changes: {killed} noticed, {len(results) - killed} not noticed"
    yield f"{used:.0f} s of the processor, {used / max(len(results), 1):.2f} s for each"
    reasons = Counter(equivalent[name] for name in names if name in equivalent)
    for reason, count in reasons.most_common():
        yield f"{count} not tried: {reason}"


def _files(tests: tuple[str, ...]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in tests)
