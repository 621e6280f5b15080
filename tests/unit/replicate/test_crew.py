"""Threads at one job: it ends as a whole, with the error that says most."""

import threading
from collections.abc import Callable

import pytest

from payload.model.errors import (
    LinkError,
    PeerError,
    SourceDiskError,
    StoppedError,
    TargetDiskError,
)
from payload.replicate.crew import Crew, work_together
from tests.support.waiting import PATIENCE


def test_the_error_that_says_most_is_raised_and_all_have_ended() -> None:
    stop = threading.Event()
    ended: list[str] = []

    def disk() -> None:
        raise TargetDiskError("the disk")

    def link() -> None:
        stop.wait(5.0)
        ended.append("link")
        raise LinkError("the others closed it")

    with pytest.raises(TargetDiskError):
        work_together([link, disk, link], stop.set)
    assert ended == ["link", "link"]


def raising(error: BaseException, after: threading.Event | None = None) -> Callable[[], None]:
    def work() -> None:
        assert after is None or after.wait(PATIENCE)
        raise error

    return work


def test_all_done_is_no_error_and_nobody_is_interrupted() -> None:
    did: list[int] = []
    interrupted: list[str] = []
    workers = [lambda n=n: did.append(n) for n in range(5)]
    work_together(workers, lambda: interrupted.append("once"))
    assert sorted(did) == [0, 1, 2, 3, 4] and interrupted == []


def test_the_first_error_interrupts_the_others_once() -> None:
    stop = threading.Event()
    interrupted: list[str] = []

    def interrupt() -> None:
        interrupted.append("once")
        stop.set()

    with pytest.raises(SourceDiskError):
        late = [raising(LinkError("closed"), stop) for _ in range(3)]
        work_together([raising(SourceDiskError("gone")), *late], interrupt)
    assert interrupted == ["once"]


LINK, PEER, STOPPED = LinkError("link"), PeerError("peer"), StoppedError("stopped")
DISK, MISTAKE = TargetDiskError("disk"), ZeroDivisionError("mistake")


@pytest.mark.parametrize(
    ("first", "second", "cause"),
    [
        (LINK, PEER, PEER),
        (LINK, STOPPED, STOPPED),
        (PEER, DISK, DISK),
        (STOPPED, DISK, DISK),
        (LINK, MISTAKE, MISTAKE),
        (DISK, LINK, DISK),
        (PEER, LINK, PEER),
        (LINK, SystemExit(3), SystemExit(3)),
    ],
)
def test_the_cause_is_raised_whoever_failed_first(
    first: BaseException, second: BaseException, cause: BaseException
) -> None:
    stop = threading.Event()
    with pytest.raises(type(cause), match=str(cause)) as caught:
        work_together([raising(first), raising(second, stop)], stop.set)
    assert type(caught.value) is type(cause)


def test_who_joins_while_others_work_is_waited_for() -> None:
    """Each starts the next one as the last thing it does."""
    crew, did, count = Crew(lambda: None), list[int](), 300

    def work(number: int) -> None:
        did.append(number)
        if number + 1 < count:
            crew.start(lambda: work(number + 1))

    crew.start(lambda: work(0))
    crew.wait()
    assert did == list(range(count))


def test_the_error_of_who_joined_late_is_raised_too() -> None:
    crew = Crew(lambda: None)
    crew.start(lambda: crew.start(raising(DISK)))
    with pytest.raises(TargetDiskError):
        crew.wait()
