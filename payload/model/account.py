"""The account of a disk: what becomes of each of its bytes. All sizes and positions are bytes."""

from dataclasses import dataclass, field
from enum import StrEnum


class Treatment(StrEnum):
    """What becomes of a range of a source disk."""

    COPIED = "copied"  # all of it, compared on the target
    MAPPED = "mapped"  # copied, but for what the map of a file system calls free
    SWAP = "swap"  # not carried on purpose
    TABLE = "table"  # of a GPT, which knows the size of its disk: made anew
    UNREAD = "unread"  # no partition holds it, and it is too large to be looked at
    CUT = "cut"  # no partition holds it, and the target's disk ends before it


@dataclass(frozen=True)
class Stretch:
    """A range of one disk. `region` is the index of the region that copies it, -1 when none does;
    `map` the kind of file system, or member, whose map says what is free."""

    start: int
    size: int
    treatment: Treatment
    region: int = -1
    map: str = ""


@dataclass(frozen=True)
class Account:
    """A source disk, from its first byte to its last: no stretch overlaps another, none lacks."""

    size: int
    stretches: tuple[Stretch, ...]

    def total(self, treatment: Treatment) -> int:
        return sum(one.size for one in self.stretches if one.treatment is treatment)

    @property
    def mapped(self) -> dict[str, int]:
        """Kind of file system -> bytes that its maps speak of."""
        totals: dict[str, int] = {}
        for one in self.stretches:
            if one.treatment is Treatment.MAPPED:
                totals[one.map] = totals.get(one.map, 0) + one.size
        return totals


@dataclass(frozen=True)
class SettledAccount:
    """What was really done with each byte of a source disk. The sums make up its size, unless
    something that was to be copied is `missing`."""

    disk: str  # the source disk's label
    size: int
    copied: int  # on the target's disk
    compared: int  # of those: read from the target's medium, and equal
    unreadable: int = 0  # of those: the source could not read them, zeros stand in the copy
    free: dict[str, int] = field(default_factory=dict)  # kind of the map -> bytes it calls free
    swap: int = 0
    table: int = 0
    unread: int = 0
    cut: int = 0
    missing: int = 0

    @property
    def complete(self) -> bool:
        """Whether the sums make up the disk, and nothing is missing."""
        parts = (self.copied, *self.free.values(), self.swap, self.table, self.unread, self.cut)
        return self.missing == 0 and sum(parts) == self.size

    @property
    def proven(self) -> bool:
        """Complete, and all that was copied was compared."""
        return self.complete and self.compared == self.copied
