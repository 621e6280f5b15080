"""The few records of an NTFS that tell of its last use, put together by hand."""

import struct
from dataclasses import dataclass

SIZE = 512 << 10
CLUSTER, RECORD = 4096, 1024  # bytes
_MFT, _LOG = 4, 100  # clusters
_STRIDE = 512  # bytes, each of which ends in the update sequence number
PAGE = 4096
EMPTY_LOG = b"\xff" * 2 * PAGE


def protected(record: bytearray, sequence: int) -> bytes:
    """With the last two bytes of each stride kept in the update sequence array."""
    strides = len(record) // _STRIDE
    struct.pack_into("<HH", record, 4, sequence, strides + 1)
    struct.pack_into("<H", record, sequence, 7)
    for number in range(strides):
        end = (number + 1) * _STRIDE - 2
        place = sequence + 2 + 2 * number
        record[place : place + 2] = record[end : end + 2]
        struct.pack_into("<H", record, end, 7)
    return bytes(record)


def file_record(*attributes: bytes) -> bytes:
    record = bytearray(RECORD)
    record[:4] = b"FILE"
    struct.pack_into("<H", record, 0x14, 0x38)
    content = b"".join(attributes) + b"\xff" * 4
    record[0x38 : 0x38 + len(content)] = content
    return protected(record, 0x30)


def resident(kind: int, value: bytes) -> bytes:
    length = -(-(0x18 + len(value)) // 8) * 8
    head = struct.pack("<IIBBHHHIHH", kind, length, 0, 0, 0, 0, 0, len(value), 0x18, 0)
    return (head + value).ljust(length, b"\0")


def log_attribute() -> bytes:
    head = struct.pack("<IIBBHHH", 0x80, 0x48, 1, 0, 0x40, 0, 0)
    runs = bytes([0x11, 4, _LOG, 0])
    head = (head + struct.pack("<QQH", 0, 3, 0x40)).ljust(0x40, b"\0")
    return (head + runs).ljust(0x48, b"\0")


def restart_page(
    sequence: int, *, in_use: bool, clean: bool = False, magic: bytes = b"RSTR"
) -> bytes:
    """One of the two at the begin of the log; `sequence` is its newest LSN."""
    page = bytearray(PAGE)
    page[:4] = magic
    struct.pack_into("<II", page, 0x10, PAGE, PAGE)
    struct.pack_into("<H", page, 0x18, 0x30)
    clients = 0 if in_use else 0xFFFF
    struct.pack_into("<QHHHH", page, 0x30, sequence, 1, 0xFFFF, clients, 2 if clean else 0)
    return protected(page, 0x1E)


@dataclass
class NtfsImage:
    """The fields may be changed before it is read."""

    flags: int = 0
    log: bytes = EMPTY_LOG
    records: dict[int, bytes] | None = None

    def content(self) -> bytes:
        image = bytearray(SIZE)
        image[3:11] = b"NTFS    "
        struct.pack_into("<HB", image, 11, 512, CLUSTER // 512)
        struct.pack_into("<QQQ", image, 0x28, SIZE // 512 - 1, _MFT, 600)
        struct.pack_into("<b", image, 0x40, -10)
        volume = struct.pack("<QBBH", 0, 3, 1, self.flags)
        records = {
            2: file_record(resident(0x10, bytes(48)), log_attribute()),
            3: file_record(resident(0x10, bytes(48)), resident(0x70, volume)),
        }
        for number, record in {**records, **(self.records or {})}.items():
            place = _MFT * CLUSTER + number * RECORD
            image[place : place + RECORD] = record
        image[_LOG * CLUSTER : _LOG * CLUSTER + len(self.log)] = self.log
        return bytes(image)

    def read_at(self, offset: int, length: int) -> bytes:
        assert 0 <= offset < 1 << 63, "pread would raise OverflowError"
        return self.content()[offset : offset + length]
