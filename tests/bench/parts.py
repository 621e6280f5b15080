"""What digest, packing and encryption cost: seconds of one processor for 10^9 bytes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payload.model.plan import CHUNK_SIZE
from payload.replicate.compression import LEVELS
from tests.bench.work import Original

CHUNKS = 64
REPEATS = 3
RECORD = 16384  # bytes TLS encrypts at a time


def measure_parts(original: Original) -> dict[str, float]:
    """Of chunks of the image that is copied, the best of a few runs."""
    chunks = _sample(original)
    packer, unpacker = zstandard.ZstdCompressor(level=LEVELS[0]), zstandard.ZstdDecompressor()
    packed = [packer.compress(chunk) for chunk in chunks]
    cipher, nonce = AESGCM(os.urandom(16)), bytes(12)

    def encrypt(chunk: bytes) -> None:
        for start in range(0, len(chunk), RECORD):
            cipher.encrypt(nonce, chunk[start : start + RECORD], None)

    size = sum(map(len, chunks))
    return {
        "digest": _measure(lambda chunk: blake3(chunk).digest(), chunks, size),
        f"zstd {LEVELS[0]}": _measure(packer.compress, chunks, size),
        "unpacking": _measure(unpacker.decompress, packed, size),
        "encryption": _measure(encrypt, chunks, size),
    }


def _sample(original: Original) -> list[bytes]:
    step = max(len(original.chunks) // CHUNKS, 1)
    with Path(original.path).open("rb") as image:
        return [_read(image.fileno(), offset) for offset, _ in original.chunks[::step]]


def _read(descriptor: int, offset: int) -> bytes:
    return os.pread(descriptor, CHUNK_SIZE, offset)


def _measure(work: Callable[[bytes], object], chunks: list[bytes], size: int) -> float:
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for chunk in chunks:
            work(chunk)
        taken.append(time.perf_counter() - begin)
    return round(min(taken) / (size / 1e9), 3)
