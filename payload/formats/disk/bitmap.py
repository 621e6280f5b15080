"""Bitmaps of blocks as whole numbers, the first block in the lowest bit."""

from collections.abc import Iterable, Iterator

from payload.model.plan import CHUNK_SIZE
from payload.model.runs import Run


def bits_of(ranges: Iterable[Run], begin: int, blocks: int) -> int:
    """The bits of ranges of blocks, as far as they lie in `blocks` blocks from `begin` on."""
    bitmap = 0
    for start, length in ranges:
        first = max(start - begin, 0)
        end = min(start + length - begin, blocks)
        if first < end:
            bitmap |= (1 << end) - (1 << first)
    return bitmap


def runs_of(bitmap: int, blocks: int, unit: int, start: int) -> Iterator[Run]:
    """What is set of a bitmap of that many blocks, in bytes: block 0 lies at byte `start`, and
    each has `unit` bytes. The blocks of a MiB are one run, from the first to the last."""
    if not bitmap:
        return
    step = max(8, CHUNK_SIZE // unit)  # bits
    content = bitmap.to_bytes(-(-blocks // 8), "little")
    for place in range(0, len(content), step // 8):
        piece = int.from_bytes(content[place : place + step // 8], "little")
        if piece:
            first = (piece & -piece).bit_length() - 1
            yield start + (place * 8 + first) * unit, (piece.bit_length() - first) * unit
