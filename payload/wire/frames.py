"""Bytes to messages and back. Pure: no socket, no clock, and no word about who speaks when.

A frame is a header (type: u8, length of the payload: u32, both big endian) and its payload. All
messages but two are JSON; `ChunkRequest` and `Chunk` are packed, since they are the mass:

    ChunkRequest   region u32, offset u64, length u32, thorough u8 (0 or 1), then the held digest
                   (32 bytes or none)
    Chunk          region u32, offset u64, length u32, encoding u8, holes u16, digest 32 bytes,
                   microseconds spent on disk, processor and network u32 each, then the holes
                   (offset u64, length u32 each), then the body

Every length is checked against its limit before anything is allocated, and every value before it
becomes part of a message: what leaves the decoder obeys the rules of `model.message`.
"""

import mmap
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass

from payload.model.codec import DocumentError, from_json, to_json
from payload.model.errors import PeerError
from payload.model.message import (
    Alive,
    Attach,
    Chunk,
    ChunkRequest,
    Doing,
    Encoding,
    Final,
    Go,
    Hello,
    MapAnswer,
    MapRequest,
    Message,
    PlanOffer,
    Spent,
    Stop,
    Welcome,
)
from payload.model.plan import CHUNK_SIZE
from payload.model.report import Hole

KIB = 1 << 10
BODY_LIMIT = CHUNK_SIZE + 8 * KIB  # bytes; zstd may make what cannot be packed a little longer
HOLES_LIMIT = CHUNK_SIZE // 512  # per chunk: every sector on its own
OFFSET_LIMIT = 1 << 63  # bytes; where Linux ends
DIGEST_SIZE = 32  # bytes
U32 = (1 << 32) - 1

HEADER = struct.Struct("!BI")
REQUEST = struct.Struct("!IQIB")
CHUNK = struct.Struct("!IQIBH32sIII")
HOLE = struct.Struct("!QI")

Buffers = list[bytes | memoryview]
Parser = Generator[memoryview, None, Message]


@dataclass(frozen=True)
class Shape:
    """How one kind of message travels. `limit` is for the payload, in bytes."""

    code: int
    kind: type[Message]
    limit: int


_SHAPES = (
    Shape(1, Hello, 16 << 20),
    Shape(2, PlanOffer, 1 << 20),  # the source's holds its survey
    Shape(3, Go, 4 * KIB),
    Shape(4, Stop, 64 * KIB),
    Shape(5, MapRequest, 4 * KIB),
    Shape(6, MapAnswer, 256 * KIB),
    Shape(7, Doing, 64 * KIB),
    Shape(8, Attach, 4 * KIB),
    Shape(9, Welcome, 4 * KIB),
    Shape(10, Alive, 16 * KIB),
    Shape(11, Final, 16 << 20),
    Shape(12, ChunkRequest, REQUEST.size + DIGEST_SIZE),
    Shape(13, Chunk, CHUNK.size + HOLES_LIMIT * HOLE.size + BODY_LIMIT),
)
_BY_CODE = {shape.code: shape for shape in _SHAPES}
_BY_KIND = {shape.kind: shape for shape in _SHAPES}


# --- to bytes


def encode(message: Message) -> Buffers:
    """The frame of a message, in buffers to be sent one after the other.

    The body of a chunk is passed through, not copied. Raises ValueError for a message that the
    other side would refuse: a mistake of ours, never the peer's.
    """
    if isinstance(message, Chunk):
        head, body = _pack_chunk(message), memoryview(message.body).cast("B")
    elif isinstance(message, ChunkRequest):
        head, body = _pack_request(message), memoryview(b"")
    else:
        head, body = to_json(message), memoryview(b"")
        _obey(message)
    shape = _BY_KIND[type(message)]
    size = len(head) + body.nbytes
    if size > shape.limit:
        raise ValueError(f"{shape.kind.__name__} of {size} bytes, {shape.limit} are allowed")
    frame: Buffers = [HEADER.pack(shape.code, size) + head]
    return [*frame, body] if body.nbytes else frame


