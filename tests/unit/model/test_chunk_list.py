"""Chunks packed into 8 bytes each: what goes in comes out, and only by the rules."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.chunk_list import ChunkList
from payload.model.plan import CHUNK_SIZE

SECTOR = 512
PER_CHUNK = CHUNK_SIZE // SECTOR


@pytest.mark.parametrize(
    ("before", "offset", "length"),
    [
        *((0, 512, 512), (0, CHUNK_SIZE - 512, 1024)),
        *((None, 100, 512), (None, 0, 0), (None, -512, 512)),
        *((None, 0, 100), (None, 512, -512), (None, 0, CHUNK_SIZE + 512)),
        *((CHUNK_SIZE, 0, 512), (CHUNK_SIZE, CHUNK_SIZE, 512)),
    ],
)
def test_a_chunk_list_takes_no_nonsense(before: int | None, offset: int, length: int) -> None:
    chunks = ChunkList([] if before is None else [(before, 512)])
    known, size = list(chunks), chunks.size
    with pytest.raises(ValueError):
        chunks.append(offset, length)
    assert (list(chunks), chunks.size) == (known, size), "what was refused left nothing"


def test_a_chunk_list_holds_a_place_far_behind() -> None:
    far = 1 << 60
    assert ChunkList([(far, CHUNK_SIZE)])[0] == (far, CHUNK_SIZE)


@st.composite
def chunk_lists(draw: st.DrawFn) -> list[tuple[int, int]]:
    chunks = []
    for slot in sorted(draw(st.sets(st.integers(0, 1 << 40), max_size=20))):
        first = draw(st.integers(0, PER_CHUNK - 1))
        units = draw(st.integers(1, PER_CHUNK - first))
        chunks.append((slot * CHUNK_SIZE + first * SECTOR, units * SECTOR))
    return chunks


@given(chunk_lists())
def test_what_goes_in_comes_out_in_its_order(chunks: list[tuple[int, int]]) -> None:
    packed = ChunkList(chunks)
    assert list(packed) == chunks
    assert [packed[index] for index in range(len(packed))] == chunks
    assert packed.size == sum(length for _, length in chunks)


def test_an_empty_one_has_neither_chunks_nor_bytes() -> None:
    assert (list(ChunkList()), len(ChunkList()), ChunkList().size) == ([], 0, 0)


def test_a_tebibyte_takes_megabytes_of_memory() -> None:
    count = 1 << 16  # a sixteenth of a TiB
    tracemalloc.start()
    try:
        chunks = ChunkList((slot * CHUNK_SIZE, CHUNK_SIZE) for slot in range(count))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(chunks) == count
    assert held < 2 * 8 * count
