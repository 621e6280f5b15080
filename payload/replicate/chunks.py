"""One chunk: read, digested and packed on the source; unpacked, checked and written on the target.

Everything heavy here (disk calls, BLAKE3, zstd) releases the interpreter lock, so that threads
share the processors. Buffers are whole pages, as O_DIRECT wants them.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter

import zstandard
from blake3 import blake3

from payload.model.errors import PeerError
from payload.model.message import Chunk, Encoding
from payload.model.plan import CHUNK_SIZE

LEVEL = 1  # of zstd: the facts of this wire and these processors never favoured a higher one
WORTHWHILE = 0.9  # packed size over size: above, the body goes as it is
MEMORY = 16  # chunks that count most in what is known of wire and processor
LOOK_AGAIN = 16  # chunks sent unpacked before packing is tried again


def aligned_buffer(size: int = CHUNK_SIZE) -> memoryview:
    """Memory that O_DIRECT takes: zeroed whole pages. Freed with the last view of it."""
    return memoryview(mmap.mmap(-1, size))


def read_exactly(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Fill the buffer from that byte on. Raises OSError, EOFError at the end of the disk."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if not count:
            raise EOFError(f"nothing at byte {offset + done}")
        done += count


def write_exactly(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Write the whole buffer from that byte on. Raises OSError."""
    done = 0
    while done < len(buffer):
        done += os.pwritev(descriptor, [buffer[done:]], offset + done)


def digest_of(content: bytes | memoryview) -> bytes:
    """BLAKE3, 32 bytes."""
    return blake3(content).digest()


@lru_cache(maxsize=64)
def zero_digest(length: int) -> bytes:
    """The digest of that many zeros: comparing with it finds empty chunks without another pass."""
    return digest_of(bytes(length))


@dataclass
class Price:
    """Seconds for a byte, over the last dozens of chunks. A single one tells little: a buffer takes
    some at once, and lets others wait until it has room."""

    seconds: float = 0.0
    size: float = 0.0

    def learn(self, size: int, seconds: float) -> None:
        self.seconds += seconds - self.seconds / MEMORY
        self.size += size - self.size / MEMORY

    @property
    def value(self) -> float:
        """0.0 as long as nothing was learned."""
        return self.seconds / self.size if self.size else 0.0


@dataclass
class Compression:
    """Decides, chunk by chunk of one connection, whether packing saves time.

    What waits is told by two prices, both as measured seconds per byte: sending a byte (high when
    wire or target are slow) and packing one. Packing is worth it when what it costs is less than
    what the bytes it saves would cost on the wire. While it is not, it is tried again every
    LOOK_AGAIN chunks, since content and wire change.
    """

    sending: Price = field(default_factory=lambda: Price(1e-2, 1e6))  # until measured: 1 Gbit/s
    packing: Price = field(default_factory=Price)
    ratio: float = 0.0
    unpacked: int = 0  # chunks in a row

    def pack(
        self, compressor: zstandard.ZstdCompressor, content: memoryview
    ) -> tuple[Encoding, bytes | memoryview]:
        """The body to send: packed, if that seems to pay, and does."""
        if self._seems_useless():
            self.unpacked += 1
            return Encoding.RAW, content
        self.unpacked = 0
        start = perf_counter()
        packed = compressor.compress(content)
        self.packing.learn(len(content), perf_counter() - start)
        self.ratio = _blend(self.ratio, len(packed) / len(content))
        if len(packed) > WORTHWHILE * len(content):
            return Encoding.RAW, content
        return Encoding.ZSTD, packed

    def _seems_useless(self) -> bool:
        saved = 1 - self.ratio
        cheap = self.ratio <= WORTHWHILE and self.packing.value < saved * self.sending.value
        return not cheap and self.packing.size > 0 and self.unpacked < LOOK_AGAIN

    def sent(self, size: int, seconds: float) -> None:
        """Learn what sending that many bytes took."""
        if size:
            self.sending.learn(size, seconds)


def _blend(old: float, new: float) -> float:
    """A running average that a single hiccup does not turn over."""
    return new if not old else old + (new - old) / 4


def unpack(
    chunk: Chunk, decompressor: zstandard.ZstdDecompressor, buffer: memoryview
) -> memoryview:
    """The content of a chunk that carries one, in `buffer`, equal to its digest.

    Raises PeerError when it is longer, shorter or other than it says; the caller then has
    nothing it could write. A SAME chunk carries none and never comes here.
    """
    content = buffer[: chunk.length]
    _FILL[chunk.encoding](chunk, decompressor, content)
    if digest_of(content) != chunk.digest:
        raise PeerError(f"{_place(chunk)} does not have the digest it came with.")
    return content


def _fill_raw(chunk: Chunk, _: zstandard.ZstdDecompressor, content: memoryview) -> None:
    if len(chunk.body) != chunk.length:
        raise PeerError(f"{_place(chunk)} has {len(chunk.body)} bytes, not {chunk.length}.")
    content[:] = chunk.body


def _fill_zero(chunk: Chunk, _: zstandard.ZstdDecompressor, content: memoryview) -> None:
    if len(chunk.body):
        raise PeerError(f"{_place(chunk)} says that it is zero, and has a body.")
    content[:] = bytes(chunk.length)


def _fill_packed(
    chunk: Chunk, decompressor: zstandard.ZstdDecompressor, content: memoryview
) -> None:
    # The size in the frame's head decides how much memory is taken: look before unpacking.
    try:
        size = zstandard.get_frame_parameters(chunk.body).content_size
        if size != chunk.length:
            raise PeerError(f"{_place(chunk)} would unpack to {size} bytes, not {chunk.length}.")
        unpacked = decompressor.decompress(
            chunk.body, max_output_size=chunk.length, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise PeerError(f"{_place(chunk)} could not be unpacked: {error}.") from error
    if len(unpacked) != chunk.length:
        raise PeerError(f"{_place(chunk)} has {len(unpacked)} bytes, not {chunk.length}.")
    content[:] = unpacked


_FILL: dict[Encoding, Callable[[Chunk, zstandard.ZstdDecompressor, memoryview], None]] = {
    Encoding.RAW: _fill_raw,
    Encoding.ZERO: _fill_zero,
    Encoding.ZSTD: _fill_packed,
}


def _place(chunk: Chunk) -> str:
    return f"The chunk of region {chunk.region} at byte {chunk.offset} from the source"
