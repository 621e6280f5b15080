"""The rules that udev reads: files of rules, a rule's keys, and where each stands in the text.

Files are bytes to us (latin-1 keeps every one), a line ends at a newline, and one rule may be
wrapped over several lines by backslashes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from payload.formats.network.interface import lines_in, replace_macs

_WRAP = re.compile(r"\\\r?\n")
# It looks at every byte a bounded number of times, whatever a copied system's file holds.
_TOKEN = re.compile(
    r'(?<![A-Za-z_])(?P<key>[A-Za-z_]+)(?P<attribute>\{[^{}"]*\}|\([^()"]*\))?\s*'
    r'(?P<operator>==|!=|\+=|-=|:=|=)\s*[ei]?"(?P<value>[^"]*)"'
)
# No udev reads a longer one: LONG_LINE_MAX, src/basic/fileio.h of systemd; older ones take 16 KiB.
_LONGEST_RULE = 1 << 20

Span = tuple[int, int]


@dataclass(frozen=True)
class Token:
    """One `KEY{attribute}=="value"` of a rule."""

    key: str
    attribute: str  # without brackets
    operator: str
    value: str
    attribute_at: Span  # in the raw text, brackets included
    value_at: Span

    @property
    def is_match(self) -> bool:
        return self.operator in ("==", "!=")


def chunks_of(text: str) -> list[str]:
    """Comments, blank lines and whole rules, each with all its physical lines."""
    chunks: list[list[str]] = []
    open_rule = False
    for line in lines_in(text):
        if open_rule:
            chunks[-1].append(line)
        else:
            chunks.append([line])
        starts_comment = not open_rule and is_comment(line)
        open_rule = not starts_comment and line.endswith(("\\\n", "\\\r\n"))
    return ["".join(chunk) for chunk in chunks]


def is_comment(line: str) -> bool:
    return line.lstrip(" \t").startswith("#")


def tokens_of(raw: str) -> tuple[Token, ...]:
    """The `KEY{attribute}=="value"` parts of a rule, with their places in the raw text; none of a
    comment, and of what is too long for udev."""
    if '"' not in raw or is_comment(raw) or len(raw) > _LONGEST_RULE:
        return ()
    places: list[int] = []
    joined = ""
    position = 0
    for wrap in [*_WRAP.finditer(raw), None]:
        end = wrap.start() if wrap else len(raw)
        joined += raw[position:end]
        places += range(position, end)
        position = wrap.end() if wrap else end

    def span(match: re.Match[str], group: str) -> Span:
        start, end = match.span(group)
        return (places[start], places[end - 1] + 1) if end > start else (0, 0)

    return tuple(
        Token(
            match["key"],
            (match["attribute"] or "")[1:-1],
            match["operator"],
            match["value"],
            span(match, "attribute"),
            span(match, "value"),
        )
        for match in _TOKEN.finditer(joined)
    )


def with_edits(raw: str, edits: Sequence[tuple[Span, str]]) -> str:
    """A rule with other text at some places. A value wrapped over two lines stays as it is unless
    it has to change."""
    pieces, behind = list[str](), 0
    for (start, end), new in sorted(edits):
        if _WRAP.sub("", raw[start:end]) != new:
            pieces += [raw[behind:start], new]
            behind = end
    return "".join([*pieces, raw[behind:]])


def asks_for_address(token: Token) -> bool:
    return (
        token.key in ("ATTR", "ATTRS", "SYSFS") and token.attribute == "address" and token.is_match
    )


def names_another_subsystem(tokens: Sequence[Token]) -> bool:
    for token in tokens:
        if token.key == "SUBSYSTEM" and token.is_match:
            of_net = "net" in token.value.split("|")
            if of_net is not (token.operator == "=="):
                return True
    return False


def retie_conditions(raw: str, macs: Mapping[str, str]) -> str:
    """A rule that asks for cards by MAC, whatever it does with them (wake on LAN, rings, queues),
    asks for those that `macs` has for them."""
    tokens = tokens_of(raw)
    if names_another_subsystem(tokens):
        return raw
    asked = [token for token in tokens if asks_for_address(token)]
    return with_edits(raw, [(one.value_at, replace_macs(one.value, macs)) for one in asked])