def _pack_request(request: ChunkRequest) -> bytes:
    _obey(request)
    head = REQUEST.pack(request.region, request.offset, request.length, request.thorough)
    return head + request.held


def _pack_chunk(chunk: Chunk) -> bytes:
    _obey(chunk)
    spent = chunk.spent
    head = CHUNK.pack(
        chunk.region,
        chunk.offset,
        chunk.length,
        chunk.encoding,
        len(chunk.holes),
        chunk.digest,
        *(min(time, U32) for time in (spent.disk, spent.processor, spent.network)),
    )
    return head + b"".join(HOLE.pack(hole.offset, hole.length) for hole in chunk.holes)


def _obey(message: Message) -> None:
    fault = find_fault(message)
    if fault:
        raise ValueError(f"{type(message).__name__}: {fault}")


# --- the rules


def find_fault(message: Message) -> str:
    """What is wrong with the values of a message; "" when it obeys the rules."""
    if isinstance(message, ChunkRequest):
        return _range_fault(message.offset, message.length) or _held_fault(message.held)
    if isinstance(message, Chunk):
        return _range_fault(message.offset, message.length) or _chunk_fault(message)
    if isinstance(message, MapAnswer):
        return _map_fault(message.chunks)
    return ""


def _range_fault(offset: int, length: int) -> str:
    if not 0 < length <= CHUNK_SIZE:
        return f"a chunk of {length} bytes"
    if not 0 <= offset <= OFFSET_LIMIT - length:
        return f"a chunk at offset {offset}, beyond any disk"
    if offset % CHUNK_SIZE + length > CHUNK_SIZE:
        return f"a chunk of {length} bytes at offset {offset}, across a chunk border"
    return ""


def _held_fault(held: bytes) -> str:
    if len(held) not in (0, DIGEST_SIZE):
        return f"a digest of {len(held)} bytes"
    return ""


def _chunk_fault(chunk: Chunk) -> str:
    if len(chunk.digest) != DIGEST_SIZE:
        return f"a digest of {len(chunk.digest)} bytes"
    size = memoryview(chunk.body).nbytes
    if chunk.encoding is Encoding.RAW and size != chunk.length:
        return f"a raw chunk of {chunk.length} bytes with a body of {size}"
    if chunk.encoding is Encoding.ZSTD and not 0 < size <= BODY_LIMIT:
        return f"a packed chunk with a body of {size} bytes"
    if chunk.encoding in (Encoding.ZERO, Encoding.SAME, Encoding.LATER) and size:
        return f"a chunk without content that has a body of {size} bytes"
    if chunk.encoding is Encoding.LATER and (any(chunk.digest) or chunk.holes):
        return "a chunk for later that has a digest or holes"
    return _holes_fault(chunk)


def _holes_fault(chunk: Chunk) -> str:
    if len(chunk.holes) > HOLES_LIMIT:
        return f"a chunk with {len(chunk.holes)} holes"
    end = chunk.offset
    for hole in chunk.holes:
        if hole.offset < end or hole.length <= 0:
            return f"a hole of {hole.length} bytes out of order at offset {hole.offset}"
        end = hole.offset + hole.length
    if end > chunk.offset + chunk.length:
        return f"a hole that ends at {end}, behind its chunk"
    return ""


def _map_fault(chunks: tuple[int, ...]) -> str:
    if len(chunks) % 2:
        return "a map that ends in the middle of a chunk"
    end = 0
    for offset, length in zip(chunks[::2], chunks[1::2], strict=True):
        fault = _range_fault(offset, length)
        if fault or offset < end:
            return fault or f"a map that is out of order at offset {offset}"
        end = offset + length
    return ""


# --- from bytes


