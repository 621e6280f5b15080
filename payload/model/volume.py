"""Volumes of LVM and MD, as ranges of the disks below them. All sizes and positions are bytes.

Neither machine ever assembles anything: a volume is worked out from what its members say of
themselves, down to ranges of whole disks, so that the same value describes the original and, after
the copy, the same ranges of the target's disks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from payload.model.disk import FileSystem


class Layer(StrEnum):
    """What made a volume."""

    LVM = "lvm"
    MD = "md"


@dataclass(frozen=True)
class Segment:
    """A range of a whole disk, which is named by its stable id."""

    disk: str
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


Leg = tuple[Segment, ...]  # a whole volume, piece after piece
Extent = tuple[str, int, int]  # the same piece on this machine: node of the disk, start, size


@dataclass(frozen=True)
class Volume:
    """A volume and where its bytes lie.

    Each of `legs` is all of the volume; where there are several they mirror each other and hold
    the same. The first is the one a kernel would read. Without legs it is not known where the
    volume lies, and `why_not` says why; it is then copied with its members, whole.
    """

    name: str  # as the system calls it: "vg/root", "md0", "md/data"
    layer: Layer
    uuid: str  # LVM: of the logical volume; MD: of the array, 32 hex digits
    size: int
    legs: tuple[Leg, ...] = ()
    why_not: str = ""
    file_system: FileSystem | None = None
    group: str = ""  # LVM: uuid of the volume group
    aliases: tuple[str, ...] = ()  # what it may be called below /dev

    @property
    def disks(self) -> tuple[str, ...]:
        """The disks it lies on, each once, in the order of its bytes."""
        return tuple(dict.fromkeys(segment.disk for leg in self.legs for segment in leg))

    def extents(self, node_of: Callable[[str], str]) -> tuple[tuple[Extent, ...], ...]:
        """The legs with nodes instead of ids, as `Blocks.assemble` takes them."""
        return tuple(
            tuple((node_of(segment.disk), segment.start, segment.size) for segment in leg)
            for leg in self.legs
        )


def cut_leg(leg: Leg, start: int, size: int) -> Leg:
    """Bytes `start` to `start + size` of what a leg holds. Raises ValueError beyond its end."""
    found: list[Segment] = []
    position = 0
    for segment in leg:
        first = max(start, position)
        last = min(start + size, position + segment.size)
        if first < last:
            found.append(Segment(segment.disk, segment.start + first - position, last - first))
        position += segment.size
    if start < 0 or size <= 0 or start + size > position:
        raise ValueError(f"bytes {start} to {start + size} of {position}")
    return tuple(found)


def join_legs(pieces: Iterable[tuple[Leg, ...]]) -> tuple[Leg, ...]:
    """The legs of pieces that follow each other; a piece that is there once serves all legs."""
    known = list(pieces)
    count = max((len(piece) for piece in known), default=0)
    return tuple(
        merge_leg(segment for piece in known for segment in piece[min(number, len(piece) - 1)])
        for number in range(count)
    )


def merge_leg(segments: Iterable[Segment]) -> Leg:
    """One segment for those that follow each other on a disk too."""
    merged: list[Segment] = []
    for segment in segments:
        last = merged[-1] if merged else None
        if last is not None and (last.disk, last.end) == (segment.disk, segment.start):
            merged[-1] = Segment(last.disk, last.start, last.size + segment.size)
        else:
            merged.append(segment)
    return tuple(merged)
