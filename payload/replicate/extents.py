"""Which bytes of a region are copied: the file system's own map, cut into chunks.

A file system after a crash may hold blocks that only its journal knows as used; a map that
cannot be trusted, or cannot be read, means that every block is copied.
"""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from payload.formats.disk.btrfs_map import read_btrfs_map
from payload.formats.disk.ext_map import read_ext_map
from payload.formats.disk.jfs_map import read_jfs_map
from payload.formats.disk.reiserfs_map import read_reiserfs_map
from payload.formats.disk.superblocks import EXT_KINDS, ReadAt, look_with, xfs_sizes
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.chunk_list import ChunkList
from payload.model.errors import ToolError
from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.model.runs import Run, behind, cut, ends
from payload.system.host import Host
from payload.system.map_doubts import read_doubt

KIB = 1024
HEADER = 64 * KIB  # bytes: the largest page, at whose end the signature of a swap area stands
MAPPING_TIMEOUT = 3600.0  # seconds; a map of many TB is read from all over a rotating disk
Reader = Callable[[ReadAt, int], Iterator[Run]]
_READERS: Mapping[str, Reader] = {
    "btrfs": read_btrfs_map,
    "reiserfs": read_reiserfs_map,
    "jfs": read_jfs_map,
}
_TOTAL = re.compile(r"(0x[0-9A-Fa-f]+)\s+\?\s*\n")
_LINE = re.compile(r"(0x[0-9A-Fa-f]+)\s+(0x[0-9A-Fa-f]+)\s+([+?])\s*\n")


def find_chunks(host: Host, node: str, region: Region, sector: int) -> tuple[Iterable[Run], str]:
    """The chunks of a region of the disk `node`, and why they are others than planned ("").

    Offsets are from the start of the region, ascending, in whole sectors, at most one chunk in
    each CHUNK_SIZE. The first and the last CHUNK_SIZE bytes are always among them (of a swap
    area, HEADER bytes).
    """
    if region.method is Method.HEADER:
        return cut(ends(region.size, HEADER), sector), ""
    if region.method is not Method.USED:
        return cut([(0, region.size)], sector), ""
    try:
        used = _used_chunks(host, node, region, sector)
        room = behind(region.size - region.behind, region.size)
        return cut(heapq.merge(used, room), sector), ""
    except (ToolError, OSError) as error:  # OSError: no room for the map in the live system
        note = f"{region.name} ({region.file_system}) is copied whole: {error}"
        return cut([(0, region.size)], sector), note


def _used_chunks(host: Host, node: str, region: Region, sector: int) -> ChunkList:
    """Raises ToolError."""
    with host.blocks.view(node, region.start, region.size) as device:
        return map_device(host, device, region.file_system, region.size, sector)


def map_device(host: Host, device: str, kind: str, size: int, sector: int) -> ChunkList:
    """What is in use of a device with a file system of that kind, its first and its last CHUNK_SIZE
    bytes among it. Raises ToolError, OSError."""
    if kind in _READERS:
        return _map_with(_READERS[kind], device, size, sector)
    _check_trust(host, device, kind, size)
    if kind in EXT_KINDS:
        try:
            runs = heapq.merge(read_ext_map(device, size), ends(size, CHUNK_SIZE))
            return ChunkList(cut(runs, sector))
        except ContradictionError as error:
            raise ToolError(f"Its own map cannot be relied on: {error}.") from error
        except UnknownLayoutError:
            pass  # partclone may know it
    with TemporaryDirectory(prefix="ugs-failover-") as directory:
        map_file = Path(directory, "map")
        _write_map(host, device, kind, map_file)
        if kind == "xfs":
            check_total(device, map_file, size)
        runs = heapq.merge(read_map(map_file, size), ends(size, CHUNK_SIZE))
        return ChunkList(cut(runs, sector))


def _map_with(reader: Reader, device: str, size: int, sector: int) -> ChunkList:
    """By a reader that knows itself when a map cannot be trusted."""
    try:
        return look_with(
            device,
            lambda read_at: ChunkList(
                cut(heapq.merge(reader(read_at, size), ends(size, CHUNK_SIZE)), sector)
            ),
        )
    except UnknownLayoutError as error:
        raise ToolError(f"Its own map cannot be relied on: {error}.") from error


def _write_map(host: Host, device: str, kind: str, map_file: Path) -> None:
    log = map_file.with_name("log")
    # Its progress display would make it sleep for seconds, even when it is quiet.
    tool = [f"partclone.{kind}", "--quiet", "--UI-fresh=0", "--domain", "--logfile", str(log)]
    places = ["--source", device, "--output", str(map_file)]
    host.run([*tool, *places], timeout=MAPPING_TIMEOUT)


def check_total(device: str, map_file: Path, size: int) -> None:
    """Raise ToolError when the map of an xfs has less in use than its superblock says. partclone
    reads the trees of free space without looking at their checksums."""
    end, in_use = look_with(device, xfs_sizes)
    runs = read_map(map_file, size)  # the room behind the file system is no part of what it says
    missing = in_use - sum(max(0, min(start + length, end) - start) for start, length in runs)
    if missing > 0:
        raise ToolError(
            f"Its map has {missing} bytes less in use than its superblock says: xfs_repair on the"
            " source finds out why."
        )


def read_map(map_file: Path, size: int) -> Iterator[Run]:
    """The used runs of a ddrescue map, and what is behind the end of its file system. Raises
    ToolError when it is no whole map of a file system that lies in `size` bytes; what was read
    before is then worth nothing either."""
    end, total = 0, -1
    with map_file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            found = _LINE.fullmatch(line)
            if found is None and total < 0:
                total = _total(line)
                continue
            if found is None:
                raise ToolError(f"The map of used blocks holds a line that is none: {line!r}.")
            start, length = int(found[1], 16), int(found[2], 16)
            if start != end or start + length > size:
                raise ToolError(f"The map of used blocks leaves the file system: {line!r}.")
            end = start + length
            if found[3] == "+":
                yield start, length
    if end != total:  # as when there was no room for all of it
        raise ToolError(f"The map of used blocks ends at byte {end} instead of {total}.")
    yield from behind(end, size)


def _total(line: str) -> int:
    """The line before the first run: in a map that was not worked through, where it ends."""
    found = _TOTAL.fullmatch(line)
    if found is None:
        raise ToolError(f"The map of used blocks does not say how long it is: {line!r}.")
    return int(found[1], 16)


# --- can the map be trusted?


def _check_trust(host: Host, device: str, kind: str, size: int) -> None:
    """Raise ToolError unless every used block is known to the map as it lies on the disk."""
    doubt = read_doubt(host, device, size, kind)
    if doubt:
        raise ToolError(f"{doubt[0].upper()}{doubt[1:]}.")
