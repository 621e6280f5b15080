"""Volumes whose bytes lie in several pieces, as one device, by the kernel's device mapper.

Neither LVM nor MD is asked: the table is worked out from ranges that are known already, on loop
devices over those ranges, and it is gone when the last who has it open lets go. Sizes and
positions are bytes.
"""

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from payload.model.disk import SECTOR
from payload.model.errors import TargetDiskError, ToolError
from payload.model.volume import Extent
from payload.system.command import Run
from payload.system.device import flush, view

_REGION = 1024  # sectors the mirror's log keeps one bit for
_END_WAIT = 10.0  # seconds; udev may have the device open for a moment
_ALIVE = "A"  # a mirror's leg that took every write

Legs = Sequence[Sequence[Extent]]


@contextmanager
def assemble(run: Run, legs: Legs, *, writable: bool = False) -> Iterator[str]:
    """A device that holds what each of `legs` holds, piece after piece; gone again at the end.

    It is read from the first leg; what is written goes to all of them. Raises ToolError when it
    cannot be made, TargetDiskError when one leg did not take what was written.
    """
    needed = legs if writable else legs[:1]
    with ExitStack() as stack:
        loops = {
            extent: stack.enter_context(view(run, *extent, writable=writable))
            for extent in dict.fromkeys(extent for leg in needed for extent in leg)
        }
        if len(loops) == 1:
            yield next(iter(loops.values()))
        else:
            table = plan_table(needed, loops)
            yield stack.enter_context(_mapped(run, table, writable=writable))


def plan_table(legs: Legs, devices: Mapping[Extent, str]) -> str:
    """The device mapper's table: a line for each piece at whose ends no leg goes on elsewhere.

    Raises ToolError when the legs do not all hold equally many whole sectors.
    """
    ends = [_ends(leg) for leg in legs]
    whole = all(not size % SECTOR for leg in legs for _, _, size in leg)
    if not whole or len({one[-1] for one in ends}) != 1:
        raise ToolError("The pieces of a volume do not make up whole, equal legs.")
    lines = []
    first = 0
    for last in sorted({end for one in ends for end in one}):
        places = dict.fromkeys(_place(leg, devices, first) for leg in legs)
        lines.append(_line(first // SECTOR, (last - first) // SECTOR, list(places)))
        first = last
    return "".join(f"{line}\n" for line in lines)


def _ends(leg: Sequence[Extent]) -> list[int]:
    ends, position = [], 0
    for _, _, size in leg:
        position += size
        ends.append(position)
    return ends


def _place(leg: Sequence[Extent], devices: Mapping[Extent, str], position: int) -> str:
    """The device and its sector that hold byte `position` of a leg."""
    for extent, end in zip(leg, _ends(leg), strict=True):
        if position < end:
            return f"{devices[extent]} {(position - end + extent[2]) // SECTOR}"
    raise ToolError("A leg of a volume is too short.")


def _line(start: int, length: int, places: Sequence[str]) -> str:
    if len(places) == 1:
        return f"{start} {length} linear {places[0]}"
    legs = f"{len(places)} {' '.join(places)}"
    return f"{start} {length} mirror core 2 {_REGION} nosync {legs}"


@contextmanager
def _mapped(run: Run, table: str, *, writable: bool) -> Iterator[str]:
    name = f"ugs-failover-{uuid.uuid4().hex}"
    mode = [] if writable else ["--readonly"]
    # udev is not asked to make names for it, and not waited for.
    run(["dmsetup", "create", "--noudevrules", "--noudevsync", *mode, name], stdin=table)
    try:
        columns = ["--columns", "--noheadings", "--options", "blkdevname"]
        device = f"/dev/{run(['dmsetup', 'info', *columns, name]).stdout.strip()}"
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        run(["dmsetup", "remove", "--retry", name])
        raise ToolError(f"The volume {name} vanished: {error.strerror}.") from error
    except ToolError:
        run(["dmsetup", "remove", "--retry", name])
        raise
    try:
        # As with loop devices: from now on the kernel removes it when nobody has it open, be it
        # that this process was killed.
        run(["dmsetup", "remove", "--deferred", "--noudevsync", name])
        yield device
        if writable:
            flush(descriptor)
            check_status(run(["dmsetup", "status", name]).stdout)
    finally:
        os.close(descriptor)
    _wait_for_end(device, name)


def check_status(text: str) -> None:
    """Raise TargetDiskError unless every leg of every mirror took all that was written to it."""
    for line in text.splitlines():
        words = line.split()
        if words[2:3] != ["mirror"]:
            continue
        count = int(words[3])
        health = words[6 + count]  # behind the devices, "synced/all" and a count
        if set(health) != {_ALIVE}:
            raise TargetDiskError(
                f"A mirrored volume did not take what was written to it on every disk ({health})."
                " Replace the failing disk."
            )


def _wait_for_end(device: str, name: str) -> None:
    """A volume that somebody keeps open could still write behind our back."""
    file = Path("/sys/block", Path(device).name, "dm/name")
    deadline = time.monotonic() + _END_WAIT
    while _read(file) == name:
        if time.monotonic() > deadline:
            raise ToolError(
                f"The volume {device} is still held open by another program after"
                f" {_END_WAIT:g} seconds. See `fuser {device}`."
            )
        time.sleep(0.02)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
