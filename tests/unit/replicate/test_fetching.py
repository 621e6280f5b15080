"""The target's half of the stream against a source that breaks the rules; no disks, no wire."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from payload.model.errors import LinkError, PeerError, TargetDiskError
from payload.model.message import (
    Alive,
    Chunk,
    ChunkRequest,
    Encoding,
    MapAnswer,
    Message,
    Spent,
    Stop,
)
from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.model.report import Hole
from payload.replicate import fetching
from payload.replicate.chunks import digest_of, zero_digest
from payload.replicate.fetching import WINDOW, Fetcher
from payload.replicate.ledger import Item, Ledger, State
from payload.replicate.limiter import Account
from payload.replicate.schedule import Schedule
from payload.replicate.work import Work
from tests.support.memory_line import line_pair, serve_in_thread

SECTOR = 512
REGION = Region(0, 0, 1, 1 << 20, 8 * CHUNK_SIZE, Method.ALL)
CONTENT = os.urandom(CHUNK_SIZE)


def ledger_of(region: Region = REGION, length: int = CHUNK_SIZE) -> Ledger:
    ledger = Ledger(region, SECTOR)
    numbers: list[int] = []
    for offset in range(0, region.size, CHUNK_SIZE):
        numbers += (offset, min(length, region.size - offset))
    ledger.add(MapAnswer(region.index, tuple(numbers), last=True))
    return ledger


def honest(request: Message) -> Chunk:
    assert isinstance(request, ChunkRequest)
    content = CONTENT[: request.length]
    digest = digest_of(content)
    if request.held == digest:
        return Chunk(request.region, request.offset, request.length, digest, Encoding.SAME)
    return Chunk(request.region, request.offset, request.length, digest, Encoding.RAW, content)


class Desk:
    """A target without a disk: remembers what it was told to write."""

    def __init__(self, held: bytes = b"") -> None:
        self.held = held
        self.stored: dict[int, bytes] = {}
        self.cleared: list[int] = []
        self.done: list[Chunk] = []

    def fetch(
        self, answer: Callable[[ChunkRequest], Message], ledger: Ledger | None = None
    ) -> None:
        def serve(line) -> None:  # type: ignore[no-untyped-def]
            while True:
                line.send(answer(line.receive(None)))

        line = serve_in_thread(serve)
        ledger = ledger or ledger_of()

        def done(item: Item, chunk: Chunk) -> None:
            item.ledger.record(item, chunk)
            self.done.append(chunk)

        try:
            schedule = Schedule([ledger], ["Disk S1"], State.MISSING, head=False)
            held = self.held
            fetcher = Fetcher(
                line, lambda *_: held, self.store, self.clear, done, schedule.put_off, Account()
            )
            fetcher.work(Work(schedule).hand())
        finally:
            line.close()

    def store(self, item: Item, content: memoryview) -> None:
        self.stored[item.offset] = bytes(content)

    def clear(self, item: Item, content: memoryview) -> None:
        self.cleared.append(item.offset)
        self.store(item, content)


def test_an_honest_source() -> None:
    desk = Desk()
    desk.fetch(honest)
    assert desk.stored == {n * CHUNK_SIZE: CONTENT for n in range(1, 8)}


def test_what_is_held_is_not_written_again() -> None:
    desk, ledger = Desk(digest_of(CONTENT)), ledger_of()
    desk.fetch(honest, ledger)
    assert desk.stored == {}
    assert (ledger.held, ledger.sent, ledger.done) == (7 * CHUNK_SIZE, 0, 7 * CHUNK_SIZE)


def later(chunk: Chunk) -> Chunk:
    return replace(chunk, digest=bytes(32), encoding=Encoding.LATER, body=b"")


def test_what_cannot_be_read_at_once_is_asked_for_again_last_and_thoroughly() -> None:
    asked: list[tuple[int, bool]] = []

    def answer(request: ChunkRequest) -> Chunk:
        asked.append((request.offset // CHUNK_SIZE, request.thorough))
        return later(honest(request)) if asked[-1] == (2, False) else honest(request)

    desk, ledger = Desk(), ledger_of()
    desk.fetch(answer, ledger)
    assert asked[-1] == (2, True) and len(asked) == 8
    assert sorted(desk.stored) == [n * CHUNK_SIZE for n in range(1, 8)]


def test_a_source_that_puts_off_for_ever_is_told_so() -> None:
    desk = Desk()
    with pytest.raises(PeerError, match="off again"):
        desk.fetch(lambda request: later(honest(request)))


def test_zeros_are_cleared_and_nothing_else_is() -> None:
    def answer(request: ChunkRequest) -> Chunk:
        if request.offset != 3 * CHUNK_SIZE:
            return honest(request)
        return replace(
            honest(request), digest=zero_digest(request.length), encoding=Encoding.ZERO, body=b""
        )

    desk = Desk()
    desk.fetch(answer)
    assert desk.cleared == [3 * CHUNK_SIZE]
    assert desk.stored[3 * CHUNK_SIZE] == bytes(CHUNK_SIZE)


def test_several_requests_are_under_way_but_not_more() -> None:
    near, far = line_pair()
    nothing: Any = lambda *_: None  # noqa: E731
    fetcher = Fetcher(near, lambda *_: b"", nothing, nothing, nothing, nothing, Account())
    ledger = ledger_of(replace(REGION, size=40 * CHUNK_SIZE))
    schedule = Schedule([ledger], ["Disk S1"], State.MISSING, head=False)

    def work() -> None:
        with pytest.raises(LinkError):
            fetcher.work(Work(schedule).hand())

    thread = threading.Thread(target=work)
    thread.start()
    requests = [far.receive(5.0) for _ in range(WINDOW)]
    with pytest.raises(LinkError, match="in time"):
        far.receive(0.2)
    far.send(honest(requests[0]))
    assert isinstance(far.receive(5.0), ChunkRequest)
    far.close()
    thread.join(5.0)
    assert not thread.is_alive()


def test_a_slow_link_holds_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it still has to deliver when all else is done is waited for."""
    monkeypatch.setattr(fetching, "SLOW", -1.0)  # every answer is a late one
    line, most = LateLine(), list[int]()

    def done(item: Item, chunk: Chunk) -> None:
        item.ledger.record(item, chunk)
        schedule.done(item)
        most.append(len(line.requests))

    ledger = ledger_of(replace(REGION, size=30 * CHUNK_SIZE))
    schedule = Schedule([ledger], ["Disk S1"], State.MISSING, head=False)
    nothing = lambda *_: None  # noqa: E731
    doers = (lambda *_: b"", nothing, nothing, done, schedule.put_off)
    Fetcher(line, *doers, Account()).work(Work(schedule).hand())
    assert most[0] == WINDOW - 1 and set(most[-WINDOW:]) == {0} and len(most) == 29


