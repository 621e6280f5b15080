"""ifcfg files: RHEL's below /etc/sysconfig/network-scripts, SUSE's below /etc/sysconfig/network.

RHEL ties a file to a card by HWADDR, and ignores the interface when the card has another one.
SLES 10 puts the MAC (or the slot) into the name of the file instead.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from payload.formats.network.ifupdown import base_name
from payload.formats.network.interface import (
    ANYWHERE,
    ETHERNET_MAC,
    MAC,
    Assignment,
    Interface,
    like,
    lines_of,
    prefix_length,
    to_bytes,
)

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(?:\"([^\"]*)\"|'([^']*)'|([^\s#]*))")
_HWADDR = re.compile(rf"(\s*HWADDR=[\"']?\s*)({ETHERNET_MAC.pattern})", re.IGNORECASE)
_BY_MAC = re.compile(rf"(.*-id-)({MAC.pattern})(.*)", re.IGNORECASE)
_BY_SLOT = re.compile(r"(.*)-bus-pci-([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(.*)")
_IDLE = frozenset({"", "none", "static", "off", "manual"})
_BACKUP = re.compile(r"\.(bak|orig|old|rpmnew|rpmorig|rpmsave|rpmold|scpmbackup)$|~$")


def _values(content: bytes) -> dict[str, str]:
    found = (_ASSIGNMENT.match(line) for line in lines_of(content))
    return {one[1]: one[2] or one[3] or one[4] or "" for one in found if one}


def read_ifcfg(content: bytes, path: str) -> list[Interface]:
    """What a file ifcfg-NAME says; its own name counts where no DEVICE is told."""
    stem = PurePosixPath(path).name.removeprefix("ifcfg-")
    if _BACKUP.search(stem) or stem.startswith("lo"):
        return []
    values = _values(content)
    by_mac, by_slot = _BY_MAC.fullmatch(stem), _BY_SLOT.fullmatch(stem)
    tied = by_mac or by_slot
    name = values.get("DEVICE") or ("" if tied else stem)
    if not MAC.fullmatch(mac := values.get("HWADDR", "")):
        mac = by_mac[2] if by_mac else ""
    method = values.get("BOOTPROTO", "").lower()
    addresses = tuple(_addresses(values))
    card = Interface(
        base_name(name),
        mac=mac.lower(),
        slot=by_slot[2] if by_slot else "",
        addresses=addresses,
        dynamic=not addresses and method not in _IDLE,
        gateways=_gateways(values),
        lower=tuple(_lower(values)),
        vlan=_vlan(values, name),
        key=values.get("UUID", ""),
    )
    masters = (values.get(key, "") for key in ("MASTER", "BRIDGE", "TEAM_MASTER"))
    return [card, *(Interface(master, lower=(name or mac,)) for master in masters if master)]


def _addresses(values: dict[str, str]) -> Iterator[str]:
    for key, address in values.items():
        found = re.fullmatch(r"IPADDR(\w*)", key)
        if found and address:
            mask = values.get(f"NETMASK{found[1]}", "") or values.get(f"PREFIX{found[1]}", "")
            yield prefix_length(address, mask or values.get(f"PREFIXLEN{found[1]}", ""))


def _gateways(values: dict[str, str]) -> tuple[str, ...]:
    if values.get("DEFROUTE", "yes").lower() in ("no", "false", "0"):
        return ()
    return (values["GATEWAY"],) if values.get("GATEWAY") else ()


def _lower(values: dict[str, str]) -> Iterator[str]:
    """SUSE names the members in the file of the bond or bridge."""
    for key, value in values.items():
        if re.fullmatch(
            r"BONDING_SLAVE_?\d+|BRIDGE_PORTS|PHYSDEV|ETHERDEVICE|TEAM_PORT_DEVICE_.*", key
        ):
            yield from value.split()


def _vlan(values: dict[str, str], name: str) -> int:
    told = values.get("VLAN_ID", "")
    if not told and ("PHYSDEV" in values or "ETHERDEVICE" in values):
        found = re.search(r"(\d{1,4})$", name)
        told = found[1] if found else ""
    return int(told) if re.fullmatch(r"\d{1,4}", told) else 0


def read_sysconfig_network(content: bytes, _path: str) -> list[Interface]:
    """/etc/sysconfig/network of RHEL: the gateway of the whole system."""
    values = _values(content)
    gateway, device = values.get("GATEWAY", ""), values.get("GATEWAYDEV", "")
    return [Interface(device, gateways=(gateway or ANYWHERE,))] if gateway or device else []


def read_routes(content: bytes, path: str) -> list[Interface]:
    """SUSE's routes and ifroute-NAME: lines "default GATEWAY MASK INTERFACE"."""
    of_file = PurePosixPath(path).name.removeprefix("ifroute-")
    found = []
    for line in lines_of(content):
        words = [*line.split(), "-", "-", "-"]
        if words[0] in ("default", "0.0.0.0", "0.0.0.0/0"):  # noqa: S104  (a route, no listener)
            device = words[3] if of_file == "routes" else of_file
            found.append(Interface(device.strip("-"), gateways=(words[1],)))
    return found


def rewrite_ifcfg(content: bytes, path: str, assignment: Assignment) -> bytes:
    """HWADDR becomes the card's that has the name here; MACADDR, which sets one, stays."""
    told = read_ifcfg(content, path)
    if not told:
        return content
    return to_bytes(_with_mac(line, told[0], assignment) for line in lines_of(content))


def _with_mac(line: str, card: Interface, assignment: Assignment) -> str:
    found = _HWADDR.match(line)
    new = assignment.mac_for(card.name, found[2].lower()) if found else ""
    return f"{found[1]}{like(found[2], new)}{line[found.end() :]}" if found and new else line


def rename_suse(path: str, assignment: Assignment) -> str:
    """ifcfg-eth-id-MAC and ifcfg-eth-bus-pci-SLOT, called after the card here."""
    place = PurePosixPath(path)
    if found := _BY_MAC.fullmatch(place.name):
        new = assignment.mac_for(found[2].lower(), found[2].lower())
        return str(place.with_name(f"{found[1]}{new}{found[3]}")) if new else path
    if found := _BY_SLOT.fullmatch(place.name):
        new = assignment.slots.get(found[2], "")
        return str(place.with_name(f"{found[1]}-id-{new}{found[3]}")) if new else path
    return path
