"""Ranges of members: free is only what somebody calls free."""

from hypothesis import given
from hypothesis import strategies as st

from payload.model.chunk_list import ChunkList
from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.model.runs import cut
from payload.model.volume import Segment
from payload.replicate.volume_map import Piece, find_gaps, find_used

UNIT = 512
RUNS = st.lists(
    st.tuples(st.integers(0, 9000), st.integers(1, 3000)).map(lambda run: (run[0], sum(run))),
    max_size=8,
)


def chunks_of(runs: list[tuple[int, int]]) -> ChunkList:
    return ChunkList(
        cut([(first * UNIT, (end - first) * UNIT) for first, end in sorted(runs)], UNIT)
    )


@given(RUNS, st.integers(0, 12_000), st.integers(0, 12_000))
def test_gaps_are_what_no_chunk_covers(runs: list[tuple[int, int]], one: int, other: int) -> None:
    chunks, first, end = chunks_of(runs), min(one, other), max(one, other)
    covered = {unit for at, length in chunks for unit in range(at // UNIT, (at + length) // UNIT)}
    gaps = list(find_gaps(chunks, first * UNIT, end * UNIT))
    free = [unit for at, n in gaps for unit in range(at // UNIT, (at + n) // UNIT)]
    assert free == sorted(set(range(first, end)) - covered)


@given(RUNS, st.lists(st.integers(0, 9), unique=True, max_size=10))
def test_each_extent_of_a_volume_is_found_where_it_lies(
    runs: list[tuple[int, int]], order: list[int]
) -> None:
    """A volume whose extents lie in any order between others, of which nothing is known."""
    extent = CHUNK_SIZE + 3 * UNIT
    region = Region(0, 0, 1, 7 * UNIT, 11 * extent, Method.USED)
    chunks = chunks_of(runs)
    pieces = [
        Piece(Segment("disk", region.start + place * extent, extent), number * extent, chunks)
        for number, place in enumerate(order)
    ]
    pieces.sort(key=lambda piece: piece.segment.start)
    used = list(find_used(pieces, region))
    inside = {unit for at, length in used for unit in range(at // UNIT, (at + length) // UNIT)}
    assert used == sorted(used)
    for place in range(11):
        for unit in range(0, extent // UNIT, 97):
            here = place * extent // UNIT + unit
            if place not in order:
                assert here in inside
                continue
            at = (order.index(place) * extent // UNIT + unit) * UNIT
            assert (here in inside) is any(first <= at < first + n for first, n in chunks)


def test_what_lvm_calls_free_is_free() -> None:
    region = Region(0, 0, 1, CHUNK_SIZE, 10 * CHUNK_SIZE, Method.USED)
    pieces = [Piece(Segment("disk", 3 * CHUNK_SIZE, 2 * CHUNK_SIZE))]
    assert list(find_used(pieces, region)) == [
        (0, 2 * CHUNK_SIZE),
        (4 * CHUNK_SIZE, 6 * CHUNK_SIZE),
    ]
