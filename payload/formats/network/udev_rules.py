"""Persistent net rules: the files by which old systems tie eth0 to a MAC address.

On other hardware no rule matches, udev adds one for the new card under the next free number, and
the server comes up with eth1 and without its address. So the names stay and the matches change:
rules for cards that are not there are commented out (udev's own generator then counts the name as
free), and each card of this machine gets a rule, in the words of the udev that reads the file.

Rules that tie something else to a card (wake on LAN, rings, queues) get its match changed too, in
any file. Running twice changes nothing more.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from payload.formats.network.interface import MAC as _MAC
from payload.formats.network.interface import Assignment, Interface, lines_in
from payload.formats.network.udev_syntax import (
    Span,
    Token,
    asks_for_address,
    chunks_of,
    names_another_subsystem,
    retie_conditions,
    tokens_of,
    with_edits,
)
from payload.model.machine import Card

_RENAME = re.compile(
    r"(?<!\S)(?P<program>\S*rename_netiface)\s+(?:%k|\$kernel)\s+(?P<name>[^\s%*?$\[\]]+)"
)
_LITERAL = re.compile(r"[^%*?$\[\]|/\s]+")
_WIRELESS = re.compile(r"(wlan|ath|ra|sta)([0-9*?\[].*)?")
_USB_PATH = re.compile(r"\d+-[\d.]+(:[\d.]+)?")
_LATER_HEADER = "change only the value of the NAME= key"
_ETCH_HEADER = "probably run by the persistent-net-generator"
NO_MACS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Dialect:
    """How the udev that reads a file wants its rules. `rename` is SLES 10's helper program."""

    address: str = "ATTR"
    dev_id: bool = False
    rename: str = ""

    def rule(self, mac: str, name: str) -> str:
        """One naming rule without line end."""
        if self.rename:
            return (
                f'SUBSYSTEM=="net", ACTION=="add", {self.address}{{address}}=="{mac}", '
                f'IMPORT="{self.rename} %k {name}"'
            )
        if self.address != "ATTR":
            return (
                f'SUBSYSTEM=="net", DRIVERS=="?*", {self.address}{{address}}=="{mac}", '
                f'NAME="{name}"'
            )
        dev_id = 'ATTR{dev_id}=="0x0", ' if self.dev_id else ""
        return (
            f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", '
            f'{dev_id}ATTR{{type}}=="1", KERNEL=="eth*", NAME="{name}"'
        )


ETCH = Dialect("ATTRS")
LENNY = Dialect()  # also what every later udev understands, on kernels without dev_id too
SLES10 = Dialect("SYSFS", rename="/lib/udev/rename_netiface")


@dataclass(frozen=True)
class _GivenName:
    """A name in a rule: the whole of a value, or one word of a call of `program`."""

    name: str
    at: Span  # the value in the raw text
    before: str = ""
    after: str = ""
    program: str = ""


@dataclass(frozen=True)
class NamingRule:
    """An active rule that gives a name to a card. `mac` is "" when it matches otherwise."""

    raw: str
    tokens: tuple[Token, ...]
    given: tuple[_GivenName, ...]
    mac: str
    dialect: Dialect | None  # None: the rule does not tell

    @property
    def name(self) -> str:
        return self.given[-1].name

    def renamed(self, name: str) -> str:
        """The same rule with that name, its MAC in lower case and ATTRS(x) as ATTRS{x}."""
        given = [(one.at, f"{one.before}{name}{one.after}") for one in self.given]
        return self._edited(given, self.mac)

    def retied(self, mac: str) -> str:
        """The same rule for the card with that MAC."""
        return self._edited([], mac)

    def _edited(self, edits: list[tuple[Span, str]], mac: str) -> str:
        for token in self.tokens:
            if self.raw[slice(*token.attribute_at)].startswith("("):
                edits.append((token.attribute_at, f"{{{token.attribute}}}"))
            if _is_address(token):
                edits.append(
                    (
                        token.value_at,
                        mac if token.value.lower() == self.mac else token.value.lower(),
                    )
                )
        return with_edits(self.raw, edits)

    def silenced(self) -> str:
        """The same rule as comment. udev skips a comment line alone, so every line needs a #."""
        lines = lines_in(self.raw)
        return "".join(line if line.startswith("#") else f"#{line}" for line in lines)


