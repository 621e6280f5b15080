"""Foreign text made harmless, figures made short."""

import math

from hypothesis import given
from hypothesis import strategies as st

from payload.console.text import amount, duration, megabytes_per_second, percent, plain, size, wrap

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


def test_escape_sequences_become_visible() -> None:
    assert plain("disk\x1b[2J\x07\x9b1m") == r"disk\x1b[2J\x07\x9b1m"


def test_white_space_and_letters() -> None:
    assert plain("  two\n\tlines\r\n ") == "two lines"
    assert plain("Müller \udce4") == r"M\xfcller \udce4"


@given(ANY_TEXT)
def test_plain_is_always_printable_ascii(text: str) -> None:
    assert all(" " <= character <= "~" for character in plain(text))


@given(ANY_TEXT, st.integers(20, 140))
def test_wrapping_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    lines = wrap(text, width, "  ")
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == plain(text).replace(" ", "")


def test_sizes() -> None:
    assert [size(number) for number in (0, 512, 999, 1000, 1048576, 37 * 10**9, 999_960)] == [
        "0",
        "512",
        "999",
        "1.00K",
        "1.05M",
        "37.0G",
        "1.00M",
    ]


def test_amounts() -> None:
    assert [amount(number) for number in (0, 512, 37 * 10**9)] == ["0 B", "512 B", "37.0 GB"]


@given(st.integers(0, 1 << 64))
def test_sizes_are_short(number: int) -> None:
    assert len(size(number)) <= 5


def test_durations() -> None:
    assert duration(80) == "01:20"
    assert duration(7384) == "2:03:04"
    assert duration(3 * 86400 + 4 * 3600 + 300) == "3 d 04:05"
    assert {duration(value) for value in (math.inf, math.nan, -1.0)} == {"--:--"}


def test_rates() -> None:
    assert megabytes_per_second(12_345_678) == "12.3 MB/s"
    assert megabytes_per_second(math.inf) == "0.0 MB/s"


def test_hundred_percent_means_all() -> None:
    assert percent(999, 1000) == 99
    assert percent(1000, 1000) == 100
    assert percent(0, 0) == 100
    assert percent(2000, 1000) == 100
