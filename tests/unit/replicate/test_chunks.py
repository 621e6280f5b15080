"""Chunks: maps they are cut from, packed, unpacked, and never believed."""

import errno
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from payload.model.disk import Hardware
from payload.model.errors import PeerError, SourceDiskError, ToolError
from payload.model.message import Chunk, Encoding
from payload.model.report import Hole
from payload.replicate import sick_disk
from payload.replicate.chunks import (
    aligned_buffer,
    digest_of,
    unpack,
    zero_digest,
)
from payload.replicate.extents import read_map
from payload.replicate.sick_disk import Patience

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


# --- bad places


class Platter:
    """A disk of which some bytes cannot be read."""

    def __init__(self, content: bytes, bad: list[tuple[int, int]], code: int) -> None:
        self.content, self.bad, self.code, self.reads = content, bad, code, 0

    def read(self, _: int, buffer: memoryview, offset: int) -> None:
        self.reads += 1
        end = offset + len(buffer)
        if any(first < end and offset < last for first, last in self.bad):
            raise OSError(self.code, os.strerror(self.code))
        if end > len(self.content):
            raise EOFError
        buffer[:] = self.content[offset:end]


DISK = Hardware("sda", "/dev/sda", 64 * SECTOR, serial="S1")


def read_around(
    monkeypatch: pytest.MonkeyPatch,
    platter: Platter,
    start: int,
    size: int,
    patience: Patience | None = None,
) -> tuple[bytes, list[Hole]]:
    monkeypatch.setattr(sick_disk, "read_exactly", platter.read)
    buffer = memoryview(bytearray(b"\xaa" * size))
    holes = sick_disk.read_around(DISK, 3, buffer, start, patience or Patience())
    return bytes(buffer), holes


@pytest.mark.parametrize("code", sorted(sick_disk.BAD_PLACE))
def test_one_bad_sector_costs_one_sector(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    content = os.urandom(64 * SECTOR)
    platter = Platter(content, [(9 * SECTOR, 9 * SECTOR + 1)], code)
    got, holes = read_around(monkeypatch, platter, 4 * SECTOR, 32 * SECTOR)
    assert holes == [Hole(9 * SECTOR, SECTOR)]
    wanted = content[: 9 * SECTOR] + bytes(SECTOR) + content[10 * SECTOR :]
    assert got == wanted[4 * SECTOR : 36 * SECTOR]
    assert platter.reads < 16


def test_neighbouring_holes_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [(7 * SECTOR, 10 * SECTOR), (20 * SECTOR, 21 * SECTOR)]
    platter = Platter(bytes(64 * SECTOR), bad, errno.EIO)
    _, holes = read_around(monkeypatch, platter, 0, 64 * SECTOR)
    assert holes == [Hole(7 * SECTOR, 3 * SECTOR), Hole(20 * SECTOR, SECTOR)]


def test_a_very_sick_place_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(bytes(64 * SECTOR), [(0, 64 * SECTOR)], errno.EIO)
    patience = Patience(lambda: platter.reads * sick_disk.PATIENCE / 8)
    _, holes = read_around(monkeypatch, platter, 0, 64 * SECTOR, patience)
    assert holes == [Hole(0, 64 * SECTOR)]
    assert 8 < platter.reads < 20


def test_a_very_sick_disk_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read takes ten seconds. After an hour of bad places a chunk costs one read, and what
    can be read still is."""
    platter = Platter(os.urandom(64 * SECTOR), [(0, 32 * SECTOR)], errno.EIO)
    patience = Patience(lambda: platter.reads * 10.0)
    for _ in range(400):
        read_around(monkeypatch, platter, 0, 8 * SECTOR, patience)
    assert platter.reads < 360 + 400 + 20
    got, holes = read_around(monkeypatch, platter, 32 * SECTOR, 8 * SECTOR, patience)
    assert (got, holes) == (platter.content[32 * SECTOR : 40 * SECTOR], [])


def test_a_place_is_read_at_once_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(os.urandom(64 * SECTOR), [(9 * SECTOR, 10 * SECTOR)], errno.EIO)
    monkeypatch.setattr(sick_disk, "read_exactly", platter.read)
    buffer = memoryview(bytearray(8 * SECTOR))
    assert not sick_disk.read_at_once(DISK, 3, buffer, 8 * SECTOR)
    assert platter.reads == 1
    assert sick_disk.read_at_once(DISK, 3, buffer, 16 * SECTOR)
    assert buffer == platter.content[16 * SECTOR : 24 * SECTOR]


@pytest.mark.parametrize("code", [errno.ENODEV, errno.ENXIO, errno.EBADF])
def test_a_disk_that_is_gone_is_no_hole(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    platter = Platter(bytes(64 * SECTOR), [(SECTOR, 2 * SECTOR)], code)
    with pytest.raises(SourceDiskError, match="S1"):
        read_around(monkeypatch, platter, 0, 8 * SECTOR)


def test_a_disk_that_became_shorter_is_no_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceDiskError, match="it ends there"):
        read_around(monkeypatch, Platter(bytes(SECTOR), [], errno.EIO), 0, 2 * SECTOR)
