"""The source's half of the stream: what it answers from a disk that is opened to be read only."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from payload.model.disk import Hardware, PartitionTable
from payload.model.errors import LinkError, PeerError, SourceDiskError
from payload.model.marker import MachineReference
from payload.model.message import (
    Alive,
    Chunk,
    ChunkRequest,
    Encoding,
    MapAnswer,
    MapRequest,
    Message,
    Stop,
)
from payload.model.plan import CHUNK_SIZE, CopyMode, DiskPair, Method, Plan, PlannedDisk, Region
from payload.model.report import Hole
from payload.replicate import sick_disk
from payload.replicate.chunks import aligned_buffer, digest_of, read_exactly, unpack
from payload.replicate.sender import MAP_PART, Sender
from tests.support import machines
from tests.support.partition_tables import GPT, MBR

SECTOR = 512
START = CHUNK_SIZE  # of the partition
BOOT = Region(0, 0, 0, 0, 63 * SECTOR, Method.BOOT)
PART = Region(1, 0, 1, START, 3 * CHUNK_SIZE + SECTOR, Method.ALL)
SWAP = Region(2, 0, 2, START + PART.size, 4 * CHUNK_SIZE, Method.HEADER)
SIZE = SWAP.start + SWAP.size
TEXT = b"The same words again and again. " * (CHUNK_SIZE // 32)


def plan_of(*regions: Region, table: PartitionTable = MBR) -> Plan:
    ends = (PlannedDisk("serial:S", "S", SIZE, SECTOR), PlannedDisk("serial:T", "T", SIZE, SECTOR))
    pair = DiskPair(*ends, content="blank", table=table)
    machine = MachineReference("a")
    return Plan(machine, machine, CopyMode.USED, (pair,), regions, root=1)


PLAN = plan_of(BOOT, PART, SWAP)


@dataclass
class Blocks:
    """Opens images as disks, and remembers the descriptors."""

    opened: list[int]
    refuse_after: int = 9

    def open_to_read(self, node: str) -> int:
        if len(self.opened) == self.refuse_after:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.opened.append(os.open(node, os.O_RDONLY))
        return self.opened[-1]


class Target:
    """The far end of a data connection: asks this, then goes away."""

    def __init__(self, *requests: Message) -> None:
        self.requests = list(requests)
        self.answers: list[Message] = []
        self.network_time = 0.0

    def receive(self, timeout: float | None) -> Message:
        if not self.requests:
            raise LinkError("The target is gone.")
        return self.requests.pop(0)

    def send(self, message: Message) -> None:
        self.network_time += 1.5
        if isinstance(message, Chunk):
            message = replace(message, body=bytes(message.body))
        self.answers.append(message)

    def close(self) -> None:
        self.requests.clear()

    @property
    def chunks(self) -> list[Chunk]:
        return [cast(Chunk, answer) for answer in self.answers]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text, zeros, noise and one sector more in the partition; 0xAA in front of it."""
    path = tmp_path_factory.mktemp("sender") / "disk"
    noise = os.urandom(CHUNK_SIZE)
    part = TEXT + bytes(CHUNK_SIZE) + noise + b"\xbb" * SECTOR
    path.write_bytes(b"\xaa" * START + part + bytes(SWAP.size))
    return path


def sender_of(path: Path, plan: Plan = PLAN, blocks: Blocks | None = None) -> Sender:
    hardware = Hardware("sda", str(path), SIZE, serial="S")
    inventory = machines.machine("A", machines.disk("S"))
    disk = replace(inventory.disks[0], hardware=hardware)
    host = SimpleNamespace(blocks=blocks or Blocks([]))
    return Sender(cast(Any, host), plan, replace(inventory, disks=(disk,)))


@pytest.fixture
def sender(image: Path) -> Iterator[Sender]:
    sender = sender_of(image)
    yield sender
    sender.close()


def serve(sender: Sender, *requests: Message) -> Target:
    target = Target(*requests)
    with pytest.raises(LinkError, match="gone"):
        sender.serve(target)
    return target


def content_of(chunk: Chunk) -> bytes:
    return bytes(unpack(chunk, zstandard.ZstdDecompressor(), aligned_buffer()))


def test_each_chunk_is_the_disk_s_content_in_the_order_asked_for(
    sender: Sender, image: Path
) -> None:
    places = [(2 * CHUNK_SIZE, CHUNK_SIZE), (0, CHUNK_SIZE), (3 * CHUNK_SIZE, SECTOR)]
    target = serve(sender, *(ChunkRequest(1, *place) for place in places))
    whole = image.read_bytes()
    assert [(chunk.offset, chunk.length) for chunk in target.chunks] == places
    for chunk in target.chunks:
        start = START + chunk.offset
        assert content_of(chunk) == whole[start : start + chunk.length]


