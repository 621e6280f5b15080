"""What an initramfs holds, read from its image without unpacking it to anywhere.

An image is a row of cpio archives, each plain or compressed, with zero bytes between them: often
one with microcode, plain, in front of the real one. It is read as a stream. Images of before the
cpio age (a file system of its own) are told by their name and not looked into.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import lz4.block
import zstandard

from payload.formats.kernel.cpio import CpioError, Member, Stream, read_members
from payload.system.files import Place, opened_file

MODULE = re.compile(r"(?:.*/)?([^/]+?)\.k?o(?:\.(?:gz|xz|zst|lzma|bz2))?")
_STEP = 1 << 14  # bytes at a time
_PACKED = 1 << 10  # of packed data: zstd makes up to 32 KiB of each of its bytes, all at once
_UNPACKED = 1 << 20
_MEMORY = 128 << 20  # bytes for an LZMA dictionary; xz -9 needs half of that
_LONGEST = 64 << 20  # bytes of names and kept files: ten times the largest initramfs there is
_ENTRY = 128  # bytes that one member costs beside its name
_LARGEST = 8 << 30  # bytes when unpacked: what is larger is none
_LZ4 = b"\x02\x21\x4c\x18"
_LZ4_BLOCK = 8 << 20  # bytes, unpacked
_LZ4_LONGEST = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16  # bytes, packed (LZ4_COMPRESSBOUND)
# Images of the time before Linux 2.6, or of makers that kept to it.
_FILE_SYSTEMS = (
    (0, b"\x45\x3d\xcd\x28", "cramfs"),
    (0, b"-rom1fs-", "romfs"),
    (0, b"hsqs", "squashfs"),
    (1080, b"\x53\xef", "ext2"),
)
_DAMAGES = (
    CpioError, EOFError, lzma.LZMAError, lz4.block.LZ4BlockError, zlib.error, zstandard.ZstdError,
)  # fmt: skip


class InitramfsError(ValueError):
    """The image is damaged, or of a kind that is not known here."""


@dataclass(frozen=True)
class Contents:
    """The files of an image; paths without leading "/". `kept` is what was asked for."""

    paths: frozenset[str]
    kept: Mapping[str, bytes]

    @property
    def modules(self) -> frozenset[str]:
        """The kernel modules inside, by name."""
        found = (MODULE.fullmatch(path) for path in self.paths)
        return frozenset(module_name(match[1]) for match in found if match)


def module_name(name: str) -> str:
    """Modules are the same whether written with - or _."""
    return name.replace("-", "_")


def read_initramfs(image: Place, keep: Callable[[str], bool] = lambda path: False) -> Contents:
    """What an image holds, with the content of the files that `keep` says yes to.

    Raises InitramfsError or OSError.
    """
    paths: set[str] = set()
    kept: dict[str, bytes] = {}
    try:
        with opened_file(image.root, image.path) as file:
            if file is None:
                raise InitramfsError("the image is missing, or not a regular file")
            left = _LONGEST
            for member in _members(_Image(file), keep):
                left -= _ENTRY + len(member.path) + len(member.content)
                if left < 0:
                    raise InitramfsError("the image holds more files than an initramfs has")
                paths.add(member.path)
                if member.content:
                    kept[member.path] = member.content
    except _DAMAGES as error:
        raise InitramfsError(f"the image is damaged: {error}") from error
    if not paths:
        raise InitramfsError("the image is empty")
    return Contents(frozenset(paths), kept)


class _AtOnce(Protocol):
    """A decompressor that gives all there is in what it is given."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Decompressor(Protocol):
    """One that gives no more than it is asked for, and keeps what comes after."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


class _Fed:
    """One of the first kind as one of the second: it is given little, and so gives little."""

    needs_input = True

    def __init__(self, inner: _AtOnce) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        return self._inner.decompress(data)


_COMPRESSIONS: tuple[tuple[bytes, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", lambda: _Fed(zlib.decompressobj(31))),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(memlimit=_MEMORY)),
    (b"\x5d\0\0", lambda: lzma.LZMADecompressor(memlimit=_MEMORY)),
    (b"\x28\xb5\x2f\xfd", lambda: _Fed(zstandard.ZstdDecompressor().decompressobj())),
)


class _Image:
    """A stream of which what was read too far can be given back.

    `left` bytes more may come out of it and out of all that is packed in it.
    """

    def __init__(self, file: Stream) -> None:
        self._file, self._back = file, b""
        self.left = _LARGEST

    def read(self, size: int, /) -> bytes:
        if not self._back:
            piece = self._file.read(size)
            self.left -= len(piece)
            if self.left < 0:
                raise EOFError("it does not end")
            return piece
        piece, self._back = self._back[:size], self._back[size:]
        return piece

    def give_back(self, data: bytes) -> None:
        self._back = data + self._back

    def peek(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := self.read(size - len(data))):
            data += piece
        self.give_back(data)
        return data

    def skip_zeros(self) -> bool:
        """Go to the next byte that is none. False at the end."""
        while piece := self.read(_STEP):
            rest = piece.lstrip(b"\0")
            if rest:
                self.give_back(rest)
                return True
        return False


class _Unpacked:
    """One compressed archive of an image, unpacked while it is read."""

    def __init__(self, image: _Image, magic: bytes, make: Callable[[], Decompressor]) -> None:
        self._image, self._magic, self._make = image, magic, make
        self._decompressor = make()
        self._ready, self._at = b"", 0

    def read(self, size: int, /) -> bytes:
        while self._at == len(self._ready):
            if self._decompressor.eof and not self._next():
                return b""
            packed = self._image.read(_PACKED) if self._decompressor.needs_input else b""
            if not packed and self._decompressor.needs_input:
                raise EOFError("it ends in the middle")
            self._ready, self._at = self._decompressor.decompress(packed, max_length=_UNPACKED), 0
            self._image.left -= len(self._ready)
            if self._image.left < 0:
                raise EOFError("it does not end")
            if self._decompressor.eof:
                self._image.give_back(self._decompressor.unused_data)
        piece = self._ready[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _next(self) -> bool:
        """Compressors that work in parallel write several parts, one right after the other."""
        again = self._image.peek(len(self._magic)) == self._magic
        if again:
            self._decompressor = self._make()
        return again


def _members(image: _Image, keep: Callable[[str], bool]) -> Iterator[Member]:
    while image.skip_zeros():
        start = image.peek(6)
        if start.startswith(b"07070"):
            yield from read_members(image, keep)
        elif start.startswith(_LZ4):
            yield from _plain_members(_Image(_Lz4(image)), keep)
        else:
            yield from _plain_members(_Image(_unpacked(image, start)), keep)


def _plain_members(image: _Image, keep: Callable[[str], bool]) -> Iterator[Member]:
    while image.skip_zeros():
        if not image.peek(6).startswith(b"07070"):
            raise _unknown(image)
        yield from read_members(image, keep)


def _unpacked(image: _Image, start: bytes) -> Stream:
    for magic, make in _COMPRESSIONS:
        if start.startswith(magic):
            return _Unpacked(image, magic, make)
    raise _unknown(image)


def _unknown(image: _Image) -> InitramfsError:
    head = image.peek(2048)
    for place, magic, name in _FILE_SYSTEMS:
        if head[place:].startswith(magic):
            return InitramfsError(f"the image is a file system of its own, {name}")
    return InitramfsError(f"the image is of no known kind (it goes on with {head[:4].hex()})")


class _Lz4:
    """LZ4 as the kernel reads it, unpacked block by block, so that what is made of it is bounded.

    It is the legacy format (lz4_Frame_format.md, lib/decompress_unlz4.c): the magic number, then
    blocks, each with its packed size, of 8 MiB when unpacked.
    """

    def __init__(self, image: "_Image") -> None:
        self._image = image
        self._ready, self._at = b"", 0
        image.read(len(_LZ4))

    def read(self, size: int, /) -> bytes:
        while self._at == len(self._ready):
            block = self._next_block()
            if not block:
                return b""
            self._image.left -= _LZ4_BLOCK  # all but the last have so much in them
            if self._image.left < 0:
                raise EOFError("it does not end")
            self._ready, self._at = lz4.block.decompress(block, uncompressed_size=_LZ4_BLOCK), 0
        piece = self._ready[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _next_block(self) -> bytes:
        """As packed, without its size; empty at the end, or before what is no block."""
        while (head := self._image.peek(4)) == _LZ4:
            self._image.read(4)  # several images one after the other
        length = int.from_bytes(head, "little")
        if len(head) < 4 or not 0 < length <= _LZ4_LONGEST:
            return b""
        self._image.read(4)
        block = b""
        while len(block) < length:
            piece = self._image.read(length - len(block))
            if not piece:
                raise EOFError("it ends in the middle")
            block += piece
        return block
