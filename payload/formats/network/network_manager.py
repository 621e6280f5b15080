"""NetworkManager's connection profiles ("keyfiles"), and what its own settings say of cards.

A profile tied to a card by `mac-address` is not used on another one. The address that a profile
sets (`cloned-mac-address`), its uuid and its name stay.
"""

import re
from collections.abc import Sequence

from payload.formats.network.interface import (
    MAC,
    Assignment,
    Interface,
    is_mac,
    like,
    lines_of,
    replace_macs,
    to_bytes,
)

_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*$")
_KEY = re.compile(r"\s*([\w.-]+)\s*=(.*)")
_WIRED = ("ethernet", "802-3-ethernet")
_MASTER_KEYS = ("controller", "master")


def _values(lines: Sequence[str]) -> dict[tuple[str, str], str]:
    values: dict[tuple[str, str], str] = {}
    section = ""
    for line in lines:
        if found := _SECTION.match(line):
            section = found[1]
        elif (found := _KEY.match(line)) and not line.lstrip().startswith("#"):
            values[section, found[1]] = found[2].strip()
    return values


def _mac(values: dict[tuple[str, str], str]) -> str:
    told = (values.get((section, "mac-address"), "").lower() for section in _WIRED)
    return next((mac for mac in told if is_mac(mac)), "")


def read_keyfile(content: bytes, _path: str = "") -> list[Interface]:
    """What a profile says; one that is tied to no card says nothing."""
    values = _values(lines_of(content))
    if values.get(("connection", "type"), "") in ("wifi", "802-11-wireless", "loopback", "vpn"):
        return []
    name, mac = values.get(("connection", "interface-name"), ""), _mac(values)
    if not name and not mac:
        return []
    parent, vlan = values.get(("vlan", "parent"), ""), values.get(("vlan", "id"), "")
    told = Interface(
        name,
        mac=mac,
        addresses=tuple(_addresses(values)),
        dynamic=values.get(("ipv4", "method"), "") == "auto",
        gateways=tuple(_gateways(values)),
        lower=(parent,) if parent else (),
        vlan=int(vlan) if re.fullmatch(r"\d{1,4}", vlan) else 0,
        key=values.get(("connection", "uuid"), ""),
    )
    masters = {values.get(("connection", key), "") for key in _MASTER_KEYS} - {""}
    return [told, *(Interface(master, lower=(name or mac,)) for master in sorted(masters))]


def _addresses(values: dict[tuple[str, str], str]) -> list[str]:
    """`address1=192.0.2.7/24,192.0.2.1`; very old ones say `addresses1=192.0.2.7;24;...`."""
    found = [
        re.split(r"[,;]", value)
        for (section, key), value in values.items()
        if section in ("ipv4", "ipv6") and re.fullmatch(r"address(es)?\d*", key) and value
    ]
    return [words[0] if "/" in words[0] else "/".join(words[:2]) for words in found]


def _gateways(values: dict[tuple[str, str], str]) -> list[str]:
    found = []
    for (section, key), value in values.items():
        if section not in ("ipv4", "ipv6") or values.get((section, "never-default")) == "true":
            continue
        words = re.split(r"[,;]", value)
        if key == "gateway":
            found.append(value)
        elif re.fullmatch(r"address(es)?\d*", key) and len(words) > 1:
            found += [word for word in words[-1:] if word and "/" not in word]
        elif re.fullmatch(r"route\d+", key) and words[0] in ("0.0.0.0/0", "::/0"):
            found += words[1:2]
    return found


def rewrite_keyfile(content: bytes, _path: str, assignment: Assignment) -> bytes:
    """`mac-address` of the wired section becomes that of the card here."""
    lines = lines_of(content)
    values = _values(lines)
    name = values.get(("connection", "interface-name"), "")
    section = ""
    for number, line in enumerate(lines):
        if found := _SECTION.match(line):
            section = found[1]
        found = re.match(rf"(\s*mac-address\s*=\s*)({MAC.pattern})", line, re.IGNORECASE)
        new = assignment.mac_for(name, found[2].lower()) if found and section in _WIRED else ""
        if found and new:
            lines[number] = f"{found[1]}{like(found[2], new)}{line[found.end() :]}"
    return to_bytes(lines)


def rewrite_mentions(content: bytes, _path: str, assignment: Assignment) -> bytes:
    """NetworkManager.conf: cards in `unmanaged-devices`, `no-auto-default` and the like."""
    lines = lines_of(content)
    macs = assignment.replacements
    return to_bytes(
        line if line.lstrip().startswith("#") else replace_macs(line, macs) for line in lines
    )
