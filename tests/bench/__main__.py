"""Speed of the parts a copy is made of, on one core of this machine.

    python -m tests.bench --output build/bench/bench.json

A frame so far: digest and compression of one chunk size, which bound what a single stream can do.
The comparison with other copying tools comes with the engine's own measurements.
"""

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import zstandard
from blake3 import blake3

from payload.model.codec import to_pretty_json
from payload.model.plan import CHUNK_SIZE

CHUNKS = 64
REPEATS = 3


def sample_chunks() -> list[bytes]:
    """Chunks like a server's disk: text that packs well, and scans that do not pack at all."""
    dice = random.Random(1)
    words = [dice.randbytes(4).hex().encode() for _ in range(2000)]
    text = b" ".join(dice.choices(words, k=CHUNK_SIZE // 8))[:CHUNK_SIZE]
    return [text if number % 2 else dice.randbytes(CHUNK_SIZE) for number in range(CHUNKS)]


def measure(work: Callable[[bytes], object], chunks: list[bytes]) -> float:
    """Seconds for all chunks, the best of a few runs."""
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for chunk in chunks:
            work(chunk)
        taken.append(time.perf_counter() - begin)
    return min(taken)


def run() -> dict[str, dict[str, float]]:
    """Seconds per part, its rate in 10^6 bytes per second, and packed size by size."""
    chunks = sample_chunks()
    packer, unpacker = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    packed = [packer.compress(chunk) for chunk in chunks]
    size = sum(map(len, chunks))
    seconds = {
        "blake3": measure(lambda chunk: blake3(chunk).digest(), chunks),
        "zstd -1": measure(packer.compress, chunks),
        "zstd unpack": measure(unpacker.decompress, packed),
    }
    return {
        "seconds": {name: round(taken, 4) for name, taken in seconds.items()},
        "megabytes_per_second": {name: round(size / taken / 1e6, 1)
                                 for name, taken in seconds.items()},
        "ratios": {"zstd -1": round(sum(map(len, packed)) / size, 3)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--output", type=Path, default=Path("build/bench/bench.json"))
    output = parser.parse_args().output
    print(f"bench: {CHUNKS} chunks of {CHUNK_SIZE} bytes, one core, best of {REPEATS} runs")
    found = run()
    for name, rate in found["megabytes_per_second"].items():
        print(f"bench: {name:12} {rate:9.1f} MB/s")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(to_pretty_json(found))
    print(f"bench: written to {output}")


if __name__ == "__main__":
    main()
