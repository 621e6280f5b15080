"""The dirty flag and the log of an NTFS: told, or not known; never guessed.

What a plan says of them is tried in tests/unit/system/test_map_doubts.py.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.ntfs_state import has_open_log, is_dirty
from payload.formats.disk.superblocks import ReadAt
from tests.support.ntfs_images import (
    CLUSTER,
    EMPTY_LOG,
    PAGE,
    RECORD,
    NtfsImage,
    file_record,
    log_attribute,
    resident,
    restart_page,
)

OPENED, CLOSED = restart_page(9, in_use=True), restart_page(9, in_use=False)
TORN = restart_page(10, in_use=True)[:1022] + b"\xff\xff" + restart_page(10, in_use=True)[1024:]


def log_of(log: bytes) -> bool | None:
    return has_open_log(NtfsImage(log=log).read_at)


@pytest.mark.parametrize(
    ("flags", "dirty"), [(0, False), (1, True), (0x4002, False), (0x8001, True)]
)
def test_the_flag_is_one_bit_among_others(flags: int, dirty: bool) -> None:
    """VOLUME_FLAGS, fs/ntfs/layout.h."""
    assert is_dirty(NtfsImage(flags=flags).read_at) is dirty


@pytest.mark.parametrize(
    ("log", "is_open"),
    [
        (EMPTY_LOG, False),
        (CLOSED * 2, False),
        (OPENED * 2, True),
        (restart_page(9, in_use=True, clean=True) * 2, False),
        (restart_page(9, in_use=False, magic=b"CHKD") * 2, False),
        (restart_page(8, in_use=True) + CLOSED, False),
        (restart_page(8, in_use=False) + OPENED, True),
        (OPENED + restart_page(8, in_use=False), True),
        (TORN + CLOSED, False),
        (TORN * 2, True),
        (b"RCRD" + EMPTY_LOG[4:], True),
        (bytes(2 * PAGE), True),
        (EMPTY_LOG[:PAGE] + CLOSED, False),
    ],
)
def test_the_newest_whole_page_tells_whether_the_log_is_open(log: bytes, is_open: bool) -> None:
    assert log_of(log) is is_open


@pytest.mark.parametrize(
    "record",
    [
        bytes(RECORD),
        b"FILE" + b"\xff" * (RECORD - 4),
        file_record(resident(0x10, b"")),
        file_record(),
        b"BAAD" + file_record(log_attribute())[4:],
    ],
)
def test_a_record_that_is_damaged_tells_nothing(record: bytes) -> None:
    assert is_dirty(NtfsImage(records={3: record}).read_at) is None
    assert has_open_log(NtfsImage(records={2: record}).read_at) is None


def test_a_record_that_was_not_written_wholly_tells_nothing() -> None:
    """The last two bytes of each 512 are the update sequence number, or the write was torn."""
    for end in (510, 1022):
        volume = bytearray(file_record(resident(0x70, struct.pack("<QBBH", 0, 3, 1, 0))))
        assert is_dirty(NtfsImage(records={3: bytes(volume)}).read_at) is False
        volume[end] ^= 1
        assert is_dirty(NtfsImage(records={3: bytes(volume)}).read_at) is None


def test_attributes_of_other_forms_tell_nothing() -> None:
    resident_data = file_record(resident(0x80, b"\x11\x04\x64"))
    assert has_open_log(NtfsImage(records={2: resident_data}).read_at) is None
    outside = bytearray(resident(0x70, bytes(12)))
    outside[8] = 1
    assert is_dirty(NtfsImage(records={3: file_record(bytes(outside))}).read_at) is None
    short = file_record(resident(0x70, b""))
    assert is_dirty(NtfsImage(records={3: short}).read_at) is None
    named = bytearray(resident(0x70, struct.pack("<QBBH", 0, 3, 1, 1)))
    named[9] = 4
    assert is_dirty(NtfsImage(records={3: file_record(bytes(named))}).read_at) is None


def cut_off(image: NtfsImage, end: int) -> ReadAt:
    content = image.content()[:end]
    return lambda offset, length: content[offset : offset + length]


@pytest.mark.parametrize("end", [0, 13, 100, 512, 4 * CLUSTER, 4 * CLUSTER + 3 * RECORD])
def test_a_volume_that_ends_too_early_tells_nothing(end: int) -> None:
    read = cut_off(NtfsImage(), end)
    assert is_dirty(read) is None
    assert has_open_log(read) is None


def test_a_log_behind_the_end_of_the_volume_tells_nothing() -> None:
    assert has_open_log(cut_off(NtfsImage(), 100 * CLUSTER + PAGE)) is None


@pytest.mark.parametrize("place", [*range(11, 14), *range(0x28, 0x48)])
def test_no_byte_of_the_boot_sector_is_believed_blindly(place: int) -> None:
    """Its numbers tell where everything lies: `NtfsImage` fails a read of an impossible place."""
    for value in (0, 0x7F, 0x80, 0xFF):
        content = bytearray(NtfsImage().content())
        content[place] = value

        def read(offset: int, length: int, content: bytearray = content) -> bytes:
            assert 0 <= offset < 1 << 63 and length <= 1 << 16
            return bytes(content[offset : offset + length])

        assert is_dirty(read) in (None, False)
        assert has_open_log(read) in (None, False, True)


@given(st.binary(max_size=RECORD), st.integers(0, RECORD), st.integers(2, 3))
def test_any_record_gives_an_answer(noise: bytes, place: int, number: int) -> None:
    whole = (log_attribute(), resident(0x70, struct.pack("<QBBH", 0, 3, 1, 0)))[number - 2]
    sound = file_record(whole)
    for record in (noise.ljust(RECORD, b"\0"), (sound[:place] + noise + sound)[:RECORD]):
        image = NtfsImage(records={number: record})
        assert is_dirty(image.read_at) in (None, False, True)
        assert has_open_log(image.read_at) in (None, False, True)


@given(st.binary(max_size=64), st.integers(0, PAGE - 1))
def test_any_page_of_a_log_gives_an_answer(noise: bytes, place: int) -> None:
    page = (CLOSED[:place] + noise + CLOSED[place + len(noise) :])[:PAGE]
    assert log_of(page + page) in (False, True)
