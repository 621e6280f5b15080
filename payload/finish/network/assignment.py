"""Which card of the target gets which name of the copied system.

The configuration speaks of names (eth0 has the address, eth1 leads to the storage), so each name
must reach the wire it reached before. Both machines run the same live system, which gives exact
answers: the beacons of each of the source's cards are heard by the cards on the same wire, and the
card over which the copy came is at the other end of the source's. The rest is the best guess:
cards with a link first, then the order of the slots to the order of the numbers; names that carry
an address before names that only exist.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from payload.formats.network.interface import Assignment, is_mac
from payload.formats.network.udev_rules import by_number
from payload.model.machine import Card
from payload.model.network import Arrival, NamesInUse
from payload.model.report import CardName


def source_names(in_use: NamesInUse, cards: Sequence[Card]) -> dict[str, str]:
    """MAC -> name for the source's own cards.

    By what its files tie to a MAC or slot; a card without a tie by the names that the live kernel
    knows it by, where the configuration uses one of those (predictable names are the same
    everywhere); at last ethN in the order of the slots, as a kernel left alone would name them.
    """
    names: dict[str, str] = {}

    def give(card: Card, name: str) -> None:
        if card.mac not in names and name not in names.values():
            names[card.mac] = name

    for card in cards:
        for name, mac in in_use.macs.items():
            if mac == card.mac:
                give(card, name)
        for name, slot in in_use.slots.items():
            if slot == card.bus:
                give(card, name)
    wanted = [name for name in (*in_use.addressed, *in_use.configured) if not is_mac(name)]
    for card in cards:
        for name in (card.name, *card.alternatives):
            if name in wanted:
                give(card, name)
    free = sorted({name for name in wanted if name not in names.values()}, key=by_number)
    left = [card for card in in_bus_order(cards) if card.mac not in names]
    likely = sorted(left, key=lambda card: not card.carrier)[: len(free)]
    names.update((card.mac, name) for card, name in zip(in_bus_order(likely), free, strict=False))
    return names


def in_bus_order(cards: Iterable[Card]) -> list[Card]:
    """By slot; cards without one (or in the same) by MAC; those on USB last. Only Ethernet cards.

    A card on USB is often the way to the board's own management, which has a link at all times.
    """
    wired = (card for card in cards if is_mac(card.mac))
    return sorted(wired, key=lambda card: (_is_usb(card), not card.bus, card.bus, card.mac))


def _is_usb(card: Card) -> bool:
    return card.modalias.startswith("usb:")


def plan_names(
    in_use: NamesInUse,
    source_cards: Sequence[Card],
    wire: Sequence[tuple[str, str]],
    target_cards: Sequence[Card],
    arrivals: Sequence[Arrival] = (),
) -> tuple[CardName, ...]:
    """Which card of the target gets which name, and why; mac "" for a name left without a card.

    `wire` holds pairs (MAC at the source, MAC at the target) seen on one connection, `arrivals` the
    beacons heard. Without `source_cards` (nothing is known of the source) every name in use counts.
    """
    named = source_names(in_use, source_cards)
    names = _by_importance(in_use, source_cards, named)
    free = {card.mac: card for card in in_bus_order(target_cards)}
    plan: dict[str, CardName] = {}
    for name, mac in _kept_cards(in_use, source_cards, target_cards):
        plan[name] = CardName(name, mac, "the very card that had this name before")
        del free[mac]
    tags = {mac: in_use.vlans.get(name, ()) for mac, name in named.items()}
    heard = _heard_on(arrivals, wire, tags)
    options = {
        name: tuple(card for card in free if card in heard.get(mac, ()))
        for name in names
        if name not in plan
        for mac in [next((mac for mac, known in named.items() if known == name), "")]
    }
    order = _order_of(names, source_cards, named)
    options = {name: macs for name, macs in options.items() if macs}
    for entry in _by_wire(options, named, wire, order):
        plan[entry.name] = entry
        del free[entry.mac]
    _make_room(plan, free, target_cards, [name for name in in_use.addressed if name in names])
    rest = [name for name in names if name not in plan]
    for name, card in _by_order(rest, list(free.values()), order):
        link = "with" if card.carrier else "without"
        plan[name] = CardName(name, card.mac, f"by order of the slots, {link} a link")
        del free[card.mac]
    for name in names:
        if name not in plan:
            plan[name] = CardName(name, "", "no card is left for it")
    plan |= _spare_names(plan, free.values())
    return tuple(sorted(plan.values(), key=lambda entry: by_number(entry.name)))


def _order_of(
    names: Sequence[str], source_cards: Sequence[Card], named: Mapping[str, str]
) -> list[str]:
    """The names as their cards stand in a row: ethN by the number, others as in the source."""
    if all(re.fullmatch(r"eth\d+", name) for name in names):
        return sorted(names, key=by_number)
    row = [named.get(card.mac, "") for card in in_bus_order(source_cards)]
    last = len(row)
    return sorted(
        names,
        key=lambda one: (row.index(one) if one in row else last, is_mac(one), by_number(one)),
    )


# --- by wire


def _heard_on(
    arrivals: Iterable[Arrival],
    wire: Iterable[tuple[str, str]],
    tags: Mapping[str, Sequence[int]],
) -> dict[str, frozenset[str]]:
    """The target's cards that reach as much as any does of what a card of the source reaches.

    A beacon counts that arrives with the tag it was sent with; where the configuration sends tags
    (`tags`: by MAC at the source), those alone count, unless none of them arrives anywhere. Two
    cards on one switch are heard on both; then the connection the copy came over decides.
    """
    reached: dict[str, dict[str, set[int]]] = {}
    for one in arrivals:
        if one.sent == one.received:
            reached.setdefault(one.source, {}).setdefault(one.target, set()).add(one.sent)
    heard = {mac: _best(cards, set(tags.get(mac, ()))) for mac, cards in reached.items()}
    for source, target in wire:
        if target in heard.get(source, frozenset((target,))):
            heard[source] = frozenset((target,))
    return heard


def _best(cards: Mapping[str, set[int]], wanted: set[int]) -> frozenset[str]:
    if not any(found & wanted for found in cards.values()):
        wanted = set().union(*cards.values())
    most = max(len(found & wanted) for found in cards.values())
    return frozenset(mac for mac, found in cards.items() if len(found & wanted) == most)


def _by_wire(
    options: Mapping[str, Sequence[str]],
    named: Mapping[str, str],
    wire: Sequence[tuple[str, str]],
    order: Sequence[str],
) -> list[CardName]:
    """As many names as possible, each with one of the cards on its wire, important names first.

    Names with the same choice get them in order.
    """
    mac_of = {name: mac for mac, name in named.items()}
    found = _matched(options)
    for choice in set(map(tuple, options.values())):
        alike = [name for name in order if name in found and tuple(options[name]) == choice]
        cards = sorted((found[name] for name in alike), key=choice.index)
        found.update(zip(alike, cards, strict=True))
    plan = []
    for name, mac in found.items():
        why = f"on the wire of the source's {name} ({mac_of[name]})"
        others = {
            key: [one for one in macs if (key, one) != (name, mac)] for key, macs in options.items()
        }
        if len(_matched(others)) == len(found):
            why += ", as others are: by order among those"
        elif (mac_of[name], mac) in wire:
            why += ": the copy came over it"
        plan.append(CardName(name, mac, why))
    return plan


def _matched(options: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Name -> card, as many as possible: one that is in the way takes another of its choice."""
    holder: dict[str, str] = {}

    def place(name: str, tried: set[str]) -> bool:
        for mac in options[name]:
            if mac not in tried:
                tried.add(mac)
                if mac not in holder or place(holder[mac], tried):
                    holder[mac] = name
                    return True
        return False

    for name in options:
        place(name, set())
    return {name: mac for mac, name in holder.items()}


