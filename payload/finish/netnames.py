"""Which card of the target gets which name of the copied system.

The configuration speaks of names (eth0 has the address, eth1 leads to the storage), so each name
must reach the wire it reached before. Both machines run the same live system, which gives the one
exact answer: the card over which the copy came is on the same wire as the source's card at the
other end, so it inherits that card's name. The rest is the best guess: cards with a link first,
then the order of the slots to the order of the numbers; names that carry an address before names
that only exist.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from payload.finish.udev_rules import by_number, read_rules
from payload.model.machine import Card
from payload.model.report import CardName
from payload.system.files import inside, read_inside

RULES_DIRECTORY = "/etc/udev/rules.d"
INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_MEMBER_OPTIONS = frozenset(
    {"slaves", "bond-slaves", "bond_slaves", "bridge_ports", "bridge-ports"}
    | {"vlan-raw-device", "vlan_raw_device"}
)
# Names that no card has: made by software, or wireless.
_NOT_A_CARD = re.compile(
    r"(lo|bond|br|virbr|docker|veth|vlan|tun|tap|ppp|dummy|sit|gre|wg|wlan|ath|ra|sta|wlp|none)"
    r"([-_.\d].*)?"
)


@dataclass(frozen=True)
class NamesInUse:
    """What the copied system calls its cards.

    `rules` is name -> MAC of its persistent net rules; `addressed` the names that carry an
    address, the one towards the gateway first; `configured` others the configuration mentions.
    """

    rules: dict[str, str] = field(default_factory=dict)
    addressed: tuple[str, ...] = ()
    configured: tuple[str, ...] = ()


def is_rules_file(name: str) -> bool:
    """Whether a file in rules.d ties names to cards (the generator of such files does not)."""
    return bool(re.fullmatch(r".*persistent.*(names|net).*\.rules", name)) and not re.search(
        r"persistent-cd|generator", name
    )


def rules_files(root: Path) -> tuple[str, ...]:
    """Paths (from the copy's root) of its persistent net rules, links resolved, none twice.

    The one that today's and yesterday's generators write, 70-, comes first.
    """
    directory = inside(root, RULES_DIRECTORY)
    names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
    names = sorted(filter(is_rules_file, names), key=lambda name: (name[:3] != "70-", name))
    places = (inside(root, f"{RULES_DIRECTORY}/{name}") for name in names)
    found = (f"/{place.relative_to(root)}" for place in places if place.is_file())
    return tuple(dict.fromkeys(found))


def read_names(root: Path) -> NamesInUse:
    """The names in use in the system mounted at `root`. Raises OSError."""
    rules: dict[str, str] = {}
    for path in rules_files(root):
        for rule in read_rules(read_inside(root, path) or b""):
            rules.setdefault(rule.name, rule.mac)
    ucr = read_inside(root, "/etc/univention/base.conf")
    interfaces = _interfaces_text(root)
    found = [parse_ucr(_text(ucr))] if ucr is not None else []
    found.append(parse_interfaces(interfaces))
    addressed = tuple(dict.fromkeys(name for names in found for name in names.addressed))
    configured = dict.fromkeys(name for names in found for name in names.configured)
    return NamesInUse(rules, addressed, tuple(n for n in configured if n not in addressed))


def _text(content: bytes | None) -> str:
    return (content or b"").decode("latin-1")


def _interfaces_text(root: Path) -> str:
    directory = inside(root, "/etc/network/interfaces.d")
    names = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []
    paths = ["/etc/network/interfaces", *(f"/etc/network/interfaces.d/{name}" for name in names)]
    return "\n".join(_text(read_inside(root, path)) for path in paths)


def _card_of(interface: str) -> str:
    """eth0 for the alias eth0:1 and the VLAN eth0.100; "" for what has no card of its own."""
    base = re.split(r"[:.]", interface, maxsplit=1)[0]
    return base if INTERFACE_NAME.fullmatch(base) and not _NOT_A_CARD.fullmatch(base) else ""


def parse_interfaces(text: str) -> NamesInUse:
    """What /etc/network/interfaces says (ifupdown)."""
    addressed: dict[str, bool] = {}  # name -> leads to the gateway
    mentioned: list[str] = []
    stanza: list[str] = []  # the cards of the present one: its own, or the members of a bond
    gateway = False
    for line in re.sub(r"\\\r?\n", " ", text).split("\n"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "iface" and len(words) >= 4:
            stanza, gateway = [_card_of(words[1])], False
            mentioned += stanza
            if words[3] in ("static", "dhcp", "bootp"):
                addressed.setdefault(stanza[0], False)
        elif words[0] == "auto" or words[0].startswith("allow-"):
            mentioned += map(_card_of, words[1:])
        elif words[0] == "gateway":
            gateway = True
        elif words[0] in _MEMBER_OPTIONS:
            stanza += map(_card_of, words[1:])
            for member in stanza[1:]:
                addressed.setdefault(member, False)  # the address of the bond needs this card
        if gateway:
            addressed.update((name, True) for name in stanza if name in addressed)
    names = sorted(filter(None, addressed), key=lambda name: (not addressed[name], by_number(name)))
    rest = dict.fromkeys(name for name in mentioned if name and name not in addressed)
    return NamesInUse(addressed=tuple(names), configured=tuple(rest))


def parse_ucr(text: str) -> NamesInUse:
    """What Univention's registry says (`key: value` lines of base.conf)."""
    values = {
        key.strip(): value.strip()
        for key, colon, value in (line.partition(": ") for line in text.split("\n"))
        if colon and not key.startswith("#")
    }
    addressed: dict[str, bool] = {}
    mentioned: dict[str, None] = {}
    for key, value in values.items():
        found = re.fullmatch(r"interfaces/([^/]+)/(address|type|netmask)", key)
        name = _card_of(found[1].split("_")[0]) if found else ""
        if found is None or not name:
            continue
        mentioned.setdefault(name)
        if found[2] == "address" or value in ("dhcp", "dynamic"):
            mask = values.get(f"interfaces/{found[1]}/netmask", "")
            leads = found[2] == "address" and _same_network(value, mask, values.get("gateway", ""))
            addressed[name] = addressed.get(name, False) or leads
    primary = values.get("interfaces/primary", "")
    names = sorted(addressed, key=lambda n: (not addressed[n], n != primary, by_number(n)))
    rest = tuple(name for name in mentioned if name not in addressed)
    return NamesInUse(addressed=tuple(names), configured=rest)


def _same_network(address: str, mask: str, gateway: str) -> bool:
    try:
        network = ipaddress.ip_network(f"{address}/{mask}", strict=False)
        return ipaddress.ip_address(gateway) in network
    except ValueError:
        return False


def source_names(in_use: NamesInUse, cards: Sequence[Card]) -> dict[str, str]:
    """MAC -> name for the source's own cards.

    By its rules; a card without a rule by the name the live kernel gives it, where the
    configuration uses that very name (predictable names are the same everywhere); at last ethN
    in the order of the slots, as a kernel left alone would name them.
    """
    macs = {card.mac for card in cards}
    names: dict[str, str] = {}
    for name, mac in in_use.rules.items():
        if mac in macs:
            names.setdefault(mac, name)
    wanted = (*in_use.addressed, *in_use.configured)
    for card in cards:
        if card.mac not in names and card.name in wanted and card.name not in names.values():
            names[card.mac] = card.name
    free = sorted({name for name in wanted if name not in names.values()}, key=by_number)
    left = [card for card in in_bus_order(cards) if card.mac not in names]
    likely = sorted(left, key=lambda card: not card.carrier)[: len(free)]
    names.update((card.mac, name) for card, name in zip(in_bus_order(likely), free, strict=False))
    return names


def in_bus_order(cards: Iterable[Card]) -> list[Card]:
    """By slot; cards without one (or in the same) by MAC."""
    return sorted(cards, key=lambda card: (not card.bus, card.bus, card.mac))


def plan_names(
    in_use: NamesInUse,
    source_cards: Sequence[Card],
    wire: Sequence[tuple[str, str]],
    target_cards: Sequence[Card],
) -> tuple[CardName, ...]:
    """Which card of the target gets which name, and why; mac "" for a name left without a card.

    `wire` holds pairs (MAC at the source, MAC at the target) seen on one connection. Without
    `source_cards` (nothing is known of the source) every name in use counts.
    """
    named = source_names(in_use, source_cards)
    names = _by_importance(in_use, source_cards, named)
    free = {card.mac: card for card in in_bus_order(target_cards)}
    plan: dict[str, CardName] = {}
    for name, mac in _kept_cards(in_use, source_cards, target_cards):
        plan[name] = CardName(name, mac, "the very card that had this name before")
        del free[mac]
    for source_mac, target_mac in wire:
        name = named.get(source_mac, "")
        if name and name not in plan and target_mac in free:
            del free[target_mac]
            why = f"on the wire of the source's {name} ({source_mac}): the copy came over it"
            plan[name] = CardName(name, target_mac, why)
    rest = [name for name in names if name not in plan]
    for name, card in _by_order(rest, list(free.values())):
        link = "with" if card.carrier else "without"
        plan[name] = CardName(name, card.mac, f"by order of the slots, {link} a link")
        del free[card.mac]
    for name in names:
        if name not in plan:
            plan[name] = CardName(name, "", "no card is left for it")
    plan |= _spare_names(plan, free.values())
    return tuple(sorted(plan.values(), key=lambda entry: by_number(entry.name)))


def _kept_cards(
    in_use: NamesInUse, source_cards: Sequence[Card], target_cards: Sequence[Card]
) -> list[tuple[str, str]]:
    """(name, MAC) of cards that moved over with their MAC, as a virtual machine's often do.

    A rule alone proves nothing: a copy that was booted once holds rules for the new cards under
    names udev made up. So the source must have the card, or no rule may speak of any other.
    """
    here = {card.mac for card in target_cards}
    moved = {card.mac for card in source_cards} & here
    if not source_cards and set(in_use.rules.values()) <= here:
        moved = here
    kept = {mac: name for name, mac in reversed(in_use.rules.items()) if mac in moved}
    return [(name, mac) for mac, name in kept.items()]


def _by_importance(
    in_use: NamesInUse, source_cards: Sequence[Card], named: Mapping[str, str]
) -> list[str]:
    """Names with an address first, the gateway's at the head; then those with a link.

    Where the source's cards are known, a rule for a card long gone wants nothing.
    """
    known = named.values() if source_cards else (*in_use.configured, *in_use.rules)
    order = list(dict.fromkeys((*in_use.addressed, *known)))
    linked = {named.get(card.mac, "") for card in source_cards if card.carrier}

    def importance(name: str) -> tuple[bool, int, bool, tuple[str, int, str]]:
        has_address = name in in_use.addressed
        place = in_use.addressed.index(name) if has_address else 0
        return (not has_address, place, name not in linked, by_number(name))

    return sorted(order, key=importance)


def _by_order(names: Sequence[str], cards: Sequence[Card]) -> list[tuple[str, Card]]:
    """The most important names to the cards with a link; within each group numbers to slots."""
    up = [card for card in cards if card.carrier]
    down = [card for card in cards if not card.carrier]
    groups = ((names[: len(up)], up), (names[len(up) : len(cards)], down))
    return [
        pair
        for group, its_cards in groups
        for pair in zip(sorted(group, key=by_number), its_cards, strict=False)
    ]


def _spare_names(plan: Mapping[str, CardName], cards: Iterable[Card]) -> dict[str, CardName]:
    """Names for cards the source did not have, so that the kernel gives them no wanted name.

    ethN counts on from the highest number in use, as udev's generator does. Where the system
    uses other names a card is left alone unless its own name is one that another card gets.
    """
    numbers = [int(name[3:]) for name in plan if re.fullmatch(r"eth\d+", name)]
    base, number = ("eth", max(numbers) + 1) if numbers else ("spare", 0)
    spare = {}
    for card in cards:
        if not numbers and card.name not in plan:
            continue
        name = f"{base}{number}"
        spare[name] = CardName(name, card.mac, "one card more than the source has")
        number += 1
    return spare


def warnings_of(plan: Sequence[CardName], in_use: NamesInUse) -> tuple[str, ...]:
    """A sentence for each name that has no card on this machine."""
    return tuple(
        f"{entry.name} has no card on this machine: the copy will have no such interface"
        + (", although it carries an address." if entry.name in in_use.addressed else ".")
        for entry in plan
        if not entry.mac
    )
