"""Which functions each unit test calls, and how long it takes: from a run of the code as it is."""

import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mutate.mutants import Mutant


@dataclass(frozen=True)
class Reach:
    """Of one test: the processor's seconds, and module and name of the functions it calls."""

    seconds: float
    called: frozenset[tuple[str, str]]


class Recorder:
    """A plugin that writes the reach of each test into a file. `note` is called by whatever is
    called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._called: set[tuple[str, str]] = set()
        self._reached: dict[str, Reach] = {}

    def note(self, module: str, name: str) -> None:
        self._called.add((module, name))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._called.clear()
        begun = time.process_time()
        result = yield
        seconds = time.process_time() - begun
        self._reached[item.nodeid] = Reach(seconds, frozenset(self._called))
        return result

    def pytest_sessionfinish(self) -> None:
        self._path.write_bytes(pickle.dumps(self._reached))


def choose(
    items: Sequence[pytest.Item],
    mutant: Mutant,
    files: Sequence[str],
    reached: Mapping[str, Reach],
) -> list[pytest.Item]:
    """The tests of these files that can notice a change, the quickest first. Who reads a constant
    is not known."""
    name = (mutant.module, mutant.scope)
    chosen = (
        item
        for item in items
        if str(item.path) in files
        and (not mutant.is_in_function or name in reached[item.nodeid].called)
    )
    return sorted(chosen, key=lambda item: reached[item.nodeid].seconds)