class LateLine:
    """A source that answers one request at a time; the others wait."""

    def __init__(self) -> None:
        self.requests: deque[Message] = deque()

    def send(self, message: Message) -> None:
        self.requests.append(message)

    def receive(self, timeout: float | None) -> Message:
        return honest(self.requests.popleft())

    def close(self) -> None:
        self.requests.clear()


LIES: dict[str, Callable[[Chunk], Message]] = {
    "wrong digest": lambda chunk: replace(chunk, digest=bytes(32)),
    "digest of another chunk": lambda chunk: replace(chunk, digest=zero_digest(CHUNK_SIZE)),
    "wrong region": lambda chunk: replace(chunk, region=1),
    "wrong offset": lambda chunk: replace(chunk, offset=chunk.offset + CHUNK_SIZE),
    "offset past the end": lambda chunk: replace(chunk, offset=1 << 50),
    "shorter": lambda chunk: replace(chunk, length=SECTOR, body=CONTENT[:SECTOR]),
    "longer": lambda chunk: replace(chunk, length=2 * CHUNK_SIZE, body=CONTENT + CONTENT),
    "body too short": lambda chunk: replace(chunk, body=CONTENT[:-1]),
    "body too long": lambda chunk: replace(chunk, body=CONTENT + b"x"),
    "bomb": lambda chunk: replace(
        chunk, encoding=Encoding.ZSTD, body=zstandard.ZstdCompressor().compress(bytes(1 << 27))
    ),
    "same, but nothing is held": lambda chunk: replace(chunk, encoding=Encoding.SAME, body=b""),
    "zero, but the digest is not": lambda chunk: replace(chunk, encoding=Encoding.ZERO, body=b""),
    "hole outside": lambda chunk: replace(chunk, holes=(Hole(chunk.offset - SECTOR, SECTOR),)),
    "hole too long": lambda chunk: replace(chunk, holes=(Hole(chunk.offset, CHUNK_SIZE + 1),)),
    "empty hole": lambda chunk: replace(chunk, holes=(Hole(chunk.offset, 0),)),
    "later, but with content": lambda chunk: replace(chunk, encoding=Encoding.LATER),
    "no chunk at all": lambda chunk: Alive(),
    "stop": lambda chunk: Stop("the disk is gone"),
}


@pytest.mark.parametrize("name", LIES)
def test_nothing_of_a_lie_reaches_the_disk(name: str) -> None:
    """Two honest chunks, then the lie: it ends the connection, and only the two are there."""
    desk, seen = Desk(), []

    def answer(request: ChunkRequest) -> Message:
        seen.append(request)
        chunk = honest(request)
        return chunk if len(seen) < 3 else LIES[name](chunk)

    with pytest.raises(PeerError) as caught:
        desk.fetch(answer)
    assert not isinstance(caught.value, LinkError)
    assert desk.stored == {n * CHUNK_SIZE: CONTENT for n in (1, 2)}
    assert len(desk.done) == 2


