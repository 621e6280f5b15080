"""One chunk: read and digested on the source; unpacked, checked and written on the target.

Everything heavy here (disk calls, BLAKE3, zstd) releases the interpreter lock, so that threads
share the processors. Buffers are whole pages, as O_DIRECT wants them.
"""

import mmap
import os
from collections.abc import Callable
from functools import lru_cache

import zstandard
from blake3 import blake3

from payload.model.errors import PeerError
from payload.model.message import Chunk, Encoding
from payload.model.plan import CHUNK_SIZE


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
