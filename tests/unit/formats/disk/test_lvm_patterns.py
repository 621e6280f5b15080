"""Names of devices matched as LVM matches them, by whatever pattern, in bounded time."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.lvm_patterns import LONGEST, PatternError, matches


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("/dev/sda", "/dev/sda1", True),  # anywhere in the name
        ("^/dev/sda$", "/dev/sda1", False),
        ("^/dev/sd[a-c]+[0-9]?$", "/dev/sdab1", True),
        ("sd[^a-c]", "/dev/sdb", False),
        ("sd[c-a]", "/dev/sdb", True),  # turned round by LVM
        ("sd[]]?b", "/dev/sd]b", False),  # an empty set: "]" always ends one
        ("sd[a\\]]", "/dev/sd]", True),
        ("(loop|ram|hd[ab])", "/dev/hdb2", True),
        ("c.d0", "/dev/cciss/c0d0", True),
        ("a\\.b", "axb", False),
        (".*", "/dev/sda", True),
        ("x*", "/dev/sda", True),
        ("^.dev", "/dev", True),
        ("dev.$", "/dev", False),
        ("(a|b)*c$", "/ababc", True),
    ],
)
def test_as_lvm_would(pattern: str, name: str, is_match: bool) -> None:
    assert matches(pattern, name) == is_match


@pytest.mark.parametrize(
    "pattern", ["", "(", ")", "a)", "(a", "()", "a|", "|a", "*", "a(*)", "[a", "a\\", "[a-"]
)
def test_what_lvm_would_refuse_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        matches(pattern, "/dev/sda")


def test_a_pattern_longer_or_deeper_than_any_is_refused() -> None:
    for pattern in ("a" * (LONGEST + 1), "(" * 1000 + "a" + ")" * 1000):
        with pytest.raises(PatternError):
            matches(pattern, "/dev/sda")


LETTERS = st.sampled_from(("a", "b", ".", "[ab]", "[^a]", "\\."))
PATTERNS = st.recursive(
    LETTERS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda ways: f"({'|'.join(ways)})"),
        st.tuples(inner, st.sampled_from("*+?")).map(lambda one: f"({one[0]}){one[1]}"),
    ),
    max_leaves=8,
)


@given(PATTERNS, st.text("abc.", max_size=6))
def test_where_both_mean_the_same_python_agrees(pattern: str, name: str) -> None:
    assert matches(f"^({pattern})$", name) == bool(re.search(f"^({pattern})$", name))


@given(st.text("ab|()*+?.[]^$\\-", max_size=30))
def test_any_pattern_is_matched_or_refused(pattern: str) -> None:
    with contextlib.suppress(PatternError):
        assert matches(pattern, "/dev/sda1") in (True, False)


HOSTILE = f"({'|'.join('.' * 40)})*X"


def test_a_pattern_of_many_ways_comes_to_an_end() -> None:
    """Each letter in any of 40 ways: more than there are atoms, one after the other."""
    assert not matches(HOSTILE, "/dev/disk/by-id/ata-ST3500320NS_9QM1AB2C-part1")
    assert not matches("((a*)*)*X", "a" * 60)
