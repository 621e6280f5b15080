"""A whole copy between image files: real file systems, real sfdisk and partclone, no wire."""

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from payload.model.disk import Partition, PartitionTable
from payload.model.errors import (
    LinkError,
    PeerError,
    PlanError,
    SourceDiskError,
    TargetDiskError,
    VerifyError,
)
from payload.model.event import Event, Limiter, Note, Progress
from payload.model.inventory import Inventory
from payload.model.mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.message import (
    Chunk,
    ChunkRequest,
    Encoding,
    MapAnswer,
    MapRequest,
    Message,
    Stop,
)
from payload.model.plan import CHUNK_SIZE, CopyMode, Method, Plan, PlannedDisk, Region
from payload.replicate import backlog, meter, target_disk
from payload.replicate.extents import find_chunks
from payload.replicate.layout import FAT12_LIMIT
from payload.replicate.ledger import State
from payload.replicate.receiver import Receiver
from payload.replicate.sender import Sender
from payload.replicate.tables import read_table, rehearse_table, write_table
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.integration.copy_images import (
    SECTOR,
    Images,
    LoopBlocks,
    look_at,
    make_host,
    make_source,
    make_target,
    plan_for,
    sfdisk_json,
)
from tests.integration.server_image import MIB, make_image, tool
from tests.memory_line import MemoryLine, serve_in_thread

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Images]:
    yield make_target(tmp_path / "target")
    shutil.rmtree(tmp_path / "target")


class CuttingLine:
    """A near end that counts what is asked and may break after so many answers."""

    def __init__(self, line: MemoryLine, copy: "Copy") -> None:
        self._line, self._copy = line, copy

    def send(self, message: Message) -> None:
        if isinstance(message, ChunkRequest):
            self._copy.asked.append((message.region, message.offset))
        self._line.send(message)

    def receive(self, timeout: float | None) -> Message:
        self._copy.answers += 1
        if self._copy.answers == self._copy.cut_at:
            self._line.close()
        return self._line.receive(timeout)

    def close(self) -> None:
        self._line.close()


@dataclass
class Copy:
    """Both halves of a copy in one process."""

    source: Images
    target: Images
    mode: CopyMode = CopyMode.USED
    verify: bool = True
    cut_at: int = -1
    answers: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source_inventory = look_at(self.source, "source")
        self.target_inventory: Inventory = look_at(self.target, "target")
        self.plan: Plan = plan_for(
            self.source_inventory, self.target_inventory, self.mode, verify=self.verify
        )
        self.sender = Sender(self.source.host, self.plan, self.source_inventory)
        self.receiver = Receiver(
            self.target.host,
            self.plan,
            self.target_inventory,
            copy_id="c" * 32,
            connections=4,
            monitor=self.events.append,
            clock=lambda: 1234567890.0,
        )

    def open_data(self) -> CuttingLine:
        return CuttingLine(serve_in_thread(self.sender.serve), self)

    def _answer_maps(self, line: MemoryLine) -> None:
        while True:
            request = line.receive(None)
            assert isinstance(request, MapRequest)
            for part in self.sender.answer_map(request):
                line.send(part)

    def fetch_maps(self) -> None:
        line = serve_in_thread(self._answer_maps)
        self.receiver.fetch_maps(line)
        line.close()

    def prepare(self) -> None:
        self.receiver.begin()
        self.fetch_maps()

    def run(self) -> None:
        self.prepare()
        self.receiver.discard_free()
        self.receiver.fetch(self.open_data)
        self.receiver.verify()
        self.receiver.write_heads(self.open_data)
        self.receiver.seal()
        self.sender.close()

    @property
    def sent(self) -> int:
        return sum(report.sent for report in self.receiver.reports())

    def chunks(self, region: int) -> list[tuple[int, int]]:
        """The chunks of a region, as the source maps them."""
        numbers: list[int] = []
        for part in self.sender.answer_map(MapRequest(region)):
            assert isinstance(part, MapAnswer)
            numbers += part.chunks
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def places(self, region: int) -> tuple[Path, Path, int]:
        """Source image, target image and start of a region."""
        pair = self.plan.disks[self.plan.regions[region].pair]
        return (
            Path(self.source_inventory.disk(pair.source.id).hardware.node),
            Path(self.target_inventory.disk(pair.target.id).hardware.node),
            self.plan.regions[region].start,
        )


