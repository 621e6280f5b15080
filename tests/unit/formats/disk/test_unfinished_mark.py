"""The mark of an unfinished copy survives its trip through a sector, and nothing else passes."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark, encode_mark
from payload.model.disk import Unfinished

MARK = Unfinished("c" * 32, "a" * 32, "b" * 32, "wwn:0x5000c500a1b2c3d4", 1_790_000_000)

names = st.text(st.characters(codec="utf-8"), max_size=28)


@given(st.builds(Unfinished, names, names, names, names, st.integers(0, 2**63)))
def test_any_mark_comes_back_as_it_was(mark: Unfinished) -> None:
    sector = encode_mark(mark)
    assert len(sector) == MARK_SIZE
    assert decode_mark(sector) == mark


@given(st.integers(0, MARK_SIZE * 8 - 1))
def test_one_flipped_bit_makes_it_no_mark(bit: int) -> None:
    sector = bytearray(encode_mark(MARK))
    sector[bit // 8] ^= 1 << bit % 8
    assert decode_mark(bytes(sector)) is None


@given(st.binary(min_size=MARK_SIZE - 32, max_size=MARK_SIZE - 32))
def test_any_body_with_a_right_digest_decodes_or_is_refused(body: bytes) -> None:
    head = encode_mark(MARK)[:26]
    for candidate in (body, head + body[len(head) :]):
        decoded = decode_mark(candidate + blake3(candidate).digest())
        assert decoded is None or isinstance(decoded, Unfinished)


@pytest.mark.parametrize(("place", "byte"), [(0, b"u"), (15, b"X"), (16, b"\x02"), (17, b"\x01")])
def test_another_magic_or_format_is_no_mark_of_ours(place: int, byte: bytes) -> None:
    body = encode_mark(MARK)[: MARK_SIZE - 32]
    other = body[:place] + byte + body[place + 1 :]
    assert other != body
    assert decode_mark(other + blake3(other).digest()) is None


def test_names_that_fill_the_sector_come_back() -> None:
    room = MARK_SIZE - 32 - 26 - 4  # without digest, head and the lengths of four names
    full = Unfinished("c" * 112, "a" * 112, "b" * 113, "d" * (room - 337), 5)
    assert decode_mark(encode_mark(full)) == full


@given(st.binary(max_size=600))
def test_random_bytes_are_no_mark(sector: bytes) -> None:
    assert decode_mark(sector) is None


def test_names_that_do_not_fit_are_refused_before_anything_is_written() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        encode_mark(Unfinished("c", "a", "b", "x" * 256, 0))
    with pytest.raises(ValueError, match="512 bytes"):
        encode_mark(Unfinished("c" * 200, "a" * 200, "b", "x" * 200, 0))


def test_the_mark_lies_behind_a_gpt_and_in_one_piece_of_a_4096_byte_sector() -> None:
    assert MARK_OFFSET >= 34 * 512
    assert MARK_OFFSET // 4096 == (MARK_OFFSET + MARK_SIZE - 1) // 4096
    assert MARK_OFFSET + MARK_SIZE <= 63 * 512
