"""What an NTFS says of its last use: its dirty flag, and whether its log was closed.

The flag is set where Windows found a fault and a check is due. After a loss of power it is not: the
log is left open, and is replayed when the volume is next mounted. Both stand in the first records
of the master file table (MFT). Layout: Linux 6.8, fs/ntfs/layout.h and fs/ntfs/logfile.h.
"""

import struct
from collections.abc import Iterator

from payload.formats.disk.superblocks import ReadAt

_LOG_FILE, _VOLUME = 2, 3  # numbers of records: FILE_LogFile, FILE_Volume
_VOLUME_INFORMATION, _DATA, _END = 0x70, 0x80, 0xFFFFFFFF  # types of attributes
_DIRTY = 0x1  # VOLUME_IS_DIRTY
_NO_CLIENT = 0xFFFF  # LOGFILE_NO_CLIENT: nobody has the log open
_CLEAN = 0x2  # RESTART_VOLUME_IS_CLEAN
_PAGE = 4096  # bytes of a page of the log, as Windows makes it
_FARTHEST = 1 << 62  # bytes; no disk is as large
_STRIDE = 512  # NTFS_BLOCK_SIZE; the last two bytes of each are kept in the update sequence array


def is_dirty(read_at: ReadAt) -> bool | None:
    """Whether the volume is marked for a check. None: its records cannot be read."""
    value = _attribute(_record(read_at, _VOLUME), _VOLUME_INFORMATION)
    if value is None or value[8] or len(value) < 0x18:
        return None
    (start,) = struct.unpack_from("<H", value, 0x14)
    if start + 12 > len(value):
        return None
    return bool(struct.unpack_from("<H", value, start + 10)[0] & _DIRTY)


def has_open_log(read_at: ReadAt) -> bool | None:
    """Whether the log is to be replayed. None: its records cannot be read."""
    place = _log_place(read_at)
    if place is None:
        return None
    pages = read_at(place, 2 * _PAGE)
    if len(pages) < 2 * _PAGE:
        return None
    if pages.strip(b"\xff") == b"":  # so mkntfs and ntfs-3g leave it
        return False
    restarts = [found for at in (0, _PAGE) if (found := _restart_area(pages[at : at + _PAGE]))]
    return not restarts or not max(restarts)[1]


def _restart_area(page: bytes) -> tuple[int, bool] | None:
    """The newest number (LSN) in a restart page and whether the log was closed by then."""
    whole = _without_protection(page)
    if whole is None or page[:4] not in (b"RSTR", b"CHKD"):  # CHKD: chkdsk was here
        return None
    (start,) = struct.unpack_from("<H", whole, 0x18)
    if start + 16 > len(whole):
        return None
    sequence, _, _, in_use, flags = struct.unpack_from("<QHHHH", whole, start)
    return sequence, in_use == _NO_CLIENT or bool(flags & _CLEAN)


def _log_place(read_at: ReadAt) -> int | None:
    """The byte where the log begins: its first run of clusters."""
    value = _attribute(_record(read_at, _LOG_FILE), _DATA)
    if value is None or not value[8] or len(value) < 0x40:
        return None
    (start,) = struct.unpack_from("<H", value, 0x20)
    runs = value[start:]
    count, width = (runs[0] & 15, runs[0] >> 4) if runs else (0, 0)
    if not count or not width or len(runs) < 1 + count + width:
        return None
    place = int.from_bytes(runs[1 + count : 1 + count + width], "little") * _cluster(read_at)
    return place if place < _FARTHEST else None


def _cluster(read_at: ReadAt) -> int:
    """Bytes; 0 when the boot sector makes no sense."""
    sector, sectors = struct.unpack("<HB", read_at(11, 3).ljust(3, b"\0"))
    # More than 128 is a negative power of two: clusters of up to 2 MiB.
    return int(sector * (sectors if sectors <= 128 else 1 << min(256 - sectors, 12)))


def _record(read_at: ReadAt, number: int) -> bytes:
    """A record of the MFT; b"" when there is none. The first ones lie in one piece."""
    boot = read_at(0, _STRIDE)
    if boot[3:11] != b"NTFS    " or len(boot) < _STRIDE:
        return b""
    (first,) = struct.unpack_from("<Q", boot, 0x30)
    (size,) = struct.unpack_from("<b", boot, 0x40)  # clusters, or a negative power of two of bytes
    cluster = _cluster(read_at)
    length = 1 << min(-size, 16) if size < 0 else min(size * cluster, 1 << 16)
    if first * cluster >= _FARTHEST:
        return b""
    record = read_at(first * cluster + number * length, length)
    return (_without_protection(record) or b"") if record[:4] == b"FILE" else b""


def _without_protection(record: bytes) -> bytes | None:
    """A record with the last bytes of its strides put back; None when it was not written wholly."""
    if len(record) < _STRIDE or len(record) % _STRIDE:
        return None
    start, count = struct.unpack_from("<HH", record, 4)
    strides = len(record) // _STRIDE
    if count != strides + 1 or start + 2 * count > _STRIDE - 2:
        return None
    whole = bytearray(record)
    for number in range(1, count):
        end = number * _STRIDE - 2
        if record[end : end + 2] != record[start : start + 2]:
            return None
        whole[end : end + 2] = record[start + 2 * number : start + 2 * number + 2]
    return bytes(whole)


def _attribute(record: bytes, wanted: int) -> bytes | None:
    """The first attribute of that type and without a name, header and all."""
    for kind, content in _attributes(record):
        if kind == wanted and not content[9]:
            return content
    return None


def _attributes(record: bytes) -> Iterator[tuple[int, bytes]]:
    place = struct.unpack_from("<H", record, 0x14)[0] if record else 0
    while 0 < place <= len(record) - 16:
        kind, length = struct.unpack_from("<II", record, place)
        if kind == _END or length < 16 or place + length > len(record):
            return
        yield kind, record[place : place + length]
        place += length
