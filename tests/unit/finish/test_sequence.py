"""The disks of a copy, as the check of its boot loader reads them."""

import struct
from functools import partial
from pathlib import Path

import pytest

from payload.finish.sequence import read_bytes
from payload.formats.boot.boot_code import read_boot_code
from payload.model.disk import SECTOR
from payload.model.errors import LoaderError


@pytest.mark.parametrize("first", [1 << 50, 1 << 54, (1 << 64) - 1])
def test_a_boot_sector_that_points_beyond_any_disk_is_a_loader_that_is_not_there(
    tmp_path: Path, first: int
) -> None:
    """The kernel counts bytes in 63 bits, a boot sector of GRUB sectors in 64."""
    sector = bytearray(SECTOR)
    sector[0:2], sector[0x5A:0x5C], sector[0x80:0x84] = b"\xeb\x63", b"\0\x80", b"GRUB"
    struct.pack_into("<Q", sector, 0x5C, first)
    sector[510:] = b"\x55\xaa"
    (tmp_path / "disk").write_bytes(sector + bytes(8 * SECTOR))
    with (tmp_path / "disk").open("rb") as file, pytest.raises(LoaderError):
        read_boot_code(partial(read_bytes, file.fileno()), None, "sda")


def test_there_is_nothing_behind_the_end(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"abc")
    with (tmp_path / "disk").open("rb") as file:
        assert read_bytes(file.fileno(), 1, 9) == b"bc"
        assert read_bytes(file.fileno(), 3, 9) == b""
