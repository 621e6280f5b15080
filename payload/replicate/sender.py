"""The source's half of the stream: answers what the target asks, from disks opened read-only.

It keeps no state of the copy. Each data connection is served by one thread; several may share a
disk, since every read names its place.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Protocol

from payload.formats.disk.boot_area import without_table
from payload.model.disk import Hardware
from payload.model.errors import FailoverError, LinkError, PeerError, SourceDiskError
from payload.model.inventory import Inventory
from payload.model.map_kinds import MEMBERS
from payload.model.message import (
    Chunk,
    ChunkRequest,
    Encoding,
    MapAnswer,
    MapRequest,
    Message,
    Spent,
    Stop,
)
from payload.model.plan import CHUNK_SIZE, Method, Plan, Region
from payload.model.report import Hole
from payload.model.runs import Run
from payload.replicate.chunks import aligned_buffer, digest_of, zero_digest
from payload.replicate.compression import Compression
from payload.replicate.extents import find_chunks
from payload.replicate.sick_disk import Patience, read_around, read_at_once
from payload.replicate.spindle import Spindle
from payload.replicate.volume_map import VolumeMaps
from payload.system.host import Host

MAP_PART = 4096  # chunks in one MapAnswer, at most 100 KiB of it


Holes = list[Hole] | None  # None: not read, since there are some


class Read(Protocol):
    """`Sender._read`."""

    def __call__(self, pair: int, offset: int, content: memoryview, *, thorough: bool) -> Holes: ...


class Line(Protocol):
    """What the stream needs of a connection: `wire.channel.Channel`, or its like."""

    def send(self, message: Message) -> None: ...

    def receive(self, timeout: float | None) -> Message: ...

    def close(self) -> None: ...


class SendingLine(Line, Protocol):
    """A connection that tells how long its bytes were held up by the network alone."""

    @property
    def network_time(self) -> float: ...


class Sender:
    """Serves one plan. Raises SourceDiskError when a disk cannot be opened."""

    def __init__(self, host: Host, plan: Plan, inventory: Inventory) -> None:
        self._host = host
        self._plan = plan
        self._disks: list[Hardware] = [
            inventory.disk(pair.source.id).hardware for pair in plan.disks
        ]
        self._descriptors: list[int] = []
        self._volumes = VolumeMaps(host, inventory)
        self._spindles = [Spindle(rotational=disk.rotational) for disk in self._disks]
        self._patience = [Patience() for _ in self._disks]
        for disk in self._disks:
            self._descriptors.append(self._open(disk))

    def _open(self, disk: Hardware) -> int:
        try:
            return self._host.blocks.open_to_read(disk.node)
        except OSError as error:
            self.close()
            raise SourceDiskError(
                f"Source disk {disk.label} could not be opened: {error.strerror}. Check the disk."
            ) from error

    def close(self) -> None:
        """Let go of the disks; threads that still serve end with an error. Twice is no harm."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def answer_map(self, request: MapRequest) -> Iterator[MapAnswer]:
        """Which chunks of a region are to be copied, in parts. Raises PeerError, ToolError."""
        region = self._region(request.region)
        disk = self._disks[region.pair]
        chunks, note = self._find_chunks(region, disk)
        part: list[int] = []
        for offset, length in chunks:
            if len(part) == 2 * MAP_PART:
                yield MapAnswer(region.index, tuple(part), last=False, note=note)
                part, note = [], ""
            part += (offset, length)
        yield MapAnswer(region.index, tuple(part), last=True, note=note)

    def _find_chunks(self, region: Region, disk: Hardware) -> tuple[Iterable[Run], str]:
        if region.method is Method.USED and region.file_system in MEMBERS:
            disk_id = self._plan.disks[region.pair].source.id
            return self._volumes.find_chunks(disk_id, region, disk.sector_size)
        return find_chunks(self._host, disk.node, region, disk.sector_size)

    def _region(self, index: int) -> Region:
        if not 0 <= index < len(self._plan.regions):
            raise PeerError(
                f"The target asked for region {index}, which is not in the plan. Boot "
                "both machines from the same medium."
            )
        return self._plan.regions[index]

    def serve(self, channel: SendingLine) -> None:
        """Answer requests on one data connection until it ends (LinkError).

        Raises PeerError for a request outside the plan and SourceDiskError when a disk is gone;
        the target is told either.
        """
        desk = _Desk(self._plan, self._disks, self._read)
        while True:
            request = channel.receive(None)
            try:
                chunk = desk.answer(request)
            except FailoverError as error:
                with contextlib.suppress(LinkError):
                    channel.send(Stop(str(error)))
                raise
            desk.send(channel, chunk)

    def _read(self, pair: int, offset: int, content: memoryview, *, thorough: bool) -> Holes:
        """The bad places of the disk there; None when there are any, unless it is to be thorough.
        Raises SourceDiskError."""
        disk = self._disks[pair]
        if pair >= len(self._descriptors):
            raise SourceDiskError(f"Source disk {disk.label} is no longer open: the run ended.")
        descriptor = self._descriptors[pair]
        with self._spindles[pair].turn(offset):
            if thorough:
                return read_around(disk, descriptor, content, offset, self._patience[pair])
            return [] if read_at_once(disk, descriptor, content, offset) else None


