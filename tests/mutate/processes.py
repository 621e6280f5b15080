"""Runs of unit tests in forked processes, some at a time."""

import os
import resource
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from tests.mutate.mutants import Mutant

FAILED = 3  # pytest: an error of its own
_ENDED_BY_TESTS = (1, 2)  # pytest: a test failed; a test file could not be imported


class TrialError(Exception):
    """The tests could not be run, so nothing is known about a mutant."""


class Verdict(Enum):
    KILLED = "killed"
    ENDLESS = "killed, by not ending"
    SURVIVED = "survived"


@dataclass(frozen=True)
class Result:
    """Of one mutant, or, without one, of the code as it is. `seconds` are of the processor."""

    mutant: Mutant | None
    verdict: Verdict
    seconds: float
    output: str


@dataclass(frozen=True)
class Plan:
    """Mutants, each with the files of unit tests that guard it. `jobs` mutants are tried at a
    time; `cpu_limit` is in seconds of the processor and `limit` in seconds, both for one mutant;
    `options` are pytest's."""

    tests: Mapping[Mutant, tuple[str, ...]]
    jobs: int
    cpu_limit: int
    limit: float
    options: tuple[str, ...] = ()

    @property
    def modules(self) -> frozenset[str]:
        return frozenset(mutant.module for mutant in self.tests)

    @property
    def files(self) -> tuple[str, ...]:
        """Of all unit tests."""
        return tuple(dict.fromkeys(path for paths in self.tests.values() for path in paths))


def fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork()


def write_to(descriptor: int) -> None:
    """What this process says from now on goes there, whoever caught it before."""
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)


def run_pytest(plan: Plan, files: Sequence[str], plugins: Sequence[object] = ()) -> int:
    words = ["-x", "-q", "--tb=line", "--capture=no", "-p", "no:cacheprovider"]
    return int(pytest.main([*words, *plan.options, *files], plugins=plugins))


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

    def wait(self) -> tuple[int, float]:
        """The exit code, and the seconds of the processor."""
        os.close(self.descriptor)
        _, status, used = os.wait4(self.pid, 0)
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime

    def result(self) -> Result:
        code, seconds = self.wait()
        output = self.log.read_text(errors="replace")
        if self.is_late or code == -signal.SIGXCPU:
            verdict = Verdict.ENDLESS
        elif code == 0:
            verdict = Verdict.SURVIVED
        elif code in _ENDED_BY_TESTS:
            verdict = Verdict.KILLED
        else:
            what = self.mutant or "the code as it is"
            raise TrialError(f"The tests of {what} ended with status {code}:\n{output}")
        return Result(self.mutant, verdict, seconds, output)


class Runs:
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
        pid = fork()
        if pid == 0:
            write_to(os.open(log, os.O_WRONLY | os.O_CREAT))
            if mutant is not None:
                limit = self._plan.cpu_limit
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))  # SIGXCPU, SIGKILL
                signal.signal(signal.SIGXCPU, signal.SIG_DFL)
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

    def __enter__(self) -> "Runs":
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
