"""A whole copy between image files: real file systems, real sfdisk and partclone, no wire."""

import contextlib
import errno
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from payload.decide.planning import describe
from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.errors import LinkError, PeerError, TargetDiskError, VerifyError
from payload.model.event import Limiter, Note, Progress
from payload.model.map_kinds import FAT12_LIMIT
from payload.model.message import ChunkRequest, MapRequest, Message, Stop
from payload.model.plan import CHUNK_SIZE, CopyMode, Method, Region
from payload.replicate import backlog, meter
from payload.replicate.extents import find_chunks
from payload.replicate.ledger import State
from payload.system.command import run
from tests.support.memory_line import MemoryLine, serve_in_thread
from tests.support.server_image import MIB, make_image, tool
from tests.support.stream_disks import SECTOR, Images, make_host
from tests.support.streamed_copy import (
    Copy,
    CuttingLine,
    Faults,
    assert_equal_content,
    hashes,
    overwrite,
    read,
    slowed,
    tree_digests,
)

pytestmark = pytest.mark.root


def test_a_whole_copy_onto_larger_blank_disks(source: Images, target: Images) -> None:
    before = hashes(source)
    copy = Copy(source, target)
    copy.run()
    assert hashes(source) == before
    assert source.blocks.opened_for_writing == []
    assert target.blocks.writable == set()
    assert_equal_content(copy)
    for region in copy.plan.regions:
        if region.file_system in ("ext3", "ext4", "xfs", "btrfs"):
            here, there, start = copy.places(region.index)
            wanted = tree_digests(source, here, start, region.size, region.file_system)
            assert tree_digests(target, there, start, region.size, region.file_system) == wanted
            assert "random" in wanted
    for report in copy.receiver.reports():
        assert report.verified and report.source_digest == report.target_digest
        assert report.used < report.total or report.file_system in ("", "swap"), report


