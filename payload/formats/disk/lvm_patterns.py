"""Match names of devices as LVM's filters do, in a time that their length bounds.

The patterns are the copied system's, so anybody's; Python's own matcher tries one way after the
other, for ever if a pattern wants that. LVM makes an automaton of them (libdm/regex in its source),
and so does this: it goes all ways at once, one letter at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass

LONGEST = 4096  # characters; no filter of a server has as many
_DEEPEST = 50  # parentheses
# What LVM puts around a name, and what ^ and $ match (libdm/regex/parse_rx.c).
_BEGIN, _END = "\x02", "\x03"
_NO_DOT = frozenset("\n\r\0")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class PatternError(ValueError):
    """LVM would not take it."""


@dataclass(frozen=True)
class _Letter:
    """One of these letters; `negated`: any but these."""

    letters: frozenset[str]
    negated: bool = False

    def takes(self, letter: str) -> bool:
        return (letter in self.letters) != self.negated


@dataclass(frozen=True)
class _Ways:
    """Go on at each of these distances from here, without a letter."""

    distances: tuple[int, ...]


_Program = list[_Letter | _Ways]


def matches(pattern: str, name: str) -> bool:
    """Whether LVM finds the pattern anywhere in the name. Raises PatternError."""
    program = _Parser(pattern).parse()
    ways: set[int] = set()
    for letter in (_BEGIN, *name, _END):
        _enter(program, 0, ways)  # a match may begin at every letter
        if len(program) in ways:
            return True
        after: set[int] = set()
        for place in ways:
            step = program[place]
            if isinstance(step, _Letter) and step.takes(letter):
                _enter(program, place + 1, after)
        ways = after
    _enter(program, 0, ways)
    return len(program) in ways


def _enter(program: _Program, place: int, ways: set[int]) -> None:
    """Add a place and all that is reached from it without a letter."""
    waiting = [place]
    while waiting:
        place = waiting.pop()
        if place in ways:
            continue
        ways.add(place)
        step = program[place] if place < len(program) else None
        if isinstance(step, _Ways):
            waiting += (place + distance for distance in step.distances)


class _Parser:
    """The grammar of libdm/regex/parse_rx.c: alternatives of rows of closures of terms."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > LONGEST:
            raise PatternError("the pattern is longer than any")
        self._text, self._at, self._depth = pattern, 0, 0

    def parse(self) -> _Program:
        program = self._alternatives()
        if self._at < len(self._text):
            raise PatternError("a parenthesis too many")
        return program

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        letter = self._peek()
        if not letter:
            raise PatternError("it ends in the middle")
        self._at += 1
        return letter

    def _alternatives(self) -> _Program:
        program = self._row()
        others = [program]
        while self._peek() == "|":
            self._at += 1
            others.append(self._row())
        while len(others) > 1:
            last, before = others.pop(), others.pop()
            choice = _Ways((1, len(before) + 2))
            others.append([choice, *before, _Ways((len(last) + 1,)), *last])
        return others[0]

    def _row(self) -> _Program:
        program: _Program = []
        while self._peek() not in ("", "|", ")"):
            program += self._closure()
        if not program:
            raise PatternError("nothing to match")
        return program

    def _closure(self) -> _Program:
        program = self._term()
        while self._peek() in ("*", "+", "?") and self._peek():
            size = len(program)
            match self._take():
                case "*":
                    program = [_Ways((1, size + 2)), *program, _Ways((-size - 1,))]
                case "+":
                    program = [*program, _Ways((-size, 1))]
                case _:
                    program = [_Ways((1, size + 1)), *program]
        return program

    def _term(self) -> _Program:
        special: dict[str, Callable[[], _Program]] = {
            "(": self._group,
            "[": self._set,
            ".": lambda: [_Letter(_NO_DOT, negated=True)],
            "^": lambda: [_Letter(frozenset(_BEGIN))],
            "$": lambda: [_Letter(frozenset(_END))],
            "\\": lambda: [_Letter(frozenset(self._escaped()))],
        }
        letter = self._take()
        if letter in ("*", "+", "?"):
            raise PatternError("nothing to repeat")
        return special[letter]() if letter in special else [_Letter(frozenset(letter))]

    def _group(self) -> _Program:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise PatternError("more parentheses than any")
        program = self._alternatives()
        if self._take() != ")":
            raise PatternError("a parenthesis is missing")
        self._depth -= 1
        return program

    def _escaped(self) -> str:
        letter = self._take()
        return _ESCAPES.get(letter, letter)

    def _set(self) -> _Program:
        negated = self._peek() == "^"
        self._at += negated
        letters: set[str] = set()
        last = ""
        while (letter := self._take()) != "]":
            if letter == "-" and last:
                first, letter = sorted((last, self._take()))
                letters |= {chr(code) for code in range(ord(first), ord(letter) + 1)}
            elif letter == "\\":
                letter = self._escaped()
            letters.add(letter)
            last = letter
        return [_Letter(frozenset(letters | {"\0"} if negated else letters), negated)]
