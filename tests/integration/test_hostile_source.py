"""A source whose answers are damaged on their way: real traffic, changed byte by byte or frame by
frame. Whatever comes, only agreed places of the target are written, and only with the source's own
content; the run ends with an error of the peer, or with what was asked for.
"""

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE
from payload.model.errors import LinkError, PeerError
from payload.model.inventory import Inventory
from payload.model.message import Chunk, ChunkRequest, Encoding, MapAnswer, MapRequest, Message
from payload.model.plan import CHUNK_SIZE, Method, Plan
from payload.replicate.chunks import aligned_buffer, digest_of, unpack
from payload.replicate.receiver import Receiver
from payload.replicate.sender import Sender
from payload.wire.frames import HEADER, Decoder, encode
from tests.support.memory_line import MemoryLine, serve_in_thread
from tests.support.server_image import MIB, make_image, make_server
from tests.support.stream_disks import Images, look_at, make_host, plan_for

pytestmark = pytest.mark.root

SIZE = 120 * MIB  # of the target's disk
BLOCK = 512
Frames = dict[tuple[int, int], bytes]  # the answer to a request, by region and offset
Change = Callable[[bytes, Frames, int], bytes]


@dataclass
class Bench:
    """A source, and everything it answered in an honest copy. `agreed` is the target's disk as it
    may be at the most: the source's content in agreed places."""

    source: Images
    directory: Path
    plan: Plan
    target: Inventory
    sender: Sender
    maps: list[list[MapAnswer]]
    agreed: bytes
    frames: Frames = field(default_factory=dict)

    def receiver(self, image: Path) -> Receiver:
        """The target's half, about to fetch onto a blank disk."""
        host = make_host([make_image(image, SIZE)], "T").host
        (now,) = host.blocks.find()
        (disk,) = self.target.disks
        here = replace(self.target, disks=(replace(disk, hardware=now),))
        receiver = Receiver(
            host, self.plan, here, copy_id="c" * 32, connections=1, monitor=lambda _: None
        )
        receiver.begin()
        receiver.fetch_maps(Maps(self.maps))
        return receiver


class Maps:
    """A control line that has the answers ready."""

    def __init__(self, answers: list[list[MapAnswer]]) -> None:
        self._answers = answers
        self._waiting: list[MapAnswer] = []

    def send(self, message: Message) -> None:
        assert isinstance(message, MapRequest)
        self._waiting = list(self._answers[message.region])

    def receive(self, timeout: float | None) -> Message:
        return self._waiting.pop(0)


def agreed_content(source: bytes, plan: Plan, maps: list[list[MapAnswer]]) -> bytes:
    whole = bytearray(SIZE)
    for region in plan.regions:
        if region.method is Method.BOOT:
            continue  # kept in memory until the very end
        for part in maps[region.index]:
            for offset, length in zip(part.chunks[::2], part.chunks[1::2], strict=True):
                place = region.start + offset
                whole[place : place + length] = source[place : place + length]
    return bytes(whole)


class Recorder:
    """A line to an honest source that keeps the bytes of its answers."""

    def __init__(self, line: MemoryLine, frames: Frames) -> None:
        self._line, self._frames = line, frames

    def send(self, message: Message) -> None:
        self._line.send(message)

    def receive(self, timeout: float | None) -> Message:
        message = self._line.receive(timeout)
        assert isinstance(message, Chunk)
        frame = b"".join(bytes(buffer) for buffer in encode(message))
        self._frames[message.region, message.offset] = frame
        return message

    def close(self) -> None:
        self._line.close()