def _is_address(token: Token) -> bool:
    return (
        asks_for_address(token)
        and token.operator == "=="
        and _MAC.fullmatch(token.value) is not None
    )


def _is_wireless(tokens: Sequence[Token], name: str) -> bool:
    if _WIRELESS.fullmatch(name):
        return True
    kernels = [
        kernel
        for token in tokens
        if token.key == "KERNEL" and token.operator == "=="
        for kernel in token.value.split("|")
    ]
    return bool(kernels) and all(_WIRELESS.fullmatch(kernel) for kernel in kernels)


def _given_name(token: Token) -> _GivenName | None:
    if token.key == "NAME" and token.operator in ("=", ":="):
        return _GivenName(token.value, token.value_at)
    if not token.is_match and (found := _RENAME.search(token.value)):
        start, end = found.span("name")
        before, after = token.value[:start], token.value[end:]
        return _GivenName(found["name"], token.value_at, before, after, found["program"])
    return None


def parse_rule(raw: str) -> NamingRule | None:
    """The naming rule in `raw` (all its physical lines), None for anything else.

    Wireless cards are not the server's network: their rules are left alone, and so are rules of
    other subsystems and names that udev computes ("%k", "$env{..}").
    """
    tokens = tokens_of(raw)
    given = tuple(name for name in map(_given_name, tokens) if name is not None)
    if not given or not all(_LITERAL.fullmatch(each.name) for each in given):
        return None
    if names_another_subsystem(tokens) or _is_wireless(tokens, given[-1].name):
        return None
    addresses = [token for token in tokens if _is_address(token)]
    return NamingRule(
        raw,
        tokens,
        given,
        addresses[0].value.lower() if addresses else "",
        _dialect_of_rule(tokens, given[-1].program),
    )


def _dialect_of_rule(tokens: Sequence[Token], program: str) -> Dialect | None:
    keys = {(token.key, token.attribute) for token in tokens}
    for address in ("SYSFS", "ATTRS", "ATTR"):
        if (address, "address") in keys:
            return Dialect(address, ("ATTR", "dev_id") in keys, program)
    return Dialect("SYSFS", rename=program) if program else None


def read_rules(content: bytes) -> tuple[NamingRule, ...]:
    """The active naming rules of a file, in its order."""
    chunks = chunks_of(content.decode("latin-1"))
    return tuple(rule for rule in map(parse_rule, chunks) if rule is not None)


def is_rules_file(name: str) -> bool:
    """Whether a file in rules.d is kept by a generator of rules (which is not one itself)."""
    named_so = re.fullmatch(r".*persistent.*(names|net).*\.rules", name)
    return named_so is not None and not _is_about_else(name)


def _is_about_else(name: str) -> bool:
    """Generators hold templates of rules, and some rules are for CD drives."""
    return re.search(r"persistent-cd|generator", name) is not None


def read_ties(content: bytes, path: str = "") -> list[Interface]:
    """The names that the rules of a file give to cards by MAC."""
    if _is_about_else(PurePosixPath(path).name):
        return []
    return [Interface(rule.name, mac=rule.mac) for rule in read_rules(content) if rule.mac]


def detect_dialect(content: bytes, path: str) -> Dialect:
    """How to write rules into this file: as its last rule, else as its header, else its name.

    The last rule is the newest: after an upgrade old forms stand above. Commented rules count
    too, for they were once written by the same udev.
    """
    text = content.decode("latin-1")
    for chunk in reversed(chunks_of(text)):
        rule = parse_rule(chunk.lstrip("# \t"))
        if rule is not None and rule.dialect is not None:
            return rule.dialect
    if _ETCH_HEADER in text:
        return ETCH
    if _LATER_HEADER in text:
        return LENNY
    name = PurePosixPath(path).name
    if name.startswith("z25_"):
        return ETCH
    return SLES10 if "net_persistent_names" in name else LENNY


