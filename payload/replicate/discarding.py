"""Give back on the target what is free on the source: thin disks stay thin, SSDs fast.

Only what lies between the chunks of the copy, inside its regions. Done before the first chunk is
written, so that a disk that forgets more than it was told to is found out by the reading back.
"""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from payload.replicate.ledger import Ledger
from payload.replicate.target_disk import TargetDisk

STEP = 1 << 30  # bytes at a time
PATIENCE = 120.0  # seconds for one disk; some take longer to forget than to be written


def discard_free(
    disk: TargetDisk, ledgers: Sequence[Ledger], clock: Callable[[], float] = monotonic
) -> str:
    """Discard what none of these regions of the disk has in use. Returns why not all of it was
    discarded, "" when it was or when the disk knows no such thing."""
    unit = disk.discard_step
    if not unit:
        return ""
    end = clock() + PATIENCE
    for ledger in ledgers:
        for start, length in plan_discards(ledger.free_runs(), ledger.region.start, unit):
            if clock() > end:
                return _told(disk, f"not all was done within {PATIENCE:.0f} seconds")
            try:
                disk.discard(start, length)
            except OSError as error:
                return _told(disk, error.strerror or "it failed")
    return ""


def plan_discards(
    runs: Iterator[tuple[int, int]], base: int, unit: int
) -> Iterator[tuple[int, int]]:
    """Start and length on the disk of each discard. `runs` are free bytes from `base` on; only
    whole units are worth anything, and only those that are free wholly."""
    for offset, length in runs:
        position = -(-(base + offset) // unit) * unit
        end = (base + offset + length) // unit * unit
        while position < end:
            size = min(max(STEP // unit * unit, unit), end - position)
            yield position, size
            position += size


def _told(disk: TargetDisk, why: str) -> str:
    return (
        f"Free space of target disk {disk.hardware.label} was not given back: {why}. The copy is "
        "the same without that."
    )
