"""Runs unit tests against mutants, each in a process of its own. No file is changed.

A function is changed after pytest has collected the tests: a process that did so forks for each
mutant, and gives the function its new code. A constant was already read by whoever imports it, so
for those the process is forked before anything of ours is imported, and an import hook gives it
the changed module.
"""

import gc
import importlib
import importlib.machinery
import importlib.util
import os
import pickle
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import BinaryIO

import pytest

from tests.mutate.mutants import Mutant, mutate

# What the payload and its tests import, so that it is imported once.
_LIBRARIES = ("blake3", "cryptography.x509", "hypothesis.strategies", "msgspec", "pyfakefs",
              "pyroute2", "pyudev", "rich.live", "zeroconf", "zstandard")  # fmt: skip
_ENDED_BY_TESTS = (1, 2)  # pytest: a test failed; a test file could not be imported
_FAILED = 3  # pytest: an error of its own


class TrialError(Exception):
    """The tests could not be run, so nothing is known about a mutant."""


class Verdict(Enum):
    KILLED = "killed"
    ENDLESS = "killed, by not ending"
    SURVIVED = "survived"


@dataclass(frozen=True)
class Result:
    """Of one mutant, or, without one, of the code as it is."""

    mutant: Mutant | None
    verdict: Verdict
    seconds: float
    output: str


@dataclass(frozen=True)
class Plan:
    """Mutants and the files of unit tests that guard them. `limit` is in seconds, for one mutant;
    `options` are pytest's; `jobs` mutants are tried at a time."""

    mutants: tuple[Mutant, ...]
    tests: tuple[str, ...]
    jobs: int
    limit: float
    options: tuple[str, ...] = ()


def load_libraries() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)


def try_mutants(plan: Plan, tell: Callable[[Result], None]) -> list[Result]:
    """Run the tests against the code as it is, then against each mutant. Raises TrialError."""
    functions = [one for one in plan.mutants if one.is_in_function]
    constants = [one for one in plan.mutants if not one.is_in_function]
    results = []
    for result in _after_collection(plan, functions):
        if result.mutant is None:
            if result.verdict is not Verdict.SURVIVED:
                raise TrialError(f"The tests fail without any change:\n{result.output}")
        else:
            tell(result)
            results.append(result)

    def take(result: Result) -> None:
        tell(result)
        results.append(result)

    _before_import(plan, constants, take)
    return results


# --- functions


def _after_collection(plan: Plan, mutants: Sequence[Mutant]) -> Iterator[Result]:
    """In a process that is forked here, and sends its results through a pipe."""
    with tempfile.TemporaryFile("w+") as log:
        reading, writing = os.pipe()
        pid = _fork()
        if pid == 0:
            os.close(reading)
            _write_to(log.fileno())
            with os.fdopen(writing, "wb") as sink:
                _collect(plan, mutants, sink)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            while stream.peek(1):
                yield pickle.load(stream)
        if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            log.seek(0)
            files = " ".join(plan.tests)
            raise TrialError(f"The tests of {files} ended with status {code}:\n{log.read()}")


def _collect(plan: Plan, mutants: Sequence[Mutant], sink: BinaryIO) -> None:
    """In the process that collects, and in those it forks; does not return."""
    ours, code = os.getpid(), _FAILED
    try:
        code = _pytest(plan, [_Collected(plan, mutants, sink)])
        sys.stdout.flush()
        sink.flush()
    finally:
        os._exit(code if os.getpid() != ours or code == 0 else _FAILED)


class _Collected:
    """A plugin that runs the collected tests once for the code as it is and for each mutant."""

    def __init__(self, plan: Plan, mutants: Sequence[Mutant], sink: BinaryIO) -> None:
        self._plan = plan
        self._mutants = mutants
        self._sink = sink

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # while they were collected: pytest ends with its own status
        gc.freeze()  # what is loaded stays shared with the processes to come
        runs = [None, *self._mutants]
        with _Runs(self._plan, self._send) as running:
            for mutant in runs:
                if running.begin(mutant):
                    if mutant is not None:
                        change_function(mutant)
                    return None  # in the new process the tests are run now
            running.finish()
        return True

    def _send(self, result: Result) -> None:
        pickle.dump(result, self._sink)
        self._sink.flush()


