"""Rules of udev: where one ends, what its parts are, and where they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.network.udev_syntax import (
    Token,
    asks_for_address,
    chunks_of,
    is_comment,
    names_another_subsystem,
    retie_conditions,
    tokens_of,
    with_edits,
)

OLD, HERE = "00:1a:64:6c:11:0e", "52:54:00:9a:00:11"
_TEXT = st.lists(
    st.sampled_from(
        [
            *('SUBSYSTEM=="net"', "ATTR{address}==", f'"{OLD}"', 'NAME="eth0"', 'RUN+="/x"'),
            *(", ", "\\\n", "\\\r\n", "\\", "\n", "\r\n", "#", " ", '"', "\x85", "\xe4", "{", "("),
        ]
    ),
    max_size=30,
).map("".join)


def words(raw: str) -> list[tuple[str, str, str, str]]:
    return [(one.key, one.attribute, one.operator, one.value) for one in tokens_of(raw)]


# --- rules


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("", []),
        ("a\n\nb", ["a\n", "\n", "b"]),
        ("a \\\n b \\\r\n c\nd\n", ["a \\\n b \\\r\n c\n", "d\n"]),
        ("a \\ \nb\n", ["a \\ \n", "b\n"]),
        ("a \\", ["a \\"]),
        # A comment ends with its line, as in parse_file of systemd's udev-rules.c.
        ("# a \\\nb\n", ["# a \\\n", "b\n"]),
        # One inside of a wrapped rule is a line of the rule.
        ("a \\\n# b \\\nc\nd", ["a \\\n# b \\\nc\n", "d"]),
    ],
)
def test_a_rule_is_all_its_lines(text: str, chunks: list[str]) -> None:
    assert chunks_of(text) == chunks


@given(_TEXT)
def test_no_letter_is_lost_between_rules(text: str) -> None:
    assert "".join(chunks_of(text)) == text
    assert all(chunks_of(text))


@pytest.mark.parametrize(
    ("line", "expected"),
    [("# a", True), (" \t# a", True), ("", False), ("a # b", False), ("\x0c#", False)],
)
def test_a_comment_begins_its_line(line: str, *, expected: bool) -> None:
    assert is_comment(line) is expected


# --- tokens


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('KERNEL=="eth*"', [("KERNEL", "", "==", "eth*")]),
        ('ATTR{address}!="x", NAME="y"', [("ATTR", "address", "!=", "x"), ("NAME", "", "=", "y")]),
        ('SYSFS(address) == "x"', [("SYSFS", "address", "==", "x")]),
        (
            'RUN+="a" TAG-="b" NAME:="c"',
            [("RUN", "", "+=", "a"), ("TAG", "", "-=", "b"), ("NAME", "", ":=", "c")],
        ),
        (
            'ATTR{address}==i"X" ENV{a}=e"b"',
            [("ATTR", "address", "==", "X"), ("ENV", "a", "=", "b")],
        ),
        ('NAME=""', [("NAME", "", "=", "")]),
        ('KER\\\nNEL=="et\\\r\nh0"', [("KERNEL", "", "==", "eth0")]),
        ("KERNEL==eth0", []),
        ('KERNEL=="eth0', []),
        ('# KERNEL=="eth0"', []),
        ("", []),
    ],
)
def test_the_parts_of_a_rule(raw: str, expected: list[tuple[str, str, str, str]]) -> None:
    assert words(raw) == expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("==", True), ("!=", True), ("=", False), ("+=", False), (":=", False), ("-=", False)],
)
def test_a_condition_is_told_from_an_assignment(operator: str, *, expected: bool) -> None:
    (token,) = tokens_of(f'NAME{operator}"x"')
    assert token.is_match is expected


@given(_TEXT)
def test_a_part_stands_where_it_says(text: str) -> None:
    for raw in chunks_of(text):
        for token in tokens_of(raw):
            value, attribute = (
                raw[start:end].replace("\\\r\n", "").replace("\\\n", "")
                for start, end in (token.value_at, token.attribute_at)
            )
            assert value == token.value
            assert attribute[1:-1] == token.attribute


def test_a_rule_longer_than_udev_reads_has_no_parts() -> None:
    """LONG_LINE_MAX, src/basic/fileio.h of systemd."""
    limit = 1 << 20
    raw = 'NAME="x"'
    assert words(raw.rjust(limit)) == [("NAME", "", "=", "x")]
    assert words(raw.rjust(limit + 1)) == []


# --- changes


def test_changes_are_made_at_their_places() -> None:
    raw = 'A=="one", B=="two", C=="three"'
    first, second, third = tokens_of(raw)
    edits = [(first.value_at, "1"), (third.value_at, "longer than before"), (second.value_at, "")]
    assert with_edits(raw, edits) == 'A=="1", B=="", C=="longer than before"'
    assert with_edits(raw, []) == raw


def test_a_wrapped_value_is_left_wrapped_unless_it_changes() -> None:
    raw = 'A=="o\\\nne"'
    (token,) = tokens_of(raw)
    assert with_edits(raw, [(token.value_at, "one")]) == raw
    assert with_edits(raw, [(token.value_at, "two")]) == 'A=="two"'


# --- conditions


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('ATTR{address}=="x"', True),
        ('ATTRS{address}!="x"', True),
        ('SYSFS{address}=="x"', True),
        ('ATTR{address}="x"', False),
        ('ATTR{mtu}=="x"', False),
        ('ENV{address}=="x"', False),
    ],
)
def test_which_condition_asks_for_an_address(raw: str, *, expected: bool) -> None:
    (token,) = tokens_of(raw)
    assert asks_for_address(token) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('SUBSYSTEM=="net"', False),
        ('SUBSYSTEM=="net|usb"', False),
        ('SUBSYSTEM!="block"', False),
        ('SUBSYSTEM="block"', False),
        ('KERNEL=="eth0"', False),
        ('SUBSYSTEM=="block"', True),
        ('SUBSYSTEM=="netlink"', True),
        ('SUBSYSTEM!="net"', True),
        ('SUBSYSTEM=="net", SUBSYSTEM=="block"', True),
    ],
)
def test_a_rule_for_other_devices_is_known_by_its_subsystem(raw: str, *, expected: bool) -> None:
    assert names_another_subsystem(tokens_of(raw)) is expected


def test_only_what_asks_for_a_card_is_changed() -> None:
    raw = f'ATTR{{address}}=="{OLD}|{OLD.upper()}", ENV{{X}}="{OLD}"\n'
    assert retie_conditions(raw, {OLD: HERE}) == (
        f'ATTR{{address}}=="{HERE}|{HERE.upper()}", ENV{{X}}="{OLD}"\n'
    )
    assert retie_conditions(f'SUBSYSTEM=="block", {raw}', {OLD: HERE}) == (
        f'SUBSYSTEM=="block", {raw}'
    )


@given(_TEXT)
def test_any_text_has_parts_and_twice_is_once(text: str) -> None:
    for raw in chunks_of(text):
        assert all(isinstance(token, Token) for token in tokens_of(raw))
        once = retie_conditions(raw, {OLD: HERE})
        assert retie_conditions(once, {OLD: HERE}) == once
        assert retie_conditions(raw, {}) == raw
