"""A run that fails at any of its stages: the last two sentences of its report, and its disks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.disk import BOOT_CODE_SIZE
from payload.model.errors import DiskState, FailoverError, TargetDiskError, VerifyError
from payload.model.report import Report
from payload.model.settings import Settings
from payload.replicate.target_disk import TargetDisk
from payload.session.closing import AFTERMATH
from payload.session.context import Context
from payload.session.engine import Engine
from payload.session.target import TargetSession
from tests.support.stream_disks import SECTOR, Images
from tests.support.streamed_copy import Copy, hashes, overwrite, read

pytestmark = pytest.mark.root
NOTHING: Any = None


class BrokenOffError(FailoverError):
    """What ends a step in the middle of it."""


def kinds_of(kind: type[FailoverError]) -> Iterator[type[FailoverError]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from kinds_of(derived)


def begin(copy: Copy) -> None:
    copy.receiver.begin()


def fetch_maps(copy: Copy) -> None:
    copy.fetch_maps()


def discard(copy: Copy) -> None:
    copy.receiver.discard_free()


def fetch(copy: Copy) -> None:
    copy.receiver.fetch(copy.open_data)


def verify(copy: Copy) -> None:
    copy.receiver.verify()


def write_heads(copy: Copy) -> None:
    copy.receiver.write_heads(copy.open_data)


def write_one_table(copy: Copy) -> None:
    """Gap and table are written on one of two disks, and then it breaks off."""
    write_table = TargetDisk.write_gap_and_table
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BrokenOffError):
        patch.setattr(TargetDisk, "write_gap_and_table", break_off_at(write_table, 2))
        copy.receiver.seal()


def seal_one_disk(copy: Copy) -> None:
    """The boot code of the disk with the root file system is still lacking."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BrokenOffError):
        patch.setattr(TargetDisk, "write_boot_code", break_off_at(TargetDisk.write_boot_code, 2))
        copy.receiver.seal()


def seal(copy: Copy) -> None:
    copy.receiver.seal()


def break_off_at(call: Callable[..., None], number: int) -> Callable[..., None]:
    """The same, but for the call of that number, counted from 1, which does nothing and raises."""
    calls = 0

    def counted(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise BrokenOffError("It broke off.")
        call(*arguments)

    return counted


STEPS = (begin, fetch_maps, discard, fetch, verify, write_heads)
STAGES: dict[str, tuple[tuple[Callable[[Copy], None], ...], DiskState]] = {
    "agreed": ((), DiskState.UNTOUCHED),
    "marked": (STEPS[:1], DiskState.UNTOUCHED),
    "mapped": (STEPS[:2], DiskState.UNTOUCHED),
    "discarded": (STEPS[:3], DiskState.UNFINISHED),
    "fetched": (STEPS[:4], DiskState.UNFINISHED),
    "verified": (STEPS[:5], DiskState.UNFINISHED),
    "heads": (STEPS, DiskState.UNFINISHED),
    "one table": ((*STEPS, write_one_table), DiskState.UNFINISHED),
    "one disk sealed": ((*STEPS, seal_one_disk), DiskState.SEALED),
    "sealed": ((*STEPS, seal), DiskState.SEALED),
}


def report_of(error: FailoverError, copy: Copy) -> Report:
    """As the target's engine ends with that error, whatever was done before."""
    context = Context(NOTHING, NOTHING, Settings(), lambda _: None, threading.Event(), "test")
    session = TargetSession(context, NOTHING, NOTHING)
    session._receiver = copy.receiver
    engine = Engine(context, ExitStack())
    engine._session = session
    context.error = error
    engine._report()
    return cast(Report, context.report)


@pytest.mark.parametrize("stage", STAGES)
def test_the_last_two_sentences_are_true_of_the_disks(
    stage: str, source: Images, target: Images
) -> None:
    for path in target.paths:  # what is there before our mark has to come back
        overwrite(path, SECTOR, b"somebody's boot code")
        overwrite(path, MARK_OFFSET, b"somebody's gap")
    before = hashes(target) if STAGES[stage][1] is DiskState.UNTOUCHED else []
    copy = Copy(source, target)
    steps, left = STAGES[stage]
    for step in steps:
        step(copy)
    for kind in kinds_of(FailoverError):
        report = report_of(kind("The error."), copy)
        doubtful = left is DiskState.SEALED and issubclass(kind, TargetDiskError | VerifyError)
        disks = DiskState.DOUBTFUL if doubtful else left
        assert (report.disks, report.sentence) == (disks, f"The error. {AFTERMATH[disks]}")
    assert target.blocks.writable == set(), "left read-only"
    with_table = [Path(path) for path in target.paths[:2]]
    starts = [bool(read(path, 0, BOOT_CODE_SIZE).strip(b"\0")) for path in with_table]
    marked = [decode_mark(read(path, MARK_OFFSET, MARK_SIZE)) is not None for path in with_table]
    if left is DiskState.UNFINISHED:
        assert (starts, marked) == ([False, False], [True, True])
    elif left is DiskState.SEALED:
        assert marked[1] is False, "a disk counts as whole"
        assert starts[0] is (stage == "sealed")
    else:
        assert hashes(target) == before
