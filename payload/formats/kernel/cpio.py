"""Read the members of a cpio archive in the "newc" format, as an initramfs is made of them.

The archive is a stream, since it may be larger than this machine's memory: only the content of
members that are asked for is kept. It may be damaged or hostile, so every number in it is checked
before it is believed.
"""

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

HEADER = 110  # bytes: a magic number of 6 digits and 13 fields of 8 hex digits
MAGIC = (b"070701", b"070702")  # the second has checksums, which nobody checks
LAST = "TRAILER!!!"
_HEX = re.compile(rb"[0-9A-Fa-f]{104}")
_LONGEST_NAME = 4096
_LARGEST_KEPT = 1 << 20  # bytes of a member that is kept; larger ones are known by name only
_STEP = 1 << 20


class CpioError(ValueError):
    """The archive is damaged, or none."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Member:
    """A file, directory or link. `path` is without leading "/" or "./"; `content` is empty for
    members nobody asked for."""

    path: str
    mode: int
    size: int
    content: bytes = b""

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


def read_members(stream: Stream, keep: Callable[[str], bool]) -> Iterator[Member]:
    """The members up to the archive's end; the stream then stands right behind its last name.

    `keep` says whose content is wanted. Raises CpioError.
    """
    while True:
        header = _exactly(stream, HEADER)
        if header[:6] not in MAGIC or not _HEX.fullmatch(header[6:]):
            raise CpioError("no member where one should begin")
        fields = [int(header[place : place + 8], 16) for place in range(6, HEADER, 8)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        if not 1 <= name_size <= _LONGEST_NAME:
            raise CpioError(f"a name of {name_size} bytes")
        name = _exactly(stream, name_size).rstrip(b"\0").decode("utf-8", "surrogateescape")
        if name == LAST:
            return
        _skip(stream, -(HEADER + name_size) % 4)
        path = name.removeprefix("./").lstrip("/")
        wanted = size <= _LARGEST_KEPT and keep(path)
        content = _exactly(stream, size) if wanted else b""
        _skip(stream, -size % 4 if wanted else size + -size % 4)
        yield Member(path, mode, size, content)


def _exactly(stream: Stream, size: int) -> bytes:
    pieces = []
    while size:
        piece = stream.read(min(size, _STEP))
        if not piece:
            raise CpioError("it ends in the middle")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _skip(stream: Stream, size: int) -> None:
    while size:
        piece = stream.read(min(size, _STEP))
        if not piece:
            raise CpioError("it ends in the middle")
        size -= len(piece)
