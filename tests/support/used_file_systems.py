"""File systems as daily life leaves them, and what is compared of a copy: files and findings."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from payload.decide.planning import describe
from payload.model.message import MapRequest
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.second_disk import copy_of
from tests.support.streamed_copy import Copy

KIB = 1024
BLOCK = 64 * KIB
_PROGRESS = re.compile(r".*\x08.*\n?")  # drawn and taken back, as often as time allows
# An address in the checker's own memory, and the time of day: others in each run.
_PASSING = re.compile(
    r"0x[0-9a-f]{9,}|[0-9/]{8,10} [0-9:]{7,8}|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]\d [0-9:]{8} \d{4}"
)


@contextmanager
def mounted(image: Path, kind: str, *, writable: bool = False) -> Iterator[Path]:
    with (
        device.view(run, str(image), 0, image.stat().st_size, writable=writable) as node,
        LinuxMounts(run).mount(node, kind, writable=writable) as root,
    ):
        yield root


def use(root: Path) -> None:
    """Hundreds of files of all sizes, some with holes, some in fragments, and room freed between
    all of them."""
    for number in range(240):
        directory = root / f"directory{number % 7}"
        directory.mkdir(exist_ok=True)
        (directory / f"file{number}").write_bytes(os.urandom(number * 97))
    for number in range(8):
        with (root / f"sparse{number}").open("wb") as file:
            for place in range(4):
                file.seek(place * (number + 1) * 300 * KIB)
                file.write(os.urandom(5 * KIB))
    _write_in_turns(root)
    for number in range(0, 240, 3):
        (root / f"directory{number % 7}" / f"file{number}").unlink()
    (root / "into the holes").write_bytes(os.urandom(900 * KIB))


def _write_in_turns(root: Path) -> None:
    """Files that grow side by side lie in each other's way; then every other one is deleted."""
    descriptors = [os.open(root / f"grown{n}", os.O_WRONLY | os.O_CREAT) for n in range(4)]
    for turn in range(12):
        for descriptor in descriptors:
            os.posix_fallocate(descriptor, turn * BLOCK, BLOCK)  # at once, not when it is flushed
            os.pwrite(descriptor, os.urandom(BLOCK), turn * BLOCK)
    for descriptor in descriptors:
        os.close(descriptor)
    for number in (0, 2):
        (root / f"grown{number}").unlink()


def sync(root: Path) -> None:
    """All that was written so far is on the disk, and what came last stands in the journal."""
    run(["sync", "--file-system", str(root)])
    with (root / "synced last").open("wb") as file:
        file.write(os.urandom(20 * KIB))
        file.flush()
        os.fsync(file.fileno())


def digests(root: Path) -> dict[str, str]:
    """Every file below, by its path."""
    found = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    assert len(found) > 100
    return found


def findings(image: Path, *check: str) -> tuple[int, str]:
    """What a checker, or another tool that only reads, ends with and says."""
    done = run([*check, str(image)], ok=tuple(range(256)))
    words = (done.stdout + done.stderr).replace(str(image), "IMAGE")
    return done.code, _PASSING.sub("PASSING", _PROGRESS.sub("", words))


def filled_copy(directory: Path, image: Path) -> tuple[Copy, Path]:
    """A copy onto a disk full of something else. It is cut to the size of the source: some checkers
    look at the end (of NTFS, for the second boot sector)."""
    copy, there = copy_of(directory, image, filled=True)
    os.truncate(there, image.stat().st_size)
    return copy, there


def treatment(copy: Copy) -> str:
    """The plan's line for the second disk."""
    (line,) = (line for line in describe(copy.plan) if "  whole disk: " in line)
    return line


def notes(copy: Copy) -> list[str]:
    """What of the second disk was copied in another way than planned."""
    answers = copy.sender.answer_map(MapRequest(copy.plan.regions[-1].index))
    return [answer.note for answer in answers if answer.note]


def is_planned_whole(copy: Copy, why: str) -> bool:
    """Whether every block of the second disk was copied for that reason, as the plan said."""
    return "every block, because" in treatment(copy) and why in treatment(copy)


def is_equal(one: Path, other: Path) -> bool:
    """Byte by byte."""
    return one.read_bytes() == other.read_bytes()
