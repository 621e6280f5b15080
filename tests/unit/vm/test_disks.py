"""Disks of the matrix's servers: the table, the boot code, the list of digests."""

import struct
from pathlib import Path

import pytest

from tests.vm.disks import Range, install_grub


def test_boot_code_and_core_lead_to_each_other(tmp_path: Path) -> None:
    image, boot, core = (tmp_path / name for name in ("disk.img", "boot.img", "core.img"))
    image.write_bytes(bytes(16 << 10))
    boot.write_bytes(bytes(range(256)) * 2)
    core.write_bytes(bytes(2 * 512) + b"the end")
    install_grub(image, boot, core, Range(8, 4))
    content = image.read_bytes()
    assert struct.unpack_from("<Q", content, 0x5C) == (8,)
    assert struct.unpack_from("<Q", content, 8 * 512 + 0x1F4) == (9,)
    assert content[440:512] == bytes(72), "the table is not GRUB's"
    assert content[10 * 512 : 10 * 512 + 7] == b"the end"
    with pytest.raises(RuntimeError, match="do not fit"):
        install_grub(image, boot, core, Range(8, 2))
