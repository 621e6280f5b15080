"""What all ways of configuring network cards have in common: what they say, and what they are told.

Every program has its own files, but all of them speak of interfaces with names, tie some of them
to a card by its MAC address or its slot, and stack bonds, bridges and VLANs on top. `Interface`
is what was read from such a file, `Assignment` what the copy's files have to say afterwards.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from payload.model.machine import Card

MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.IGNORECASE)
# systemd.link(5), MACAddress=: "colon-, hyphen- or dot-delimited".
_ANY_MAC = (
    rf"(?:{MAC.pattern}|[0-9a-f]{{2}}(?:-[0-9a-f]{{2}}){{5}}|[0-9a-f]{{4}}(?:\.[0-9a-f]{{4}}){{2}})"
)
# Not a part of a longer address, as that of InfiniBand, whose 20 bytes are written likewise.
# Of six bytes, and no part of the twenty of InfiniBand.
ETHERNET_MAC = re.compile(rf"(?<![0-9a-f:]){MAC.pattern}(?![0-9a-f:])", re.IGNORECASE)
MENTIONED_MAC = re.compile(
    rf"(?<![0-9a-f])(?<!:[0-9a-f]{{2}}:){_ANY_MAC}(?![0-9a-f]|:[0-9a-f]{{2}})", re.IGNORECASE
)
_OCTET = 3  # digits
INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
ANYWHERE = "0.0.0.0"  # noqa: S104  (a gateway whose address is not told)


@dataclass(frozen=True)
class Interface:
    """One interface as one file tells it; another file may tell more of the same.

    A card that a file knows by its MAC alone has no `name`. Without a name and a MAC it stands for
    the whole system, whose default gateway some programs keep in a place of its own.
    """

    name: str
    mac: str = ""  # lower case: of the card that has this name
    slot: str = ""  # "0000:02:01.0", where it is tied to a place instead
    addresses: tuple[str, ...] = ()  # "192.0.2.7/24"
    dynamic: bool = False  # has an address that a server gives
    gateways: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()  # members of a bond or bridge, the card of a VLAN
    vlan: int = 0
    key: str = ""  # by which the lower ones of other entries may mean this one


@dataclass(frozen=True)
class Assignment:
    """Which card of this machine stands for which of the source, in every way files can ask.

    A card that the copied configuration knows by its MAC only has that MAC for a name.
    """

    names: Mapping[str, str]  # name -> MAC here
    cards: Sequence[Card] = ()  # of this machine
    macs: Mapping[str, str] = field(default_factory=dict)  # MAC at the source -> MAC here
    slots: Mapping[str, str] = field(default_factory=dict)  # slot at the source -> MAC here
    source: Sequence[str] = ()  # MACs of the source's cards

    @property
    def interfaces(self) -> dict[str, str]:
        """The names proper: name -> MAC here, none empty."""
        return {name: mac for name, mac in self.names.items() if mac and not MAC.fullmatch(name)}

    def mac_for(self, name: str, mac: str) -> str:
        """What a file that ties `mac` to `name` has to say; "" when it may stay as it is."""
        here = {card.mac for card in self.cards}
        return self.names.get(name, "") or ("" if mac in here else self.macs.get(mac, ""))

    @property
    def replacements(self) -> dict[str, str]:
        """MAC at the source -> MAC here, for files that mention cards without a name."""
        return {old: new for old in self.macs if (new := self.mac_for("", old))}

    def mac_at(self, pattern: str) -> str:
        """The card here for the one at the source whose slot a systemd `Path=` means; "" if none.

        A path may go on behind the slot: "pci-0000:02:01.0-usb-0:1:1.0".
        """
        for slot, mac in self.slots.items():
            paths = (f"pci-{slot}", f"virtio-pci-{slot}", f"pci-{slot}-*")
            if slot and any(fnmatchcase(path, pattern) for path in paths):
                return mac
        return ""


@dataclass(frozen=True)
class System:
    """One way of configuring network cards: where its files are, how they are read and changed.

    `patterns` are paths from the copy's root, with wildcards. `rewrite` keeps
    every byte it has no reason to change, and changes nothing when it is run again.
    """

    title: str
    patterns: tuple[str, ...]
    read: Callable[[bytes, str], Iterable[Interface]]
    rewrite: Callable[[bytes, str, Assignment], bytes] = lambda content, path, assignment: content
    rename: Callable[[str, Assignment], str] = lambda path, assignment: path


@dataclass(frozen=True)
class Edit:
    """New content of one file; `path` is from the copy's root, links resolved.

    With `before` the file had that path, and is renamed.
    """

    path: str
    content: bytes
    what: str
    before: str = ""


def like(old: str, new: str) -> str:
    """A MAC in the letter case and with the separators of the one it replaces."""
    if "-" in old:
        new = new.replace(":", "-")
    elif "." in old:
        digits = new.replace(":", "")
        new = ".".join((digits[:4], digits[4:8], digits[8:]))
    return new.upper() if old.upper() == old != old.lower() else new


def with_colons(mac: str) -> str:
    """A MAC as Linux writes it, however it was written."""
    digits = re.sub(r"[:.-]", "", mac.lower())
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def replace_macs(text: str, macs: Mapping[str, str]) -> str:
    """The text with every MAC that is a key of `macs` (lower case) replaced, written as before."""

    def replaced(found: re.Match[str]) -> str:
        new = macs.get(with_colons(found[0]))
        return like(found[0], new) if new else found[0]

    return MENTIONED_MAC.sub(replaced, text)


def is_mac(text: str) -> bool:
    return MAC.fullmatch(text) is not None


def lines_of(content: bytes) -> list[str]:
    """Physical lines with their ends. latin-1 keeps every byte."""
    return lines_in(content.decode("latin-1"))


def lines_in(text: str) -> list[str]:
    """Physical lines; only a newline ends one (str.splitlines knows a dozen more)."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def to_bytes(lines: Iterable[str]) -> bytes:
    return "".join(lines).encode("latin-1")


def prefix_length(address: str, mask: str) -> str:
    """ "192.0.2.7/24" for an address and its mask or prefix length, by class when neither is told.

    "" for what is no address.
    """
    if "/" in address:
        return address
    first = address.partition(".")[0]
    if not mask and len(first) <= _OCTET and first.isdecimal():
        mask = "8" if int(first) < 128 else "16" if int(first) < 192 else "24"
    return f"{address}/{mask or '64'}" if address else ""
