"""The table of all ways of configuring network cards that are known here.

Another one is one more entry: where its files are, a function that reads one, and, where files
tie names to cards by MAC or slot, a function that rewrites one.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from payload.formats.network import ifcfg, iftab, ifupdown, netplan, networkd
from payload.formats.network import network_manager as keyfiles
from payload.formats.network import open_iscsi as iscsi
from payload.formats.network.interface import Interface, System
from payload.formats.network.udev_rules import read_ties, retie_rules
from payload.system.files import is_file_inside, names_inside, read_inside, real_path

RULES_DIRECTORY = "/etc/udev/rules.d"
LINK_DIRECTORY = "/etc/systemd/network"
UCR = "/etc/univention/base.conf"

# What writes names on cards; where two disagree, the first is right.
SYSTEMS = (
    System("udev rules", (f"{RULES_DIRECTORY}/*.rules",), read_ties, retie_rules),
    System(
        "systemd .link", (f"{LINK_DIRECTORY}/*.link",), networkd.read_link, networkd.rewrite_match
    ),
    System(
        "systemd drop-ins",
        (f"{LINK_DIRECTORY}/*.link.d/*.conf", f"{LINK_DIRECTORY}/*.network.d/*.conf"),
        lambda content, path: (),
        networkd.rewrite_match,
    ),
    System("iftab", ("/etc/iftab", "/etc/mactab"), iftab.read_tab, iftab.rewrite_tab),
    System(
        "ifcfg",
        ("/etc/sysconfig/network-scripts/ifcfg-*",),
        ifcfg.read_ifcfg,
        ifcfg.rewrite_ifcfg,
    ),
    System(
        "SUSE ifcfg",
        ("/etc/sysconfig/network/ifcfg-*",),
        ifcfg.read_ifcfg,
        rename=ifcfg.rename_suse,
    ),
    System(
        "SUSE routes",
        ("/etc/sysconfig/network/ifroute-*",),
        ifcfg.read_routes,
        rename=ifcfg.rename_suse,
    ),
    System("SUSE routes", ("/etc/sysconfig/network/routes",), ifcfg.read_routes),
    System("Red Hat network", ("/etc/sysconfig/network",), ifcfg.read_sysconfig_network),
    System("netplan", ("/etc/netplan/*.yaml",), netplan.read_netplan, netplan.rewrite_netplan),
    System(
        "NetworkManager",
        ("/etc/NetworkManager/system-connections/*",),
        keyfiles.read_keyfile,
        keyfiles.rewrite_keyfile,
    ),
    System(
        "NetworkManager settings",
        ("/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/conf.d/*.conf"),
        lambda content, path: (),
        keyfiles.rewrite_mentions,
    ),
    System(
        "networkd",
        (f"{LINK_DIRECTORY}/*.network",),
        networkd.read_network,
        networkd.rewrite_match,
    ),
    System("networkd", (f"{LINK_DIRECTORY}/*.netdev",), networkd.read_netdev),
    System(
        "open-iscsi",
        ("/etc/iscsi/ifaces/*", "/etc/iscsi/nodes/*/*", "/etc/iscsi/nodes/*/*/*"),
        lambda content, path: (),
        iscsi.rewrite_record,
    ),
    System("Univention registry", (UCR,), ifupdown.read_ucr),
    System(
        "ifupdown",
        ("/etc/network/interfaces", "/etc/network/interfaces.d/*"),
        ifupdown.read_ifupdown,
    ),
)


def files_of(root: Path, system: System) -> Iterator[str]:
    """Paths (from the copy's root, as they are called there) of a system's files, none twice.

    Raises OSError.
    """
    seen = set()
    for pattern in system.patterns:
        for path in _expanded(root, "", pattern.strip("/").split("/")):
            if is_file_inside(root, path) and (place := real_path(root, path)) not in seen:
                seen.add(place)
                yield path


def _expanded(root: Path, path: str, words: Sequence[str]) -> Iterator[str]:
    """What a pattern stands for, in order; links are followed as the copy itself would."""
    if not words:
        yield path
        return
    names = [words[0]]
    if "*" in words[0]:
        names = names_inside(root, path)
    for name in names:
        if fnmatchcase(name, words[0]):
            yield from _expanded(root, f"{path}/{name}", words[1:])


def read_interfaces(root: Path) -> list[Interface]:
    """Everything that the system at `root` says of its interfaces. Raises OSError."""
    return [
        interface
        for system in SYSTEMS
        for path in files_of(root, system)
        for interface in system.read(read_inside(root, path) or b"", path)
    ]
