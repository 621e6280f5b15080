"""LVM physical volumes: what they say of their volume group. Parsed, never assembled.

A physical volume has a label in one of its first four sectors, which leads to the areas where the
group's metadata is kept, as text, in a ring. Everything is checked by LVM's own checksums and held
to bounds: on a foreign disk it may be anything. Sizes and positions are bytes.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from payload.formats.disk.superblocks import ReadAt
from payload.model.disk import SECTOR

_LABEL_SECTORS = 4  # where a label may stand
_LABEL = struct.Struct("<8sQII8s")
_AREA = struct.Struct("<QQ")
_MDA_HEAD = struct.Struct("<I16sIQQ")
_MDA_MAGIC = b" LVM2 x[5A%r0N*>"
_LOCATION = struct.Struct("<QQII")
_AREAS = 16  # of one kind on one physical volume
_IGNORED = 1  # flag of a location whose area is not in use
_LONGEST_TEXT = 16 << 20
_LARGEST = 1 << 60  # bytes; also keeps sums of hostile numbers small
_MOST = 1 << 16  # segments of a group
_DEEPEST = 16  # sections in sections
_NAME = re.compile(r"[A-Za-z0-9+_.-]{1,128}")


class BadMetadataError(ValueError):
    """What was read is no valid LVM metadata; the text says what is wrong with it."""


def checksum(data: bytes) -> int:
    """LVM's CRC-32: the usual polynomial, an own initial value, no final inversion."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


@dataclass(frozen=True)
class PhysicalVolume:
    """What one member says. `text` is the group's metadata, "" when it keeps none."""

    uuid: str
    text: str = ""


def read_physical_volume(read_at: ReadAt, size: int) -> PhysicalVolume:
    """The label, and the newest metadata that is whole. Raises BadMetadataError."""
    uuid, areas = _read_label(read_at)
    texts: list[str] = []
    faults: list[str] = []
    for start, length in areas:
        try:
            text = _read_area(read_at, start, length, size)
        except BadMetadataError as error:
            faults.append(str(error))
        else:
            texts += [text] if text else []
    if faults and not texts:
        raise BadMetadataError(faults[0])
    return PhysicalVolume(uuid, max(texts, key=_sequence, default=""))


def _read_label(read_at: ReadAt) -> tuple[str, list[tuple[int, int]]]:
    head = read_at(0, _LABEL_SECTORS * SECTOR)
    for place in range(0, len(head) - SECTOR + 1, SECTOR):
        sector = head[place : place + SECTOR]
        magic, number, told, offset, kind = _LABEL.unpack_from(sector)
        if magic != b"LABELONE" or kind != b"LVM2 001":
            continue
        if number * SECTOR != place or checksum(sector[20:]) != told:
            raise BadMetadataError("the label is damaged")
        if not _LABEL.size <= offset <= SECTOR - 40:
            raise BadMetadataError("the label leads nowhere")
        return _read_header(sector[offset:])
    raise BadMetadataError("there is no label")


def _read_header(header: bytes) -> tuple[str, list[tuple[int, int]]]:
    """The uuid, and the areas of metadata; the areas of data come first."""
    uuid = header[:32].decode("ascii", "replace")
    if not re.fullmatch(r"[0-9A-Za-z#]{32}", uuid):
        raise BadMetadataError("the label has no uuid")
    _, place = _read_areas(header, 40)
    areas, _ = _read_areas(header, place)
    return uuid, areas


def _read_areas(header: bytes, place: int) -> tuple[list[tuple[int, int]], int]:
    areas: list[tuple[int, int]] = []
    for _ in range(_AREAS):
        if place + _AREA.size > len(header):
            break
        start, length = _AREA.unpack_from(header, place)
        place += _AREA.size
        if not start:
            return areas, place
        areas.append((start, length))
    raise BadMetadataError("the list of areas does not end")


