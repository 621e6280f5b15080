"""A case: a server, the machine it stands on, the machine its copy lands on, and what must be true.

The sample server's rehearsal is one; those of the boot matrix are in `tests/vm/cases/`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Card, Hardware, Wire
from tests.vm.servers import Recipe

SOURCE_UUID = "9f3a3c52-6f2b-4a0e-8d0c-6b1f3a7c2e01"
TARGET_UUID = "5e0c4f7a-3d1b-4f5e-a2c9-0d8e7b6a5c02"


@dataclass(frozen=True)
class Expected:
    """What the booted copy must say of itself.

    `cards` are names with their hardware address and the addresses that must be on them; bonds
    and VLANs count as cards here. An empty hardware address or device means: any.
    """

    system: str = "running"
    cards: tuple[SeenCard, ...] = ()
    absent: tuple[str, ...] = ()  # names that no card may have
    by_rules: bool = False  # the names come from persistent net rules, which must say so
    mounts: tuple[Mount, ...] = ()
    swap: bool = False
    firmware: str = "bios"
    least_files: int = 3000


@dataclass(frozen=True)
class Volume:
    """A file system that does not begin where a partition does: inside LVM or MD. Bytes."""

    disk: int  # of the source, from 0
    start: int
    size: int
    name: str


@dataclass(frozen=True)
class Case:
    """One row of the matrix. The hardware has no disks, medium or wires yet: the runner adds them.

    `target_sizes` are the target's disks in bytes. `order` tells which of them takes the source's
    first disk, its second...: the same place unless told.
    """

    number: int
    source_text: str
    target_text: str
    recipe: Recipe
    source: Hardware
    target: Hardware
    target_sizes: tuple[int, ...]
    expected: Expected
    order: tuple[int, ...] = ()
    volumes: tuple[Volume, ...] = field(default=())
    typed: tuple[tuple[str, str], ...] = ()  # question on the serial line of the copy, answer
    after: int = 0  # the case whose finished copy is this one's target

    @property
    def host_name(self) -> str:
        return self.recipe.host_name

    def place_of(self, disk: int) -> int:
        """Which disk of the target takes this disk of the source."""
        return self.order[disk] if self.order else disk


def plug_in(cards: tuple[Card, ...], wires: dict[str, Path], *, listens: bool) -> tuple[Card, ...]:
    """The cards, those plugged into a network that has a wire connected to it."""
    return tuple(
        replace(card, wire=Wire(wires[card.network], listens)) if card.network in wires else card
        for card in cards
    )


def common_networks(source: Hardware, target: Hardware) -> list[str]:
    """The networks that both machines have a card in."""
    there = {card.network for card in target.cards}
    return sorted({card.network for card in source.cards if card.network} & there)
