"""systemd's .link files, by which udev names cards, and networkd's .network and .netdev files.

A .link file that was there keeps everything but its match. `render_link` is the one we add for
predictable names (enp3s0): on other hardware the card has another place, and so another name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from payload.formats.network.interface import (
    ANYWHERE,
    INTERFACE_NAME,
    MENTIONED_MAC,
    Assignment,
    Interface,
    lines_of,
    replace_macs,
    to_bytes,
    with_colons,
)

_KEY = re.compile(r"\s*([A-Za-z0-9]+)\s*=(.*)")
_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*$")
_MAC_KEYS = ("MACAddress", "PermanentMACAddress")
_SLOT = re.compile(r"(?:virtio-)?pci-([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\S*")
_MOST = 256  # cards, or what lies on them, in one file; each is named with each
TYPE_ETHER = 245  # the first systemd in which Type=ether means every card, and no VLAN or bond


@dataclass(frozen=True)
class _Entry:
    section: str
    key: str
    value: str
    line: int


def _entries(lines: Sequence[str]) -> Iterator[_Entry]:
    section = ""
    for number, line in enumerate(lines):
        if found := _SECTION.match(line):
            section = found[1]
        elif (found := _KEY.match(line)) and not line.lstrip().startswith(("#", ";")):
            yield _Entry(section, found[1], found[2].strip(), number)


def _all(entries: Sequence[_Entry], section: str, *keys: str) -> list[str]:
    """Every word of those keys; an empty assignment takes back what stands before it."""
    words: list[str] = []
    for entry in entries:
        if entry.section == section and entry.key in keys:
            if entry.value:
                words += entry.value.split()
            else:
                words.clear()
    return words


def read_link(content: bytes, _path: str = "") -> list[Interface]:
    """The name that a .link file gives, and to which card."""
    entries = list(_entries(lines_of(content)))
    names, macs = _all(entries, "Link", "Name"), _all(entries, "Match", *_MAC_KEYS)
    slots = _SLOT.match(" ".join(_all(entries, "Match", "Path")))
    if not names or not INTERFACE_NAME.fullmatch(names[-1]):
        return []
    mac = with_colons(macs[0]) if len(macs) == 1 and MENTIONED_MAC.fullmatch(macs[0]) else ""
    return [Interface(names[-1], mac=mac, slot=slots[1] if slots else "")]


def read_network(content: bytes, _path: str = "") -> list[Interface]:
    """What a .network file says of the cards it matches, by name, MAC or slot."""
    entries = list(_entries(lines_of(content)))
    names = [one for one in _all(entries, "Match", "Name") if INTERFACE_NAME.fullmatch(one)]
    told_macs = _all(entries, "Match", *_MAC_KEYS)
    macs = [with_colons(one) for one in told_macs if MENTIONED_MAC.fullmatch(one)]
    slot = _SLOT.match(" ".join(_all(entries, "Match", "Path")))
    dhcp = (_all(entries, "Network", "DHCP") or ["no"])[-1]
    told = Interface(
        "",
        addresses=tuple(_all(entries, "Network", "Address") + _all(entries, "Address", "Address")),
        dynamic=dhcp not in ("no", "none", "false", "0", "off"),
        gateways=tuple(_all(entries, "Network", "Gateway") + _default_routes(entries)),
    )
    masters = _all(entries, "Network", "Bond", "Bridge")
    vlans = _all(entries, "Network", "VLAN", "MACVLAN", "IPVLAN")
    found: list[Interface] = []
    uppers = [*masters, *vlans][:_MOST]
    for name, mac in [*((name, "") for name in names), *(("", mac) for mac in macs)][:_MOST]:
        found.append(_known_as(told, name, mac))
        found += [Interface(upper, lower=(name or mac,)) for upper in uppers]
    if slot and not found:
        found.append(_known_as(told, "", "", slot[1]))
    return found


def _known_as(told: Interface, name: str, mac: str, slot: str = "") -> Interface:
    return Interface(name, mac, slot, told.addresses, told.dynamic, told.gateways)


def _default_routes(entries: Sequence[_Entry]) -> list[str]:
    """The gateways of [Route] sections, each of which stands for one route."""
    routes: list[dict[str, str]] = []
    last = -2
    for entry in (entry for entry in entries if entry.section == "Route"):
        if entry.line != last + 1 or entry.key in routes[-1]:
            routes.append({})
        routes[-1][entry.key] = entry.value
        last = entry.line
    default = ("", "0.0.0.0/0", "::/0")
    return [
        route.get("Gateway") or ANYWHERE
        for route in routes
        if route.get("Destination", "") in default and "Gateway" in route
    ]


def read_netdev(content: bytes, _path: str = "") -> list[Interface]:
    """The VLAN id that a .netdev file gives to its interface."""
    entries = list(_entries(lines_of(content)))
    name, ids = _all(entries, "NetDev", "Name"), _all(entries, "VLAN", "Id")
    vlan = int(ids[-1]) if ids and re.fullmatch(r"\d{1,4}", ids[-1]) else 0
    return [Interface(name[-1], vlan=vlan)] if name and vlan else []


def rewrite_match(content: bytes, path: str, assignment: Assignment) -> bytes:
    """MACs (and slots) in [Match] become those of the card here; all else stays.

    A .link file that matches a slot and whose name gets no card is tied to the source's card: in
    the same slot of this machine is another one.
    """
    lines = lines_of(content)
    entries = list(_entries(lines))
    link = read_link(content)[:1] if PurePosixPath(path).suffix == ".link" else []
    name = link[0].name if link else ""
    tied = bool(_all(entries, "Match", *_MAC_KEYS))
    for entry in entries:
        line = lines[entry.line]
        if entry.section == "Match" and entry.key in _MAC_KEYS:
            lines[entry.line] = _with_macs(line, name, assignment)
        elif entry.section == "Match" and entry.key == "Path":
            new = assignment.names.get(name, "") or _mac_at(entry.value, assignment)
            rest = line[len(line.rstrip("\r\n")) :]
            if new:
                lines[entry.line] = f"#{line}" if tied else f"MACAddress={new}{rest}"
    return to_bytes(lines)


def _mac_at(value: str, assignment: Assignment) -> str:
    return next(filter(None, map(assignment.mac_at, value.split())), "")


def _with_macs(line: str, name: str, assignment: Assignment) -> str:
    told = {with_colons(found) for found in MENTIONED_MAC.findall(line)}
    here = {mac: assignment.mac_for(name, mac) for mac in told}
    return replace_macs(line, {mac: new for mac, new in here.items() if new})


def render_link(name: str, mac: str, systemd: int) -> bytes:
    """A .link file of ours, for a systemd of that version.

    VLANs and bonds on a card have its MAC too, and must not be given its name.
    """
    kind = "Type=ether\n" if systemd >= TYPE_ETHER else ""
    return (
        "# The card of this machine that has the name of the copied server's card.\n"
        f"[Match]\nMACAddress={mac}\n{kind}\n[Link]\nName={name}\n"
    ).encode()
