"""Never the wrong way round: every pair of machines through the real thing.

Two or three payload processes with sparse files as disks; afterwards the bytes of the target's
disks and the hashes of all that must not change are looked at. A run spends most of its time
waiting, so all scenarios that were asked for run side by side, and each test waits for its own.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.integration import scenarios_pairs, scenarios_under_way  # noqa: F401 they fill SCENARIOS
from tests.integration.harness import Bench
from tests.integration.scenario import SCENARIOS, Scenario
from tests.integration.workshop import Workshop

# One worker for all of them: they are played side by side already.
pytestmark = [pytest.mark.root, pytest.mark.xdist_group("decisions")]
AT_ONCE = 8
NAME = "test_decision"


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[[Scenario], None], "Future[None]"]]:
    """Every scenario of this session, begun. The first copy is made in the meantime."""
    directory = tmp_path_factory.mktemp("decisions")
    made = Workshop(directory, directory / "site")
    made.prepare()
    asked = [
        item.callspec.params["work"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and getattr(item, "originalname", "") == NAME
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {work: pool.submit(play, work, made) for work in asked}
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(directory)


def play(work: Callable[[Scenario], None], made: Workshop) -> None:
    with contextlib.ExitStack() as stack:
        directory = made.directory / f"play-{work.__name__}"
        directory.mkdir()
        work(Scenario(Bench(directory, made.site, stack), made))


@pytest.mark.parametrize("work", SCENARIOS, ids=lambda work: work.__name__)
def test_decision(
    work: Callable[[Scenario], None],
    running: dict[Callable[[Scenario], None], "Future[None]"],
) -> None:
    running[work].result()
