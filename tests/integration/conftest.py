"""What the tests with whole machines, or with whole copies, start from."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload.wire.tls import make_site_key
from tests.support.machine_bench import Bench
from tests.support.mount_namespace import leave_common_mounts
from tests.support.once import made_once
from tests.support.prepared_disks import PreparedDisks
from tests.support.server_image import MIB, make_image
from tests.support.stream_disks import Images, find_source, make_source, make_target


@pytest.fixture(scope="session", autouse=True)
def mounts_of_its_own() -> None:
    """For each worker."""
    leave_common_mounts()


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One for all workers of this test run."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    make_site_key(tmp_path / "site")
    with contextlib.ExitStack() as stack:
        yield Bench(tmp_path, tmp_path / "site", stack)


@pytest.fixture
def server(shared_directory: Path, tmp_path: Path) -> list[Path]:
    return PreparedDisks(shared_directory, tmp_path).server()


@pytest.fixture
def blanks(tmp_path: Path) -> list[Path]:
    return [make_image(tmp_path / "t0.img", 120 * MIB), make_image(tmp_path / "t1.img", 32 * MIB)]


@pytest.fixture(scope="session")
def source(shared_directory: Path) -> Images:
    """For all copies of all workers: nothing may write to it."""
    return find_source(made_once(shared_directory / "source", make_source))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Images]:
    yield make_target(tmp_path / "target")
    shutil.rmtree(tmp_path / "target")