class Replay:
    """A line that answers each request with the recorded bytes, some of them changed."""

    def __init__(self, frames: Frames, changes: dict[int, Change]) -> None:
        self._frames, self._changes = frames, changes
        self._decoder = Decoder()
        self._bytes = bytearray()
        self._answers = 0

    def send(self, message: Message) -> None:
        assert isinstance(message, ChunkRequest)
        frame = self._frames[message.region, message.offset]
        change = self._changes.get(self._answers)
        self._bytes += change(frame, self._frames, self._answers) if change else frame
        self._answers += 1

    def receive(self, timeout: float | None) -> Message:
        while self._bytes:
            wanted = self._decoder.wanted
            count = min(len(wanted), len(self._bytes))
            wanted[:count] = self._bytes[:count]
            del self._bytes[:count]
            message = self._decoder.filled(count)
            if message is not None:
                return message
        raise LinkError("The connection ended.")

    def close(self) -> None:
        self._bytes.clear()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("hostile")
    (directory / "server").mkdir()
    server = make_server(directory / "server", files=6)
    source, target = (
        make_host([path], prefix)
        for path, prefix in ((server.system, "S"), (make_image(directory / "t.img", SIZE), "T"))
    )
    there, here = look_at(source, "source"), look_at(target, "target")
    there = replace(there, systems=there.systems[-1:])  # /boot is none
    plan = plan_for(there, here)
    sender = Sender(source.host, plan, there)
    maps = [list(sender.answer_map(MapRequest(region.index))) for region in plan.regions]
    agreed = agreed_content(server.system.read_bytes(), plan, maps)
    made = Bench(source, directory, plan, here, sender, maps, agreed)

    def open_data() -> Recorder:
        return Recorder(serve_in_thread(sender.serve), made.frames)

    receiver = made.receiver(directory / "honest.img")
    receiver.fetch(open_data)
    receiver.write_heads(open_data)
    receiver.abandon()
    sender.close()
    yield made
    shutil.rmtree(directory)


# --- what can happen to a frame


def flipped(place: int, mask: int) -> Change:
    def change(frame: bytes, _frames: Frames, _number: int) -> bytes:
        at = place % len(frame)
        return frame[:at] + bytes([frame[at] ^ mask]) + frame[at + 1 :]

    return change


def truncated(place: int) -> Change:
    return lambda frame, _frames, _number: frame[: place % len(frame)]


def another(step: int) -> Change:
    """The answer to another request: out of order, twice, of another partition."""

    def change(frame: bytes, frames: Frames, number: int) -> bytes:
        known = sorted(frames)
        return frames[known[(number + step) % len(known)]]

    return change


def doubled(frame: bytes, _frames: Frames, _number: int) -> bytes:
    return frame + frame


def dropped(_frame: bytes, _frames: Frames, _number: int) -> bytes:
    return b""


def padded(length: int) -> Change:
    """Oversized: more body than the chunk is long, the frame's own length right or not."""

    def change(frame: bytes, _frames: Frames, _number: int) -> bytes:
        code, size = HEADER.unpack_from(frame)
        grown = size + length if length % 2 else size
        return HEADER.pack(code, grown) + frame[HEADER.size :] + bytes(length)

    return change


def said_otherwise(**fields: Callable[[Chunk, Frames], object]) -> Change:
    """A well-formed chunk that says something else."""

    def change(frame: bytes, frames: Frames, _number: int) -> bytes:
        chunk = decoded(frame)
        other = replace(chunk, **{name: value(chunk, frames) for name, value in fields.items()})  # type: ignore[arg-type]
        try:
            return b"".join(bytes(buffer) for buffer in encode(other))
        except ValueError:
            return frame  # nothing that could be said at all

    return change


def decoded(frame: bytes) -> Chunk:
    line = Replay({(0, 0): frame}, {})
    line.send(ChunkRequest(0, 0, CHUNK_SIZE))
    message = line.receive(None)
    assert isinstance(message, Chunk)
    return replace(message, body=bytes(message.body))


def digest_of_another(chunk: Chunk, frames: Frames) -> bytes:
    digests = {decoded(frame).digest for frame in frames.values()} - {chunk.digest}
    return min(digests)


def bomb(_chunk: Chunk, _frames: Frames) -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(64 * MIB))


