"""A power cut at any of the first and last writes to a target disk: nobody knows which sectors
arrived of what was not flushed yet. Whatever is on the disk is marked, or whole."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.disk import Hardware, PartitionTable
from payload.model.errors import VerifyError
from payload.replicate import target_disk
from payload.replicate.chunks import write_exactly
from payload.replicate.receiver import Receiver
from payload.replicate.target_disk import HEAD, TargetDisk

AREA = 65536  # bytes in front of the first partition
SIZE = 1 << 20
FEW = 4  # sectors of which each may have arrived or not; of more, one alone, and all but one
BEFORE = b"the copy that was there ".ljust(64, b".") * (SIZE // 64)
AFTER = b"the copy that comes now ".ljust(64, b"+") * (AREA // 64)

SUPERBLOCKS = 4096  # bytes, by which file systems, LVM and RAID know what is theirs

Sector = tuple[int, int]  # disk, byte offset


@dataclass
class Recorder:
    """All that was written to some disks, and when it had to be on the medium."""

    sector_size: int
    disks: list[TargetDisk] = field(default_factory=list)
    steps: list[tuple[int, dict[int, bytes] | None]] = field(default_factory=list)

    def wrote(self, descriptor: int, buffer: memoryview, offset: int) -> None:
        size = self.sector_size
        cut = {offset + at: bytes(buffer[at : at + size]) for at in range(0, len(buffer), size)}
        self.steps.append((self._index(descriptor), cut))

    def flushed(self, descriptor: int) -> None:
        self.steps.append((self._index(descriptor), None))

    def _index(self, descriptor: int) -> int:
        return next(n for n, disk in enumerate(self.disks) if disk._descriptor == descriptor)

    @property
    def is_on_medium(self) -> bool:
        """Whether each disk was flushed after the last write to it."""
        return all(written is None for written in dict(self.steps).values())

    def after_power_cuts(self, before: bytes) -> Iterator[list[bytes]]:
        """Every content of the disks' begins that a cut may leave."""
        on_medium = [dict[int, bytes]() for _ in self.disks]
        pending: dict[Sector, bytes] = {}
        for disk, written in self.steps:
            if written is None:
                for index, offset in [one for one in pending if one[0] == disk]:
                    on_medium[index][offset] = pending.pop((index, offset))
            else:
                pending |= {(disk, offset): sector for offset, sector in written.items()}
            for arrived in _subsets(sorted(pending)):
                yield [
                    _applied(before, on_medium[index], pending, arrived, index)
                    for index in range(len(self.disks))
                ]


def _subsets(sectors: list[Sector]) -> Iterator[tuple[Sector, ...]]:
    if len(sectors) <= FEW:
        yield from chain.from_iterable(combinations(sectors, n) for n in range(len(sectors) + 1))
        return
    yield from ((one,) for one in sectors)
    yield from (tuple(other for other in sectors if other != one) for one in sectors)


def _applied(
    before: bytes,
    on_medium: dict[int, bytes],
    pending: dict[Sector, bytes],
    arrived: tuple[Sector, ...],
    index: int,
) -> bytes:
    content = bytearray(before)
    late = {offset: pending[(disk, offset)] for disk, offset in arrived if disk == index}
    for offset, sector in (on_medium | late).items():
        content[offset : offset + len(sector)] = sector
    return bytes(content[:AREA])


class Blocks:
    """Image files that are writable as they are."""

    def open_to_write(self, node: str) -> int:
        return os.open(node, os.O_RDWR | os.O_CLOEXEC)

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


@pytest.fixture(params=[512, 4096])
def recorder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recorder]:
    """Two disks that hold an older copy."""
    recorder = Recorder(request.param)
    pair = cast(Any, SimpleNamespace(table=PartitionTable("dos", "0x1", ())))
    host = cast(Any, SimpleNamespace(blocks=Blocks()))
    for name in ("root", "data"):
        image = tmp_path / name
        image.write_bytes(BEFORE)
        hardware = Hardware(name, str(image), SIZE, recorder.sector_size, serial=name)
        recorder.disks.append(TargetDisk(host, hardware, pair, end=SIZE, blank=False))
    write, flush = write_exactly, os.fsync

    def record(descriptor: int, buffer: memoryview, offset: int) -> None:
        recorder.wrote(descriptor, buffer, offset)
        write(descriptor, buffer, offset)

    def fsync(descriptor: int) -> None:
        recorder.flushed(descriptor)
        flush(descriptor)

    monkeypatch.setattr(target_disk, "write_exactly", record)
    monkeypatch.setattr(os, "fsync", fsync)
    yield recorder
    for disk in recorder.disks:
        disk.close()


