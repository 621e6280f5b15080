"""What stands in a disk's first sectors: which boot loader, and where it looks for its next stage.

Read from the medium after all was written, so the answer is about the copy, not about what was
meant to be copied. Raises LoaderError where the chain is visibly broken; what a loader keeps to
itself (LILO's map of absolute sectors) is carried over unchanged and said to be so.
"""

import lzma
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from payload.model.disk import PartitionTable
from payload.model.errors import AdaptError, LoaderError

ReadDisk = Callable[[int, int], bytes]  # offset, length -> bytes, fewer at the end of the disk

SECTOR = 512
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
_CORE_LIMIT = 4 << 20  # bytes; no core.img is larger
_CORE_CODE = b"\x52"  # diskboot.img begins with push %dx
_LZMA = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}]
_PREFIX_OBJECT, _CONFIG_OBJECT = 3, 2  # GRUB's OBJ_TYPE_PREFIX and OBJ_TYPE_CONFIG


@dataclass(frozen=True)
class BootCode:
    """`directory` is where the loader looks for its menu ("" when it does not tell), on the file
    system with `uuid`, else in partition `number` (None: it searches or does not tell)."""

    loader: str
    checks: tuple[str, ...]
    directory: str = ""
    number: int | None = None
    uuid: str = ""


def read_boot_code(read: ReadDisk, table: PartitionTable | None, name: str) -> BootCode | None:
    """The boot loader of one disk (`name` is for people), None when sector 0 holds no code.

    Raises LoaderError when its next stage is not where it says, AdaptError when the sector is
    not one a BIOS starts.
    """
    sector = read(0, SECTOR)
    if len(sector) < SECTOR or not any(sector[:440]):
        return None
    if sector[510:] != b"\x55\xaa":
        if table is None:
            return None  # a file system on the whole disk, which may begin in its first byte
        raise AdaptError(
            f"{name} has boot code but not the signature 55 AA behind it, so no BIOS starts it."
            " Start both machines again for a new copy."
        )
    if sector[0x5A:0x5C] == b"\x00\x80" and b"GRUB" in sector:
        return _grub2(read, sector, table, name)
    if sector[0x3E:0x40] == b"\x03\x02" and b"GRUB" in sector:
        return _grub_legacy(read, sector, name)
    if sector[6:10] == b"LILO" or sector[2:6] == b"LILO":
        return BootCode(
            "LILO", ("LILO's boot sector is carried over, its map by the same sectors",)
        )
    return BootCode("unknown", ("boot code of an unknown loader is carried over",))


# --- GRUB 2


def _grub2(read: ReadDisk, sector: bytes, table: PartitionTable | None, name: str) -> BootCode:
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
        return BootCode("GRUB 2", checks)
    uuid, number, directory = _prefix(payload)
    told = f"core.img ({len(core) // SECTOR} sectors) is whole"
    return BootCode("GRUB 2", (*checks, told), directory, number, uuid)


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
    first byte is always 0) is tried until one gives the length that is told.
    """
    body = core[SECTOR:]
    if len(body) < 0x20:
        return None
    packed, unpacked = struct.unpack_from("<II", body, 8)
    if not (0 < packed <= len(body) and packed < unpacked <= _CORE_LIMIT):
        return None
    for start in range(0x100, min(len(body) - packed, 0x4000) + 1):
        if body[start]:
            continue
        decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_LZMA)
        try:
            content = decompressor.decompress(body[start : start + packed], max_length=unpacked)
        except lzma.LZMAError:
            continue
        if len(content) == unpacked and b"mimg" in content:
            return content
    return None


def _objects(payload: bytes) -> dict[int, str]:
    """The texts embedded behind GRUB's kernel: object type -> text."""
    at = payload.rfind(b"mimg")
    offset, size = struct.unpack_from("<II", payload, at + 4) if len(payload) - at >= 12 else (0, 0)
    found: dict[int, str] = {}
    place, end = at + offset, min(at + size, len(payload))
    while place + 8 <= end:
        kind, length = struct.unpack_from("<II", payload, place)
        if length < 8:
            break
        text = payload[place + 8 : place + length].split(b"\0")[0]
        found[kind] = text.decode("utf-8", "replace")
        place += length
    return found


def _prefix(payload: bytes) -> tuple[str, int | None, str]:
    """(uuid, partition number, directory) of GRUB's own files, as far as it tells."""
    objects = _objects(payload)
    config = objects.get(_CONFIG_OBJECT, "")
    device, directory = _split_device(objects.get(_PREFIX_OBJECT, ""))
    search = re.search(r"search\.fs_uuid\s+(\S+)", config)
    own = re.search(r"set prefix=\(\$root\)'?([^'\n]+)'?", config)
    number = re.search(r",(?:msdos|gpt)?(\d+)$", device)
    return (
        search[1] if search else "",
        int(number[1]) if number and not search else None,
        own[1].strip() if own else directory,
    )


def _split_device(path: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:\(([^)]*)\))?(.*)", path, re.DOTALL)
    return (found[1] or "", found[2]) if found else ("", path)


# --- GRUB legacy


def _grub_legacy(read: ReadDisk, sector: bytes, name: str) -> BootCode:
    (next_stage,) = struct.unpack_from("<I", sector, 0x44)
    if next_stage != 1:
        if not any(read(next_stage * SECTOR, SECTOR)):
            raise LoaderError(
                f"GRUB legacy on {name} looks for its stage 2 in sector {next_stage}, which is"
                " empty. Start both machines again for a new copy."
            )
        check = f"GRUB legacy on {name} finds stage 2 in sector {next_stage}, by list of blocks"
        return BootCode("GRUB legacy", (check,))
    stage = read(SECTOR, 2 * SECTOR)
    found = re.search(rb"0\.9\d\x00.{0,8}?(/[\x21-\x7e]*)/stage2", stage, re.DOTALL)
    if found is None:
        raise LoaderError(
            f"GRUB legacy on {name} expects its stage 1.5 in the gap behind sector 0, where it is"
            " not. Start both machines again for a new copy."
        )
    directory = found[1].decode("ascii")
    check = f"GRUB legacy on {name} has its stage 1.5 in the gap, which looks into {directory}"
    return BootCode("GRUB legacy", (check,), directory)
