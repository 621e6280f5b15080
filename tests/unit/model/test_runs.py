"""Runs of bytes: the ends of a range, the room behind it, and the chunks that runs are cut into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.chunk_list import ChunkList
from payload.model.plan import CHUNK_SIZE
from payload.model.runs import Run, behind, cut, ends

SECTOR = 512
SIZE = 5 * CHUNK_SIZE + 3 * SECTOR


def runs() -> st.SearchStrategy[list[tuple[int, int]]]:
    one = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 3 * CHUNK_SIZE))
    return st.lists(one, max_size=12).map(
        lambda found: sorted((start, min(length, SIZE - start)) for start, length in found)
    )


@given(runs())
def test_chunks_cover_the_runs_and_keep_the_rules(found: list[tuple[int, int]]) -> None:
    chunks = list(cut(found, SECTOR))
    assert list(ChunkList(chunks)) == chunks  # which checks order, sectors and borders
    assert all(offset + length <= SIZE for offset, length in chunks)
    sectors = {
        place for offset, length in chunks for place in range(offset, offset + length, SECTOR)
    }
    for start, length in found:
        needed = range(start // SECTOR * SECTOR, start + length, SECTOR)
        assert sectors.issuperset(needed)
    for offset, length in chunks:  # each begins and ends where a run or a chunk does
        edges = {place // SECTOR for run in found for place in (run[0], sum(run) - 1)}
        assert offset // SECTOR in edges or not offset % CHUNK_SIZE
        end = offset + length
        assert end // SECTOR - 1 in edges or not end % CHUNK_SIZE


@pytest.mark.parametrize(
    ("found", "chunks"),
    [
        ([], []),
        ([(100, 0)], []),
        ([(100, 1)], [(0, 4096)]),
        ([(4095, 2)], [(0, 8192)]),
        ([(4096, 4096)], [(4096, 4096)]),
        ([(4096, 1), (90_000, 1)], [(4096, 86_016)]),  # between them, too: the chunk is one piece
        ([(0, 50_000), (4096, 1)], [(0, 53_248)]),
        ([(CHUNK_SIZE - 1, 2)], [(CHUNK_SIZE - 4096, 4096), (CHUNK_SIZE, 4096)]),
        ([(0, 2 * CHUNK_SIZE)], [(0, CHUNK_SIZE), (CHUNK_SIZE, CHUNK_SIZE)]),
        ([(0, CHUNK_SIZE + 1), (5000, 1)], [(0, CHUNK_SIZE), (CHUNK_SIZE, 4096)]),
        ([(7 * CHUNK_SIZE, 1)], [(7 * CHUNK_SIZE, 4096)]),
    ],
)
def test_runs_are_cut_at_borders_of_chunks_and_widened_to_sectors(
    found: list[Run], chunks: list[Run]
) -> None:
    assert list(cut(found, 4096)) == chunks


def test_the_ends_of_a_range_may_be_all_of_it() -> None:
    assert ends(100, 10) == [(0, 10), (90, 10)]
    assert ends(100, 60) == [(0, 60), (40, 60)]
    assert ends(5, 10) == [(0, 5), (0, 5)]


def test_the_room_behind_a_file_system_is_a_run_and_there_may_be_none() -> None:
    assert behind(90, 100) == [(90, 10)]
    assert behind(100, 100) == []
    assert behind(101, 100) == [], "it claims more than there is"
