"""What the target knows of each region: maps that are taken or refused, and figures."""

import os

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from payload.model.errors import PeerError
from payload.model.message import Chunk, ChunkRequest, Encoding, MapAnswer
from payload.model.plan import CHUNK_SIZE, SWAP_HEADER, Method, Region
from payload.model.report import Hole
from payload.replicate.chunks import digest_of
from payload.replicate.ledger import Item, Ledger, State

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


def honest(request: ChunkRequest) -> Chunk:
    content = CONTENT[: request.length]
    digest = digest_of(content)
    if request.held == digest:
        return Chunk(request.region, request.offset, request.length, digest, Encoding.SAME)
    return Chunk(request.region, request.offset, request.length, digest, Encoding.RAW, content)


# --- maps


@pytest.mark.parametrize(
    "chunks",
    [
        (0, CHUNK_SIZE, 0, CHUNK_SIZE),  # twice
        (0, SECTOR, SECTOR, SECTOR),  # two in one place
        (CHUNK_SIZE, SECTOR, 0, SECTOR),  # backwards
        (0, CHUNK_SIZE + SECTOR),
        (0, SECTOR, REGION.size, SECTOR),
        (0, SECTOR, 1 << 62, SECTOR),
        (0, 100),
        (0, 0),
        (0, -SECTOR),
        (-CHUNK_SIZE, SECTOR),
        (0,),
        (),
        (SECTOR, SECTOR),  # not from the begin
    ],
)
def test_a_map_that_cannot_be(chunks: tuple[int, ...]) -> None:
    with pytest.raises(PeerError, match="disk 1 partition 1"):
        Ledger(REGION, SECTOR).add(MapAnswer(0, chunks, last=True))


def test_a_map_of_another_region() -> None:
    with pytest.raises(PeerError):
        Ledger(REGION, SECTOR).add(MapAnswer(1, (0, SECTOR), last=True))


def test_a_map_must_be_of_whole_sectors_of_this_disk() -> None:
    with pytest.raises(PeerError, match="not sectors"):
        Ledger(REGION, 4096).add(MapAnswer(0, (0, SECTOR), last=True))


@given(st.lists(st.integers(-(1 << 63), 1 << 63), max_size=20), st.booleans())
def test_random_maps_are_taken_or_refused(numbers: list[int], last: bool) -> None:
    ledger = Ledger(REGION, SECTOR)
    try:
        ledger.add(MapAnswer(0, tuple(numbers), last))
    except PeerError:
        return
    end = 0
    for item in (*ledger.items(State.MISSING, head=True), *ledger.items(State.MISSING, head=False)):
        assert end <= item.offset and item.offset + item.length <= REGION.size
        end = item.offset + item.length


# --- order and figures


def test_a_region_is_proven_only_when_every_chunk_is() -> None:
    ledger = ledger_of()
    items = [*ledger.items(State.MISSING, head=True), *ledger.items(State.MISSING, head=False)]
    for item in items:
        ledger.record(item, honest(ChunkRequest(0, item.offset, item.length)))
    for item in items:
        assert not ledger.proven and ledger.report("disk").target_digest == ""
        ledger.prove(item)
    report = ledger.report("disk")
    assert report.verified and report.source_digest == report.target_digest != ""
    assert report.sent == report.used == REGION.size


def test_what_is_the_same_needs_no_second_reading() -> None:
    ledger = ledger_of()
    held, other = ledger.items(State.MISSING, head=False), ledger.items(State.MISSING, head=True)
    for item in held:
        request = ChunkRequest(0, item.offset, item.length, digest_of(CONTENT[: item.length]))
        ledger.record(item, honest(request))
    assert list(ledger.items(State.WRITTEN, head=False)) == []
    assert ledger.read_back == ledger.held == ledger.done == REGION.size - CHUNK_SIZE
    for item in other:
        ledger.record(item, honest(ChunkRequest(0, item.offset, item.length)))
    assert len(list(ledger.items(State.WRITTEN, head=True))) == 1 and not ledger.proven


def all_items(ledger: Ledger, state: State = State.MISSING) -> list[Item]:
    return [*ledger.items(state, head=True), *ledger.items(state, head=False)]


# --- what a map may leave out


def take_map(region: Region, *chunks: int) -> Ledger:
    ledger = Ledger(region, SECTOR)
    ledger.add(MapAnswer(region.index, chunks, last=True))
    return ledger


def region_of(method: Method, size: int, behind: int = 0) -> Region:
    return Region(0, 0, 1, 1 << 20, size, method, behind=behind)


