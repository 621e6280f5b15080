"""Which bytes of a member of LVM or MD are copied: all but what is known to be free.

Free are the extents that no volume of a group occupies, and inside of volumes that are worked out
down to the disks what their file systems call free, on every leg of a mirror. All else is copied:
metadata, superblocks, and volumes of which nothing is known.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import pairwise

from payload.decide.layout import choose_method
from payload.model.chunk_list import ChunkList
from payload.model.errors import ToolError
from payload.model.inventory import Inventory
from payload.model.map_kinds import MEMBERS
from payload.model.plan import CHUNK_SIZE, CopyMode, Method, Region
from payload.model.runs import Run, cut, ends
from payload.model.volume import Segment, Volume
from payload.replicate.extents import HEADER, map_device
from payload.system.host import Host

SNAPSHOT = "DM_snapshot_cow"


@dataclass(frozen=True)
class Piece:
    """A range of a disk and where it belongs: bytes of a volume from `at` on, of which `chunks` are
    in use; nothing of it is in use when there are none."""

    segment: Segment
    at: int = 0
    chunks: ChunkList | None = None

    def free_runs(self) -> Iterator[Run]:
        """Start and length, bytes of the disk."""
        if self.chunks is None:
            yield self.segment.start, self.segment.size
            return
        for start, length in find_gaps(self.chunks, self.at, self.at + self.segment.size):
            yield self.segment.start + start - self.at, length


class VolumeMaps:
    """The maps of all volumes of one machine, each read once: 8 MiB for each TiB in use."""

    def __init__(self, host: Host, inventory: Inventory) -> None:
        self._host = host
        self._inventory = inventory
        self._maps: dict[str, tuple[ChunkList | None, str]] = {}

    def find_chunks(self, disk: str, region: Region, sector: int) -> tuple[Iterable[Run], str]:
        """The chunks of a region of the disk with that id, as `extents.find_chunks` gives them,
        and which volumes are copied whole although their file systems might be mapped."""
        pieces, notes = self._pieces(disk, region, sector)
        pieces.sort(key=lambda piece: piece.segment.start)
        for one, following in pairwise(pieces):
            if one.segment.end > following.segment.start:
                note = f"{region.name} is copied whole: its volumes overlap."
                return cut([(0, region.size)], sector), note
        used = find_used(pieces, region)
        return cut(merge(used, ends(region.size, CHUNK_SIZE)), sector), " ".join(notes)

    def _pieces(self, disk: str, region: Region, sector: int) -> tuple[list[Piece], list[str]]:
        here = [Piece(one) for one in self._inventory.unused if _is_inside(one, disk, region)]
        notes: list[str] = []
        for volume in self._inventory.volumes:
            placed = [
                (segment, at)
                for leg in volume.legs
                for segment, at in _placed(leg)
                if _is_inside(segment, disk, region)
            ]
            if placed:
                chunks, note = self._map(volume, sector)
                notes += [note] if note else []
                here += [Piece(*one, chunks) for one in placed if chunks is not None]
        return here, notes

    def _map(self, volume: Volume, sector: int) -> tuple[ChunkList | None, str]:
        """What is in use of a volume; None: all of it, and why if that is news."""
        if volume.name not in self._maps:
            try:
                self._maps[volume.name] = self._read_map(volume, sector), ""
            except (ToolError, OSError) as error:
                note = f"The volume {volume.name} is copied whole: {error}"
                self._maps[volume.name] = None, note
        return self._maps[volume.name]

    def _read_map(self, volume: Volume, sector: int) -> ChunkList | None:
        """Raises ToolError."""
        kind = volume.file_system.kind if volume.file_system else ""
        method = choose_method(volume.file_system, volume.size, CopyMode.USED)
        if method is Method.HEADER:
            return ChunkList(cut(ends(volume.size, HEADER), sector))
        if method is not Method.USED or kind in MEMBERS or not self._is_alone(volume):
            return None
        extents = volume.extents(self._inventory.node_of)
        with self._host.blocks.assemble(extents[:1]) as device:
            return map_device(self._host, device, kind, volume.size, sector)

    def _is_alone(self, volume: Volume) -> bool:
        """False when another volume of the group may hold on to blocks that this one has freed:
        snapshots do, and what is not understood may."""
        return not volume.group or all(
            one.legs and not (one.file_system and one.file_system.kind == SNAPSHOT)
            for one in self._inventory.volumes
            if one.group == volume.group
        )


def find_used(pieces: Iterable[Piece], region: Region) -> Iterator[Run]:
    """What of a region is not free, as bytes of it. The pieces are in the order of the disk."""
    position = 0
    for piece in pieces:
        for start, length in piece.free_runs():
            offset = start - region.start
            if offset > position:
                yield position, offset - position
            position = offset + length
    if position < region.size:
        yield position, region.size - position


def find_gaps(chunks: ChunkList, first: int, end: int) -> Iterator[Run]:
    """What lies between the chunks, from byte `first` to `end`."""
    position = first
    number = max(0, bisect_right(chunks, first, key=lambda run: run[0]) - 1)
    while number < len(chunks) and position < end:
        offset, length = chunks[number]
        if offset > position:
            yield position, min(offset, end) - position
        position = max(position, offset + length)
        number += 1
    if position < end:
        yield position, end - position


def _placed(leg: Iterable[Segment]) -> Iterator[tuple[Segment, int]]:
    """The segments of a leg, and from which byte of the volume on."""
    at = 0
    for segment in leg:
        yield segment, at
        at += segment.size


def _is_inside(segment: Segment, disk: str, region: Region) -> bool:
    end = region.start + region.size
    return segment.disk == disk and region.start <= segment.start and segment.end <= end
