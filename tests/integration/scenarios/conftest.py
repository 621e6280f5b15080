"""A scenario starts from disks that are made once for all, and leaves nothing behind."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine_bench import Bench
from tests.support.prepared_disks import PreparedDisks
from tests.support.scenario import Scenario


@pytest.fixture
def case(shared_directory: Path, tmp_path: Path) -> Iterator[Scenario]:
    made = PreparedDisks(shared_directory, tmp_path)
    with contextlib.ExitStack() as stack:
        yield Scenario(Bench(tmp_path, made.site, stack), made)
    shutil.rmtree(tmp_path)
