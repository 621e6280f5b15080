"""What a booted sample server said of itself: the lines of `sample/server-evidence`."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class SeenCard:
    name: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Mount:
    device: str
    place: str
    kind: str


@dataclass(frozen=True)
class Evidence:
    """One boot. `files_listed` is how many digests the server holds, `files_ok` how many fit."""

    host_name: str
    system: str  # systemctl is-system-running; with sysvinit what runlevel says
    failed_units: tuple[str, ...]
    cards: tuple[SeenCard, ...]
    mounts: tuple[Mount, ...]
    swaps: tuple[str, ...]
    files_listed: int
    files_ok: int
    failed_files: tuple[str, ...]
    rules: tuple[str, ...]  # the persistent net rules, line by line
    links: tuple[SeenCard, ...] = ()  # bonds, VLANs and the like
    firmware: str = "bios"

    def card(self, name: str) -> SeenCard | None:
        return next((card for card in (*self.cards, *self.links) if card.name == name), None)

    def names(self, mac: str) -> tuple[str, ...]:
        """The names that rules in force (not commented out) give to this card."""
        found = (
            re.search(r'NAME="([^"]+)"', rule)
            for rule in self.rules
            if not rule.startswith("#") and f'"{mac}"' in rule
        )
        return tuple(match[1] for match in found if match)


def read_evidence(text: str, nonce: str) -> Evidence | None:
    """The evidence of the boot that was given this nonce; None unless every line of it is there."""
    lines = [
        line.partition(f"EVIDENCE {nonce} ")[2]
        for line in text.splitlines()
        if line.startswith(f"EVIDENCE {nonce} ")
    ]
    if not lines or lines[-1] != f"end {len(lines) - 1}":
        return None
    said: dict[str, list[str]] = {}
    for line in lines[:-1]:
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    try:
        return _assemble(said)
    except (KeyError, ValueError):
        return None


def _assemble(said: dict[str, list[str]]) -> Evidence:
    return Evidence(
        host_name=said["host_name"][0],
        system=said["system"][0],
        failed_units=tuple(said.get("failed_unit", ())),
        cards=tuple(_card(value) for value in said.get("card", ())),
        mounts=tuple(Mount(*value.split(" ", 2)) for value in said["mount"]),
        swaps=tuple(said.get("swap", ())),
        files_listed=int(said["files_listed"][0]),
        files_ok=int(said["files_ok"][0]),
        failed_files=tuple("/" + file for file in said.get("failed_file", ())),
        rules=tuple(said.get("rule", ())),
        links=tuple(_card(value) for value in said.get("link", ())),
        firmware=said.get("firmware", ["bios"])[0],
    )


def _card(value: str) -> SeenCard:
    name, mac, addresses = value.split(" ")
    return SeenCard(name, mac, () if addresses == "-" else tuple(addresses.split(",")))
