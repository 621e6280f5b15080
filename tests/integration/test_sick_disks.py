"""Disks that cannot be read, cannot be written, or keep something else than was written."""

import errno
import mmap
import os

import pytest

from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.errors import SourceDiskError, TargetDiskError, VerifyError
from payload.model.plan import CHUNK_SIZE, CopyMode
from payload.replicate import backlog
from tests.support.server_image import MIB
from tests.support.stream_disks import SECTOR, Images
from tests.support.streamed_copy import Copy, Faults, full_chunk, overwrite, read, slowed

pytestmark = pytest.mark.root


def test_bad_sectors_of_the_source_become_listed_holes(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(source, target)
    root = copy.plan.regions[copy.plan.root]
    offset, length = copy.chunks(root.index)[2]
    assert length > 20 * SECTOR
    faults = Faults(monkeypatch)
    faults.name = "preadv"
    bad = root.start + offset + 5 * SECTOR
    faults.bad = [(source.paths[0], bad, bad + 3 * SECTOR, errno.EIO)]
    copy.run()
    faults.bad = []
    report = copy.receiver.reports()[root.index]
    assert [(hole.offset, hole.length) for hole in report.holes] == [
        (offset + 5 * SECTOR, 3 * SECTOR)
    ]
    of_disk = [asked for asked in copy.asked if copy.plan.regions[asked[0]].pair == root.pair]
    assert of_disk.count((root.index, offset)) == 2
    heads = [region for region, at in of_disk if at < CHUNK_SIZE]
    assert of_disk[-len(heads) - 1] == (root.index, offset), "the sick place comes last"
    assert report.verified
    whole = read(source.paths[0], root.start + offset, length)
    there = read(target.paths[0], root.start + offset, length)
    assert there == whole[: 5 * SECTOR] + bytes(3 * SECTOR) + whole[8 * SECTOR :]


def test_a_bad_sector_in_a_held_back_chunk_becomes_a_hole_too(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(source, target)
    root = copy.plan.regions[copy.plan.root]
    faults = Faults(monkeypatch)
    faults.name = "preadv"
    bad = root.start + 900 * SECTOR
    faults.bad = [(source.paths[0], bad, bad + 1, errno.EIO)]
    copy.run()
    holes = copy.receiver.reports()[root.index].holes
    assert [(hole.offset, hole.length) for hole in holes] == [(900 * SECTOR, SECTOR)]


def test_a_source_disk_that_is_bad_nearly_everywhere_ends_the_run(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(source, target, CopyMode.EXACT)
    copy.prepare()
    faults = Faults(monkeypatch)
    faults.name = "preadv"
    faults.bad = [(source.paths[0], 60 * MIB, 140 * MIB, errno.EIO)]
    with pytest.raises(SourceDiskError, match=r"Image S0 .*cannot be read in most places"):
        copy.receiver.fetch(copy.open_data)
    copy.receiver.abandon()
    assert read(target.paths[0], 0, SECTOR) == bytes(SECTOR)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EPERM])
def test_a_target_that_cannot_be_written_stops_at_once(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    copy = Copy(source, target)
    copy.prepare()
    root = copy.plan.regions[copy.plan.root]
    offset, length = full_chunk(copy)
    faults = Faults(monkeypatch)
    faults.name = "pwritev"
    first = root.start + offset
    faults.bad = [(target.paths[0], first, first + length, code)]
    with pytest.raises(TargetDiskError, match=f"Image T0.* byte {first}: {os.strerror(code)}"):
        copy.receiver.fetch(copy.open_data)
    copy.receiver.abandon()
    assert read(target.paths[0], 0, SECTOR) == bytes(SECTOR)
    assert decode_mark(read(target.paths[0], MARK_OFFSET, MARK_SIZE)) is not None


def test_a_target_that_does_not_keep_what_was_written_is_found_out(
    source: Images, target: Images
) -> None:
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    root = copy.plan.regions[copy.plan.root]
    offset, _ = copy.chunks(root.index)[-1]
    kept = read(target.paths[0], root.start + offset, 1)
    overwrite(target.paths[0], root.start + offset, bytes([kept[0] ^ 1]))
    with pytest.raises(VerifyError, match=f"{root.name}, chunk at byte {offset}"):
        copy.receiver.verify()
    report = copy.receiver.reports()[root.index]
    assert not report.verified and report.target_digest == ""
    copy.receiver.abandon()
    assert read(target.paths[0], 0, SECTOR) == bytes(SECTOR)


def test_a_disk_that_writes_something_else_ends_the_copy_early(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "BATCH", 4)
    copy = Copy(source, target)
    copy.prepare()
    really = slowed(os.pwritev)

    def lie(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        size = len(buffers[0])
        return really(descriptor, [memoryview(mmap.mmap(-1, size))], offset)

    monkeypatch.setattr(os, "pwritev", lie)
    with pytest.raises(VerifyError, match="reads back other"):
        copy.receiver.fetch(copy.open_data)
    monkeypatch.undo()
    copy.receiver.abandon()
    assert read(target.paths[0], 0, SECTOR) == bytes(SECTOR)
