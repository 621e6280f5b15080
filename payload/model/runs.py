"""Runs of bytes, and how they are cut into the chunks that are copied."""

from collections.abc import Iterable, Iterator

from payload.model.plan import CHUNK_SIZE

Run = tuple[int, int]  # start and length, bytes


def ends(size: int, length: int) -> list[Run]:
    """The first and the last bytes. RAID members keep their signature at the end, and what the
    target's disk held there before must not come back to life in the copy."""
    return [(0, min(length, size)), (max(0, size - length), min(length, size))]


def behind(end: int, size: int) -> list[Run]:
    """The room behind a file system that ends before its partition or volume does: no map of it
    tells what lies there (metadata of RAID or DRBD, something older), so it counts as in use."""
    return [(end, size - end)] if end < size else []


def cut(runs: Iterable[Run], sector: int) -> Iterator[Run]:
    """One chunk for each CHUNK_SIZE that the runs touch: from the first to the last byte used
    there, in whole sectors. `runs` come in the order of their starts and may overlap."""
    slot, first, last = -1, 0, 0
    for start, length in runs:
        position, end = start, start + length
        while position < end:
            stop = min(end, (position // CHUNK_SIZE + 1) * CHUNK_SIZE)
            if position // CHUNK_SIZE > slot:
                if slot >= 0:
                    yield _in_sectors(first, last, sector)
                slot, first, last = position // CHUNK_SIZE, position, stop
            elif position // CHUNK_SIZE == slot:
                first, last = min(first, position), max(last, stop)
            position = stop
    if slot >= 0:
        yield _in_sectors(first, last, sector)


def _in_sectors(first: int, last: int, sector: int) -> Run:
    start = first // sector * sector
    return start, -(-last // sector) * sector - start
