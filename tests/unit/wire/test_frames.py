"""Frames survive the trip, and nothing a peer can send does more than raise PeerError."""

import struct
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.errors import PeerError
from payload.model.event import Limiter, Progress, Stage
from payload.model.message import (
    Alive,
    Attach,
    Chunk,
    ChunkRequest,
    Doing,
    Encoding,
    MapAnswer,
    MapRequest,
    Message,
    PlanOffer,
    Reach,
    Spent,
    Stop,
)
from payload.model.plan import CHUNK_SIZE
from payload.model.report import Hole
from payload.wire.frames import (
    BODY_LIMIT,
    CHUNK,
    HEADER,
    HOLES_LIMIT,
    OFFSET_LIMIT,
    REQUEST,
    Decoder,
    encode,
)

U32 = (1 << 32) - 1
REQUEST_CODE = 12
CHUNK_CODE = 13


def to_bytes(message: Message) -> bytes:
    return b"".join(bytes(buffer) for buffer in encode(message))


def decode(data: bytes, step: int = 1 << 20) -> list[Message]:
    """Feed bytes in steps. Bodies are copied, since the decoder uses its buffer again."""
    decoder = Decoder()
    messages: list[Message] = []
    while data:
        count = min(step, len(data), len(decoder.wanted))
        decoder.wanted[:count] = data[:count]
        data = data[count:]
        message = decoder.filled(count)
        if isinstance(message, Chunk):
            message = replace(message, body=bytes(message.body))
        if message is not None:
            messages.append(message)
    return messages


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """A valid (offset, length) of a chunk."""
    base = draw(st.integers(0, OFFSET_LIMIT // CHUNK_SIZE - 1)) * CHUNK_SIZE
    begin = draw(st.integers(0, CHUNK_SIZE - 1))
    return base + begin, draw(st.integers(1, CHUNK_SIZE - begin))


@st.composite
def requests(draw: st.DrawFn) -> ChunkRequest:
    offset, length = draw(places())
    held = draw(st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)))
    return ChunkRequest(draw(st.integers(0, U32)), offset, length, held, draw(st.booleans()))


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    encoding = draw(st.sampled_from(Encoding))
    offset, length = draw(places())
    body = b""
    if encoding is Encoding.RAW:
        body = draw(st.binary(min_size=1, max_size=300))
        length = min(len(body), length)
        body = body[:length]
    if encoding is Encoding.ZSTD:
        body = draw(st.binary(min_size=1, max_size=300))
    holes = (Hole(offset, 1), Hole(offset + length - 1, 1)) if length > 2 else ()
    digest = draw(st.binary(min_size=32, max_size=32))
    if encoding is Encoding.LATER:
        digest, holes = bytes(32), ()
    return Chunk(
        draw(st.integers(0, U32)),
        offset,
        length,
        digest,
        encoding,
        body,
        draw(st.sampled_from([(), holes])),
        Spent(*(draw(st.integers(0, U32)) for _ in range(3))),
    )


@st.composite
def maps(draw: st.DrawFn) -> MapAnswer:
    numbers = draw(st.lists(st.integers(0, 1 << 40), unique=True, max_size=30).map(sorted))
    flat = [value for number in numbers for value in (number * CHUNK_SIZE, CHUNK_SIZE)]
    return MapAnswer(draw(st.integers(0, U32)), tuple(flat), draw(st.booleans()), "why")


PROGRESS = st.builds(
    Progress,
    *(st.sampled_from(["copy", "verify"]), st.text(st.characters(codec="utf-8"), max_size=50)),
    *(st.integers(0, 1 << 50) for _ in range(5)),
    *(st.floats(0, 1e12) for _ in range(2)),
    region_sent=st.integers(0, 1 << 50),
    average=st.floats(0, 1e12),
    limiter=st.none() | st.sampled_from(Limiter),
)


def messages() -> st.SearchStrategy[Message]:
    text = st.text(st.characters(codec="utf-8"), max_size=50)
    return st.one_of(
        requests(),
        chunks(),
        maps(),
        st.builds(Stop, text, st.booleans()),
        st.builds(Attach, text),
        st.builds(PlanOffer, text),
        st.builds(MapRequest, st.integers(0, U32)),
        st.builds(Doing, st.none() | st.builds(Stage, text, text), st.none() | PROGRESS),
        st.builds(Alive, st.tuples(st.builds(Reach, st.text(), st.tuples(st.text())))),
        st.just(Alive()),
    )


@given(st.lists(messages(), max_size=5), st.integers(1, 70))
def test_round_trip_in_any_steps(sent: list[Message], step: int) -> None:
    assert decode(b"".join(map(to_bytes, sent)), step) == sent


def test_full_chunk_is_not_copied_on_the_way_out() -> None:
    body = memoryview(bytearray(CHUNK_SIZE))
    head, sent = encode(Chunk(1, CHUNK_SIZE, CHUNK_SIZE, b"d" * 32, Encoding.RAW, body))
    assert isinstance(sent, memoryview) and sent.obj is body.obj
    assert len(head) == HEADER.size + CHUNK.size


def test_largest_chunk_fits() -> None:
    holes = tuple(Hole(sector * 512, 512) for sector in range(HOLES_LIMIT))
    chunk = Chunk(0, 0, CHUNK_SIZE, bytes(32), Encoding.ZSTD, bytes(BODY_LIMIT), holes)
    assert decode(to_bytes(chunk)) == [chunk]


@given(st.binary(max_size=400), st.integers(1, 400))
def test_garbage_raises_nothing_but_peer_error(data: bytes, step: int) -> None:
    try:
        decode(data, step)
    except PeerError as error:
        assert str(error).startswith("The other machine broke the protocol: ")


