"""Which bytes of a btrfs on one device are in use: its extent tree, read here.

partclone knows only the first copy of what is kept twice (metadata, by default). Here each extent
is in use wherever its chunk lies. What is found is believed only when the extents add up to what
the superblock says is in use.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import chain

from payload.formats.disk.btrfs_tree import (
    EXTENT_TREE,
    ROOT_ITEM,
    SUPERBLOCK,
    SUPERBLOCK_SIZE,
    SUPERBLOCKS,
    Chunks,
    Superblock,
    Tree,
    parse_superblock,
    read_chunks,
)
from payload.formats.disk.superblocks import ReadAt
from payload.formats.disk.unknown_layout import UnknownLayoutError
from payload.model.chunk_list import ChunkList
from payload.model.runs import Run, behind, cut

_EXTENT_ITEM, _METADATA_ITEM = 168, 169
_ROOT_ADDRESS, _ROOT_LEVEL = 176, 238  # bytes within struct btrfs_root_item


def read_btrfs_map(read_at: ReadAt, size: int) -> Iterator[Run]:
    """Start and length of what is in use, bytes, in the order of their starts; what a MiB of a
    chunk has in use is one run. The superblock's copies are among them, and what is behind the
    file system's end. Raises UnknownLayoutError before the first, and OSError."""
    superblock = parse_superblock(read_at(SUPERBLOCK, SUPERBLOCK_SIZE), size)
    chunks = read_chunks(read_at, superblock)
    used = _used_of_chunks(Tree(read_at, superblock, chunks), superblock, chunks)
    return chain(_place(superblock, chunks, used), behind(superblock.device_size, size))


def _used_of_chunks(tree: Tree, superblock: Superblock, chunks: Chunks) -> dict[int, ChunkList]:
    """What is in use of each chunk, by its number, as bytes of it."""
    used: dict[int, ChunkList] = {}
    runs: list[Run] = []
    number, total = -1, 0
    for start, length in _extents(tree, superblock):
        index = chunks.index_of(start, length)
        if index != number and runs:
            used[number] = ChunkList(cut(runs, superblock.sector))
            runs = []
        number = index
        runs.append((start - chunks.all[index].start, length))
        total += length
    if runs:
        used[number] = ChunkList(cut(runs, superblock.sector))
    if total != superblock.bytes_used:
        raise UnknownLayoutError(
            f"its extents make up {total} bytes, its superblock says {superblock.bytes_used}"
        )
    return used


def _extents(tree: Tree, superblock: Superblock) -> Iterator[Run]:
    """Logical addresses and lengths, ascending. Raises UnknownLayoutError."""
    end = 0
    for (start, kind, offset), _ in tree.walk(*_extent_root(tree, superblock)):
        if kind not in (_EXTENT_ITEM, _METADATA_ITEM):
            continue  # who refers to an extent, and the block groups
        length = superblock.node_size if kind == _METADATA_ITEM else offset
        if start < end or not length or start % superblock.sector or length % superblock.sector:
            raise UnknownLayoutError(f"the extent at {start} is damaged")
        end = start + length
        yield start, length


def _extent_root(tree: Tree, superblock: Superblock) -> tuple[int, int]:
    """Address and level of the root of the extent tree. Raises UnknownLayoutError."""
    for (owner, kind, _), item in tree.walk(superblock.root, superblock.root_level):
        if (owner, kind) == (EXTENT_TREE, ROOT_ITEM) and len(item) > _ROOT_LEVEL:
            address = int.from_bytes(item[_ROOT_ADDRESS : _ROOT_ADDRESS + 8], "little")
            return address, item[_ROOT_LEVEL]
        if owner > EXTENT_TREE:
            break
    raise UnknownLayoutError("its extent tree is missing")


def _place(superblock: Superblock, chunks: Chunks, used: dict[int, ChunkList]) -> Iterator[Run]:
    """The runs where they lie on the device: once for each copy of a chunk. Chunks may lie around
    a superblock, never on it, but within their bounds."""
    copies = [(place, used[number]) for number in used for place in chunks.all[number].places]
    supers = (
        (place, SUPERBLOCK_SIZE)
        for place in SUPERBLOCKS
        if place + SUPERBLOCK_SIZE <= superblock.device_size
    )
    runs = (
        (place + start, length)
        for place, inside in sorted(copies, key=lambda copy: copy[0])
        for start, length in inside
    )
    return merge(supers, runs)