def test_text_is_packed_and_zeros_have_no_body(sender: Sender) -> None:
    target = serve(sender, ChunkRequest(1, 0, CHUNK_SIZE), ChunkRequest(1, CHUNK_SIZE, CHUNK_SIZE))
    text, zeros = target.chunks
    assert text.encoding is Encoding.ZSTD and len(text.body) < CHUNK_SIZE // 10
    assert (zeros.encoding, zeros.body) == (Encoding.ZERO, b"")


def test_what_the_target_holds_is_not_sent_again(sender: Sender) -> None:
    right, wrong = digest_of(TEXT), digest_of(b"other")
    target = serve(sender, *(ChunkRequest(1, 0, CHUNK_SIZE, held) for held in (right, wrong)))
    same, sent = target.chunks
    assert (same.encoding, same.body, same.digest) == (Encoding.SAME, b"", right)
    assert sent.encoding is Encoding.ZSTD and content_of(sent) == TEXT


def test_zeros_that_the_target_holds_are_the_same(sender: Sender) -> None:
    """They need no writing."""
    held = digest_of(bytes(CHUNK_SIZE))
    (chunk,) = serve(sender, ChunkRequest(1, CHUNK_SIZE, CHUNK_SIZE, held)).chunks
    assert chunk.encoding is Encoding.SAME


@pytest.mark.parametrize("table", [MBR, GPT])
def test_the_table_of_a_gpt_is_left_out_of_the_boot_area(
    image: Path, table: PartitionTable
) -> None:
    boot = replace(BOOT, size=START)
    sender = sender_of(image, plan_of(boot, PART, table=table))
    (chunk,) = serve(sender, ChunkRequest(0, 0, START)).chunks
    sender.close()
    content = content_of(chunk)
    end = 1024 + 128 * 256 if table is GPT else 440
    assert content == b"\xaa" * 440 + bytes(end - 440) + b"\xaa" * (START - end)


def test_the_network_s_time_comes_with_the_next_chunk(sender: Sender) -> None:
    request = ChunkRequest(1, 0, CHUNK_SIZE)
    zeros = replace(request, offset=CHUNK_SIZE)
    target = serve(sender, request, zeros, request, request)
    assert [chunk.spent.network for chunk in target.chunks] == [0, 1_500_000, 0, 3_000_000]
    assert target.chunks[0].spent.processor > 0