def _make_room(
    plan: dict[str, CardName],
    free: dict[str, Card],
    cards: Sequence[Card],
    addressed: Sequence[str],
) -> None:
    """Take cards back from names without an address while one with an address goes without."""
    missing = [name for name in addressed if name not in plan]
    unused = [name for name in plan if name not in addressed]
    while len(missing) > len(free) and unused:
        mac = plan.pop(unused.pop()).mac
        free |= {card.mac: card for card in cards if card.mac == mac}


# --- what moved over, what matters, what is left


def _kept_cards(
    in_use: NamesInUse, source_cards: Sequence[Card], target_cards: Sequence[Card]
) -> list[tuple[str, str]]:
    """(name, MAC) of cards that moved over with their MAC, as a virtual machine's often do.

    A rule alone proves nothing: a copy that was booted once holds rules for the new cards under
    names udev made up. So the source must have the card, or no file may speak of any other: then
    the system is adapted to this machine already.
    """
    here = {card.mac for card in target_cards}
    moved = {card.mac for card in source_cards} & here
    if set(in_use.macs.values()) <= here:
        moved = here
    kept = {mac: name for name, mac in reversed(in_use.macs.items()) if mac in moved}
    return [(name, mac) for mac, name in kept.items()]


def _by_importance(
    in_use: NamesInUse, source_cards: Sequence[Card], named: Mapping[str, str]
) -> list[str]:
    """Names with an address first, the gateway's at the head; then those with a link.

    Where the source's cards are known, a rule for a card long gone wants nothing.
    """
    known = named.values() if source_cards else (*in_use.configured, *in_use.macs)
    order = list(dict.fromkeys((*in_use.addressed, *known)))
    linked = {named.get(card.mac, "") for card in source_cards if card.carrier}

    def importance(name: str) -> tuple[bool, int, bool, tuple[str, int, str]]:
        has_address = name in in_use.addressed
        place = in_use.addressed.index(name) if has_address else 0
        return (not has_address, place, name not in linked, by_number(name))

    return sorted(order, key=importance)