def test_file_systems_of_the_copy_are_clean(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    copy.run()
    checks = {
        "ext3": ["e2fsck", "-fn"],
        "ext4": ["e2fsck", "-fn"],
        "xfs": ["xfs_repair", "-n"],
        "btrfs": ["btrfs", "check", "--readonly"],
    }
    checked = []
    for region in copy.plan.regions:
        if region.file_system in checks:
            _, node, start = copy.places(region.index)
            with target.blocks.view(str(node), start, region.size) as device:
                run([*checks[region.file_system], device])
            checked.append(region.file_system)
        elif region.file_system == "swap":
            uuids = []
            for images, path in zip((source, target), copy.places(region.index)[:2], strict=True):
                with images.blocks.view(str(path), region.start, region.size) as device:
                    uuids.append(run(["blkid", "-p", "-o", "value", "-s", "UUID", device]).stdout)
            assert uuids[0] == uuids[1] != ""
    assert sorted(checked) == ["btrfs", "ext3", "ext4", "ext4", "xfs"]


def test_a_refresh_moves_only_what_changed(source: Images, target: Images, tmp_path: Path) -> None:
    Copy(source, target).run()
    changed = make_host([Path(shutil.copy(path, tmp_path)) for path in source.paths], "S")
    copy = Copy(changed, target)
    root = copy.plan.regions[copy.plan.root]
    offset, length = copy.chunks(root.index)[3]
    overwrite(changed.paths[0], root.start + offset + 512, os.urandom(512))
    copy.run()
    boot = sum(region.size for region in copy.plan.regions if region.method is Method.BOOT)
    assert 0 < copy.sent - boot <= length
    held = {report.name: (report.held, report.used) for report in copy.receiver.reports()}
    assert held[root.name] == (held[root.name][1] - length, held[root.name][1])
    progress = [event for event in copy.events if isinstance(event, Progress)]
    reread = max(event.all_total for event in progress if event.stage == "verify")
    assert length <= reread <= length + len(copy.plan.regions) * CHUNK_SIZE
    assert_equal_content(copy)


def test_exact_copies_every_block(source: Images, target: Images) -> None:
    for path in target.paths:  # what the disk held before must not shine through
        overwrite(path, 20 * MIB, os.urandom(4 * MIB))
    copy = Copy(source, target, CopyMode.EXACT)
    copy.run()
    for region in copy.plan.regions:
        if region.method is not Method.BOOT:
            mine, its, start = copy.places(region.index)
            assert read(its, start, region.size) == read(mine, start, region.size)


def test_a_journal_in_need_of_replay_means_every_block(
    source: Images, target: Images, tmp_path: Path
) -> None:
    dirty = make_host([Path(shutil.copy(path, tmp_path)) for path in source.paths], "S")
    plan = Copy(dirty, target).plan
    root = plan.regions[plan.root]
    overwrite(dirty.paths[0], root.start + 1024 + 0x60, b"\xc6\x02\x00\x00")  # needs_recovery
    before = hashes(dirty)
    copy = Copy(dirty, target)
    copy.run()
    assert hashes(dirty) == before
    assert not [event.text for event in copy.events if isinstance(event, Note)]
    (line,) = (line for line in describe(copy.plan) if "every block, because" in line)
    assert f"partition {root.number}: ext" in line and "unmounted cleanly" in line
    assert copy.receiver.reports()[root.index].used == root.size
    mine, its, start = copy.places(root.index)
    assert read(its, start, root.size) == read(mine, start, root.size)


def test_a_broken_copy_starts_nothing_and_is_known_as_ours(source: Images, target: Images) -> None:
    old = os.urandom(MIB)
    for path in target.paths:
        overwrite(path, 63 * SECTOR, old)
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.abandon()
    for path, disk in zip(target.paths, copy.plan.disks, strict=True):
        assert read(path, 0, SECTOR) == bytes(SECTOR)
        mark = decode_mark(read(path, MARK_OFFSET, MARK_SIZE))
        assert mark is not None
        assert (mark.copy_id, mark.disk_id) == ("c" * 32, disk.target.id)
        assert (mark.source_id, mark.started_at) == (copy.plan.source.id, 1234567890)
    # The first partition of the old table begins at sector 63: its head is held back.
    assert read(target.paths[0], 63 * SECTOR, MIB) == old
    assert target.blocks.writable == set()


def test_a_copy_that_never_began_leaves_no_trace(source: Images, target: Images) -> None:
    for path in target.paths:
        overwrite(path, 0, os.urandom(MIB))
    before = hashes(target)
    copy = Copy(source, target)
    copy.prepare()
    assert hashes(target) != before
    assert all(read(path, 0, SECTOR) == bytes(SECTOR) for path in target.paths), "nothing starts"
    copy.receiver.abandon()
    assert hashes(target) == before
    assert target.blocks.writable == set()


def test_one_disk_that_cannot_be_put_back_keeps_no_other_from_it(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in target.paths:
        overwrite(path, 0, os.urandom(MIB))
    before = hashes(target)
    copy = Copy(source, target)
    copy.prepare()
    faults = Faults(monkeypatch)
    faults.name = "pwritev"
    faults.bad = [(target.paths[0], 0, SECTOR, errno.EIO)]
    with pytest.raises(TargetDiskError, match="Image T0"):
        copy.receiver.abandon()
    assert [one == other for one, other in zip(hashes(target), before, strict=True)] == [
        number > 0 for number in range(len(before))
    ]
    assert target.blocks.writable == set()


def test_a_broken_link_costs_only_what_was_under_way(source: Images, target: Images) -> None:
    copy = Copy(source, target, cut_at=40)
    copy.prepare()
    with pytest.raises(LinkError):
        copy.receiver.fetch(copy.open_data)
    first = set(copy.asked)
    copy.asked.clear()
    copy.receiver.fetch(copy.open_data)
    everything = first | set(copy.asked)
    wanted = {
        (region.index, offset)
        for region in copy.plan.regions
        for offset, _ in copy.chunks(region.index)
        if offset >= CHUNK_SIZE
    }
    assert everything == wanted
    # 40 answers came on one line or another; four lines may each have had eight under way.
    assert len(copy.asked) == len(set(copy.asked)) <= len(wanted) - 40 + 4
    copy.receiver.verify()
    copy.cut_at = copy.answers + 3
    with pytest.raises(LinkError):
        copy.receiver.write_heads(copy.open_data)
    copy.receiver.write_heads(copy.open_data)
    copy.receiver.seal()
    assert_equal_content(copy)


def test_an_interrupted_copy_ends_at_once_and_stays_ended(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    copy.prepare()

    def interrupted() -> CuttingLine:
        line = copy.open_data()
        receive = line.receive

        def first(timeout: float | None) -> Message:
            copy.receiver.interrupt()
            return receive(timeout)

        monkeypatch.setattr(line, "receive", first)
        return line

    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.suppress(LinkError):
        copy.receiver.fetch(interrupted)
    done = sum(ledger.done for ledger in copy.receiver._ledgers)
    assert done < 40 * MIB < sum(ledger.size for ledger in copy.receiver._ledgers)
    for step in (copy.receiver.fetch, copy.receiver.write_heads):
        with contextlib.suppress(LinkError):
            step(copy.open_data)
    copy.receiver.verify()
    assert sum(ledger.done for ledger in copy.receiver._ledgers) == done
    assert sum(ledger.read_back for ledger in copy.receiver._ledgers) <= done
    with pytest.raises(VerifyError):
        copy.receiver.seal()
    copy.receiver.abandon()


def test_what_lacks_a_chunk_or_a_proof_is_not_sealed(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.write_heads(copy.open_data)
    with pytest.raises(VerifyError, match="does not hold all of"):
        copy.receiver.seal()
    assert read(target.paths[0], 0, 512) == bytes(512)
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.seal()
    assert_equal_content(copy)


def test_progress_ends_at_the_total(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.write_heads(copy.open_data)
    progress = [event for event in copy.events if isinstance(event, Progress)]
    last = [event for event in progress if event.stage == "copy"][-1]
    used = sum(report.used for report in copy.receiver.reports())
    assert last.all_done == last.all_total == used
    assert 0 < last.sent == copy.sent < used
    sent = {report.name: report.sent for report in copy.receiver.reports()}
    assert last.region_sent == sent[last.region]
    assert {event.stage for event in progress} == {"copy", "verify"}


@pytest.mark.parametrize(
    ("call", "limiter"),
    [("preadv", Limiter.SOURCE_DISK), ("pwritev", Limiter.TARGET_DISK)],
)
def test_progress_names_what_holds_the_copy_up(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch, call: str, limiter: Limiter
) -> None:
    copy = Copy(source, target)
    copy.prepare()
    monkeypatch.setattr(os, call, slowed(getattr(os, call), 0.1))
    monkeypatch.setattr(meter, "PAUSE", 0.1)
    monkeypatch.setattr(meter, "WINDOW", 10_000)
    copy.receiver.fetch(copy.open_data)
    monkeypatch.undo()
    assert [one.limiter for one in copy.events if isinstance(one, Progress)][-1] is limiter


@pytest.mark.parametrize("rotational", [False, True])
def test_disks_go_side_by_side_each_in_its_order(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch, rotational: bool
) -> None:
    """The first is slow: the others do not wait for it."""
    source.blocks.images = [replace(one, rotational=rotational) for one in source.blocks.images]
    copy = Copy(source, target, CopyMode.EXACT)
    copy.prepare()
    first = source.paths[0]
    really = os.preadv

    def slow(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == first:
            time.sleep(0.01)
        return really(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", slow)
    monkeypatch.setattr(meter, "PAUSE", 0.0)
    copy.receiver.fetch(copy.open_data)
    monkeypatch.undo()
    asked = [copy.plan.regions[region].pair for region, _ in copy.asked]
    last = [len(asked) - 1 - asked[::-1].index(pair) for pair in range(3)]
    assert last[2] < last[0], "a small fast disk is done while the slow one goes on"
    assert 0 < asked[: last[2]].count(0) < asked.count(0)
    progress = [event for event in copy.events if isinstance(event, Progress)]
    disks = [event.region.split()[1] for event in progress]
    assert {"1", "2", "3"} == set(disks) and disks != sorted(disks)
    for pair in range(3):
        order = [one for one in copy.asked if copy.plan.regions[one[0]].pair == pair]
        displaced = [abs(order.index(one) - place) for place, one in enumerate(sorted(order))]
        assert max(displaced) <= 32, "no further out of order than what is under way"
    source.blocks.images = [replace(one, rotational=False) for one in source.blocks.images]


def test_without_verification_only_the_heads_are_read_back(source: Images, target: Images) -> None:
    copy = Copy(source, target, verify=False)
    copy.run()
    assert_equal_content(copy)
    for ledger in copy.receiver._ledgers:
        assert list(ledger.items(State.WRITTEN, head=True)) == []
        assert ledger.read_back == min(ledger.size, ledger._chunks[0][1])
        report = ledger.report("")
        assert report.verified is (report.target_digest != "") is (len(ledger._chunks) == 1)
    again = Copy(source, target, verify=False)
    again.run()
    assert all(report.verified for report in again.receiver.reports()), "all was compared"


@pytest.mark.parametrize("rotational", [False, True])
def test_disks_without_heads_are_read_back_while_others_are_written(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch, rotational: bool
) -> None:
    monkeypatch.setattr(backlog, "BATCH", 4)
    monkeypatch.setattr(os, "pwritev", slowed(os.pwritev))
    target.blocks.images = [replace(one, rotational=rotational) for one in target.blocks.images]
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    proven = sum(ledger.read_back for ledger in copy.receiver._ledgers)
    done = sum(ledger.done for ledger in copy.receiver._ledgers)
    assert proven == 0 if rotational else 0 < proven <= done
    copy.receiver.verify()
    copy.receiver.write_heads(copy.open_data)
    copy.receiver.seal()
    assert all(report.verified for report in copy.receiver.reports())
    assert_equal_content(copy)


@pytest.mark.parametrize(
    ("region", "offset", "length", "held"),
    [
        (99, 0, SECTOR, b""),
        (-1, 0, SECTOR, b""),
        (1, 1 << 40, SECTOR, b""),
        (1, -SECTOR, SECTOR, b""),
        (1, 0, 0, b""),
        (1, 0, 100, b""),
        (1, 7, SECTOR, b""),
        (1, 0, 2 * CHUNK_SIZE, b""),
        (1, CHUNK_SIZE - SECTOR, 2 * SECTOR, b""),
        (0, SECTOR, SECTOR, b""),  # a piece of the boot area
        (1, 0, SECTOR, b"short"),
    ],
)
def test_the_source_answers_nothing_outside_the_plan(
    source: Images, target: Images, region: int, offset: int, length: int, held: bytes
) -> None:
    copy = Copy(source, target)
    raised: list[BaseException] = []

    def serve(line: MemoryLine) -> None:
        try:
            copy.sender.serve(line)
        except PeerError as error:
            raised.append(error)
            raise

    line = serve_in_thread(serve)
    line.send(ChunkRequest(region, offset, length, held))
    answer = line.receive(5.0)
    assert isinstance(answer, Stop) and "The target asked" in answer.sentence
    with pytest.raises(LinkError):
        line.receive(5.0)
    assert raised and not isinstance(raised[0], LinkError)
    with pytest.raises(PeerError, match="not in the plan"):
        list(copy.sender.answer_map(MapRequest(99)))


@pytest.mark.parametrize("bits", ["16", "32"])
def test_the_map_of_a_fat_holds_every_file(bits: str, tmp_path: Path) -> None:
    """An EFI system partition, with holes between its files."""
    size = FAT12_LIMIT + 44 * MIB
    part, part_copy = make_image(tmp_path / "part", size), make_image(tmp_path / "copy", size)
    tool("mkfs.vfat", "-F", bits, str(part))
    for number in range(12):
        (tmp_path / f"f{number}").write_bytes(os.urandom(700_001 + number))
        tool("mcopy", "-i", str(part), str(tmp_path / f"f{number}"), "::")
    for number in range(0, 12, 3):
        tool("mdel", "-i", str(part), f"::f{number}")
    region = Region(0, 0, 1, 0, size, Method.USED, "vfat")
    chunks, note = find_chunks(make_host([part], "S").host, str(part), region, SECTOR)
    assert note == ""
    for offset, length in chunks:
        overwrite(part_copy, offset, read(part, offset, length))
    for number in set(range(12)) - set(range(0, 12, 3)):
        tool("mcopy", "-n", "-i", str(part_copy), f"::f{number}", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / f"f{number}").read_bytes()
        (tmp_path / "back").unlink()
    assert sum(length for _, length in chunks) < size / 4


def test_a_plan_of_one_run_is_the_plan_of_the_next(source: Images, target: Images) -> None:
    """What the copy itself leaves on the target changes no pairing."""
    copy = Copy(source, target)
    copy.run()
    again = Copy(source, target)
    assert [(pair.source.id, pair.target.id) for pair in again.plan.disks] == [
        (pair.source.id, pair.target.id) for pair in copy.plan.disks
    ]
    assert again.plan.regions == copy.plan.regions
