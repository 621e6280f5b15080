"""What the tests with whole machines, or with whole copies, start from."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload.wire.tls import make_site_key
from tests.integration.copy_images import Images, make_source, make_target
from tests.integration.harness import Bench
from tests.integration.server_image import MIB, make_image, make_server


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    make_site_key(tmp_path / "site")
    with contextlib.ExitStack() as stack:
        yield Bench(tmp_path, tmp_path / "site", stack)


@pytest.fixture
def server(tmp_path) -> list[Path]:
    (tmp_path / "server").mkdir()
    images = make_server(tmp_path / "server")
    return [images.system, images.data]


@pytest.fixture
def blanks(tmp_path) -> list[Path]:
    return [make_image(tmp_path / "t0.img", 120 * MIB), make_image(tmp_path / "t1.img", 32 * MIB)]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """For all copies of a worker: nothing may write to it."""
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Images]:
    yield make_target(tmp_path / "target")
    shutil.rmtree(tmp_path / "target")
