"""/etc/network/interfaces (Debian and its kin), and Univention's registry, which it is made from.

Both speak of names only. Neither is ever changed: the names stay, and what Univention writes from
its templates would be undone by the next `ucr commit`.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from payload.formats.network.interface import ANYWHERE, Interface, prefix_length

_MEMBERS = frozenset(
    {"slaves", "bond-slaves", "bond_slaves", "bridge_ports", "bridge-ports"}
    | {"vlan-raw-device", "vlan_raw_device"}
)
_MASTERS = frozenset({"bond-master", "bond_master"})
_NO_MEMBERS = frozenset({"none", "all", "regex"})
_WITH_ADDRESS = frozenset({"static", "dhcp", "bootp"})


@dataclass
class _Stanza:
    """The options of one `iface`, as they come."""

    name: str
    method: str = ""
    options: dict[str, list[str]] = field(default_factory=dict)

    def add(self, words: list[str]) -> None:
        self.options.setdefault(words[0], []).extend(words[1:])

    def first(self, key: str) -> str:
        return next(iter(self.options.get(key, ())), "")

    def interfaces(self) -> Iterator[Interface]:
        address = self.first("address")
        lower = [word for key in _MEMBERS for word in self.options.get(key, ())]
        raw = any("vlan" in key for key in self.options)
        yield Interface(
            base_name(self.name),
            addresses=(prefix_length(address, self.first("netmask")),) if address else (),
            dynamic=self.method in _WITH_ADDRESS and not address,
            gateways=tuple(self.options.get("gateway", ())),
            lower=tuple(word for word in lower if word not in _NO_MEMBERS),
            vlan=_trailing_number(self.name) if raw else 0,
        )
        for key in _MASTERS:
            for master in self.options.get(key, ()):
                yield Interface(master, lower=(self.name,))


def base_name(name: str) -> str:
    """eth0 for its alias eth0:1, which is the same interface."""
    return name.partition(":")[0]


def _trailing_number(name: str) -> int:
    found = re.search(r"(\d{1,4})$", name)
    return int(found[1]) if found else 0


def read_ifupdown(content: bytes, _path: str = "") -> list[Interface]:
    """What a file in the form of /etc/network/interfaces says."""
    text = re.sub(r"\\\r?\n", " ", content.decode("latin-1"))
    stanza, found = _Stanza(""), []
    mentioned: list[Interface] = []
    for line in text.split("\n"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("iface", "mapping") or _names_interfaces(words[0]):
            stanza = _Stanza("")
        if words[0] == "iface" and len(words) >= 4:
            stanza = _Stanza(words[1], words[3])
            found.append(stanza)
        elif _names_interfaces(words[0]):
            mentioned += [Interface(base_name(word)) for word in words[1:]]
        elif words[0] in ("up", "post-up") and _adds_default_route(line):
            stanza.add(["gateway", ANYWHERE])
        else:
            stanza.add(words)
    return [*mentioned, *(one for each in found for one in each.interfaces())]


def _names_interfaces(word: str) -> bool:
    return word == "auto" or word.startswith("allow-")


def _adds_default_route(line: str) -> bool:
    return bool(re.search(r"\broute\s+add\s+(-net\s+)?(default|0\.0\.0\.0(/0)?)\b", line))


def read_values(content: bytes) -> dict[str, str]:
    """The `key: value` lines of Univention's base.conf."""
    lines = (line.partition(": ") for line in content.decode("latin-1").split("\n"))
    return {
        key.strip(): value.strip()
        for key, colon, value in lines
        if colon and not key.startswith("#")
    }


def read_ucr(content: bytes, _path: str = "") -> list[Interface]:
    """What Univention's registry says: `interfaces/NAME/KEY`, aliases written NAME_1."""
    values = read_values(content)
    stanzas: dict[str, _Stanza] = {}
    dynamic: set[str] = set()
    for key, value in values.items():
        found = re.fullmatch(r"interfaces/([^/]+)/([^/]+)(?:/.*)?", key)
        if found is None:
            continue
        stanza = stanzas.setdefault(found[1], _Stanza(found[1].split("_")[0]))
        if found[2] == "options" and value.split():
            stanza.add(value.split())
        elif found[2] in ("address", "netmask"):
            stanza.add([found[2], value])
        elif found[2] == "type" and value in ("dhcp", "dynamic"):
            dynamic.add(found[1])
    found_all = [one for stanza in stanzas.values() for one in stanza.interfaces()]
    found_all += [Interface(stanzas[name].name, dynamic=True) for name in dynamic]
    return [*found_all, *_gateways(values, found_all)]


def _gateways(values: Mapping[str, str], found: Iterable[Interface]) -> Iterator[Interface]:
    """The one gateway of the registry; the primary interface leads to it where no network does."""
    gateway, primary = values.get("gateway", ""), values.get("interfaces/primary", "")
    networks = [address for one in found for address in one.addresses]
    if primary and not any(in_network(gateway, network) for network in networks):
        yield Interface(primary.split("_")[0], gateways=(gateway or ANYWHERE,))
    elif gateway:
        yield Interface("", gateways=(gateway,))


def in_network(address: str, network: str) -> bool:
    """Whether an address lies in the network of "192.0.2.7/24"; no when either is none."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