WRONG: dict[str, Message] = {
    "another message": Alive(),
    "no such region": ChunkRequest(3, 0, SECTOR),
    "a region from the end": ChunkRequest(-1, 0, SECTOR),
    "nothing": ChunkRequest(1, 0, 0),
    "before the region": ChunkRequest(1, -SECTOR, SECTOR),
    "behind the region": ChunkRequest(1, PART.size, SECTOR),
    "over its end": ChunkRequest(1, 3 * CHUNK_SIZE, 2 * SECTOR),
    "half a sector": ChunkRequest(1, 0, SECTOR // 2),
    "between two sectors": ChunkRequest(1, 1, SECTOR),
    "two chunks": ChunkRequest(1, 0, 2 * CHUNK_SIZE),
    "over a border of chunks": ChunkRequest(1, CHUNK_SIZE - SECTOR, 2 * SECTOR),
    "half a boot area": ChunkRequest(0, 0, SECTOR),
    "half a digest": ChunkRequest(1, 0, SECTOR, b"x" * 16),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_request_outside_the_plan_ends_the_connection_and_is_told(
    sender: Sender, name: str
) -> None:
    target = Target(ChunkRequest(1, 0, SECTOR), WRONG[name], ChunkRequest(1, 0, SECTOR))
    with pytest.raises(PeerError) as caught:
        sender.serve(target)
    assert not isinstance(caught.value, LinkError)
    assert target.answers[1:] == [Stop(str(caught.value))]


NUMBERS = st.integers(-(1 << 64), 1 << 64) | st.integers(-2, 8).map(lambda n: n * CHUNK_SIZE)


@given(st.integers(-2, 5), NUMBERS, NUMBERS | st.integers(0, 8).map(lambda n: n * SECTOR))
def test_any_request_gets_its_bytes_or_a_peer_error(
    image: Path, region: int, offset: int, length: int
) -> None:
    sender, target = sender_of(image), Target(ChunkRequest(region, offset, length))
    try:
        sender.serve(target)
    except LinkError:
        (chunk,) = target.chunks
        assert (chunk.region, chunk.offset, chunk.length) == (region, offset, length)
        assert offset >= 0 and offset + length <= PLAN.regions[region].size
    except PeerError:
        assert isinstance(target.answers[0], Stop)
    finally:
        sender.close()


# --- maps


def test_a_map_in_one_part(sender: Sender) -> None:
    (answer,) = sender.answer_map(MapRequest(1))
    sizes = (CHUNK_SIZE, CHUNK_SIZE, CHUNK_SIZE, SECTOR)
    numbers = [n for index, size in enumerate(sizes) for n in (index * CHUNK_SIZE, size)]
    assert answer == MapAnswer(1, tuple(numbers), last=True)


def test_of_a_swap_area_both_ends_are_copied(sender: Sender) -> None:
    (answer,) = sender.answer_map(MapRequest(2))
    assert answer.chunks == (0, 65536, SWAP.size - 65536, 65536)


def test_a_long_map_comes_in_parts_of_which_the_last_says_so(image: Path) -> None:
    count = 2 * MAP_PART + 1
    sender = sender_of(image, plan_of(BOOT, replace(PART, size=count * CHUNK_SIZE)))
    answers = list(sender.answer_map(MapRequest(1)))
    sender.close()
    assert [len(answer.chunks) // 2 for answer in answers] == [MAP_PART, MAP_PART, 1]
    assert [answer.last for answer in answers] == [False, False, True]
    offsets = [offset for answer in answers for offset in answer.chunks[::2]]
    assert offsets == [index * CHUNK_SIZE for index in range(count)]


def test_why_a_region_is_copied_whole_is_said_once(image: Path) -> None:
    """Nobody can look into it here, so every block is copied."""
    region = replace(PART, method=Method.USED, file_system="ext4", size=(MAP_PART + 1) * CHUNK_SIZE)
    sender = sender_of(image, plan_of(BOOT, region), Unviewable([]))
    answers = list(sender.answer_map(MapRequest(1)))
    sender.close()
    assert len(answers) == 2 and "is copied whole" in answers[0].note and answers[1].note == ""
    assert sum(sum(answer.chunks[1::2]) for answer in answers) == region.size


class Unviewable(Blocks):
    def view(self, *_: object) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


@pytest.mark.parametrize("index", [-1, 3, 1 << 40])
def test_a_map_of_no_region_is_refused(sender: Sender, index: int) -> None:
    with pytest.raises(PeerError, match=f"region {index}, which is not in the plan"):
        list(sender.answer_map(MapRequest(index)))


# --- disks


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_disk_that_cannot_be_opened_leaves_none_open(image: Path) -> None:
    blocks = Blocks([], refuse_after=1)
    plan = replace(PLAN, disks=PLAN.disks * 2)
    with pytest.raises(SourceDiskError, match=r"S 0\.0 GB could not be opened: Input/output error"):
        sender_of(image, plan, blocks)
    assert [is_open(descriptor) for descriptor in blocks.opened] == [False]


def test_nothing_is_read_once_it_is_closed(image: Path) -> None:
    """Descriptors are used again: by then another file may have the number."""
    blocks = Blocks([])
    sender = sender_of(image, PLAN, blocks)
    sender.close()
    sender.close()
    assert not is_open(blocks.opened[0])
    target = Target(ChunkRequest(1, 0, SECTOR))
    with pytest.raises(SourceDiskError, match="is no longer open: the run ended"):
        sender.serve(target)
    assert isinstance(target.answers[0], Stop)


def test_a_disk_that_is_shorter_than_it_said_ends_the_run(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(bytes(START + SECTOR))
    sender, target = sender_of(short), Target(ChunkRequest(1, 0, CHUNK_SIZE))
    with pytest.raises(SourceDiskError, match="it ends there"):
        sender.serve(target)
    sender.close()
    assert isinstance(target.answers[0], Stop)


@pytest.fixture
def bad_sector(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where in the partition the disk cannot be read."""
    place = 7 * SECTOR

    def fail_there(descriptor: int, buffer: memoryview, offset: int) -> None:
        if offset <= START + place < offset + len(buffer):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        read_exactly(descriptor, buffer, offset)

    monkeypatch.setattr(sick_disk, "read_exactly", fail_there)
    return place


def test_what_cannot_be_read_at_once_is_put_off(sender: Sender, bad_sector: int) -> None:
    target = serve(sender, ChunkRequest(1, 0, CHUNK_SIZE), ChunkRequest(1, CHUNK_SIZE, SECTOR))
    later, good = target.chunks
    assert (later.encoding, later.digest, later.body) == (Encoding.LATER, bytes(32), b"")
    assert good.encoding is Encoding.ZERO


def test_a_thorough_answer_names_its_holes_by_the_region(sender: Sender, bad_sector: int) -> None:
    (chunk,) = serve(sender, ChunkRequest(1, 0, CHUNK_SIZE, thorough=True)).chunks
    assert chunk.holes == (Hole(bad_sector, SECTOR),)
    wanted = TEXT[:bad_sector] + bytes(SECTOR) + TEXT[bad_sector + SECTOR :]
    assert content_of(chunk) == wanted


def test_the_target_s_leaving_is_no_reason_to_hide_the_cause(sender: Sender) -> None:
    class Deaf(Target):
        def send(self, message: Message) -> None:
            raise LinkError("The target is gone.")

    with pytest.raises(PeerError, match="no such region"):
        sender.serve(Deaf(ChunkRequest(9, 0, SECTOR)))
