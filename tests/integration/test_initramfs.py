"""Images packed by the lz4 tool, as the makers of an initramfs call it."""

import os
import subprocess
from pathlib import Path

import pytest

from payload.formats.kernel.initramfs import read_initramfs
from payload.system.files import Place
from tests.support.cpio_archives import INITRAMFS, MICROCODE, archive


@pytest.mark.parametrize("early", [b"", MICROCODE + bytes(512), MICROCODE])
def test_lz4_with_and_without_microcode(tmp_path: Path, early: bytes) -> None:
    (tmp_path / "initrd.img").write_bytes(early + pack(INITRAMFS))
    place = Place(tmp_path, "/initrd.img")
    contents = read_initramfs(place, lambda path: path.startswith("etc/udev/rules.d/"))
    assert contents.modules == {"ahci", "virtio_net", "sym53c8xx"}
    assert contents.kept == {"etc/udev/rules.d/70-persistent-net.rules": b"# rules\n"}
    assert ("kernel/x86/microcode/GenuineIntel.bin" in contents.paths) == bool(early)


def test_lz4_block_by_block_and_what_follows_it(tmp_path: Path) -> None:
    """Several blocks, a second image right behind the first, and a plain one behind zeros."""
    large = archive({"firmware": os.urandom(1 << 20) * 20})
    whole = pack(large) + pack(INITRAMFS) + bytes(3) + MICROCODE
    (tmp_path / "initrd.img").write_bytes(whole)
    contents = read_initramfs(Place(tmp_path, "/initrd.img"))
    assert {"firmware", "kernel/x86/microcode/GenuineIntel.bin"} <= contents.paths
    assert "ahci" in contents.modules


def pack(content: bytes) -> bytes:
    """In the legacy format, which the kernel reads."""
    argv = ["lz4", "-l", "-c"]
    return subprocess.run(argv, input=content, capture_output=True, check=True).stdout
