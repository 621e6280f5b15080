"""MD superblocks: what the members of a Linux software RAID say of their array. Never assembled.

Versions 0.90 (at the end, also of member disks of very old systems), 1.0 (at the end), 1.1 (at the
start) and 1.2 (4 KiB behind it). Whether a member holds what the array holds is decided as the
kernel decides it: by event counts, and by the roles that the freshest superblock knows. Sizes and
positions are bytes.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payload.formats.disk.superblocks import ReadAt
from payload.model.disk import SECTOR

MIRROR, LINEAR = 1, -1  # levels that are worked out
_MAGIC = 0xA92B4EFC
_KIB = 1024
_OLD_SIZE = 4096
_OLD_RESERVED = 64 * _KIB
_OLD_DISKS = 27
_OLD_IN_SYNC = 4  # bit of a disk's state
_OLD_FAULTY = 1
_OLD_RESHAPING = 91  # the minor version while it grows
_NEW = struct.Struct("<IIII16s32sQIIQII")  # up to raid_disks
_NEW_DATA = struct.Struct("<QQQQI")  # data_offset to dev_number
_NEW_ROLES = 256  # where the table of roles begins
_MOST_ROLES = 1920
_RECOVERING, _RESHAPING, _BAD_BLOCKS, _REPLACING = 2, 4, 8, 16
_KNOWN_FEATURES = 1 | _RECOVERING | _BAD_BLOCKS  # what does not change where data lies
_NOBODY = 0xFFF0  # roles from here on are none: spare, faulty, journal
_LARGEST = 1 << 60


@dataclass(frozen=True)
class Superblock:
    """What one member says. `roles` is by device number; None where a device has no role."""

    version: str
    uuid: str  # 32 hex digits
    name: str  # as below /dev: "md0", "md/data"
    level: int
    raid_disks: int
    size: int  # of a mirror
    data_start: int
    data_size: int
    chunk: int
    events: int
    device: int
    role: int | None
    roles: tuple[int | None, ...]
    recovering: bool = False
    unknown: str = ""  # what is going on that changes where data lies


def read_superblocks(read_at: ReadAt, size: int) -> tuple[Superblock, ...]:
    """Every valid superblock of a member of that size. One that takes part has exactly one."""
    places = (0, 4096, _end_of_new(size))
    new = (_read_new(read_at, place, size) for place in dict.fromkeys(places))
    return tuple(one for one in (*new, _read_old(read_at, size)) if one is not None)


def _end_of_new(size: int) -> int:
    """Version 1.0: 8 to 12 KiB before the end."""
    return (size // SECTOR - 16) // 8 * 8 * SECTOR


def _read_new(read_at: ReadAt, place: int, size: int) -> Superblock | None:
    if place < 0 or place + _OLD_SIZE > size:
        return None
    block = read_at(place, _OLD_SIZE)
    if len(block) < _OLD_SIZE:
        return None
    magic, major, features, _, uuid, name, _, level, _, sectors, chunk, disks = _NEW.unpack_from(
        block
    )
    offset, length, at, recovered, device = _NEW_DATA.unpack_from(block, 128)
    count = struct.unpack_from("<I", block, 220)[0]
    if (magic, major) != (_MAGIC, 1) or at * SECTOR != place or count > _MOST_ROLES:
        return None
    if _sum_of(block, count) != struct.unpack_from("<I", block, 216)[0]:
        return None
    table = struct.unpack_from(f"<{count}H", block, _NEW_ROLES)
    roles = tuple(role if role < _NOBODY else None for role in table)
    data_start, data_size = offset * SECTOR, length * SECTOR
    if not 0 < data_size <= size - data_start or not sectors * SECTOR < _LARGEST:
        return None
    return Superblock(
        version={0: "1.1", 4096: "1.2"}.get(place, "1.0"),
        uuid=uuid.hex(),
        name=_name(name.rstrip(b"\0").decode("utf-8", "replace"), uuid.hex()),
        level=level - (1 << 32) if level >= 1 << 31 else level,
        raid_disks=disks,
        size=sectors * SECTOR,
        data_start=data_start,
        data_size=data_size,
        chunk=chunk * SECTOR,
        events=struct.unpack_from("<Q", block, 200)[0],
        device=device,
        role=roles[device] if device < count else None,
        roles=roles,
        recovering=bool(features & _BAD_BLOCKS or (features & _RECOVERING and recovered < sectors)),
        unknown="" if not features & ~_KNOWN_FEATURES else _going_on(features),
    )


def _going_on(features: int) -> str:
    if features & _RESHAPING:
        return "it is being reshaped"
    return "a member is being replaced" if features & _REPLACING else "it uses unknown features"


def _sum_of(block: bytes, count: int) -> int:
    """The sum of all words, its own place counted as zero, carries added."""
    length = 256 + 2 * count
    words = struct.unpack_from(f"<{length // 4}I", block)
    total = sum(words) - words[54]
    if length % 4:
        total += struct.unpack_from("<H", block, length - 2)[0]
    return int((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


def _name(told: str, uuid: str) -> str:
    """ "host:0" and "0" are md0, "host:data" is md/data: as mdadm makes them for its own host."""
    word = told.rpartition(":")[2]
    if re.fullmatch(r"\d{1,3}", word):
        return f"md{int(word)}"
    return f"md/{word}" if re.fullmatch(r"[\w.+-]+", word, re.ASCII) else f"md-uuid-{uuid}"


def _read_old(read_at: ReadAt, size: int) -> Superblock | None:
    """Version 0.90, of little-endian machines."""
    place = size // _OLD_RESERVED * _OLD_RESERVED - _OLD_RESERVED
    block = read_at(place, _OLD_SIZE) if place > 0 else b""
    if len(block) < _OLD_SIZE:
        return None
    words = struct.unpack("<1024I", block)
    magic, major, minor = words[:3]
    if (magic, major) != (_MAGIC, 0) or minor not in (90, _OLD_RESHAPING):
        return None
    if _fold(sum(words) - words[38]) != _fold(words[38]):
        return None
    level = words[7] - (1 << 32) if words[7] >= 1 << 31 else words[7]
    length = words[8] * _KIB
    if length > place:
        return None
    device = words[992]
    roles = tuple(_old_roles(words))
    uuid = struct.pack("<4I", words[5], *words[13:16]).hex()
    return Superblock(
        version="0.90",
        uuid=uuid,
        name=f"md{words[11]}" if words[11] < 1024 else f"md-uuid-{uuid}",
        level=level,
        raid_disks=words[10],
        size=length,
        data_start=0,
        data_size=place,
        chunk=words[65],
        events=words[40] << 32 | words[39],
        device=device,
        role=roles[device] if device < _OLD_DISKS else None,
        roles=roles,
        unknown="it is being reshaped" if minor == _OLD_RESHAPING else "",
    )


def _old_roles(words: Sequence[int]) -> Iterator[int | None]:
    for number in range(_OLD_DISKS):
        disk = words[128 + 32 * number : 160 + 32 * number]
        in_sync = disk[4] & _OLD_IN_SYNC and not disk[4] & _OLD_FAULTY
        yield disk[3] if in_sync and disk[0] == number and disk[3] < words[10] else None


def _fold(total: int) -> int:
    """To 16 bits: machines of the time did not agree on the upper half."""
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16) & 0xFFFF


# --- the array


@dataclass(frozen=True)
class Part:
    """A range of member number `member` (as given), as a part of the array."""

    member: int
    start: int
    size: int


@dataclass(frozen=True)
class Array:
    """An array as its members tell of it. Each leg is all of it; without legs, `why_not`."""

    name: str
    uuid: str
    size: int
    legs: tuple[tuple[Part, ...], ...] = ()
    why_not: str = ""


def plan_array(members: Sequence[Superblock]) -> Array:
    """The array of these members, all of one uuid. What is stale, spare or being rebuilt is no
    part of it."""
    freshest = max(members, key=lambda one: one.events)
    in_use = {one.role: number for number, one in enumerate(members) if _is_in_sync(one, freshest)}
    why_not = _why_not(members, freshest, in_use)
    if why_not:
        return Array(freshest.name, freshest.uuid, freshest.size, (), why_not)
    order = [in_use[role] for role in sorted(role for role in in_use if role is not None)]
    if freshest.level == MIRROR:
        size = freshest.size
        legs = tuple((Part(number, members[number].data_start, size),) for number in order)
        return Array(freshest.name, freshest.uuid, size, legs)
    leg = tuple(_rounded(number, members[number]) for number in order)
    return Array(freshest.name, freshest.uuid, sum(part.size for part in leg), (leg,))


def _is_in_sync(member: Superblock, freshest: Superblock) -> bool:
    """As the kernel judges it when it assembles. One event less is a write of superblocks that
    was interrupted."""
    known = freshest.roles[member.device] if member.device < len(freshest.roles) else None
    return (
        member.role is not None
        and member.role == known
        and member.role < freshest.raid_disks
        and member.events + 1 >= freshest.events
        and not member.recovering
    )


def _why_not(
    members: Sequence[Superblock], freshest: Superblock, in_use: dict[int | None, int]
) -> str:
    if freshest.unknown:
        return freshest.unknown
    if freshest.level not in (MIRROR, LINEAR):
        return f"it is of RAID level {freshest.level}"
    if not in_use:
        return "none of its members is up to date"
    return _contradiction(members, freshest) or _shortage(members, freshest, in_use)


def _contradiction(members: Sequence[Superblock], freshest: Superblock) -> str:
    fresh = [one for one in members if one.role is not None and one.events + 1 >= freshest.events]
    if len({(one.version, one.level, one.raid_disks) for one in fresh}) > 1:
        return "its members contradict each other"
    if len({one.role for one in fresh}) < len(fresh):
        return "two members say that they are the same one"
    return ""


def _shortage(
    members: Sequence[Superblock], freshest: Superblock, in_use: dict[int | None, int]
) -> str:
    if freshest.level == LINEAR and len(in_use) < freshest.raid_disks:
        return "a member is missing"
    parts = [_rounded(number, members[number]).size for number in in_use.values()]
    least = freshest.size if freshest.level == MIRROR else 1
    return "" if 0 < least <= min(parts) else "a member is too small"


def _rounded(number: int, member: Superblock) -> Part:
    """What a member gives to a linear array: whole chunks."""
    size = member.data_size
    if member.chunk and member.level == LINEAR:
        size -= size % member.chunk
    return Part(number, member.data_start, size)
