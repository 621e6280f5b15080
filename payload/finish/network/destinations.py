"""What each name of the copied system is good for: its address, its gateway, the SAN, the domain.

The configuration speaks of interfaces stacked on cards; what they need is worked out downwards to
the cards. A way is something the server is useless without: storage that it mounts over the
network, and the domain controller it belongs to.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from payload.formats.network.ifupdown import in_network, read_values
from payload.formats.network.interface import INTERFACE_NAME, Interface, is_mac
from payload.formats.network.registry import UCR, read_interfaces
from payload.formats.network.udev_rules import by_number
from payload.model.network import NamesInUse
from payload.system.files import link_inside, names_inside, read_inside

SAN, DOMAIN = "the SAN", "the domain controller"
_NETWORK_MOUNTS = frozenset({"nfs", "nfs4", "cifs", "smbfs", "smb3", "ceph", "glusterfs"})
# Names that no card has: made by software, or wireless.
_NOT_A_CARD = re.compile(
    r"(lo|bond|br|virbr|docker|veth|vlan|tun|tap|ppp|dummy|sit|gre|wg|wlan|ath|ra|sta|wlp|none|team)"
    r"([-_.\d].*)?"
)


def read_names(root: Path) -> NamesInUse:
    """The names in use in the system mounted at `root`. Raises OSError."""
    return summarise(read_interfaces(root), read_goals(root))


def summarise(told: Iterable[Interface], goals: Sequence[tuple[str, str]] = ()) -> NamesInUse:
    """What all files together say, from the cards' point of view.

    `goals` are (what it is, its address or "" when that is not known).
    """
    told = list(told)
    interfaces = _merged(told)
    reach = {name: tuple(_cards_below(name, interfaces)) for name in interfaces}
    gateways = [gateway for one in interfaces.values() for gateway in one.gateways]
    leads = [name for name, one in interfaces.items() if name and _leads(one, gateways)]
    if not leads:  # a server that gets its address from another one gets its gateway there too
        leads = [name for name, one in interfaces.items() if one.dynamic]
    ways: dict[str, dict[str, None]] = {}
    for goal, address in goals:
        for name in _towards(address, interfaces) or leads:
            for card, _ in reach[name]:
                ways.setdefault(card, {}).setdefault(f"{goal} ({address or 'name unknown'})")
    addressed = {
        card: None
        for name, one in interfaces.items()
        for card, _ in reach[name]
        if one.addresses or one.dynamic or one.lower
    }
    first = [card for name in leads for card, _ in reach[name]]
    order = sorted(
        addressed, key=lambda card: (card not in first, card not in ways, by_number(card))
    )
    cards = [name for name in interfaces if reach[name] and reach[name][0][0] == name]
    mentioned = {one.name or one.mac for one in told if not _only_ties(one)}
    return NamesInUse(
        macs={name: interfaces[name].mac for name in cards if interfaces[name].mac},
        addressed=tuple(order),
        configured=tuple(name for name in cards if name in mentioned and name not in addressed),
        ways={card: tuple(what) for card, what in ways.items()},
        vlans=_vlans(interfaces, reach),
        slots={name: interfaces[name].slot for name in cards if interfaces[name].slot},
    )


def _only_ties(one: Interface) -> bool:
    """Whether an entry wants nothing of the card: such rules outlive their cards."""
    return bool(one.mac or one.slot) and not (one.addresses or one.dynamic or one.lower or one.key)


def _merged(told: Sequence[Interface]) -> dict[str, Interface]:
    """One entry a name, with what all files say of it; keys replaced by the names they mean."""
    meant = {one.key: one.name or one.mac for one in told if one.key}
    by_tie = {
        tie: one.name for one in reversed(told) if one.name for tie in (one.mac, one.slot) if tie
    }
    merged: dict[str, Interface] = {}
    for one in told:
        name = meant.get(one.name, one.name) or by_tie.get(one.mac or one.slot, one.mac)
        lower = tuple(
            by_tie.get(meant.get(each, each), meant.get(each, each)) for each in one.lower
        )
        before = merged.get(name, Interface(name))
        merged[name] = Interface(
            name,
            mac=before.mac or one.mac,
            slot=before.slot or one.slot,
            addresses=tuple(dict.fromkeys(before.addresses + one.addresses)),
            dynamic=before.dynamic or one.dynamic,
            gateways=tuple(dict.fromkeys(before.gateways + one.gateways)),
            lower=tuple(dict.fromkeys(before.lower + lower)),
            vlan=before.vlan or one.vlan,
        )
    return _with_cards_of_vlans(merged)


def _with_cards_of_vlans(merged: dict[str, Interface]) -> dict[str, Interface]:
    """eth1.100 is a VLAN on eth1 by its very name; whatever is meant is there."""
    for name, one in list(merged.items()):
        base, dot, tag = name.rpartition(".")
        if dot and tag.isdecimal() and not one.lower:
            merged[name] = replace(one, lower=(base,), vlan=one.vlan or int(tag))
        for lower in merged[name].lower:
            merged.setdefault(lower, Interface(lower))
    return merged


def _cards_below(name: str, interfaces: Mapping[str, Interface]) -> Iterator[tuple[str, int]]:
    """(card, tag on its wire) for everything an interface is made of, each once."""
    waiting, seen = [(name, 0)], {(name, 0)}
    while waiting:
        name, tag = waiting.pop(0)
        one = interfaces.get(name)
        if one is not None and not one.lower and _is_card(name, one):
            yield name, tag
        below = [(lower, one.vlan or tag) for lower in one.lower] if one else []
        waiting += [each for each in below if each not in seen]
        seen.update(below)


def _is_card(name: str, one: Interface) -> bool:
    if is_mac(name) or (one.mac and INTERFACE_NAME.fullmatch(name)):
        return True
    return bool(INTERFACE_NAME.fullmatch(name)) and not _NOT_A_CARD.fullmatch(name)


def _leads(one: Interface, gateways: Iterable[str]) -> bool:
    """Whether the default route leaves by this interface."""
    return bool(one.gateways) or any(
        in_network(gateway, network) for gateway in gateways for network in one.addresses
    )


def _towards(address: str, interfaces: Mapping[str, Interface]) -> list[str]:
    """The interfaces with an address in the very network of that one."""
    return [
        name
        for name, one in interfaces.items()
        if name and any(in_network(address, network) for network in one.addresses)
    ]


def _vlans(
    interfaces: Mapping[str, Interface], reach: Mapping[str, Sequence[tuple[str, int]]]
) -> dict[str, tuple[int, ...]]:
    """The tags that each card's configuration sends and expects on its wire."""
    found: dict[str, set[int]] = {}
    for name, one in interfaces.items():
        if one.addresses or one.dynamic or one.vlan:
            for card, tag in reach[name]:
                found.setdefault(card, set()).add(tag)
    return {card: tuple(sorted(tags)) for card, tags in found.items()}