@given(messages(), st.data())
def test_damaged_frame_raises_nothing_but_peer_error(message: Message, data: st.DataObject) -> None:
    frame = bytearray(to_bytes(message))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    try:
        decode(bytes(frame))
    except PeerError as error:
        assert str(error).endswith(".")


@given(st.integers(1, 13), st.binary(max_size=200))
def test_frame_of_garbage_raises_nothing_but_peer_error(code: int, payload: bytes) -> None:
    try:
        decode(HEADER.pack(code, len(payload)) + payload)
    except PeerError as error:
        assert str(error).endswith(".")


@pytest.mark.parametrize("code", [*range(14), 77, 255])
def test_claimed_length_is_refused_before_anything_is_allocated(code: int) -> None:
    decoder = Decoder()
    decoder.wanted[:] = HEADER.pack(code, U32)
    tracemalloc.start()
    with pytest.raises(PeerError):
        decoder.filled(HEADER.size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def packed_request(offset: int, length: int, held: bytes = b"", thorough: int = 0) -> bytes:
    payload = REQUEST.pack(0, offset, length, thorough) + held
    return HEADER.pack(REQUEST_CODE, len(payload)) + payload


def packed_chunk(
    *,
    offset: int = 0,
    length: int = 4,
    encoding: int = 0,
    holes: bytes = b"",
    body: bytes = b"abcd",
) -> bytes:
    payload = CHUNK.pack(0, offset, length, encoding, len(holes) // 12, bytes(32), 1, 2, 3)
    payload += holes + body
    return HEADER.pack(CHUNK_CODE, len(payload)) + payload


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (HEADER.pack(0, 0), "no message of type 0"),
        (HEADER.pack(99, 0), "no message of type 99"),
        (HEADER.pack(5, 5000), "MapRequest of 5000 bytes"),
        (HEADER.pack(5, 0), "not a valid MapRequest"),
        (HEADER.pack(5, 14) + b'{"region":"x"}', "not a valid MapRequest"),
        (packed_request(0, 0), "a chunk of 0 bytes"),
        (packed_request(0, CHUNK_SIZE + 1), "a chunk of 1048577 bytes"),
        (packed_request((1 << 64) - 1, 1), "beyond any disk"),
        (packed_request(OFFSET_LIMIT, 1), "beyond any disk"),
        (packed_request(1, CHUNK_SIZE), "across a chunk border"),
        (packed_request(0, 1, b"short"), "a digest of 5 bytes"),
        (HEADER.pack(REQUEST_CODE, 3) + b"abc", "a chunk request of 3 bytes"),
        (HEADER.pack(CHUNK_CODE, 3), "shorter than its own head"),
        (packed_request(0, 1, thorough=2), "neither thorough nor not"),
        (packed_chunk(encoding=5), "no encoding 5"),
        (packed_chunk(body=b"abc"), "a raw chunk of 4 bytes with a body of 3"),
        (packed_chunk(encoding=1, body=b""), "a packed chunk with a body of 0"),
        (packed_chunk(encoding=2), "a chunk without content that has a body"),
        (packed_chunk(encoding=3), "a chunk without content that has a body"),
        (packed_chunk(encoding=4), "a chunk without content that has a body"),
        (packed_chunk(encoding=4, body=b"", holes=struct.pack("!QI", 0, 2)), "digest or holes"),
        (packed_chunk(holes=struct.pack("!QI", 3, 2)), "behind its chunk"),
        (packed_chunk(holes=struct.pack("!QI", 1, 0)), "out of order"),
        (packed_chunk(holes=struct.pack("!QIQI", 1, 2, 2, 1)), "out of order"),
        (packed_chunk(encoding=1, body=bytes(BODY_LIMIT + 1)), "claims 0 holes"),
    ],
)
def test_broken_frames_are_named(frame: bytes, fault: str) -> None:
    with pytest.raises(PeerError, match=fault):
        decode(frame)


@pytest.mark.parametrize(
    ("flat", "fault"),
    [
        ("0", "in the middle of a chunk"),
        ("0,0", "a chunk of 0 bytes"),
        ("-1,1", "beyond any disk"),
        ("1048576,5,0,5", "out of order"),
        ("0,5,4,5", "out of order"),
        ("99999999999999999999999,5", "beyond any disk"),
        ("0,0.5", "not a valid MapAnswer"),
    ],
)
def test_broken_maps_are_named(flat: str, fault: str) -> None:
    payload = b'{"region":0,"chunks":[' + flat.encode() + b'],"last":true}'
    with pytest.raises(PeerError, match=fault):
        decode(HEADER.pack(6, len(payload)) + payload)


def test_frame_cut_short_is_no_message() -> None:
    frame = to_bytes(Stop("because"))
    for length in range(len(frame)):
        assert decode(frame[:length]) == []


def test_between_frames_tells_a_clean_end_from_a_cut() -> None:
    decoder = Decoder()
    assert decoder.between_frames
    decoder.filled(1)
    assert not decoder.between_frames


@pytest.mark.parametrize(
    "message",
    [
        ChunkRequest(0, 0, CHUNK_SIZE + 1),
        ChunkRequest(0, 0, 1, b"short"),
        Chunk(0, 0, 5, bytes(32), Encoding.RAW, b"four"),
        Chunk(0, 0, 5, bytes(31), Encoding.SAME),
        MapAnswer(0, (5,), last=True),
        Stop("x" * (1 << 17)),
    ],
)
def test_own_mistakes_are_not_sent(message: Message) -> None:
    with pytest.raises(ValueError, match=type(message).__name__):
        encode(message)
