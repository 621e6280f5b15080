"""Read a disk that has bad places: everything but them, and a list of them.

As ddrescue does, what can be read at once is read first; a chunk where that fails comes last and
is tried again in smaller pieces, down to one sector, so that one bad sector costs one sector and
not a whole chunk.
"""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from payload.model.disk import Hardware
from payload.model.errors import SourceDiskError
from payload.model.report import Hole
from payload.replicate.chunks import read_exactly

# How the kernel says "this place cannot be read": as against "this disk is gone".
BAD_PLACE = frozenset({errno.EIO, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ, errno.ETIMEDOUT})
PATIENCE = 60.0  # seconds for the bad places of one chunk; a sick disk may take 10 for a sector
PATIENCE_IN_ALL = 3600.0  # seconds for the bad places of a whole disk


class Patience:
    """How long the bad places of one disk may still be tried, by all threads together. After that a
    read that fails is not tried again in smaller pieces, so that a run has an end."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left = PATIENCE_IN_ALL
        self._lock = threading.Lock()

    @contextmanager
    def for_one_chunk(self) -> Iterator[Callable[[], bool]]:
        """A function that says whether to go on with this chunk."""
        begun = self._clock()
        limit = min(PATIENCE, self._left)
        try:
            yield lambda: self._clock() - begun < limit
        finally:
            with self._lock:
                self._left = max(0.0, self._left - (self._clock() - begun))


def read_at_once(disk: Hardware, descriptor: int, buffer: memoryview, offset: int) -> bool:
    """Fill the buffer from that byte of the disk on; False when the disk has a bad place there.
    Raises SourceDiskError when the disk is gone or shorter than it said."""
    try:
        read_exactly(descriptor, buffer, offset)
    except OSError as error:
        _check_present(disk, offset, error)
        return False
    except EOFError as error:
        raise _gone(disk, offset, "it ends there") from error
    return True


def read_around(
    disk: Hardware, descriptor: int, buffer: memoryview, offset: int, patience: Patience
) -> list[Hole]:
    """Fill the buffer from that byte of the disk on, zeros where it cannot be read.

    Returns these places, joined, as bytes of the disk. Raises SourceDiskError when the disk is
    gone or shorter than it said.
    """
    if read_at_once(disk, descriptor, buffer, offset):
        return []
    with patience.for_one_chunk() as patient:
        return list(_join(_holes(disk, descriptor, buffer, offset, patient)))


def _holes(
    disk: Hardware,
    descriptor: int,
    buffer: memoryview,
    offset: int,
    patient: Callable[[], bool],
) -> Iterator[Hole]:
    """Halve what failed until it can be read, is one sector, or patience is at its end."""
    size = len(buffer)
    if size > disk.sector_size and patient():
        half = (size // disk.sector_size + 1) // 2 * disk.sector_size
        for piece, start in ((buffer[:half], offset), (buffer[half:], offset + half)):
            if not read_at_once(disk, descriptor, piece, start):
                yield from _holes(disk, descriptor, piece, start, patient)
    else:
        buffer[:] = bytes(size)
        yield Hole(offset, size)


def _join(holes: Iterator[Hole]) -> Iterator[Hole]:
    last: Hole | None = None
    for hole in holes:
        if last is not None and last.offset + last.length == hole.offset:
            last = Hole(last.offset, last.length + hole.length)
            continue
        if last is not None:
            yield last
        last = hole
    if last is not None:
        yield last


def _check_present(disk: Hardware, offset: int, error: OSError) -> None:
    if error.errno not in BAD_PLACE:
        raise _gone(disk, offset, error.strerror or "it does not answer") from error


def _gone(disk: Hardware, offset: int, why: str) -> SourceDiskError:
    return SourceDiskError(
        f"Source disk {disk.label} cannot be read at byte {offset}: {why}. "
        "Check the disk and its cable."
    )
