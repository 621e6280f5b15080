"""Boot sectors: what each loader's first sectors say, and that noise never gets further than us.

GRUB 2 on a real image is walked in tests/integration/test_finish.py.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot_code import ReadDisk, read_boot_code
from payload.model.disk import MIB, Partition, PartitionTable
from payload.model.errors import AdaptError

TABLE = PartitionTable("dos", "0x1", (Partition(1, 63 * 512, 8 * MIB, "83"),))


def disk(*parts: tuple[int, bytes]) -> ReadDisk:
    content = bytearray(64 * 512)
    content[510:512] = b"\x55\xaa"
    for place, part in parts:
        content[place : place + len(part)] = part
    return lambda offset, length: bytes(content[offset : offset + length])


def legacy(stage2_sector: int) -> tuple[tuple[int, bytes], ...]:
    """Stage 1 as grub-legacy 0.97 leaves it in sector 0."""
    return (
        (0, b"\xeb\x48\x90"),
        (0x3E, b"\x03\x02\xff\x00\x00\x80" + struct.pack("<I", stage2_sector)),
        (0x17F, b"GRUB \0Geom\0Hard Disk\0Floppy\0 Error\0"),
    )


def stage1_5(directory: bytes) -> tuple[int, bytes]:
    """The second sector of a stage 1.5: its version, then where it looks."""
    head = b"\xeap\x22\0\0\0\x03\x02\xff\xff\xff\0\0\0\0\0\x02\x000.97\0\xff\xff\xff\xff"
    return 1024, head + directory + b"/stage2\0" + directory + b"/menu.lst\0"


def test_no_code_is_no_loader() -> None:
    assert read_boot_code(disk(), TABLE, "sda") is None


def test_grub_legacy_tells_its_directory() -> None:
    code = read_boot_code(disk(*legacy(1), stage1_5(b"/grub")), TABLE, "sda")
    assert code is not None
    assert (code.loader, code.directory) == ("GRUB legacy", "/grub")


def test_grub_legacy_without_its_stage_1_5_stops() -> None:
    with pytest.raises(AdaptError, match=r"stage 1\.5 in the gap"):
        read_boot_code(disk(*legacy(1)), TABLE, "sda")


def test_grub_legacy_by_list_of_blocks() -> None:
    code = read_boot_code(disk(*legacy(40), (40 * 512, b"\xea\x08")), TABLE, "sda")
    assert code is not None
    assert "stage 2 in sector 40" in code.checks[0]
    with pytest.raises(AdaptError, match="stage 2 in sector 40, which is empty"):
        read_boot_code(disk(*legacy(40)), TABLE, "sda")


def test_lilo_and_unknown_code_are_carried_over() -> None:
    lilo = read_boot_code(disk((0, b"\xfa\xeb\x21\x01\xb4\x01LILO\x16")), TABLE, "sda")
    other = read_boot_code(disk((0, b"\x33\xc0\x8e\xd0")), TABLE, "sda")
    assert lilo is not None
    assert other is not None
    assert (lilo.loader, other.loader) == ("LILO", "unknown")


def test_code_without_signature_starts_nowhere() -> None:
    with pytest.raises(AdaptError, match="55 AA"):
        read_boot_code(disk((0, b"\x33"), (510, b"\0\0")), TABLE, "sda")


GRUB2 = ((0x5A, b"\x00\x80\x01"), (0x180, b"GRUB \0Geom"))


@given(st.binary(min_size=1, max_size=4096), st.integers(0, 2048))
def test_noise_behind_a_boot_sector_is_an_answer_or_an_error(noise: bytes, place: int) -> None:
    for head in (GRUB2, legacy(1), legacy(2)):
        try:
            code = read_boot_code(disk(*head, (512 + place, noise)), TABLE, "sda")
        except AdaptError:
            continue
        assert code is not None


@given(st.binary(max_size=600))
def test_a_damaged_core_is_an_answer_or_an_error(noise: bytes) -> None:
    head = b"\x52" + bytes(499) + struct.pack("<QHH", 2, 4, 0x820)
    sizes = bytes(8) + struct.pack("<II", 64, 128)
    try:
        code = read_boot_code(
            disk(*GRUB2, (512, head), (1024, sizes + b"\1" + noise)), TABLE, "sda"
        )
    except AdaptError:
        return
    assert code is not None
    assert code.directory == ""