def change_function(mutant: Mutant) -> None:
    """Give the function that a mutant changes its new code, wherever it is kept by now."""
    module = sys.modules[mutant.module]
    assert module.__file__ is not None
    whole = compile(mutate(Path(module.__file__).read_text(), mutant), module.__file__, "exec")
    (code,) = (one for one in _codes(whole) if one.co_qualname == mutant.scope)
    changed = 0
    gc.unfreeze()  # what is frozen is not among the objects
    for function in gc.get_objects():
        if isinstance(function, FunctionType):
            old = function.__code__
            if (old.co_filename, old.co_qualname) == (module.__file__, mutant.scope):
                function.__code__ = code
                changed += 1
    if not changed:
        raise TrialError(f"{mutant.module} has no {mutant.scope} to change.")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


# --- constants


def _before_import(plan: Plan, mutants: Sequence[Mutant], tell: Callable[[Result], object]) -> None:
    with _Runs(plan, tell) as running:
        for mutant in mutants:
            if running.begin(mutant):
                code = _FAILED
                try:
                    sys.meta_path.insert(0, Finder(mutant))
                    code = _pytest(plan, [])
                    sys.stdout.flush()
                finally:
                    os._exit(code)
        running.finish()


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads one module with a change."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        return compile(mutate(source, self.mutant), self.path, "exec", dont_inherit=True)


class Finder:
    """An import hook that finds one module, changed. To be put before all others."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:
            raise ImportError(f"There is no module {name} to change.")
        loader = _Loader(name, spec.origin)
        loader.mutant = self._mutant
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)


# --- processes


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork()


def _write_to(descriptor: int) -> None:
    """What this process says from now on goes there, whoever caught it before."""
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)


def _pytest(plan: Plan, plugins: Sequence[object]) -> int:
    words = ["-x", "-q", "--tb=line", "--capture=no", "-p", "no:cacheprovider"]
    return int(pytest.main([*words, *plan.options, *plan.tests], plugins=plugins))


@dataclass
class _Run:
    """A process that runs tests against a mutant."""

    mutant: Mutant | None
    pid: int
    descriptor: int
    log: Path
    begun: float
    is_late: bool = False

    def kill(self) -> None:
        self.is_late = True
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def result(self) -> Result:
        code, output = self.wait(), self.log.read_text(errors="replace")
        if self.is_late:
            verdict = Verdict.ENDLESS
        elif code == 0:
            verdict = Verdict.SURVIVED
        elif code in _ENDED_BY_TESTS:
            verdict = Verdict.KILLED
        else:
            what = self.mutant or "the code as it is"
            raise TrialError(f"The tests of {what} ended with status {code}:\n{output}")
        return Result(self.mutant, verdict, time.monotonic() - self.begun, output)


class _Runs:
    """At most `jobs` processes at a time."""

    def __init__(self, plan: Plan, tell: Callable[[Result], object]) -> None:
        self._plan = plan
        self._tell = tell
        self._selector = selectors.DefaultSelector()
        self._scratch = tempfile.TemporaryDirectory()
        self._begun = 0
        self._pid = os.getpid()

    def begin(self, mutant: Mutant | None) -> bool:
        """Fork, when there is room; True in the new process."""
        while len(self._running) >= self._plan.jobs:
            self._take_ended()
        self._begun += 1
        log = Path(self._scratch.name, str(self._begun))
        begun = time.monotonic()
        pid = _fork()
        if pid == 0:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
            _write_to(descriptor)
            return True
        run = _Run(mutant, pid, os.pidfd_open(pid), log, begun)
        self._selector.register(run.descriptor, selectors.EVENT_READ, run)
        return False

    def finish(self) -> None:
        """Wait for all that were begun. Raises TrialError."""
        while self._running:
            self._take_ended()

    @property
    def _running(self) -> list[_Run]:
        return [key.data for key in self._selector.get_map().values()]

    def _take_ended(self) -> None:
        left = min(run.begun for run in self._running) + self._plan.limit - time.monotonic()
        ended = [key.data for key, _ in self._selector.select(max(0.0, left))]
        if not ended:
            ended = [run for run in self._running if self._is_over(run)]
            for run in ended:
                run.kill()
        for run in ended:
            self._selector.unregister(run.descriptor)
            self._tell(run.result())

    def _is_over(self, run: _Run) -> bool:
        return time.monotonic() - run.begun >= self._plan.limit

    def __enter__(self) -> "_Runs":
        return self

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._pid:  # a new process that goes on as such
            self._scratch._finalizer.detach()  # type: ignore[attr-defined]
            return
        for run in self._running:
            run.kill()
            run.wait()
        self._selector.close()
        self._scratch.cleanup()
