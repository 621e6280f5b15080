"""Runs unit tests against mutants, each in a process of its own. No file is changed.

A process that has collected the tests forks for each mutant, and the new process gives the function
or the constant its change. It runs the tests that call the function, as a run of the code as it is
has shown, the quickest first. Whoever copied a constant while it was imported keeps the old value:
a change of one that survives is tried again in a process that is forked before anything of ours is
imported, where an import hook gives it the changed module.
"""

import gc
import importlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.mutate.change import (
    Finder,
    Functions,
    change_constant,
    change_function,
    functions_of,
    report_calls,
)
from tests.mutate.mutants import Mutant
from tests.mutate.processes import (
    FAILED,
    Plan,
    Result,
    Runs,
    TrialError,
    Verdict,
    fork,
    run_pytest,
    write_to,
)
from tests.mutate.reach import Reach, Recorder, choose

# What the payload and its tests import, so that it is imported once.
_LIBRARIES = ("blake3", "cryptography.x509", "hypothesis.strategies", "msgspec", "pyfakefs",
              "pyroute2", "pyudev", "rich.live", "zeroconf", "zstandard")  # fmt: skip


def load_libraries() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)


def try_mutants(plan: Plan, tell: Callable[[Result], None]) -> list[Result]:
    """Run the tests against the code as it is, then against each mutant. Raises TrialError."""
    results: list[Result] = []
    again: list[Mutant] = []

    def take(result: Result) -> None:
        tell(result)
        results.append(result)

    for result in _after_collection(plan):
        mutant = result.mutant
        if mutant is None:
            if result.verdict is not Verdict.SURVIVED:
                raise TrialError(f"The tests fail without any change:\n{result.output}")
        elif result.verdict is Verdict.SURVIVED and not mutant.is_in_function:
            again.append(mutant)
        else:
            take(result)
    _before_import(plan, again, take)
    return results


# --- what is imported already


def _after_collection(plan: Plan) -> Iterator[Result]:
    """In a process that is forked here, and sends its results through a pipe."""
    with tempfile.TemporaryFile("w+") as log:
        reading, writing = os.pipe()
        pid = fork()
        if pid == 0:
            os.close(reading)
            write_to(log.fileno())
            with os.fdopen(writing, "wb") as sink:
                _collect(plan, sink)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            while stream.peek(1):
                yield pickle.load(stream)
        if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            log.seek(0)
            files = " ".join(plan.files)
            raise TrialError(f"The tests of {files} ended with status {code}:\n{log.read()}")


def _collect(plan: Plan, sink: BinaryIO) -> None:
    """In the process that collects, and in those it forks; does not return."""
    ours, code = os.getpid(), FAILED
    try:
        with tempfile.TemporaryDirectory() as scratch:
            code = run_pytest(plan, plan.files, [_Collected(plan, sink, Path(scratch, "reach"))])
            sys.stdout.flush()
            sink.flush()
            if os.getpid() != ours:
                os._exit(code)
    finally:
        os._exit(code if os.getpid() != ours or code == 0 else FAILED)


class _Collected:
    """A plugin that runs the collected tests once for the code as it is and for each mutant."""

    def __init__(self, plan: Plan, sink: BinaryIO, reach: Path) -> None:
        self._plan = plan
        self._sink = sink
        self._reach = reach

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # while they were collected: pytest ends with its own status
        for name in self._plan.modules:
            importlib.import_module(name)
        functions = functions_of(self._plan.modules)
        with Runs(self._plan, self._send) as running:
            if running.begin(None):
                recorder = Recorder(self._reach)
                report_calls(functions, recorder.note)
                session.config.pluginmanager.register(recorder)
                return None  # in the new process the tests are run now
            running.finish()
            reached: dict[str, Reach] = pickle.loads(self._reach.read_bytes())
            gc.collect()
            gc.freeze()  # what is loaded stays shared with the processes to come
            for mutant, files in self._plan.tests.items():
                if running.begin(mutant):
                    _change(mutant, functions)
                    session.items[:] = choose(session.items, mutant, files, reached)
                    return None
            running.finish()
        return True

    def _send(self, result: Result) -> None:
        pickle.dump(result, self._sink)
        self._sink.flush()
        if result.mutant is None and result.verdict is not Verdict.SURVIVED:
            raise TrialError("The tests fail without any change.")


def _change(mutant: Mutant, functions: Functions) -> None:
    if mutant.is_in_function:
        change_function(mutant, functions)
        return
    try:
        change_constant(mutant)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # No test could import its module then.
        pytest.exit(f"The changed constant has no value: {error!r}", returncode=1)


# --- what is not imported yet


def _before_import(plan: Plan, mutants: Sequence[Mutant], tell: Callable[[Result], object]) -> None:
    with Runs(plan, tell) as running:
        for mutant in mutants:
            if running.begin(mutant):
                code = FAILED
                try:
                    sys.meta_path.insert(0, Finder(mutant))
                    code = run_pytest(plan, plan.tests[mutant])
                    sys.stdout.flush()
                finally:
                    os._exit(code)
        running.finish()