def _read_area(read_at: ReadAt, start: int, length: int, size: int) -> str:
    """The committed text of a metadata area, "" when there is none."""
    if length <= SECTOR or start + length > size:
        raise BadMetadataError("a metadata area reaches beyond the end")
    head = read_at(start, SECTOR)
    if len(head) < SECTOR or checksum(head[4:]) != struct.unpack_from("<I", head)[0]:
        raise BadMetadataError("the header of a metadata area is damaged")
    _, magic, version, place, room = _MDA_HEAD.unpack_from(head)
    if (magic, version, place, room) != (_MDA_MAGIC, 1, start, length):
        raise BadMetadataError("the header of a metadata area is of another one")
    offset, extent, told, flags = _LOCATION.unpack_from(head, _MDA_HEAD.size)
    if not offset or flags & _IGNORED:
        return ""
    if not SECTOR <= offset < length or not 0 < extent <= min(length - SECTOR, _LONGEST_TEXT):
        raise BadMetadataError("the metadata lies outside its area")
    first = min(extent, length - offset)
    text = read_at(start + offset, first)
    if first < extent:  # around the end of the ring, to behind the header
        text += read_at(start + SECTOR, extent - first)
    if len(text) != extent or checksum(text) != told:
        raise BadMetadataError("the metadata is damaged")
    return text.rstrip(b"\0").decode("utf-8", "replace")


def _sequence(text: str) -> int:
    """The number of the change that made this text. What is no metadata is older than any."""
    try:
        return parse_group(text).sequence
    except BadMetadataError:
        return -1


# --- the text


