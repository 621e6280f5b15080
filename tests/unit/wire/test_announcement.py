"""What a machine announces is known by its site, and by nobody else's hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.announcement import Announcement, Claim
from payload.wire.announcement import (
    ADDRESSES_LIMIT,
    announcement_key,
    pack_announcement,
    printable,
    split_strings,
    unpack_announcement,
)

KEY = announcement_key(b"ours")
SOURCE = Announcement("5" * 32, "source", "groupware", 10000, 7)
ADDRESSES = ("fe80::5", "192.0.2.5", "2001:db8::5")


def text_of(words: dict[str, bytes]) -> bytes:
    """A TXT record as it goes over the wire."""
    strings = [key.encode() + b"=" + value for key, value in words.items()]
    return b"".join(bytes([len(string)]) + string for string in strings)


def test_what_is_said_is_heard() -> None:
    text = text_of(pack_announcement(SOURCE, ADDRESSES, KEY))
    assert unpack_announcement(text, KEY) == Claim(SOURCE, ADDRESSES)


def test_another_site_says_nothing_to_us() -> None:
    text = text_of(pack_announcement(SOURCE, ADDRESSES, announcement_key(b"theirs")))
    assert unpack_announcement(text, KEY) is None


@pytest.mark.parametrize("word", ["id", "role", "name", "protocol", "port", "addresses"])
def test_no_word_can_be_changed_or_left_out(word: str) -> None:
    words = pack_announcement(SOURCE, ADDRESSES, KEY)
    assert unpack_announcement(text_of({**words, word: words[word] + b"6"}), KEY) is None
    del words[word]
    assert unpack_announcement(text_of(words), KEY) is None


def test_no_word_can_lend_to_its_neighbour() -> None:
    words = pack_announcement(SOURCE, ADDRESSES, KEY)
    moved = {**words, "role": words["role"] + words["name"], "name": b""}
    assert unpack_announcement(text_of(moved), KEY) is None


def test_the_first_of_two_words_counts() -> None:
    """So that nothing put in front or behind of what was said changes it."""
    text = text_of(pack_announcement(SOURCE, ADDRESSES, KEY))
    assert unpack_announcement(text + b"\x0brole=target", KEY) == Claim(SOURCE, ADDRESSES)
    assert unpack_announcement(b"\x0brole=target" + text, KEY) is None
    assert split_strings(b"\x03a=1\x03a=2\x01b\x00") == {b"a": b"1", b"b": b"", b"": b""}


def test_every_string_fits() -> None:
    long = replace(SOURCE, machine_id="5" * 64, name="é" * 300)
    many = [f"2001:db8::{number:x}" for number in range(1, 51)]
    text = text_of(pack_announcement(long, many, KEY))
    heard = unpack_announcement(text, KEY)
    assert heard is not None
    assert heard.addresses == tuple(many[:ADDRESSES_LIMIT])
    assert heard.announcement.name == "é" * 100


def test_words_for_people_repaint_no_console() -> None:
    assert printable(b"\x1b]0;owned\x07\xff" + b"A" * 200) == "]0;owned�" + "A" * 91


@given(st.binary(max_size=400))
def test_any_bytes_are_nothing_of_ours(text: bytes) -> None:
    assert unpack_announcement(text, KEY) is None


@given(st.binary(min_size=1, max_size=4), st.integers(0, 400))
def test_a_damaged_announcement_is_none(noise: bytes, place: int) -> None:
    text = text_of(pack_announcement(SOURCE, ADDRESSES, KEY))
    damaged = text[: place % len(text)] + noise + text[place % len(text) + len(noise) :]
    if damaged[: len(text)] != text:  # a length that goes beyond the end says nothing else
        assert unpack_announcement(damaged, KEY) in (None, unpack_announcement(text, KEY))
