"""A fetch over several links: what one loses, the others do; losing the last one is an error."""

import os
import threading
from collections.abc import Callable, Iterable

import pytest

from payload.model.errors import LinkError, TargetDiskError
from payload.model.event import Event, Note
from payload.model.message import Chunk, ChunkRequest, Encoding, MapAnswer
from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.replicate.backlog import Backlog
from payload.replicate.chunks import digest_of
from payload.replicate.fetching import Fetcher
from payload.replicate.lanes import Lanes, OpenData
from payload.replicate.ledger import Item, Ledger, State
from payload.replicate.limiter import Account
from payload.replicate.schedule import Schedule
from payload.replicate.sender import Line
from payload.replicate.work import Work
from tests.support.memory_line import MemoryLine, serve_in_thread
from tests.support.waiting import wait_until

COUNT = 60
REGION = Region(0, 0, 1, 1 << 20, COUNT * CHUNK_SIZE, Method.USED, "ext4")
CONTENT = os.urandom(4096)
EVERYTHING = list(range(1, COUNT))  # the head is held back


class Link:
    """A link that carries so many chunks and then breaks. It answers nothing until `ready`."""

    def __init__(self, carries: int = 10**9, ready: Callable[[], object] = lambda: True) -> None:
        self.left, self.ready, self.opened, self.served = carries, ready, 0, 0
        self.asked = False

    def open(self) -> Line:
        if not self.left:
            raise LinkError("Nobody is there.")
        self.opened += 1
        return serve_in_thread(self._serve)

    def _serve(self, line: MemoryLine) -> None:
        while True:
            request = line.receive(None)
            assert isinstance(request, ChunkRequest)
            self.asked = True
            wait_until(self.ready)
            if self.left <= 0:
                raise LinkError("The cable is out.")
            self.left, self.served = self.left - 1, self.served + 1
            body = CONTENT[: request.length]
            place = (request.region, request.offset, request.length)
            line.send(Chunk(*place, digest_of(body), Encoding.RAW, body))


class Copy:
    """A target without a disk."""

    def __init__(self) -> None:
        self.ledger = Ledger(REGION, 512)
        numbers = [n for place in range(COUNT) for n in (place * CHUNK_SIZE, len(CONTENT))]
        self.ledger.add(MapAnswer(0, tuple(numbers), last=True))
        self.stored: list[int] = []
        self.events: list[Event] = []
        self.fault: Exception | None = None

    def lanes(self) -> Lanes:
        schedule = Schedule([self.ledger], ["Disk S1"], State.MISSING, head=False)

        def done(item: Item, chunk: Chunk) -> None:
            schedule.done(item)
            self.ledger.record(item, chunk)

        def fetcher(line: Line) -> Fetcher:
            doers = (lambda *_: b"", self.store, self.store, done, schedule.put_off)
            return Fetcher(line, *doers, Account())

        return Lanes(Work(schedule), fetcher, 2, Backlog(), self.events.append)

    def fetch(self, first: OpenData, find_links: Callable[[], Iterable[OpenData]] = tuple) -> None:
        lanes = self.lanes()
        lanes.add(first)
        lanes.crew.start(lambda: lanes.look_for_more(find_links))
        lanes.crew.wait()

    def store(self, item: Item, _: memoryview) -> None:
        if self.fault:
            raise self.fault
        self.stored.append(item.index)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]


def once(*links: Link) -> Callable[[], list[OpenData]]:
    """These links are found at the first look."""
    left = [link.open for link in links]

    def find() -> list[OpenData]:
        found, left[:] = list(left), []
        return found

    return find


def test_one_link_does_all() -> None:
    copy, link = Copy(), Link()
    copy.fetch(link.open)
    assert sorted(copy.stored) == EVERYTHING and link.opened == 2 and not copy.notes


def test_each_link_carries_what_it_can() -> None:
    """At each of its connections a link has eight chunks under way, and no more."""
    copy, slow, fast = Copy(), Link(), Link()
    slow.ready, fast.ready = lambda: fast.served >= COUNT - 20, lambda: slow.asked
    copy.fetch(slow.open, once(fast))
    assert sorted(copy.stored) == EVERYTHING
    assert slow.served + fast.served == COUNT - 1
    assert 0 < slow.served < fast.served and (slow.opened, fast.opened) == (2, 2)


@pytest.mark.parametrize("lost_first", [True, False])
def test_what_a_lost_link_had_under_way_is_asked_for_again(lost_first: bool) -> None:
    copy, dying, whole = Copy(), Link(carries=3), Link()
    dying.ready, whole.ready = lambda: whole.opened, lambda: not dying.left
    lanes = copy.lanes()
    for link in (dying, whole) if lost_first else (whole, dying):
        lanes.add(link.open)
    lanes.crew.wait()
    assert sorted(copy.stored) == EVERYTHING
    assert len(copy.notes) == 1 and "goes on over the other link" in copy.notes[0]


def test_a_link_that_comes_and_goes_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payload.replicate.lanes.LOOK", 0.02)
    left = [Link(carries=1) for _ in range(5)]
    copy, whole, gone = Copy(), Link(), list(left)
    whole.ready = lambda: not any(link.left for link in gone)
    lanes = copy.lanes()
    lanes.add(whole.open)
    lanes.crew.start(lambda: lanes.look_for_more(lambda: [left.pop().open] if left else []))
    lanes.crew.wait()
    assert sorted(copy.stored) == EVERYTHING
    assert not any(lane.lines for lane in lanes._lanes)


def test_a_link_that_is_found_in_vain_costs_nothing() -> None:
    copy, link = Copy(), Link()
    copy.fetch(link.open, once(Link(carries=0)))
    assert sorted(copy.stored) == EVERYTHING and "Nobody is there." in copy.notes[0]


def test_the_last_link_is_the_end_and_the_next_fetch_does_the_rest() -> None:
    copy, dying = Copy(), Link(carries=20)
    with pytest.raises(LinkError):
        copy.fetch(dying.open, once(Link(carries=9)))
    assert 0 < len(copy.stored) < COUNT - 1
    copy.fetch(Link().open)
    assert sorted(copy.stored) == EVERYTHING


def test_a_fault_of_the_disk_ends_every_link_and_blames_none() -> None:
    copy = Copy()
    copy.fault = TargetDiskError("The disk is broken.")
    with pytest.raises(TargetDiskError):
        copy.fetch(Link().open, once(Link()))
    assert not copy.notes


def test_looking_for_links_may_end_the_fetch() -> None:
    looked = threading.Event()

    def find() -> list[OpenData]:
        looked.set()
        raise LinkError("The source was started anew.")

    with pytest.raises(LinkError):
        Copy().fetch(Link(ready=looked.is_set).open, find)