USED = region_of(Method.USED, 3 * CHUNK_SIZE)
BEHIND = region_of(Method.USED, 3 * CHUNK_SIZE, behind=2 * SECTOR)
SWAP = region_of(Method.HEADER, 3 * CHUNK_SIZE)
SWAP_END = 3 * CHUNK_SIZE - SWAP_HEADER
SMALL_SWAP = region_of(Method.HEADER, SECTOR * 4)
BOOT = region_of(Method.BOOT, 63 * SECTOR)


@pytest.mark.parametrize(
    ("region", "chunks"),
    [
        (USED, (0, SECTOR)),
        (BEHIND, (0, SECTOR, 3 * CHUNK_SIZE - 2 * SECTOR, 2 * SECTOR)),
        (BEHIND, (0, SECTOR, 3 * CHUNK_SIZE - 4 * SECTOR, 4 * SECTOR)),
        (SWAP, (0, SWAP_HEADER, SWAP_END, SWAP_HEADER)),
        (SWAP, (0, CHUNK_SIZE, 2 * CHUNK_SIZE, CHUNK_SIZE)),
        (SMALL_SWAP, (0, SECTOR * 4)),
        (BOOT, (0, 63 * SECTOR)),
    ],
)
def test_a_map_that_holds_all_that_was_promised(region: Region, chunks: tuple[int, ...]) -> None:
    ledger = take_map(region, *chunks)
    assert ledger.mapped and ledger.size == sum(chunks[1::2])


@pytest.mark.parametrize(
    ("region", "chunks", "why"),
    [
        (BEHIND, (0, SECTOR), "leaves out"),
        (BEHIND, (0, SECTOR, 3 * CHUNK_SIZE - SECTOR, SECTOR), "leaves out"),
        (BEHIND, (0, SECTOR, 3 * CHUNK_SIZE - 2 * SECTOR, SECTOR), "leaves out"),
        (SWAP, (0, SWAP_HEADER), "leaves out"),
        (SWAP, (0, SECTOR, SWAP_END, SWAP_HEADER), "leaves out"),
        (SWAP, (0, SWAP_HEADER, SWAP_END + SECTOR, SWAP_HEADER - SECTOR), "leaves out"),
        (SMALL_SWAP, (0, SECTOR * 3), "leaves out"),
        (BOOT, (0, 62 * SECTOR), "a boot area is one chunk"),
        (BOOT, (0, SECTOR, SECTOR, 62 * SECTOR), "cannot be"),
        (region_of(Method.ALL, 2 * CHUNK_SIZE), (0, CHUNK_SIZE), "leaves out"),
        (region_of(Method.GAP, 2 * CHUNK_SIZE), (0, CHUNK_SIZE), "leaves out"),
    ],
)
def test_a_map_that_leaves_out_what_was_promised(
    region: Region, chunks: tuple[int, ...], why: str
) -> None:
    with pytest.raises(PeerError, match=why):
        take_map(region, *chunks)


def test_a_map_comes_in_parts_and_counts_when_it_is_whole() -> None:
    ledger = Ledger(USED, SECTOR)
    ledger.add(MapAnswer(0, (0, SECTOR), last=False))
    assert not ledger.mapped and not ledger.whole and not ledger.proven
    ledger.add(MapAnswer(0, (CHUNK_SIZE, SECTOR), last=True))
    assert ledger.mapped and (ledger.count, ledger.size) == (2, 2 * SECTOR)
    assert not ledger.whole


def test_what_lies_between_the_chunks_is_free() -> None:
    ledger = take_map(USED, 0, SECTOR, CHUNK_SIZE + SECTOR, SECTOR)
    assert list(ledger.free_runs()) == [
        (SECTOR, CHUNK_SIZE),
        (CHUNK_SIZE + 2 * SECTOR, 2 * CHUNK_SIZE - 2 * SECTOR),
    ]
    assert list(take_map(region_of(Method.ALL, SECTOR), 0, SECTOR).free_runs()) == []


@given(st.sets(st.integers(0, 5)), st.integers(1, 6))
def test_chunks_and_what_is_free_make_up_the_region(places: set[int], sectors: int) -> None:
    region = region_of(Method.USED, 6 * CHUNK_SIZE)
    chunks = [n for place in sorted({0, *places}) for n in (place * CHUNK_SIZE, sectors * SECTOR)]
    ledger = take_map(region, *chunks)
    runs = [(item.offset, item.length) for item in all_items(ledger)]
    position = 0
    for start, length in sorted([*runs, *ledger.free_runs()]):
        assert start == position and length > 0
        position += length
    assert position == region.size