def _by_order(
    names: Sequence[str], cards: Sequence[Card], order: Sequence[str]
) -> list[tuple[str, Card]]:
    """The most important names to the cards with a link; within each group in order."""
    up = [card for card in cards if card.carrier and not _is_usb(card)]
    down = [card for card in cards if card not in up]
    groups = ((names[: len(up)], up), (names[len(up) : len(cards)], down))
    return [
        pair
        for group, its_cards in groups
        for pair in zip(sorted(group, key=order.index), its_cards, strict=False)
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
        if not numbers and not {card.name, *card.alternatives} & plan.keys():
            continue
        name = f"{base}{number}"
        spare[name] = CardName(name, card.mac, "one card more than the source has")
        number += 1
    return spare


def lost_ways(plan: Sequence[CardName], in_use: NamesInUse) -> tuple[str, ...]:
    """What the copy could not reach, since no name that leads there has a card. One member of a
    bond is enough, and where it is not known which card leads there, one of those that may."""
    reached = {way for entry in plan if entry.mac for way in in_use.ways.get(entry.name, ())}
    lost = {
        entry.name: [way for way in in_use.ways.get(entry.name, ()) if way not in reached]
        for entry in plan
        if not entry.mac
    }
    return tuple(
        f"{name}, which leads to {' and to '.join(ways)}" for name, ways in lost.items() if ways
    )


def warnings_of(plan: Sequence[CardName], in_use: NamesInUse) -> tuple[str, ...]:
    """A sentence for each name that has no card on this machine."""
    return tuple(
        f"{entry.name} has no card on this machine: the copy will have no such interface"
        + (", although it carries an address." if entry.name in in_use.addressed else ".")
        for entry in plan
        if not entry.mac
    )


def warnings_of_tags(
    plan: Sequence[CardName],
    in_use: NamesInUse,
    source_cards: Sequence[Card],
    arrivals: Sequence[Arrival],
) -> tuple[str, ...]:
    """A sentence for each VLAN of the configuration that does not arrive at the card which has the
    name here, though that card is heard: the port of its switch is set otherwise."""
    mac_of = {name: mac for mac, name in source_names(in_use, source_cards).items()}
    found = []
    for entry in plan:
        here = [
            one
            for one in arrivals
            if (one.source, one.target) == (mac_of.get(entry.name), entry.mac)
        ]
        arrived = {one.sent for one in here if one.sent == one.received}
        for tag in in_use.vlans.get(entry.name, ()) if here else ():
            if tag not in arrived:
                what = f"VLAN {tag}" if tag else "What has no VLAN tag"
                found.append(
                    f"{what} of the source's {entry.name} does not arrive at the card that has this"
                    f" name here ({entry.mac}): see to the port of the switch."
                )
    return tuple(found)


def assign(
    plan: Sequence[CardName],
    in_use: NamesInUse,
    source_cards: Sequence[Card],
    target_cards: Sequence[Card],
) -> Assignment:
    """What the copied files have to say, by every way in which they may mean a card."""
    names = {entry.name: entry.mac for entry in plan if entry.mac}
    named = source_names(in_use, source_cards)
    macs = {mac: names[name] for name, mac in in_use.macs.items() if name in names}
    macs |= {mac: names[name] for mac, name in named.items() if name in names}
    slots = {slot: names[name] for name, slot in in_use.slots.items() if name in names}
    slots |= {
        card.bus: names.get(named.get(card.mac, ""), card.mac) for card in source_cards if card.bus
    }
    return Assignment(names, target_cards, macs, slots, tuple(card.mac for card in source_cards))