def test_a_same_that_is_not_what_was_held() -> None:
    desk = Desk(held=digest_of(CONTENT))
    with pytest.raises(PeerError, match="the same, and it is not"):
        desk.fetch(lambda request: replace(honest(request), digest=bytes(32)))
    assert desk.done == []


def test_answers_out_of_order_are_refused() -> None:
    """Two right answers, exchanged."""
    kept: list[ChunkRequest] = []

    def answer(request: ChunkRequest) -> Message:
        kept.append(request)
        return honest(replace(request, offset=request.offset + CHUNK_SIZE))

    desk = Desk()
    with pytest.raises(PeerError, match="instead of"):
        desk.fetch(answer)
    assert desk.stored == {}


# --- what did not come is not lost


class Basket:
    """A hand that gives these items once, and remembers what it was told."""

    def __init__(self, ledger: Ledger, count: int) -> None:
        self.left = list(ledger.items(State.MISSING, head=False))[:count]
        self.waited: list[bool] = []
        self.finished = 0
        self.returned: list[Item] = []

    def take(self, *, wait: bool) -> Item | None:
        self.waited.append(wait)
        return self.left.pop(0) if self.left else None

    def finish(self) -> None:
        self.finished += 1

    def give_back(self, items: Iterable[Item]) -> None:
        self.returned += items


class Answers:
    """A source that answers so many requests and then ends with an error."""

    def __init__(self, count: int, error: Exception) -> None:
        self.count, self.error = count, error
        self.asked: deque[ChunkRequest] = deque()
        self.patience: list[float | None] = []

    def send(self, message: Message) -> None:
        assert isinstance(message, ChunkRequest)
        self.asked.append(message)

    def receive(self, timeout: float | None) -> Message:
        self.patience.append(timeout)
        if not self.count:
            raise self.error
        self.count -= 1
        return replace(honest(self.asked.popleft()), spent=Spent(1_000_000, 2_000_000, 3_000_000))

    def close(self) -> None:
        self.asked.clear()


def fetch_from(line: Answers, basket: Basket, account: Account, **doers: Any) -> None:
    nothing: Any = lambda *_: None  # noqa: E731
    done = doers.get("done", nothing)
    store = doers.get("store", nothing)
    Fetcher(line, lambda *_: b"", store, nothing, done, nothing, account).work(basket)


def test_what_was_asked_for_and_did_not_come_is_given_back() -> None:
    basket = Basket(ledger_of(), 5)
    wanted = list(basket.left)
    line = Answers(2, LinkError("The cable is out."))
    with pytest.raises(LinkError, match="cable"):
        fetch_from(line, basket, Account())
    assert (basket.finished, basket.returned) == (2, wanted[2:])
    assert line.patience == [fetching.PATIENCE] * 3, "a sick disk may need minutes"


def test_a_chunk_that_could_not_be_written_is_given_back() -> None:
    def store(item: Item, content: memoryview) -> None:
        raise TargetDiskError("The disk is full.")

    basket = Basket(ledger_of(), 1)
    (wanted,) = basket.left
    with pytest.raises(TargetDiskError):
        fetch_from(Answers(1, LinkError("")), basket, Account(), store=store)
    assert (basket.finished, basket.returned) == (0, [wanted])


def test_nobody_waits_for_more_work_while_answers_are_due() -> None:
    """An answer that nobody takes off the wire would hold up the source."""
    basket = Basket(ledger_of(), 3)
    fetch_from(Answers(3, LinkError("")), basket, Account())
    assert basket.waited[:4] == [True, False, False, False]
    assert basket.waited[-1] is True and basket.finished == 3 and basket.returned == []


def test_what_the_source_spent_is_in_the_account() -> None:
    account = Account()
    fetch_from(Answers(3, LinkError("")), Basket(ledger_of(), 3), account)
    effort = account.effort
    assert (effort.source_disk, effort.source_processor, effort.network) == (3.0, 6.0, 9.0)
    assert effort.waiting > 0 and effort.target_processor > 0


@given(st.binary(max_size=40), st.sampled_from(Encoding), st.integers(-1, 1 << 40), st.data())
def test_any_chunk_is_written_whole_and_right_or_refused(
    body: bytes, encoding: Encoding, offset: int, data: st.DataObject
) -> None:
    length = data.draw(st.sampled_from([SECTOR, CHUNK_SIZE]) | st.integers(0, 1 << 32))
    place = data.draw(st.sampled_from([CHUNK_SIZE, offset]))
    digest = data.draw(st.sampled_from([digest_of(CONTENT), bytes(32), zero_digest(CHUNK_SIZE)]))
    desk = Desk()
    with contextlib.suppress(PeerError):
        desk.fetch(lambda _: Chunk(0, place, length, digest, encoding, body))
    zeros = {CHUNK_SIZE: bytes(CHUNK_SIZE)}
    assert desk.stored == (zeros if desk.cleared else {})
