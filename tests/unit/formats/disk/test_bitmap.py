"""Bitmaps of blocks: what is set, as bits and as runs of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.bitmap import bits_of, runs_of
from payload.model.plan import CHUNK_SIZE

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=6)


@given(RANGES, st.integers(0, 60), st.integers(0, 40))
def test_bits_are_the_blocks_of_the_ranges_that_lie_inside(
    ranges: list[tuple[int, int]], begin: int, blocks: int
) -> None:
    covered = {block for start, length in ranges for block in range(start, start + length)}
    inside = covered & set(range(begin, begin + blocks))
    assert bits_of(ranges, begin, blocks) == sum(1 << block - begin for block in inside)


def test_a_hostile_range_makes_no_large_number() -> None:
    """A range of 2^60 blocks as a number would fill the memory."""
    assert bits_of([(0, 1 << 60)], 1 << 59, 8) == 0xFF
    assert bits_of([(1 << 60, 1 << 60), (0, 4)], 4, 8) == 0


@given(
    st.integers(1, 600).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, (1 << n) - 1))),
    st.sampled_from([1024, 4096, 65536, CHUNK_SIZE]),
    st.sampled_from([0, 1024, 1 << 40]),
)
def test_runs_cover_every_set_block_and_begin_and_end_with_one(
    drawn: tuple[int, int], unit: int, start: int
) -> None:
    blocks, bitmap = drawn
    used = {block for block in range(blocks) if bitmap >> block & 1}
    runs = list(runs_of(bitmap, blocks, unit, start))
    covered: set[int] = set()
    for place, length in runs:
        first, behind = (place - start) // unit, (place - start + length) // unit
        assert (place - start) % unit == length % unit == 0
        assert {first, behind - 1} <= used
        assert not covered & set(range(first, behind))
        covered |= set(range(first, behind))
    assert used <= covered
    assert runs == sorted(runs)
    assert len(runs) <= -(-blocks // max(8, CHUNK_SIZE // unit)), "one run for each piece"


@pytest.mark.parametrize("blocks", [0, 1, 8, 9])
def test_an_empty_bitmap_has_no_runs(blocks: int) -> None:
    assert list(runs_of(0, blocks, 4096, 512)) == []


def test_what_lies_within_one_mebibyte_is_one_run() -> None:
    bitmap = 1 | 1 << 255 | 1 << 256
    assert list(runs_of(bitmap, 512, 4096, 0)) == [(0, CHUNK_SIZE), (CHUNK_SIZE, 4096)]