LIES = (
    said_otherwise(region=lambda chunk, _: chunk.region + 1),
    said_otherwise(region=lambda chunk, _: 0),
    said_otherwise(offset=lambda chunk, _: chunk.offset + CHUNK_SIZE),
    said_otherwise(offset=lambda chunk, _: 0),
    said_otherwise(offset=lambda chunk, _: chunk.offset % CHUNK_SIZE + (1 << 40)),
    said_otherwise(length=lambda chunk, _: 512),
    said_otherwise(length=lambda chunk, _: chunk.length * 2),
    said_otherwise(digest=digest_of_another),
    said_otherwise(encoding=lambda *_: Encoding.SAME, body=lambda *_: b""),
    said_otherwise(encoding=lambda *_: Encoding.ZERO, body=lambda *_: b""),
    said_otherwise(encoding=lambda *_: Encoding.ZSTD, body=bomb),
    said_otherwise(encoding=lambda *_: Encoding.RAW, body=lambda chunk, _: bytes(chunk.length)),
)
changes = st.one_of(
    st.sampled_from((*LIES, doubled, dropped)),
    st.builds(flipped, st.integers(0, 70) | st.integers(0, 1 << 20), st.integers(1, 255)),
    st.builds(truncated, st.integers(0, 1 << 20)),
    st.builds(another, st.integers(1, 40)),
    st.builds(padded, st.integers(1, 5000)),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.integers(0, 30), changes, min_size=1, max_size=3))
def test_only_agreed_places_are_written_and_only_as_the_source_is(
    bench: Bench, wrong: dict[int, Change]
) -> None:
    image = bench.directory / "target.img"
    receiver = bench.receiver(image)
    lines = iter([Replay(bench.frames, wrong)])

    def open_data() -> Replay:
        try:
            return next(lines)
        except StopIteration:
            raise LinkError("The source is gone.") from None

    try:
        receiver.fetch(open_data)
        receiver.verify()
    except PeerError as error:
        assert str(error).endswith(".") and ("source" in str(error) or "other" in str(error)
                                             or isinstance(error, LinkError))  # fmt: skip
    finally:
        receiver.abandon()
    assert_within(image, bench.agreed)


def assert_within(image: Path, agreed: bytes) -> None:
    """Each sector is blank, our mark, or what the source has there."""
    with image.open("rb") as disk:
        found = disk.read()
    assert len(found) == len(agreed)
    for at in range(0, len(found), MIB):
        if found[at : at + MIB] == agreed[at : at + MIB]:
            continue
        for sector in range(at, min(at + MIB, len(found)), BLOCK):
            there = found[sector : sector + BLOCK]
            if there.strip(b"\0") and there != agreed[sector : sector + BLOCK]:
                assert sector == MARK_OFFSET and BLOCK == MARK_SIZE, sector


def test_an_honest_replay_is_the_whole_copy(bench: Bench) -> None:
    """The recording itself: without a change it writes everything but the heads."""
    image = bench.directory / "target.img"
    receiver = bench.receiver(image)
    receiver.fetch(lambda: Replay(bench.frames, {}))
    receiver.verify()
    receiver.abandon()
    assert_within(image, bench.agreed)
    found = image.read_bytes()
    assert len(found.strip(b"\0")) > 10 * MIB
    assert sum(report.used for report in receiver.reports()) > MIB


@pytest.mark.parametrize("size", [CHUNK_SIZE - 1, CHUNK_SIZE + 1, 64 * MIB, 1024 * MIB])
@pytest.mark.parametrize("tells", [True, False])
def test_a_bomb_takes_no_memory(size: int, tells: bool) -> None:
    """Whether the packed frame says how large it will be, or not, or as the chunk wants it."""
    packer = zstandard.ZstdCompressor().compressobj(size=size if tells else -1)
    piece = bytes(min(size, 16 * MIB))
    parts = [packer.compress(piece) for _ in range(size // len(piece))]
    parts.append(packer.compress(bytes(size % len(piece))))
    body = b"".join([*parts, packer.flush()])
    chunk = Chunk(1, 0, CHUNK_SIZE, digest_of(bytes(CHUNK_SIZE)), Encoding.ZSTD, body)
    decompressor, buffer = zstandard.ZstdDecompressor(), aligned_buffer()
    tracemalloc.start()
    try:
        with pytest.raises(PeerError, match="at byte 0 from the source"):
            unpack(chunk, decompressor, buffer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB


def test_random_bytes_in_place_of_answers_write_nothing(bench: Bench) -> None:
    image = bench.directory / "target.img"
    receiver = bench.receiver(image)
    noise: dict[int, Change] = {0: lambda *_: os.urandom(100_000)}
    with pytest.raises(PeerError):
        receiver.fetch(lambda: Replay(bench.frames, noise))
    receiver.abandon()
    assert_within(image, bytes(SIZE))
    assert not image.read_bytes()[MIB:].strip(b"\0")