class Decoder:
    """Takes the bytes of one connection and gives its messages.

    Read into `wanted` and tell `filled` how many bytes came. It wants exactly what the frame still
    needs, and body bytes go straight to their place: a page-aligned buffer that is used again for
    the next chunk. After a PeerError the decoder is of no more use.
    """

    def __init__(self) -> None:
        self._head = memoryview(bytearray(CHUNK.size))
        self._holes = memoryview(bytearray(HOLES_LIMIT * HOLE.size))
        self._body = memoryview(mmap.mmap(-1, BODY_LIMIT))
        self.wanted = memoryview(b"")
        self.between_frames = True  # nothing of the next frame has come yet
        self._expect_frame()

    def filled(self, count: int) -> Message | None:
        """`count` bytes came into `wanted`; the message they complete, if they do.

        The body of a Chunk is a view of the decoder's buffer and good until bytes are read again.
        Raises PeerError when the bytes are not what the protocol allows.
        """
        self.wanted = self.wanted[count:]
        self.between_frames = self.between_frames and not count
        if self.wanted:
            return None
        try:
            self.wanted = next(self._parser)
        except StopIteration as end:
            self._expect_frame()
            message: Message = end.value
            return message
        return None

    def _expect_frame(self) -> None:
        self._parser = self._parse_frame()
        self.wanted = next(self._parser)
        self.between_frames = True

    def _parse_frame(self) -> Parser:
        yield self._head[: HEADER.size]
        code, size = HEADER.unpack_from(self._head)
        shape = _check_header(code, size)
        if shape.kind is Chunk:
            return (yield from self._parse_chunk(size))
        payload = memoryview(bytearray(size))
        if size:
            yield payload
        return (
            _parse_request(payload) if shape.kind is ChunkRequest else _parse_json(shape, payload)
        )

    def _parse_chunk(self, size: int) -> Parser:
        if size < CHUNK.size:
            raise PeerError(_broken(f"a chunk of {size} bytes is shorter than its own head"))
        yield self._head
        region, offset, length, code, holes, digest, *spent = CHUNK.unpack(self._head)
        body_size = size - CHUNK.size - holes * HOLE.size
        if holes > HOLES_LIMIT or not 0 <= body_size <= BODY_LIMIT:
            raise PeerError(_broken(f"a chunk of {size} bytes claims {holes} holes"))
        if holes:
            yield self._holes[: holes * HOLE.size]
        places = HOLE.iter_unpack(self._holes[: holes * HOLE.size])
        body = self._body[:body_size]
        chunk = Chunk(
            region=region,
            offset=offset,
            length=length,
            digest=digest,
            encoding=_parse_encoding(code),
            body=body,
            holes=tuple(Hole(start, span) for start, span in places),
            spent=Spent(*spent),
        )
        _check(chunk)
        if body_size:
            yield body
        return chunk


def _check_header(code: int, size: int) -> Shape:
    shape = _BY_CODE.get(code)
    if shape is None:
        raise PeerError(_broken(f"there is no message of type {code}"))
    if size > shape.limit:
        name = shape.kind.__name__
        raise PeerError(_broken(f"{name} of {size} bytes, {shape.limit} are allowed"))
    return shape


def _parse_request(payload: memoryview) -> ChunkRequest:
    if len(payload) < REQUEST.size:
        raise PeerError(_broken(f"a chunk request of {len(payload)} bytes"))
    region, offset, length, thorough = REQUEST.unpack_from(payload)
    if thorough > 1:
        raise PeerError(_broken(f"a chunk request that is neither thorough nor not ({thorough})"))
    held = bytes(payload[REQUEST.size :])
    request = ChunkRequest(region, offset, length, held, bool(thorough))
    _check(request)
    return request


def _parse_encoding(code: int) -> Encoding:
    try:
        return Encoding(code)
    except ValueError:
        raise PeerError(_broken(f"there is no encoding {code}")) from None


def _parse_json(shape: Shape, payload: memoryview) -> Message:
    parse: Callable[[type[Message], bytes], Message] = from_json
    try:
        message = parse(shape.kind, bytes(payload))
    except DocumentError as error:
        raise PeerError(_broken(str(error))) from error
    _check(message)
    return message


def _check(message: Message) -> None:
    fault = find_fault(message)
    if fault:
        raise PeerError(_broken(fault))


def _broken(fault: str) -> str:
    return f"The other machine broke the protocol: {fault}. The connection was closed."
