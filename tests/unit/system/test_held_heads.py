"""Disks whose first bytes are in memory: what is joined to what."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.volume import Extent
from payload.system.held_heads import HeldHeads, hold_heads

HEAD = b"h" * 100
Legs = list[list[Extent]]


class Blocks:
    """Remembers what it was to put together."""

    def __init__(self) -> None:
        self.assembled: list[tuple[Legs, bool]] = []

    @contextmanager
    def assemble(
        self, legs: Sequence[Sequence[Extent]], *, writable: bool = False
    ) -> Iterator[str]:
        self.assembled.append(([list(leg) for leg in legs], writable))
        yield "/dev/mapper/joined"

    def drop_cache(self, node: str) -> str:
        return f"{node} is dropped"


@contextmanager
def held() -> Iterator[tuple[HeldHeads, Blocks, str]]:
    """sda is held, sdb is not; and the file that holds the begin of sda."""
    blocks = Blocks()
    with hold_heads(cast(Any, blocks), {"/dev/sda": HEAD}) as heads:
        yield heads, blocks, str(heads.files["/dev/sda"])


@pytest.mark.parametrize(
    ("extent", "pieces"),
    [
        (("/dev/sda", 0, 1000), [("FILE", 0, 100), ("/dev/sda", 100, 900)]),
        (("/dev/sda", 40, 1000), [("FILE", 40, 60), ("/dev/sda", 100, 940)]),
        (("/dev/sda", 0, 100), [("FILE", 0, 100)]),
        (("/dev/sda", 0, 60), [("FILE", 0, 60)]),
        (("/dev/sda", 99, 2), [("FILE", 99, 1), ("/dev/sda", 100, 1)]),
        (("/dev/sda", 100, 10), [("/dev/sda", 100, 10)]),
        (("/dev/sda", 5000, 10), [("/dev/sda", 5000, 10)]),
        (("/dev/sdb", 0, 1000), [("/dev/sdb", 0, 1000)]),
    ],
)
def test_the_begin_comes_from_memory_and_the_rest_from_the_disk(
    extent: Extent, pieces: list[Extent]
) -> None:
    with held() as (heads, blocks, file), heads.view(*extent) as device:
        wanted = [(file if node == "FILE" else node, *rest) for node, *rest in pieces]
    assert device == "/dev/mapper/joined"
    assert blocks.assembled == [([wanted], False)]


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_pieces_make_up_the_range_and_no_held_byte_is_of_the_disk(
    start: int, size: int
) -> None:
    with held() as (heads, blocks, _), heads.view("/dev/sda", start, size):
        pass
    (((pieces,), _),) = blocks.assembled
    position = start
    for node, first, length in pieces:
        assert first == position and length > 0
        assert (node == "/dev/sda") is (first >= len(HEAD))
        position += length
    assert position == start + size


def test_every_leg_of_a_mirror_is_held_at_its_own_place() -> None:
    with held() as (heads, blocks, file):
        legs = [[("/dev/sdb", 0, 50), ("/dev/sda", 90, 20)], [("/dev/sdb", 70, 70)]]
        with heads.assemble(legs, writable=True):
            pass
    wanted = [("/dev/sdb", 0, 50), (file, 90, 10), ("/dev/sda", 100, 10)]
    assert blocks.assembled == [([wanted, [("/dev/sdb", 70, 70)]], True)]


@pytest.mark.parametrize("writable", [False, True])
def test_a_view_is_writable_only_when_asked_for(writable: bool) -> None:
    with held() as (heads, blocks, _), heads.view("/dev/sda", 0, 9, writable=writable):
        pass
    assert blocks.assembled[0][1] is writable


def test_what_was_written_to_a_begin_is_read_and_gone_in_the_end() -> None:
    with held() as (heads, _, file):
        assert heads.read("/dev/sda") == HEAD
        with Path(file).open("r+b") as begin:
            begin.write(b"new")
        assert heads.read("/dev/sda") == b"new" + HEAD[3:]
        with pytest.raises(KeyError):
            heads.read("/dev/sdb")
    assert not Path(file).exists()


def test_each_disk_has_a_begin_of_its_own() -> None:
    with hold_heads(cast(Any, Blocks()), {"/dev/sda": b"a", "/dev/sdb": b"b"}) as heads:
        assert [heads.read(node) for node in ("/dev/sda", "/dev/sdb")] == [b"a", b"b"]


def test_all_else_is_the_disks_own_doing() -> None:
    with held() as (heads, _, _):
        assert cast(Any, heads).drop_cache("/dev/sda") == "/dev/sda is dropped"