def card_comment(card: Card | None) -> str:
    """The line udev's generator writes above a rule."""
    driver = f" ({card.driver})" if card and card.driver else ""
    if card is None or not card.pci_id:
        return f"# net device{driver}"
    bus = "USB" if _USB_PATH.fullmatch(card.bus) else "PCI"
    return f"# {bus} device {card.pci_id}{driver}"


def by_number(name: str) -> tuple[str, int, str]:
    """Sort key: eth2 before eth10."""
    found = re.fullmatch(r"(.*?)(\d+)", name)
    return (found[1], int(found[2]), name) if found else (name, -1, name)


def silence_rules(content: bytes, macs: Mapping[str, str] = NO_MACS) -> bytes:
    """Comment out every naming rule: for a second file beside the one that names the cards."""
    return _rewrite(content, lambda rule: None, macs)


def rewrite_rules(
    content: bytes,
    path: str,
    cards: Sequence[Card],
    names: Mapping[str, str],
    macs: Mapping[str, str] = NO_MACS,
) -> bytes:
    """The file as it must be for a machine with `cards`, where `names` (name -> MAC) are wanted.

    `path` tells the dialect when the content does not. Rules for a named card are kept under its
    name, other naming rules commented out; a card that has no rule yet gets one at the end. What
    rules without a name ask for is taken from `macs` (MAC at the source -> MAC here).
    """
    name_of = {mac.lower(): name for name, mac in names.items() if mac}
    present = {card.mac.lower(): card for card in cards}
    taken = {name for name, mac in names.items() if mac}
    done: set[str] = set()

    def decide(rule: NamingRule) -> str | None:
        if rule.mac in done:
            return None
        if rule.mac in name_of:
            done.add(rule.mac)
            return name_of[rule.mac]
        if rule.mac in present and rule.name not in taken:
            done.add(rule.mac)
            taken.add(rule.name)
            return rule.name  # a card of this machine that nobody wants under another name
        return None

    dialect = detect_dialect(content, path)
    text = _rewrite(content, decide, macs).decode("latin-1")
    missing = sorted(name_of.keys() - done, key=lambda mac: by_number(name_of[mac]))
    end = "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"
    if missing and text and not text.endswith("\n"):
        text += end
    for mac in missing:
        text += f"{end}{card_comment(present.get(mac))}{end}{dialect.rule(mac, name_of[mac])}{end}"
    return text.encode("latin-1")


def retie_rules(content: bytes, path: str, assignment: Assignment) -> bytes:
    """A rules file that somebody wrote by hand: its MACs become those of the cards here, no rule
    is added or commented out. The naming rules of generators' files are for `rewrite_rules`."""
    if _is_about_else(PurePosixPath(path).name):
        return content
    macs = assignment.replacements
    parts = []
    for chunk in chunks_of(content.decode("latin-1")):
        rule = parse_rule(chunk)
        mac = assignment.mac_for(rule.name, rule.mac) if rule and rule.mac else ""
        parts.append(rule.retied(mac) if rule and mac else retie_conditions(chunk, macs))
    return "".join(parts).encode("latin-1")


def _rewrite(
    content: bytes, decide: Callable[[NamingRule], str | None], macs: Mapping[str, str]
) -> bytes:
    parts = []
    for chunk in chunks_of(content.decode("latin-1")):
        rule = parse_rule(chunk)
        if rule is None:
            parts.append(retie_conditions(chunk, macs))
            continue
        name = decide(rule)
        parts.append(rule.silenced() if name is None else rule.renamed(name))
    return "".join(parts).encode("latin-1")