# --- states of chunks


def written(item: Item, encoding: Encoding = Encoding.RAW, *holes: Hole) -> Chunk:
    content = CONTENT[: item.length]
    body = b"" if encoding is Encoding.SAME else content
    return Chunk(0, item.offset, item.length, digest_of(content), encoding, body, holes)


def test_the_head_is_all_that_begins_in_the_first_chunk_size() -> None:
    ledger = take_map(USED, 0, SECTOR, CHUNK_SIZE, SECTOR)
    assert [item.offset for item in ledger.items(State.MISSING, head=True)] == [0]
    assert [item.offset for item in ledger.items(State.MISSING, head=False)] == [CHUNK_SIZE]


def test_a_part_of_the_chunks_can_be_asked_for() -> None:
    ledger = ledger_of()
    some = ledger.items(State.MISSING, head=False, first=2, last=4)
    assert [item.index for item in some] == [2, 3, 4]


def test_a_state_counts_when_the_turn_of_its_chunk_comes() -> None:
    ledger = ledger_of()
    items = ledger.items(State.MISSING, head=False)
    assert next(items).index == 1
    ledger.record(Item(ledger, 2, 2 * CHUNK_SIZE, CHUNK_SIZE), honest(ChunkRequest(0, 0, SECTOR)))
    assert next(items).index == 3


def test_what_was_put_off_is_lacking() -> None:
    ledger = take_map(USED, 0, SECTOR)
    (item,) = all_items(ledger)
    ledger.put_off(item)
    assert not ledger.whole and all_items(ledger) == [] and all_items(ledger, State.SICK) == [item]
    ledger.record(item, written(item))
    assert ledger.whole and not ledger.proven and all_items(ledger, State.SICK) == []


def test_starting_over_forgets_all_but_what_was_sent() -> None:
    ledger = take_map(USED, 0, SECTOR, CHUNK_SIZE, SECTOR)
    first, second = all_items(ledger)
    ledger.record(first, written(first, Encoding.RAW, Hole(0, SECTOR)))
    ledger.record(second, written(second, Encoding.SAME))
    assert (ledger.sent, ledger.held, ledger.done) == (SECTOR, SECTOR, 2 * SECTOR)
    ledger.start_over()
    assert (ledger.sent, ledger.held, ledger.done, ledger.read_back) == (SECTOR, 0, 0, 0)
    assert not ledger.mapped and not ledger.whole and ledger.count == 0
    ledger.add(MapAnswer(0, (0, SECTOR), last=True))
    assert len(all_items(ledger)) == 1 and ledger.report("sda").holes == ()


def test_each_chunk_keeps_its_own_digest() -> None:
    ledger = take_map(USED, 0, SECTOR, CHUNK_SIZE, 2 * SECTOR)
    for item in reversed(all_items(ledger)):
        ledger.record(item, written(item))
    assert [ledger.digest(item) for item in all_items(ledger, State.WRITTEN)] == [
        digest_of(CONTENT[:SECTOR]),
        digest_of(CONTENT[: 2 * SECTOR]),
    ]


def test_the_root_is_of_the_digests_in_the_order_of_the_region() -> None:
    digests = b"".join(digest_of(CONTENT[: n * SECTOR]) for n in (1, 2))
    for order in (1, -1):
        ledger = take_map(USED, 0, SECTOR, CHUNK_SIZE, 2 * SECTOR)
        for item in all_items(ledger)[::order]:
            ledger.record(item, written(item))
        assert ledger.root == blake3(digests).hexdigest()


def test_a_report_names_holes_in_order_and_no_digest_of_the_target_without_proof() -> None:
    ledger = take_map(USED, 0, SECTOR, CHUNK_SIZE, SECTOR)
    for item in reversed(all_items(ledger)):
        ledger.record(item, written(item, Encoding.RAW, Hole(item.offset, SECTOR)))
    report = ledger.report("ST1 500 GB")
    assert report.holes == (Hole(0, SECTOR), Hole(CHUNK_SIZE, SECTOR))
    assert (report.verified, report.target_digest) == (False, "")
    assert (report.disk, report.name) == ("ST1 500 GB", "disk 1 partition 1")
    assert (report.total, report.used, report.is_gap) == (USED.size, 2 * SECTOR, False)


def test_a_gap_is_reported_as_one() -> None:
    assert take_map(region_of(Method.GAP, SECTOR), 0, SECTOR).report("sda").is_gap
