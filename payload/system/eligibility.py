"""Which disks may be considered at all, as a table of reasons why not.

A whitelist at heart: whatever kind of device is not known here is left alone. What lies on a disk
plays no part in this; that is judged by `identify.role`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from payload.model.disk import MIB, Hardware

SMALLEST = 64 * MIB  # no server was ever installed on less

_DISKS = re.compile(
    r"sd[a-z]+|hd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+|(cciss|ida)[!/]c\d+d\d+"
)
_NOT_DISKS = (
    (r"sr\d+|scd\d+", "it is a CD or DVD drive"),
    (r"loop\d+", "it is a loop device"),
    (r"zram\d+|ram\d+|brd\d+", "it is memory of this live system"),
    (r"fd\d+", "it is a floppy drive"),
    (r"nbd\d+", "it is a network disk (NBD)"),
    (r"rbd\d+", "it is a network disk (RADOS)"),
    (r"drbd\d+", "it is a network disk (DRBD)"),
    (r"etherd[!/].*", "it is a network disk (ATA over Ethernet)"),
    (r"md.*", "it is an MD array, made of other disks"),
    (r"dm-\d+|mapper/.*", "it is a device-mapper volume, made of other disks"),
    (r"bcache\d+", "it is a cache volume, made of other disks"),
    (r"mmcblk\d+(boot|rpmb|gp)\d*", "it is a hidden part of a flash chip"),
    (r"mtd.*|ubi.*", "it is a flash chip"),
)
_NETWORKS = {"iscsi": "iSCSI", "fc": "Fibre Channel", "fcoe": "Fibre Channel", "srp": "SRP"}
# What the kernel puts into the path of a device that it reaches over such a network.
_NETWORK_PATHS = ((r"/session\d+/", "iSCSI"), (r"/rport-\d", "Fibre Channel"))
# Transport classes of a SCSI host whose disks are all beyond such a network. An SRP disk's path
# is that of a local one (ib_srp.c scans below the host itself), and lsblk does not know its class
# (scsi_transport_srp.c).
_NETWORK_HOSTS = {"iscsi_host": "iSCSI", "fc_host": "Fibre Channel", "srp_host": "SRP"}
_EXTERNAL_PATHS = ((r"/usb\d+/", "USB"), (r"/fw\d+", "FireWire"))


# No disks, or made of disks that are listed themselves: no server is overlooked in them.
_BYSTANDERS = re.compile(
    r"(sr|scd|loop|zram|ram|brd|fd|dm-)\d+|(md|mapper/|drbd|bcache|mtd|ubi).*"
    r"|mmcblk\d+(boot|rpmb|gp)\d*"
)
_FILE_OF_MEDIUM = "/findiso"  # where live-boot mounts the file system that holds the ISO


@dataclass(frozen=True)
class Circumstances:
    """What speaks for or against a disk beside what it is itself."""

    sys_path: str = ""  # where it hangs in the kernel's tree of devices
    host_classes: tuple[str, ...] = ()  # of its SCSI host: "scsi_host", "sas_host"
    nvme_transports: tuple[str, ...] = ()  # of the controllers that lead to it
    live_medium: bool = False
    memory_card: bool = False
    detachable: bool = False  # a parent device is one that people unplug (Thunderbolt)
    uses: tuple[str, ...] = ()  # "mounted on /mnt", "part of md0", ...


def reason_against(disk: Hardware, facts: Circumstances) -> str:
    """Why this disk is never written to, as half a sentence; "" when it may be considered."""
    return next((reason for rule in _RULES if (reason := rule(disk, facts))), "")


def is_bystander(disk: Hardware, facts: Circumstances) -> bool:
    """Whether an ineligible disk is certainly none that a server runs from. What is fixed and not
    known here may be one, and so may the disk that holds the medium as a file (findiso=)."""
    is_medium = facts.live_medium and not any(use.endswith(_FILE_OF_MEDIUM) for use in facts.uses)
    return bool(is_medium or facts.memory_card or _BYSTANDERS.fullmatch(disk.name))


def _medium(disk: Hardware, facts: Circumstances) -> str:
    return "it holds the live medium this system runs from" if facts.live_medium else ""


def _kind(disk: Hardware, facts: Circumstances) -> str:
    for pattern, reason in _NOT_DISKS:
        if re.fullmatch(pattern, disk.name):
            return reason
    if not _DISKS.fullmatch(disk.name):
        return "it is a kind of device this program does not know"
    return ""


def _network(disk: Hardware, facts: Circumstances) -> str:
    fabrics = any(transport != "pcie" for transport in facts.nvme_transports)
    kinds = (
        _NETWORKS.get(disk.transport, ""),
        _match(_NETWORK_PATHS, facts.sys_path),
        *(_NETWORK_HOSTS.get(name, "") for name in facts.host_classes),
        "NVMe over Fabrics" if fabrics else "",
    )
    kind = next(filter(None, kinds), "")
    return f"it is a network disk ({kind})" if kind else ""


def _external(disk: Hardware, facts: Circumstances) -> str:
    if disk.removable:
        return "it is removable"
    kind = "USB" if disk.transport == "usb" else _match(_EXTERNAL_PATHS, facts.sys_path)
    if kind:
        return f"it is an external disk ({kind}), never a server's own"
    if facts.memory_card:
        return "it is a memory card"
    return "it is an external disk, never a server's own" if facts.detachable else ""


def _match(patterns: tuple[tuple[str, str], ...], path: str) -> str:
    return next((word for pattern, word in patterns if re.search(pattern, path)), "")


def _medium_size(disk: Hardware, facts: Circumstances) -> str:
    if disk.size == 0:
        return "it has no medium in it"
    if disk.size < SMALLEST:
        return f"it is smaller than {SMALLEST // MIB} MiB"
    return ""


def _protection(disk: Hardware, facts: Circumstances) -> str:
    return "its hardware protects it against writing" if disk.write_protected else ""


def _use(disk: Hardware, facts: Circumstances) -> str:
    return f"it is in use by this live system: {', '.join(facts.uses)}" if facts.uses else ""


def _anonymous(disk: Hardware, facts: Circumstances) -> str:
    if disk.wwn or disk.serial or disk.path:
        return ""
    return "it tells no serial, WWN or path by which it could be known again"


_RULES: tuple[Callable[[Hardware, Circumstances], str], ...] = (
    _medium,
    _kind,
    _network,
    _external,
    _medium_size,
    _protection,
    _use,
    _anonymous,
)
