"""What the target knows of each region: which chunks, which are there, which are proven.

It outlives any connection, so that a broken link costs the chunks in flight and no more. About
41 bytes for each chunk: 41 MiB for each TiB of content.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from time import monotonic

from blake3 import blake3

from payload.model.chunk_list import ChunkList
from payload.model.errors import PeerError
from payload.model.message import Chunk, Encoding, MapAnswer
from payload.model.plan import CHUNK_SIZE, SWAP_HEADER, Method, Region
from payload.model.report import Hole, RegionReport
from payload.model.runs import Run

DIGEST_SIZE = 32


class State(IntEnum):
    """How far one chunk is."""

    MISSING = 0
    WRITTEN = 1  # on the disk
    PROVEN = 2  # read from the medium and equal
    SICK = 3  # missing, and the source could not read it at once


@dataclass(frozen=True)
class Item:
    """One chunk of one region, as work for a thread. Bytes of the region."""

    ledger: "Ledger"
    index: int
    offset: int
    length: int
    thorough: bool = False  # it failed before: now sector by sector, however long that takes


class Ledger:
    """One region. Threads may work on different chunks at the same time."""

    def __init__(self, region: Region, sector_size: int) -> None:
        self.region = region
        self.mapped = False  # the whole list of chunks is known
        self.sent = 0  # bytes of chunk bodies on the wire
        self.held = 0  # bytes that the target had already
        self.done = 0  # bytes written or held
        self.read_back = 0  # bytes of those proven
        self.seconds = 0.0
        self._began: float | None = None
        self._sector_size = sector_size
        self._chunks = ChunkList()
        self._digests = bytearray()
        self._states = bytearray()
        self._holes: list[Hole] = []
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Chunks of the copy."""
        return len(self._chunks)

    @property
    def size(self) -> int:
        """Bytes in the chunks of the copy."""
        return self._chunks.size

    def forget_map(self) -> None:
        """Before a map is asked for (again)."""
        self._chunks = ChunkList()
        self._holes = []
        self.mapped = False

    def start_over(self) -> None:
        """Nothing of it counts as there any more. What was sent stays counted."""
        self.forget_map()
        self.held = self.done = self.read_back = 0

    def add(self, answer: MapAnswer) -> None:
        """Take one part of the map. Raises PeerError when it does not fit the region."""
        if answer.region != self.region.index or len(answer.chunks) % 2:
            raise PeerError(self._broken("it is of another region, or not whole"))
        numbers = iter(answer.chunks)
        for offset, length in zip(numbers, numbers, strict=True):
            self._add_chunk(offset, length)
        if answer.last:
            self._complete()

    def _add_chunk(self, offset: int, length: int) -> None:
        if offset + length > self.region.size or (offset | length) % self._sector_size:
            raise PeerError(self._broken(f"{length} bytes at {offset} are not sectors of it"))
        try:
            self._chunks.append(offset, length)
        except ValueError as error:
            raise PeerError(self._broken(str(error))) from error

    def _complete(self) -> None:
        if not len(self._chunks) or self._chunks[0][0] != 0:
            raise PeerError(self._broken("it does not begin at the begin of the region"))
        if self.region.method is Method.BOOT and self._chunks[0][1] != self.region.size:
            raise PeerError(self._broken("a boot area is one chunk"))
        if not self._covers_all():
            raise PeerError(self._broken("it leaves out what is to be copied"))
        self._digests = bytearray(DIGEST_SIZE * len(self._chunks))
        self._states = bytearray(len(self._chunks))
        self.mapped = True

    def _covers_all(self) -> bool:
        """Whether the chunks are all that the plan promises. Only a file system's map may leave
        out what it calls free."""
        if self.region.method is Method.USED:
            return not self.region.behind or self._covers_last(self.region.behind)
        if self.region.method is Method.HEADER:
            header = min(SWAP_HEADER, self.region.size)
            return self._chunks[0][1] >= header and self._covers_last(header)
        return self.size == self.region.size

    def _covers_last(self, size: int) -> bool:
        """Whether the chunks hold all of that many bytes at the region's end."""
        first = self.region.size - size
        return size == sum(
            max(0, start + length - max(start, first)) for start, length in self._chunks
        )

    def _broken(self, why: str) -> str:
        return (
            f"The source sent a map of {self.region.name} that cannot be: {why}. "
            "Boot both machines from the same medium."
        )

    def items(
        self, state: State, *, head: bool, first: int = 0, last: int | None = None
    ) -> Iterator[Item]:
        """The chunks that are in that state when their turn comes: the held back one, or all
        others, from index `first` to `last`."""
        end = self.count if last is None else last + 1
        index = self._states.find(state, first, end)
        while index >= 0:
            offset, length = self._chunks[index]
            if (offset < CHUNK_SIZE) is head:
                yield Item(self, index, offset, length)
            index = self._states.find(state, index + 1, end)

    def put_off(self, item: Item) -> None:
        """The source could not read that chunk at once."""
        with self._lock:
            self._states[item.index] = State.SICK

    def free_runs(self) -> Iterator[Run]:
        """Start and length of what lies between the chunks, bytes of the region."""
        end = 0
        for offset, length in self._chunks:
            if offset > end:
                yield end, offset - end
            end = offset + length
        if end < self.region.size:
            yield end, self.region.size - end

    def record(self, item: Item, chunk: Chunk) -> None:
        """The chunk is on the target's disk. One that the source called the same was read from
        there a moment ago, and its digest is the source's: it needs no other proof."""
        same = chunk.encoding is Encoding.SAME
        place = item.index * DIGEST_SIZE
        with self._lock:
            self._digests[place : place + DIGEST_SIZE] = chunk.digest
            self._states[item.index] = State.PROVEN if same else State.WRITTEN
            self._holes += chunk.holes
            self.sent += len(chunk.body)
            self.held += item.length if same else 0
            self.read_back += item.length if same else 0
            self.done += item.length
            self._touch()

    def _touch(self) -> None:
        """Regions may be under way side by side: each counts from its first chunk to its last."""
        now = monotonic()
        self._began = now if self._began is None else self._began
        self.seconds = now - self._began

    def digest(self, item: Item) -> bytes:
        """The source's digest of a chunk."""
        place = item.index * DIGEST_SIZE
        return bytes(self._digests[place : place + DIGEST_SIZE])

    def prove(self, item: Item) -> None:
        """The chunk was read back from the medium, and its digest is the source's."""
        with self._lock:
            self._states[item.index] = State.PROVEN
            self.read_back += item.length

    @property
    def whole(self) -> bool:
        """Every chunk is on the target's disk."""
        lacking = (State.MISSING, State.SICK)
        return self.mapped and not any(state in self._states for state in lacking)

    @property
    def proven(self) -> bool:
        return self.mapped and all(state == State.PROVEN for state in self._states)

    @property
    def root(self) -> str:
        """BLAKE3 of all the source's chunk digests in order."""
        return blake3(self._digests).hexdigest()

    def report(self, disk: str) -> RegionReport:
        """The figures. The target's digest stands only when every chunk of it was proven equal
        one by one, which makes the roots equal too."""
        return RegionReport(
            name=self.region.name,
            disk=disk,
            file_system=self.region.file_system,
            total=self.region.size,
            used=self.size,
            sent=self.sent,
            held=self.held,
            seconds=round(self.seconds, 3),
            source_digest=self.root,
            target_digest=self.root if self.proven else "",
            verified=self.proven,
            holes=tuple(sorted(self._holes, key=lambda hole: hole.offset)),
            is_gap=self.region.method is Method.GAP,
        )