_TOKEN = re.compile(
    r"""(?:\s++|\#[^\n]*+)*+(?:  # never tried in another way: that could take for ever
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?)(?![\w.+-])
      | (?P<word>[\w.+@:-]+)
      | (?P<sign>[\[\]{}=,])
      | (?P<end>\Z)
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)


def parse_text(text: str) -> dict[str, Any]:
    """Sections as dicts; values are strings, numbers or lists of both. Raises
    BadMetadataError."""
    tokens = _tokens(text)
    section = _section(tokens, 0)
    if next(tokens, None) is not None:
        raise BadMetadataError("the metadata goes on behind its end")
    return section


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while True:
        found = _TOKEN.match(text, position)
        if found is None:
            raise BadMetadataError(f"character {position} of the metadata has no meaning")
        if found.lastgroup == "end":
            return
        assert found.lastgroup is not None
        yield found.lastgroup, found[found.lastgroup]
        position = found.end()


def _section(tokens: Iterator[tuple[str, str]], depth: int) -> dict[str, Any]:
    """Up to the brace that closes it; the outermost ends with the text."""
    if depth > _DEEPEST:
        raise BadMetadataError("the sections of the metadata are nested too deeply")
    section: dict[str, Any] = {}
    for kind, name in tokens:
        if (kind, name) == ("sign", "}") and depth:
            return section
        if kind not in ("word", "number") or name in section:
            raise BadMetadataError(f"{name} is no name in the metadata, or is there twice")
        _, sign = next(tokens, ("", ""))
        if sign == "{":
            section[name] = _section(tokens, depth + 1)
        elif sign == "=":
            section[name] = _value(tokens)
        else:
            raise BadMetadataError(f"{name} has no value in the metadata")
    if depth:
        raise BadMetadataError("the metadata ends in the middle")
    return section


def _value(tokens: Iterator[tuple[str, str]]) -> Any:
    kind, token = next(tokens, ("", ""))
    if (kind, token) != ("sign", "["):
        return _scalar(kind, token)
    values: list[Any] = []
    for kind, token in tokens:
        if (kind, token) == ("sign", "]"):
            return values
        if (kind, token) != ("sign", ","):
            values.append(_scalar(kind, token))
    raise BadMetadataError("a list in the metadata does not end")


def _scalar(kind: str, token: str) -> Any:
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
    if kind == "number" and len(token) < 20:
        return float(token) if "." in token else int(token)
    raise BadMetadataError(f"{token or 'the end'} is no value in the metadata")


# --- the group


@dataclass(frozen=True)
class Piece:
    """Where a piece of a logical volume lies: which physical volume, from which byte of it."""

    member: str  # its name in this group: "pv0"
    start: int
    size: int


@dataclass(frozen=True)
class LogicalVolume:
    """One volume of a group. Without places, `why_not` says why they are not known."""

    name: str
    uuid: str
    size: int
    visible: bool
    places: tuple[Piece, ...] = ()
    why_not: str = ""
    has_snapshot: bool = False  # which sees what is written here, and not the way it is now


@dataclass(frozen=True)
class Member:
    """A physical volume as its group knows it: its data begins at `start`."""

    uuid: str
    start: int
    size: int


@dataclass(frozen=True)
class Group:
    """A volume group. `taken` is what its volumes occupy, None when that is not known."""

    name: str
    uuid: str
    sequence: int
    members: Mapping[str, Member]
    volumes: tuple[LogicalVolume, ...]
    taken: tuple[Piece, ...] | None


def parse_group(text: str) -> Group:
    """The volume group that a text describes. Raises BadMetadataError, also when volumes overlap
    or leave their members."""
    top = parse_text(text)
    groups = [(name, value) for name, value in top.items() if isinstance(value, dict)]
    if len(groups) != 1:
        raise BadMetadataError("the metadata is not that of one volume group")
    name, told = groups[0]
    volumes = _sections(told, "logical_volumes")
    if not all(_NAME.fullmatch(one) for one in (name, *volumes)):
        raise BadMetadataError("the metadata holds names that are none")
    if _get(told, "format", str, "lvm2") != "lvm2":
        raise BadMetadataError(f"the volume group {name} is of a format that is not known")
    extent = _number(told, "extent_size", 1) * SECTOR
    members = {
        key: _member(value, extent) for key, value in _sections(told, "physical_volumes").items()
    }
    if sum(_number(one, "segment_count") for one in volumes.values()) > _MOST:
        raise BadMetadataError(f"the volume group {name} has too many segments")
    taken, is_all = _taken(volumes, members, extent)
    _check_places(taken, members)
    return Group(
        name=name,
        uuid=_uuid(told),
        sequence=_number(told, "seqno"),
        members=members,
        volumes=tuple(_volumes(volumes, members, extent)),
        taken=tuple(taken) if is_all else None,
    )


def _member(told: Mapping[str, Any], extent: int) -> Member:
    start = _number(told, "pe_start") * SECTOR
    return Member(_uuid(told), start, _number(told, "pe_count") * extent)


def _volumes(
    told: Mapping[str, Mapping[str, Any]], members: Mapping[str, Member], extent: int
) -> Iterator[LogicalVolume]:
    """All of them; one into which a snapshot is being merged does not hold what it shows."""
    snapshots = [one for value in told.values() for one in _segments(value)]
    origins = {one.get("origin") for one in snapshots if one.get("type") == "snapshot"}
    merging = {one.get("origin") for one in snapshots if "merging_store" in one}
    for name, value in told.items():
        volume = _volume(name, value, members, extent)
        if name in merging:
            why_not = "a snapshot is being merged into it"
            volume = replace(volume, places=(), why_not=why_not)
        yield replace(volume, has_snapshot=name in origins)


def _volume(
    name: str, told: Mapping[str, Any], members: Mapping[str, Member], extent: int
) -> LogicalVolume:
    segments = sorted(_segments(told), key=lambda one: _number(one, "start_extent"))
    size = sum(_number(one, "extent_count", 1) for one in segments) * extent
    if size > _LARGEST:
        raise BadMetadataError(f"the volume {name} is impossibly large")
    status = _get(told, "status", list, [])
    found = [_segment_places(one, members, extent) for one in segments]
    why_not = _why_not(segments, status) or ("" if all(found) else "it lies on another volume")
    places = () if why_not else tuple(place for one in found for place in one or ())
    return LogicalVolume(name, _uuid(told), size, "VISIBLE" in status, places, why_not)


def _why_not(segments: Sequence[Mapping[str, Any]], status: Sequence[Any]) -> str:
    """Why a volume is not simply its pieces one after the other; "" when it is."""
    position = 0
    for one in segments:
        kind = str(one.get("type", ""))
        if kind != "striped" or _number(one, "stripe_count", 1) != 1:
            return "it is striped" if kind == "striped" else f"it is of the type {kind}"
        if _number(one, "start_extent") != position:
            return "its segments leave gaps"
        position += _number(one, "extent_count", 1)
    return "it is being moved" if "LOCKED" in status else ""


def _segments(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [told.get(f"segment{n + 1}") for n in range(_number(told, "segment_count"))]
    if not all(isinstance(one, dict) for one in found):
        raise BadMetadataError("a volume lacks segments in the metadata")
    return [one for one in found if isinstance(one, dict)]


def _taken(
    volumes: Mapping[str, Mapping[str, Any]], members: Mapping[str, Member], extent: int
) -> tuple[list[Piece], bool]:
    """What the volumes occupy, and whether that is all: a segment may say it in a way not known
    here."""
    found = [
        _segment_places(one, members, extent)
        for told in volumes.values()
        for one in _segments(told)
    ]
    return [piece for places in found for piece in places or ()], None not in found


def _segment_places(
    told: Mapping[str, Any], members: Mapping[str, Member], extent: int
) -> list[Piece] | None:
    """The ranges a segment occupies itself. Most types only name other volumes, which have
    segments of their own: those occupy nothing. None: what it occupies is not known."""
    striped = told.get("type") == "striped"
    if not striped:
        words = [word for value in told.values() if isinstance(value, list) for word in value]
        return None if any(isinstance(word, str) and word in members for word in words) else []
    count = _number(told, "stripe_count", 1)
    stripes = _get(told, "stripes", list, [])
    length, rest = divmod(_number(told, "extent_count", 1), count)
    if rest or len(stripes) != 2 * count:
        raise BadMetadataError("a segment is not divided evenly into its stripes")
    places = []
    for name, first in zip(stripes[::2], stripes[1::2], strict=True):
        if not isinstance(first, int) or first < 0:
            raise BadMetadataError("a segment begins nowhere")
        if not isinstance(name, str) or name not in members:
            return None
        start = members[name].start + first * extent
        places.append(Piece(name, start, length * extent))
    return places


def _check_places(taken: Sequence[Piece], members: Mapping[str, Member]) -> None:
    ends: dict[str, int] = {}
    for place in sorted(taken, key=lambda one: (one.member, one.start)):
        member = members[place.member]
        if place.start < ends.get(place.member, member.start):
            raise BadMetadataError("two volumes occupy the same place")
        ends[place.member] = place.start + place.size
        if ends[place.member] > member.start + member.size:
            raise BadMetadataError("a volume reaches beyond its physical volume")


def find_free(group: Group, member: str) -> tuple[Piece, ...]:
    """The ranges of a member that no volume occupies; none when that is not known."""
    if group.taken is None:
        return ()
    free: list[Piece] = []
    known = group.members[member]
    position, end = known.start, known.start + known.size
    for place in sorted(group.taken, key=lambda one: one.start):
        if place.member == member:
            if place.start > position:
                free.append(Piece(member, position, place.start - position))
            position = place.start + place.size
    if end > position:
        free.append(Piece(member, position, end - position))
    return tuple(free)


def _sections(told: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    section: dict[str, Mapping[str, Any]] = _get(told, name, dict, {})
    if not all(isinstance(value, dict) for value in section.values()):
        raise BadMetadataError(f"{name} of the metadata holds what is no section")
    return section


def _get(told: Mapping[str, Any], name: str, kind: type, otherwise: Any) -> Any:
    value = told.get(name, otherwise)
    if not isinstance(value, kind):
        raise BadMetadataError(f"{name} of the metadata is not what it should be")
    return value


def _number(told: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = _get(told, name, int, -1)
    if not least <= value < _LARGEST // SECTOR:
        raise BadMetadataError(f"{name} of the metadata is out of range")
    return int(value)


def _uuid(told: Mapping[str, Any]) -> str:
    """As it stands in a label: without dashes."""
    uuid = str(_get(told, "id", str, "")).replace("-", "")
    if not re.fullmatch(r"[0-9A-Za-z#]{32}", uuid):
        raise BadMetadataError("an id of the metadata is no uuid")
    return uuid
