"""The map of an xfs against what its superblock says."""

import struct
from pathlib import Path

import pytest

from payload.model.errors import ToolError
from payload.replicate.extents import check_total

BLOCK = 4096
SIZE = 100 * BLOCK


def xfs(directory: Path, in_use: int) -> Path:
    """A superblock of SIZE bytes, so many blocks of it in use."""
    block = bytearray(512)
    struct.pack_into(">4sIQ", block, 0, b"XFSB", BLOCK, SIZE // BLOCK)
    struct.pack_into(">Q", block, 144, SIZE // BLOCK - in_use)
    path = directory / "xfs"
    path.write_bytes(block)
    return path


def map_of(directory: Path, in_use: int) -> Path:
    path = directory / "map"
    used, free = in_use * BLOCK, SIZE - in_use * BLOCK
    path.write_text(f"# map\n{SIZE:#x} ?\n0x0 {used:#x} +\n{used:#x} {free:#x} ?\n")
    return path


@pytest.mark.parametrize("size", [SIZE, SIZE + 50 * BLOCK])
def test_a_map_with_less_in_use_is_none(tmp_path: Path, size: int) -> None:
    """Whatever lies behind the file system."""
    device = str(xfs(tmp_path, 40))
    check_total(device, map_of(tmp_path, 40), size)
    check_total(device, map_of(tmp_path, 41), size)
    with pytest.raises(ToolError, match="Its map has 4096 bytes less in use"):
        check_total(device, map_of(tmp_path, 39), size)
