"""The network cards of this machine and their addresses, by netlink (pyroute2) and dhcpcd.

Only cards with hardware and a cable count: no bridge, tunnel or bond is ever ours to use, and
wireless ones ask for a key that nobody is there to give.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from payload.model.errors import ToolError
from payload.model.machine import Card
from payload.system.command import Run

POLL = 0.1  # seconds
DHCP_PATIENCE = 5  # seconds a DHCP server has before an RFC 3927 address is taken
_NOT_USABLE = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED: not proven to be ours alone
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Links:
    """`is_card` tells cards from other links by name, `sys` is where sysfs is mounted."""

    def __init__(
        self, run: Run, is_card: Callable[[str], bool] | None = None, sys: Path = Path("/sys")
    ) -> None:
        self._run = run
        self._net = sys / "class" / "net"
        self._is_card = is_card or self._has_hardware
        self._leased: set[str] = set()

    def cards(self) -> tuple[Card, ...]:
        """Every card, in the kernel's order. Raises ToolError."""
        with _netlink("list the network cards") as netlink:
            links = [link for link in netlink.get_links() if self._is_card(_name(link))]
        return tuple(self._describe(link) for link in links)

    def up(self, name: str) -> None:
        """Switch a card on; its IPv6 link-local address comes by itself. Raises ToolError."""
        with _netlink(f"switch the network card {name} on") as netlink:
            netlink.link("set", index=_index(netlink, name), state="up")

    def wait_carrier(self, names: Iterable[str], timeout: float) -> frozenset[str]:
        """Those of the cards that have a link, after all have or `timeout` seconds passed."""
        wanted = frozenset(names)
        end = time.monotonic() + timeout
        while True:
            linked = frozenset(card.name for card in self.cards() if card.carrier) & wanted
            if linked == wanted or time.monotonic() >= end:
                return linked
            time.sleep(POLL)

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a card that are proven to be its own, without prefix and scope."""
        with _netlink(f"list the addresses of {name}") as netlink:
            found = netlink.get_addr(index=_index(netlink, name))
            return tuple(
                message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                for message in found
                if not (message.get_attr("IFA_FLAGS") or message["flags"]) & _NOT_USABLE
            )

    def add_address(self, name: str, address: str) -> None:
        """Give a card a fixed address, as "192.0.2.7/24". Having it already is fine."""
        interface = ip_interface(address)
        with _netlink(f"give {name} the address {address}") as netlink:
            netlink.addr(
                "replace",
                index=_index(netlink, name),
                address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
            )

    def add_gateway(self, name: str, gateway: str) -> None:
        """Reach other networks by `gateway` on that card. Having such a route is fine."""
        with _netlink(f"set the gateway {gateway} on {name}") as netlink:
            netlink.route("replace", dst="default", gateway=gateway, oif=_index(netlink, name))

    def lease(self, name: str) -> None:
        """Let dhcpcd care for a card in the background: an address by DHCP if a server answers,
        else one by RFC 3927, proven free; whenever a cable is plugged in. No hook is run, so
        neither resolv.conf nor the host name nor the clock change. Raises ToolError."""
        words = ["--ipv4only", "--background", "--timeout", str(DHCP_PATIENCE)]
        words += ["--config", "/dev/null", "--script", "/bin/true", "--quiet"]
        self._run(["dhcpcd", *words, name])
        self._leased.add(name)

    def release(self) -> None:
        """End what `lease` started, and only that. Raises ToolError."""
        while self._leased:
            self._run(["dhcpcd", "--ipv4only", "--exit", self._leased.pop()], ok=(0, 1))

    def _has_hardware(self, name: str) -> bool:
        link = self._net / name
        is_wireless = (link / "phy80211").exists() or (link / "wireless").exists()
        return (link / "device").exists() and not is_wireless

    def _describe(self, link: Any) -> Card:
        name = _name(link)
        device = self._net / name / "device"
        bus = _pci_address(device)
        return Card(
            name=name,
            mac=(link.get_attr("IFLA_PERM_ADDRESS") or link.get_attr("IFLA_ADDRESS") or "").lower(),
            driver=(device / "driver").resolve().name if (device / "driver").exists() else "",
            pci_id=_pci_id(device),
            bus=bus,
            modalias=_read(device / "modalias"),
            carrier=bool(link.get_attr("IFLA_CARRIER")) and bool(link["flags"] & 1),
            speed=_speed(self._net / name),
            alternatives=_alternatives(link),
        )


@contextmanager
def _netlink(goal: str) -> Iterator[Any]:
    """A netlink socket of its own, so that any thread may ask at any time."""
    try:
        with IPRoute() as netlink:
            yield netlink
    except (NetlinkError, OSError) as error:
        raise ToolError(f"The kernel refused to {goal}: {error}.") from error


def _name(link: Any) -> str:
    return str(link.get_attr("IFLA_IFNAME"))


def _alternatives(link: Any) -> tuple[str, ...]:
    properties = link.get_attr("IFLA_PROP_LIST")
    return tuple(map(str, properties.get_attrs("IFLA_ALT_IFNAME"))) if properties else ()


def _index(netlink: Any, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise OSError(f"there is no network card {name}")
    return int(found[0])


def _read(path: Path) -> str:
    """A sysfs file; "" when the driver has none or does not answer while the link is down."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _speed(link: Path) -> int:
    text = _read(link / "speed")
    return int(text) if text.isdecimal() else 0


def _pci(device: Path) -> Path | None:
    """The PCI device a card sits on; virtio and USB cards sit on it by way of another bus."""
    place = device.resolve()
    for part in (place, *place.parents):
        if _PCI_ADDRESS.fullmatch(part.name):
            return part
    return None


def _pci_address(device: Path) -> str:
    pci = _pci(device)
    return pci.name if pci else ""


def _pci_id(device: Path) -> str:
    pci = _pci(device)
    return f"{_read(pci / 'vendor')}:{_read(pci / 'device')}" if pci else ""