# --- what the server is useless without


def read_goals(root: Path) -> list[tuple[str, str]]:
    """(what it is, its address or "") of the storage and the domain that the system depends on.

    Its own addresses are no goals. Raises OSError.
    """
    ucr = read_values(read_inside(root, UCR) or b"")
    hosts = _read_hosts(root, ucr)
    own = {_text(root, "/etc/hostname").strip(), ucr.get("hostname", ""), "localhost"}
    hosts_wanted = [(SAN, host) for host in (*_portals(root), *_mounted(root))]
    hosts_wanted += [(DOMAIN, host) for host in _controllers(root, ucr)]
    found = []
    for what, host in hosts_wanted:
        address = host if _is_address(host) else hosts.get(host.lower(), "")
        is_own = host.partition(".")[0] in own - {""} or address.startswith("127.")
        if not is_own and (what, address) not in found:
            found.append((what, address))
    return found


def _text(root: Path, path: str) -> str:
    return (read_inside(root, path) or b"").decode("latin-1")


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _read_hosts(root: Path, ucr: Mapping[str, str]) -> dict[str, str]:
    """name -> address, of /etc/hosts and Univention's own entries for it."""
    lines = [line.split("#")[0].split() for line in _text(root, "/etc/hosts").split("\n")]
    prefix = "hosts/static/"
    lines += [
        [key.removeprefix(prefix), *value.split()]
        for key, value in ucr.items()
        if key.startswith(prefix)
    ]
    return {name.lower(): words[0] for words in reversed(lines) for name in words[1:]}


def _portals(root: Path) -> Iterator[str]:
    """The iSCSI portals that the initiator knows: open-iscsi keeps a record for each."""
    for directory in ("/etc/iscsi/nodes", "/var/lib/iscsi/nodes"):
        for target in names_inside(root, directory):
            if link_inside(root, f"{directory}/{target}") is None:
                for portal in names_inside(root, f"{directory}/{target}"):
                    yield portal.split(",")[0]


def _mounted(root: Path) -> Iterator[str]:
    """Servers of network file systems in fstab."""
    for line in _text(root, "/etc/fstab").split("\n"):
        words = line.split()
        if len(words) > 2 and not words[0].startswith("#") and words[2] in _NETWORK_MOUNTS:
            found = re.match(r"//([^/]+)/|\[?([^\]]+?)\]?(?::\d+)?:/", words[0])
            if found:
                yield found[1] or found[2].split(",")[0]


def _controllers(root: Path, ucr: Mapping[str, str]) -> Iterator[str]:
    """Univention's directory master, and the directory servers of others."""
    if ucr.get("ldap/master"):
        yield ucr["ldap/master"]
    for path in ("/etc/ldap/ldap.conf", "/etc/openldap/ldap.conf"):
        for line in _text(root, path).split("\n"):
            words = line.split()
            if words and words[0].upper() in ("URI", "HOST"):
                yield from (re.sub(r"^ldaps?://|[:/].*$", "", word) for word in words[1:])
    for found in re.finditer(
        r"^\s*kdc\s*=\s*([^\s:]+)", _text(root, "/etc/krb5.conf"), re.MULTILINE
    ):
        yield found[1]
