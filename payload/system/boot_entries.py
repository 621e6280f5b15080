"""The boot entries of a UEFI firmware: what it tries, in which order. Kept by the board itself.

`efibootmgr` reads the partition table of the disk it is given by itself, so the kernel need not
have read it; what it says it did is not believed but read back.
"""

import re
from dataclasses import dataclass

from payload.model.errors import ToolError
from payload.system.command import Run

_ENTRY = re.compile(r"Boot([0-9A-Fa-f]{4})(\*?) ([^\t\n]*)\t?(.*)")
_PLACE = re.compile(r"HD\((\d+),(?:GPT|MBR),([^,)]+)[^)]*\)/(?:File\()?(\\.*?\.efi)", re.IGNORECASE)


@dataclass(frozen=True)
class BootEntry:
    """One entry: `partition` is the GUID (or MBR signature) of the partition, lower case, `path`
    the program on it as "\\EFI\\debian\\shimx64.efi"; both "" for what starts otherwise."""

    number: str  # "0003"
    label: str
    active: bool = True
    partition: str = ""
    path: str = ""

    def starts(self, partition: str, path: str) -> bool:
        """Whether this is an entry for that program; FAT does not mind the case."""
        here = (self.partition.lower(), self.path.lower())
        return self.active and here == (partition.lower(), path.lower())


@dataclass(frozen=True)
class BootTable:
    """All entries, the numbers of those that are tried, in order, and of the one this system was
    started by ("" when the firmware does not tell)."""

    entries: tuple[BootEntry, ...]
    order: tuple[str, ...]
    current: str = ""

    def find(self, partition: str, path: str) -> BootEntry | None:
        return next((entry for entry in self.entries if entry.starts(partition, path)), None)


def parse_boot_table(text: str) -> BootTable:
    """What `efibootmgr --verbose` prints, of versions 17 and 18."""
    entries, order, current = [], "", ""
    for line in text.split("\n"):
        found = _ENTRY.fullmatch(line)
        if line.startswith("BootOrder:"):
            order = line.removeprefix("BootOrder:")
        elif line.startswith("BootCurrent:"):
            current = line.removeprefix("BootCurrent:").strip().upper()
        elif found:
            place = _PLACE.search(found[4])
            where = (place[2].lower(), place[3]) if place else ("", "")
            entries.append(BootEntry(found[1].upper(), found[3].strip(), found[2] == "*", *where))
    numbers = tuple(number.strip().upper() for number in order.split(",") if number.strip())
    return BootTable(tuple(entries), numbers, current)


def read_boot_table(run: Run) -> BootTable:
    """Raises ToolError, also on a machine whose firmware keeps no entries."""
    return parse_boot_table(run(["efibootmgr", "--verbose"]).stdout)


def create_boot_entry(run: Run, node: str, number: int, label: str, path: str) -> None:
    """An entry for a program on partition `number` of the disk `node`; it is not tried before it
    is put into the order.

    Raises ToolError.
    """
    place = ["--disk", node, "--part", str(number)]
    run(["efibootmgr", "--quiet", "--create-only", *place, "--label", label, "--loader", path])


def set_boot_order(run: Run, order: tuple[str, ...]) -> None:
    """Raises ToolError, also for no order at all."""
    if not order:
        raise ToolError("The firmware's boot order cannot be empty.")
    run(["efibootmgr", "--quiet", "--bootorder", ",".join(order)])