class _Desk:
    """One connection's own buffer, and what it learned about packing."""

    def __init__(self, plan: Plan, disks: list[Hardware], read: Read) -> None:
        self._plan = plan
        self._disks = disks
        self._read_disk = read
        self._buffer = aligned_buffer()
        self._compression = Compression()
        self._network = 0.0  # seconds the network took for the chunk before
        self._network_time = 0.0  # seconds in all

    def answer(self, request: Message) -> Chunk:
        """The chunk a request asks for. Its body is good until the next answer."""
        region, request = self._check(request)
        content = self._buffer[: request.length]
        begun = perf_counter()
        holes = self._read(region, request, content)
        was_read = perf_counter()
        if holes is None:
            return _later(request, self._spent(was_read - begun, 0.0))
        if region.method is Method.BOOT:
            self._blank_table(region, content)
        digest = digest_of(content)
        encoding, body = self._pack(request, content, digest)
        return Chunk(
            region.index,
            request.offset,
            request.length,
            digest,
            encoding,
            body,
            tuple(holes),
            self._spent(was_read - begun, perf_counter() - was_read),
        )

    def _spent(self, disk: float, processor: float) -> Spent:
        network, self._network = self._network, 0.0
        return Spent(round(disk * 1e6), round(processor * 1e6), round(network * 1e6))

    def _check(self, request: Message) -> tuple[Region, ChunkRequest]:
        if not isinstance(request, ChunkRequest):
            raise PeerError(f"The target said {type(request).__name__} on a data connection.")
        regions = self._plan.regions
        region = regions[request.region] if 0 <= request.region < len(regions) else None
        fault = _fault(request, region, self._plan)
        if region is None or fault:
            raise PeerError(
                f"The target asked for {request.length} bytes at {request.offset} of region "
                f"{request.region}: {fault}."
            )
        return region, request

    def _read(self, region: Region, request: ChunkRequest, content: memoryview) -> Holes:
        place = region.start + request.offset
        holes = self._read_disk(region.pair, place, content, thorough=request.thorough)
        if holes is None:
            return None
        return [Hole(hole.offset - region.start, hole.length) for hole in holes]

    def _blank_table(self, region: Region, content: memoryview) -> None:
        table = self._plan.disks[region.pair].table
        assert table is not None
        without_table(content, table, self._disks[region.pair].sector_size)

    def _pack(
        self, request: ChunkRequest, content: memoryview, digest: bytes
    ) -> tuple[Encoding, bytes | memoryview]:
        if digest == request.held:
            return Encoding.SAME, b""
        if digest == zero_digest(request.length):
            return Encoding.ZERO, b""
        return self._compression.pack(content)

    def send(self, channel: SendingLine, chunk: Chunk) -> None:
        """Send, and learn what a byte on this network costs."""
        channel.send(chunk)
        if len(chunk.body):
            network_time = channel.network_time
            self._network, self._network_time = network_time - self._network_time, network_time
            self._compression.sent(len(chunk.body), network_time)


def _later(request: ChunkRequest, spent: Spent) -> Chunk:
    place = (request.region, request.offset, request.length)
    return Chunk(*place, bytes(32), Encoding.LATER, spent=spent)


def _fault(request: ChunkRequest, region: Region | None, plan: Plan) -> str:
    """What is wrong with a request, "" when nothing is."""
    if region is None:
        return "there is no such region in the plan"
    sector = plan.disks[region.pair].source.sector_size
    first, length = request.offset, request.length
    if length <= 0 or first < 0 or first + length > region.size:
        return "this is not inside the region"
    if first % sector or length % sector:
        return "these are no whole sectors"
    if first // CHUNK_SIZE != (first + length - 1) // CHUNK_SIZE:
        return "this is more than one chunk"
    if region.method is Method.BOOT and (first, length) != (0, region.size):
        return "a boot area is sent whole"
    return "" if len(request.held) in (0, 32) else "the digest has a wrong length"
