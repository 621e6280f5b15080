"""An initramfs packed with LZ4, which a tool unpacks."""

import subprocess
from pathlib import Path

import pytest

from payload.system.command import run
from payload.system.files import Place
from payload.system.initramfs import read_initramfs
from tests.support.cpio_archives import INITRAMFS, MICROCODE


@pytest.mark.parametrize("early", [b"", MICROCODE + bytes(512), MICROCODE])
def test_lz4_with_and_without_microcode(tmp_path: Path, early: bytes) -> None:
    # as the kernel packs: the legacy format
    packed = subprocess.run(["lz4", "-l", "-c"], input=INITRAMFS, capture_output=True, check=True)
    (tmp_path / "initrd.img").write_bytes(early + packed.stdout)
    place = Place(tmp_path, "/initrd.img")
    found = read_initramfs(run, place, lambda path: path.startswith("etc/udev/rules.d/"))
    assert found.modules == {"ahci", "virtio_net", "sym53c8xx"}
    assert found.kept == {"etc/udev/rules.d/70-persistent-net.rules": b"# rules\n"}
    assert ("kernel/x86/microcode/GenuineIntel.bin" in found.paths) == bool(early)