def begin(recorder: Recorder) -> Receiver:
    ends = {name: SimpleNamespace(id=name) for name in ("source", "target")}
    plan = SimpleNamespace(disks=(), regions=(), accounts=(), **ends)
    receiver = Receiver(
        cast(Any, None),
        cast(Any, plan),
        cast(Any, None),
        copy_id="c",
        connections=1,
        monitor=lambda _: None,
    )
    receiver._disks = recorder.disks
    receiver.begin()
    return receiver


def is_marked(begin_of_disk: bytes) -> bool:
    return decode_mark(begin_of_disk[MARK_OFFSET : MARK_OFFSET + MARK_SIZE]) is not None


def without_mark(begin_of_disk: bytes, recorder: Recorder) -> bytes:
    start = MARK_OFFSET // recorder.sector_size * recorder.sector_size
    return begin_of_disk[:start] + begin_of_disk[start + recorder.sector_size :]


def starts(begin_of_disk: bytes, recorder: Recorder, content: bytes) -> bool:
    return begin_of_disk[: recorder.sector_size] == content[: recorder.sector_size]


def test_whatever_is_cut_short_at_the_begin_every_disk_is_marked_or_none_was_changed(
    recorder: Recorder,
) -> None:
    begin(recorder)
    assert recorder.is_on_medium
    states = list(recorder.after_power_cuts(BEFORE))
    assert any(not starts(one, recorder, BEFORE) for one in states[-1])
    for state in states:
        if not all(starts(one, recorder, BEFORE) for one in state):
            assert all(is_marked(one) for one in state)
        for one in state:
            assert is_marked(one) or one == BEFORE[:AREA]
        root, data = state
        assert starts(data, recorder, BEFORE) <= starts(root, recorder, BEFORE)


def test_whatever_is_cut_short_while_it_is_undone_is_marked_or_as_it_was(
    recorder: Recorder,
) -> None:
    receiver = begin(recorder)
    done = len(recorder.steps)
    for disk in recorder.disks:
        disk.restore()
    assert len(recorder.steps) > done and recorder.is_on_medium
    states = list(recorder.after_power_cuts(BEFORE))
    assert all(is_marked(one) or one == BEFORE[:AREA] for state in states for one in state)
    assert all(Path(disk.hardware.node).read_bytes() == BEFORE for disk in recorder.disks)
    assert receiver.opened


def test_whatever_is_cut_short_at_the_end_is_marked_or_whole(recorder: Recorder) -> None:
    begin(recorder)
    for disk in recorder.disks:
        disk.write_gap_and_table(AFTER)
        done = len(recorder.steps)
        disk.write_boot_code(AFTER)
        assert recorder.steps[done][1] is None, "all else is on the medium before it starts"
        assert recorder.is_on_medium
    states = list(recorder.after_power_cuts(BEFORE))
    assert all(one == AFTER for one in states[-1])
    for one in chain.from_iterable(states):
        assert is_marked(one) or one in (BEFORE[:AREA], AFTER)
        assert starts(one, recorder, BEFORE) or starts(one, recorder, AFTER) or is_marked(one)


def test_whatever_is_cut_short_on_a_disk_without_a_table_is_marked_or_whole(
    recorder: Recorder,
) -> None:
    """Its content begins where our mark is, and is somebody's only when all behind is there."""
    begin(recorder)
    for disk in recorder.disks:
        assert disk.read_head(AREA)[MARK_OFFSET:] == BEFORE[MARK_OFFSET:AREA]
        disk.write_head(AFTER)
        assert recorder.is_on_medium
    states = list(recorder.after_power_cuts(BEFORE))
    assert all(one == AFTER for one in states[-1])
    for one in chain.from_iterable(states):
        assert is_marked(one) or one in (BEFORE[:AREA], AFTER)
        if one[:SUPERBLOCKS] == AFTER[:SUPERBLOCKS]:
            assert without_mark(one, recorder) == without_mark(AFTER, recorder)


def test_a_begin_that_was_not_kept_is_no_copy(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(recorder)
    disk = recorder.disks[0]
    monkeypatch.setattr(target_disk, "write_exactly", lambda *_: None)
    with pytest.raises(VerifyError, match="The begin of target disk root"):
        disk.write_head(AFTER)


def test_a_mark_that_is_in_the_first_partition_is_left_to_it(recorder: Recorder) -> None:
    """A boot area that ends in front of it: nothing is read or written behind."""
    begin(recorder)
    disk, area = recorder.disks[0], AFTER[: MARK_OFFSET // 4096 * 4096]
    disk.write_gap_and_table(area)
    disk.write_boot_code(area)
    now = Path(disk.hardware.node).read_bytes()
    assert now[: len(area)] == area
    assert is_marked(now[:HEAD])
