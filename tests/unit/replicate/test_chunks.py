"""Chunks: maps they are cut from, packed, unpacked, and never believed."""

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from payload.model.errors import PeerError, ToolError
from payload.model.message import Chunk, Encoding
from payload.replicate.chunks import (
    aligned_buffer,
    digest_of,
    unpack,
    zero_digest,
)
from payload.replicate.extents import read_map

SECTOR = 512

# --- maps of used blocks

MAP = """\
# Domain logfile created by partclone
# Source: /dev/loop0
# current_pos  current_status
0x00003000     ?
#      pos        size  status
0x00000000  0x00001000  +
0x00001000  0x00001000  ?
0x00002000  0x00001000  +
"""


def map_of(tmp_path: Path, text: str, size: int = 0x3000) -> list[tuple[int, int]]:
    path = tmp_path / "map"
    path.write_text(text)
    return list(read_map(path, size))


def test_a_map_of_used_blocks(tmp_path: Path) -> None:
    assert map_of(tmp_path, MAP) == [(0, 0x1000), (0x2000, 0x1000)]


def test_what_is_behind_a_file_system_is_in_use(tmp_path: Path) -> None:
    assert map_of(tmp_path, MAP, 0x5000)[-1] == (0x3000, 0x2000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no map at all\n",
        MAP + "0x00003000  0x00001000  +\n",  # behind the end
        MAP.replace("0x00001000  0x00001000  ?\n", ""),  # a gap
        MAP + "garbage\n",
        MAP.replace("0x00002000  0x00001000  +\n", ""),  # the end is missing
        MAP[:-1],  # so is the end of the last line
        MAP.replace("0x00003000     ?\n", ""),
    ],
)
def test_a_map_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolError):
        map_of(tmp_path, text)


# --- packing


def chunk_of(content: bytes, **changes: object) -> Chunk:
    packed = zstandard.ZstdCompressor().compress(content)
    values = {
        "region": 0,
        "offset": 0,
        "length": len(content),
        "digest": digest_of(content),
        "encoding": Encoding.ZSTD,
        "body": packed,
    }
    return Chunk(**(values | changes))  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=4096), st.sampled_from([Encoding.RAW, Encoding.ZSTD]))
def test_what_was_packed_comes_out(content: bytes, encoding: Encoding) -> None:
    changes = {} if encoding is Encoding.ZSTD else {"encoding": encoding, "body": content}
    chunk = chunk_of(content, **changes)
    assert unpack(chunk, zstandard.ZstdDecompressor(), aligned_buffer()) == content


def test_zeros_need_no_body() -> None:
    buffer = aligned_buffer()
    buffer[:] = b"\xff" * len(buffer)
    chunk = Chunk(0, 0, 4096, zero_digest(4096), Encoding.ZERO)
    assert unpack(chunk, zstandard.ZstdDecompressor(), buffer) == bytes(4096)


def without_size(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(content)


CONTENT = b"content " * 512


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": bytes(32)},
        {"body": b""},
        {"body": b"no zstd at all, but long enough to look like a frame"},
        {"body": zstandard.ZstdCompressor().compress(bytes(1 << 28))},  # a bomb
        {"body": without_size(bytes(1 << 24))},  # a bomb that does not say so
        {"body": without_size(CONTENT)},
        {"body": zstandard.ZstdCompressor().compress(CONTENT)[:-1]},
        {"body": zstandard.ZstdCompressor().compress(CONTENT) + b"x"},
        {"body": zstandard.ZstdCompressor().compress(CONTENT[:-1])},
        {"encoding": Encoding.RAW, "body": CONTENT[:-1]},
        {"encoding": Encoding.RAW, "body": CONTENT + b"x"},
        {"encoding": Encoding.ZERO, "body": b"x"},
        {"encoding": Encoding.ZERO, "body": b""},
    ],
)
def test_a_chunk_that_lies_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(PeerError, match="region 0 at byte 0"):
        unpack(chunk_of(CONTENT, **changes), zstandard.ZstdDecompressor(), aligned_buffer())


@given(st.binary(max_size=600))
def test_random_bodies_never_do_more_than_raise(body: bytes) -> None:
    with pytest.raises(PeerError):
        unpack(chunk_of(CONTENT, body=body), zstandard.ZstdDecompressor(), aligned_buffer())
