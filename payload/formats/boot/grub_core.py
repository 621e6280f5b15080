"""GRUB 2 in a disk's first sectors: boot.img, which knows one sector, and core.img from there on.

core.img holds, compressed, where its directory is: a prefix such as "(,msdos1)/boot/grub" or
"(lvm/vg-root)/boot/grub", and maybe a small script that searches a file system by its UUID.
"""

import contextlib
import lzma
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TypedDict

from payload.formats.boot.boot_sector import BIOS_BOOT, GRUB_2, BootCode, ReadDisk
from payload.model.disk import SECTOR, PartitionTable
from payload.model.errors import LoaderError

_CORE_LIMIT = 4 << 20  # bytes; no core.img is larger
_TRIES_LIMIT = 16 * _CORE_LIMIT  # bytes that are unpacked in search of the one that is right
_PIECE = 1 << 16  # bytes
_CORE_CODE = b"\x52"  # diskboot.img begins with push %dx
_LZMA = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}]
PREFIX, CONFIG = 3, 2  # kinds of what is embedded behind GRUB's kernel


class _Place(TypedDict, total=False):
    """Fields of BootCode."""

    number: int
    elsewhere: bool
    device: str


def read_grub2(read: ReadDisk, sector: bytes, table: PartitionTable | None, name: str) -> BootCode:
    """What boot.img in `sector` leads to. Raises LoaderError when its core is not there whole."""
    (first,) = struct.unpack_from("<Q", sector, 0x5C)
    head = read(first * SECTOR, SECTOR)
    if len(head) < SECTOR or not head.startswith(_CORE_CODE):
        raise LoaderError(
            f"GRUB's boot sector on {name} points to sector {first}, where GRUB's core is not."
            " The copy would stop before its menu. Boot the copy from a rescue medium and run"
            " grub-install in it, or start both machines again for a new copy."
        )
    blocks = [(first, 1), *_block_list(head)]
    core = head
    for start, count in blocks[1:]:
        part = read(start * SECTOR, min(count * SECTOR, _CORE_LIMIT))
        if len(part) < count * SECTOR or not any(part):
            raise LoaderError(
                f"GRUB's core on {name} should go on in sectors {start} to {start + count - 1}, and"
                " does not. Boot the copy from a rescue medium and run grub-install in it, or start"
                " both machines again for a new copy."
            )
        core += part
    place = _place_of(blocks, table)
    checks = (f"GRUB's boot sector on {name} points to its core in sector {first}, {place}",)
    payload = _decompress(core)
    if payload is None:
        return BootCode(GRUB_2, checks)
    whole = f"core.img ({len(core) // SECTOR} sectors) is whole"
    objects = read_objects(_module_area(payload))
    told = told_by(objects.get(PREFIX, ""), objects.get(CONFIG, ""))
    return replace(told, checks=(*checks, whole))


def _block_list(head: bytes) -> Iterator[tuple[int, int]]:
    """(first sector, number of sectors) from the end of diskboot.img downwards."""
    for at in range(SECTOR - 12, 0x100, -12):
        start, count = struct.unpack_from("<QH", head, at)
        if count == 0:
            return
        yield start, count


def _place_of(blocks: list[tuple[int, int]], table: PartitionTable | None) -> str:
    end = max(start + count for start, count in blocks) * SECTOR
    begin = min(start for start, _ in blocks) * SECTOR
    partitions = table.partitions if table else ()
    if all(partition.start >= end for partition in partitions):
        return "in the gap before the first partition"
    for partition in partitions:
        if not partition.is_extended and partition.start <= begin and end <= partition.end:
            kind = "BIOS boot partition" if partition.type_id == BIOS_BOOT else "partition"
            return f"in {kind} {partition.number}"
    return "by a list of blocks"