def hashes(images: Images) -> list[str]:
    return [blake3().update_mmap(path).hexdigest() for path in images.paths]


def read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def tree_digests(images: Images, node: Path, start: int, size: int, kind: str) -> dict[str, str]:
    with (
        images.blocks.view(str(node), start, size) as device,
        LinuxMounts().mount(device, kind) as root,
    ):
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def full_chunk(copy: Copy) -> tuple[int, int]:
    """One of the root file system that is neither its head nor zeros."""
    path, _, start = copy.places(copy.plan.root)
    chunks = copy.chunks(copy.plan.root)[1:]
    return next((at, n) for at, n in chunks if read(path, start + at, n).strip(b"\0"))


def assert_equal_content(copy: Copy) -> None:
    """Every chunk of every partition, compared by reading both images."""
    for region in copy.plan.regions:
        if region.method is not Method.BOOT:
            source, target, start = copy.places(region.index)
            for offset, length in copy.chunks(region.index):
                there = read(target, start + offset, length)
                assert there == read(source, start + offset, length), (region, offset)


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


def test_tables_and_boot_code_are_the_sources(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    copy.run()
    for mine, its in zip(source.paths[:2], target.paths[:2], strict=True):
        wanted, found = sfdisk_json(mine), sfdisk_json(its)
        if wanted["label"] == "gpt":  # the backup GPT lies at the real end of the larger disk
            assert found.pop("lastlba") == its.stat().st_size // SECTOR - 34
            wanted.pop("lastlba")
        assert found == wanted
    assert read(target.paths[0], 0, 440) == read(source.paths[0], 0, 440)
    assert read(target.paths[0], SECTOR, 62 * SECTOR) == read(source.paths[0], SECTOR, 62 * SECTOR)
    assert read(target.paths[1], 0, 440) == read(source.paths[1], 0, 440)
    assert "No errors detected." in tool("sfdisk", "--verify", str(target.paths[1]))


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
    notes = [event.text for event in copy.events if isinstance(event, Note)]
    assert len(notes) == 1 and root.name in notes[0] and "unmounted cleanly" in notes[0]
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


class Faults:
    """Makes the system calls of the stream fail, or lie, at chosen places of chosen files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bad: list[tuple[Path, int, int, int]] = []  # path, first, end, errno
        self._calls: dict[str, Callable[..., int]] = {
            name: getattr(os, name) for name in ("preadv", "pwritev")
        }
        self.name = ""
        for name in self._calls:
            monkeypatch.setattr(os, name, self._wrap(name))

    def _wrap(self, name: str) -> Callable[..., int]:
        def call(descriptor: int, buffers: list[memoryview], offset: int) -> int:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            for bad, first, end, code in self.bad:
                inside = offset < end and first < offset + len(buffers[0])
                if name == self.name and path == bad and inside:
                    raise OSError(code, os.strerror(code))
            return self._calls[name](descriptor, buffers, offset)

        return call


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


def allocated(path: Path) -> int:
    """Bytes that a sparse file takes."""
    return path.stat().st_blocks * 512


def fill(path: Path) -> None:
    """As a disk that was in use before: every block allocated."""
    with path.open("r+b") as file:
        left = path.stat().st_size
        block = os.urandom(MIB)
        while left:
            left -= file.write(block[: min(left, MIB)])


def test_what_is_free_on_the_source_is_given_back_on_the_target(
    source: Images, target: Images
) -> None:
    for path in target.paths:
        fill(path)
    behind = read(target.paths[0], 142 * MIB, 16 * MIB)
    copy = Copy(source, target)
    copy.run()
    assert_equal_content(copy)
    for pair, path in enumerate(target.paths):
        reports = [
            report
            for report, region in zip(copy.receiver.reports(), copy.plan.regions, strict=True)
            if region.pair == pair
        ]
        outside = path.stat().st_size - sum(report.total for report in reports)
        used = sum(report.used for report in reports)
        assert used * 0.5 < allocated(path) <= used + outside + MIB
    assert read(target.paths[0], 142 * MIB, 16 * MIB) == behind, "no region reaches there"
    again = Copy(source, target)
    again.run()
    boot = sum(region.size for region in copy.plan.regions if region.method is Method.BOOT)
    assert again.sent <= boot, "nothing that is in use was given back"


def small_server(path: Path) -> Images:
    """One partition of 80 MiB with an empty file system."""
    make_image(path, 96 * MIB)
    tool("sfdisk", "-q", str(path), stdin="label: gpt\n\nstart=2048, size=163840\n")
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={MIB}", str(path), "80m")
    return make_host([path], "S")


@pytest.mark.parametrize("mode", list(CopyMode))
def test_a_thin_disk_stays_thin(tmp_path: Path, mode: CopyMode) -> None:
    """Real block devices, which are told by the kernel's own calls. Of an exact copy the zeros take
    no room, and are proven."""
    source, backing = small_server(tmp_path / "a.img"), make_image(tmp_path / "b.img", 99 * MIB)
    fill(backing)
    with LoopDevices([backing]) as (its,):
        copy = Copy(source, make_host([its], "T", blocks=LoopBlocks), mode)
        copy.run()
        assert_equal_content(copy)
        assert all(report.verified for report in copy.receiver.reports())
    outside = 18 * MIB  # of any region
    assert allocated(backing) < outside + 20 * MIB


@pytest.mark.parametrize("name", ["discard", "zero"])
def test_a_disk_that_refuses_to_discard_or_to_make_zeros_gets_the_same_copy(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for path in target.paths:
        fill(path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(target.blocks, name, refuse)
    copy = Copy(source, target, CopyMode.USED if name == "discard" else CopyMode.EXACT)
    copy.run()
    assert_equal_content(copy)
    notes = [event.text for event in copy.events if isinstance(event, Note)]
    if name == "discard":
        assert len(notes) == 3 and all("was not given back: Operation not" in one for one in notes)
    assert all(report.verified for report in copy.receiver.reports())


def slowed(call: Callable[..., int], seconds: float = 0.02) -> Callable[..., int]:
    """A disk slow enough for whoever follows behind."""

    def slow(*arguments: object) -> int:
        time.sleep(seconds)
        return call(*arguments)

    return slow


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


def test_a_disk_that_is_busy_for_a_moment_after_the_table_is_waited_for(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_disk, "REOPEN_PAUSE", 0.001)
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.write_heads(copy.open_data)
    target.blocks.busy = 5
    copy.receiver.seal()
    assert target.blocks.busy == 0
    assert read(target.paths[0], 0, 440) == read(source.paths[0], 0, 440)


def test_a_disk_that_was_exchanged_is_never_written(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    path = target.paths[2]
    path.rename(path.with_suffix(".old"))
    make_image(path, path.with_suffix(".old").stat().st_size)
    with pytest.raises(TargetDiskError):
        copy.receiver.begin()
    copy.receiver.abandon()
    assert target.blocks.opened_for_writing == []


def exchange(image: Path) -> None:
    """Another device of the same size, with data on it, by the same name."""
    size = image.stat().st_size
    image.rename(image.with_suffix(".old"))
    make_image(image, size)
    overwrite(image, 0, b"somebody's data")


def test_a_disk_that_is_exchanged_while_it_is_opened_is_not_written_to(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, before = Copy(source, target), hashes(target)
    path = target.paths[1]
    allow = target.blocks.set_writable

    def meddle(node: str) -> None:
        allow(node)
        if node == str(path):
            exchange(path)

    monkeypatch.setattr(target.blocks, "set_writable", meddle)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.receiver.begin()
    copy.receiver.abandon()
    assert read(path, 0, SECTOR).startswith(b"somebody's data")
    path.with_suffix(".old").replace(path)
    assert hashes(target) == before
    assert target.blocks.writable == set()


def test_a_disk_that_is_exchanged_while_the_copy_is_made_to_boot_is_not_sealed(
    source: Images, target: Images
) -> None:
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.write_heads(copy.open_data)
    exchange(target.paths[0])
    before = hashes(target)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.receiver.seal()
    copy.receiver.abandon()
    assert hashes(target) == before, "no other disk got its table either"


def test_a_disk_that_is_exchanged_while_its_table_is_made_gets_no_boot_code(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.write_heads(copy.open_data)
    path = target.paths[0]
    make = target_disk.write_table

    def meddle(host: Any, node: str, *rest: Any) -> None:
        make(host, node, *rest)
        if node == str(path):
            exchange(path)

    monkeypatch.setattr(target_disk, "write_table", meddle)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.receiver.seal()
    copy.receiver.abandon()
    assert read(path, 0, SECTOR) == b"somebody's data".ljust(SECTOR, b"\0")
    assert read(path.with_suffix(".old"), 0, 440) == bytes(440), "nothing starts"


def test_its_name_stays_taken_while_its_table_is_made(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sfdisk opens the disk by name, and would write to another one that got it meanwhile."""
    held: list[tuple[str, int]] = []
    make = target_disk.write_table

    def look(host: Any, node: str, *rest: Any) -> None:
        held.extend((node, how) for how in open_here(Path(node)))
        make(host, node, *rest)

    monkeypatch.setattr(target_disk, "write_table", look)
    Copy(source, target).run()
    with_table = target.paths[:2]
    assert sorted(held) == [(str(path), os.O_RDONLY) for path in with_table]
    assert not any(open_here(path) for path in target.paths)


def open_here(path: Path) -> list[int]:
    """How each descriptor of this process for that file was opened: O_RDONLY, O_RDWR."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this listing
            if entry.readlink() == path:
                flags = Path("/proc/self/fdinfo", entry.name).read_text().split()[3]
                found.append(int(flags, 8) & os.O_ACCMODE)
    return found


def test_a_second_table_of_another_kind_leaves_nothing_behind(
    source: Images, target: Images
) -> None:
    """The target's disks held GPTs, and a signature at their very end."""
    for path in target.paths:
        tool("sfdisk", "-q", str(path), stdin="label: gpt\n\nsize=8MiB\n")
    copy = Copy(source, target)
    copy.run()
    with target.blocks.view(str(target.paths[0]), 0, target.paths[0].stat().st_size) as device:
        found = run(["wipefs", "--noheadings", "--output", "TYPE", device]).stdout.split()
    assert found == ["dos"]


def test_4096_byte_sectors_of_a_gpt(tmp_path: Path) -> None:
    """Loop devices with large sectors on both sides, as disks that came after 512e."""
    paths = [make_image(tmp_path / f"{name}.img", 48 * MIB) for name in ("source", "target")]
    with LoopDevices(paths, 4096) as (mine, its):
        tool("sfdisk", "-q", str(mine), stdin="label: gpt\n\nstart=256, size=8192\n")
        tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576", str(mine), "32768k")
        copy = Copy(
            make_host([mine], "S", 4096, LoopBlocks), make_host([its], "T", 4096, LoopBlocks)
        )
        copy.run()
        assert_equal_content(copy)
        wanted, found = sfdisk_json(mine), sfdisk_json(its)
        assert found == wanted


ODD_TABLES = {
    "gaps in the numbers": (
        "label: dos\n\n4 : start=63, size=1000\n2 : start=5000, size=99, type=da\n"
    ),
    "not in the order of the disk": "label: dos\n\n1 : start=9000, size=9\n2 : start=63, size=1\n",
    "logical partitions back to front": (
        "label: dos\n\n1 : start=20480, size=40960, type=5\n"
        "5 : start=40000, size=1000\n6 : start=30000, size=1000\n7 : start=20481, size=9\n"
    ),
    "one sector between logical partitions": (
        "label: dos\n\n1 : start=63, size=40960, type=85\n"
        "5 : start=126, size=1000\n6 : start=1127, size=1000\n7 : start=2128, size=63\n"
    ),
    "nothing but an id": "label: dos\nlabel-id: 0x12345678\n",
    "a long GPT": "label: gpt\ntable-length: 256\nfirst-lba: 70\n\n200 : start=80, size=9\n",
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_odd_tables_are_made_again(name: str, tmp_path: Path) -> None:
    mine, its = make_image(tmp_path / "a.img", 64 * MIB), make_image(tmp_path / "b.img", 70 * MIB)
    tool("sfdisk", "-q", str(mine), stdin=ODD_TABLES[name])
    table = read_table(make_host([mine], "S").host, str(mine), SECTOR)
    host = make_host([its], "T").host
    rehearse_table(host, table, PlannedDisk("T", "T", 70 * MIB, SECTOR))
    write_table(host, str(its), table, SECTOR)
    wanted, found = sfdisk_json(mine), sfdisk_json(its)
    wanted.pop("lastlba", None), found.pop("lastlba", None)
    assert found == wanted


def test_a_table_that_cannot_be_made_is_refused_before_the_first_write(tmp_path: Path) -> None:
    """Logical partitions without a sector between them, as some tools chained them."""
    extended = Partition(1, 2048 * SECTOR, 40960 * SECTOR, "5")
    first = Partition(5, 2049 * SECTOR, 1000 * SECTOR, "83")
    second = Partition(6, first.end, 1000 * SECTOR, "83")
    table = PartitionTable("dos", "0x12345678", (extended, first, second))
    host = make_host([make_image(tmp_path / "b.img", 70 * MIB)], "T").host
    with pytest.raises(PlanError, match="No disk was written"):
        rehearse_table(host, table, PlannedDisk("T", "T", 70 * MIB, SECTOR))


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


def test_the_boot_area_is_sent_without_the_table(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    line = serve_in_thread(copy.sender.serve)
    line.send(ChunkRequest(0, 0, 63 * SECTOR))
    answer = line.receive(5.0)
    assert isinstance(answer, Chunk) and answer.encoding is Encoding.RAW
    disk = read(source.paths[0], 0, 63 * SECTOR)
    assert answer.body == disk[:440] + bytes(72) + disk[512:]
    line.close()


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


class LoopDevices:
    """Loop devices over the images."""

    def __init__(self, paths: list[Path], sector_size: int = SECTOR) -> None:
        self._paths = paths
        self._sector_size = sector_size
        self._devices: list[Path] = []

    def __enter__(self) -> list[Path]:
        for path in self._paths:
            options = ["--find", "--show", "--sector-size", str(self._sector_size)]
            self._devices.append(Path(run(["losetup", *options, str(path)]).stdout.strip()))
        return self._devices

    def __exit__(self, *_: object) -> None:
        for device in self._devices:
            run(["losetup", "--detach", str(device)])


def test_a_plan_of_one_run_is_the_plan_of_the_next(source: Images, target: Images) -> None:
    """What the copy itself leaves on the target changes no pairing."""
    copy = Copy(source, target)
    copy.run()
    again = Copy(source, target)
    assert [(pair.source.id, pair.target.id) for pair in again.plan.disks] == [
        (pair.source.id, pair.target.id) for pair in copy.plan.disks
    ]
    assert again.plan.regions == copy.plan.regions