def _decompress(core: bytes) -> bytes | None:
    """Kernel and modules out of core.img; None for the layouts of older GRUBs.

    The decompressor's own length is not told, so each place where an LZMA stream may begin (its
    first byte is always 0) is tried until one gives the length that is told, or all tries together
    have unpacked too much.
    """
    body = core[SECTOR:]
    if len(body) < 0x20:
        return None
    packed, unpacked = struct.unpack_from("<II", body, 8)
    if not (0 < packed <= len(body) and packed < unpacked <= _CORE_LIMIT):
        return None
    left = _TRIES_LIMIT
    for start in range(0x100, min(len(body) - packed, 0x4000) + 1):
        if body[start]:
            continue
        content = _unpack(body[start : start + packed], unpacked)
        if len(content) == unpacked and b"mimg" in content:
            return content
        left -= len(content)
        if left < 0:
            break
    return None


def _unpack(packed: bytes, size: int) -> bytes:
    """What an LZMA stream gives, up to `size` bytes and up to where it is damaged."""
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_LZMA)
    content = bytearray()
    with contextlib.suppress(lzma.LZMAError):
        piece = decompressor.decompress(packed, max_length=min(_PIECE, size))
        while piece and len(content) + len(piece) < size:
            content += piece
            if decompressor.eof:
                return bytes(content)
            piece = decompressor.decompress(b"", max_length=min(_PIECE, size - len(content)))
        content += piece
    return bytes(content)


def _module_area(payload: bytes) -> bytes:
    """What is embedded behind GRUB's kernel."""
    at = payload.rfind(b"mimg")
    offset, size = struct.unpack_from("<II", payload, at + 4) if len(payload) - at >= 12 else (0, 0)
    return payload[at + offset : at + size]


def read_objects(area: bytes) -> dict[int, str]:
    """The texts among what is embedded: kind -> text."""
    found: dict[int, str] = {}
    place = 0
    while place + 8 <= len(area):
        kind, length = struct.unpack_from("<II", area, place)
        if length < 8:
            break
        if kind in (PREFIX, CONFIG):
            text = area[place + 8 : place + length].split(b"\0")[0]
            found[kind] = text.decode("utf-8", "replace")
        place += length
    return found


def told_by(prefix: str, config: str) -> BootCode:
    """Where GRUB's own files are, as far as its prefix and the script it begins with tell."""
    device, directory = _split_device(prefix)
    own = re.search(r"set prefix=\(([^()\n]*)\)'?([^'\n]*)", config)
    own = own or re.search(r"configfile\s+\(([^()\n]*)\)(\S*)/grub\.cfg", config)
    root = re.search(r"set root='?\(?([^'\")\s]+)", config)
    if own:
        directory = own[2].strip()
        device = own[1] if own[1] != "$root" else root[1] if root else device
    uuid = _searched_uuid(config) if own is None or own[1] == "$root" else ""
    return BootCode(GRUB_2, (), directory, uuid=uuid, **_place(device if not uuid else ""))


def _searched_uuid(config: str) -> str:
    """The file system that a script looks for: `search.fs_uuid UUID root`, or `search --fs-uuid
    --set=root UUID`. Word by word, since the script is as long as its author likes."""
    for line in config.split("\n"):
        is_search = is_by_uuid = False
        for word, following in pairwise(line.split()):
            if word.endswith("search.fs_uuid") or (is_by_uuid and word.endswith("--set=root")):
                return following
            is_by_uuid = is_by_uuid or (is_search and word.endswith("--fs-uuid"))
            is_search = is_search or word.endswith("search")
    return ""


def _place(device: str) -> _Place:
    """What a device of GRUB's means: "hd0,msdos1", ",gpt2", "lvm/vg-root", "mduuid/..."."""
    if "/" in device:
        return _Place(device=device)
    found = re.fullmatch(r"(?:hd(\d{1,3}))?,(?:msdos|gpt)?(\d{1,3})", device)
    if found is None:
        return _Place()
    return _Place(number=int(found[2]), elsewhere=int(found[1] or 0) > 0)


def _split_device(path: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:\(([^)]*)\))?(.*)", path, re.DOTALL)
    return (found[1] or "", found[2]) if found else ("", path)
