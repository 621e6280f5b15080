"""An initramfs packed with LZ4, which a tool unpacks."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from payload.formats.kernel import initramfs
from payload.formats.kernel.initramfs import InitramfsError, read_initramfs
from payload.model.errors import ToolError
from payload.system.command import Completed, run
from payload.system.files import Place
from tests.support.cpio_archives import INITRAMFS, MICROCODE, archive


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


def pack(content: bytes) -> bytes:
    return subprocess.run(
        ["lz4", "-l", "-c"], input=content, capture_output=True, check=True
    ).stdout


def test_lz4_block_by_block_and_what_follows_it(tmp_path: Path) -> None:
    """Several blocks, a second image right behind the first, and a plain one behind zeros."""
    large = archive({"firmware": os.urandom(1 << 20) * 20})
    whole = pack(large) + pack(INITRAMFS) + bytes(3) + MICROCODE
    (tmp_path / "initrd.img").write_bytes(whole)
    found = read_initramfs(run, Place(tmp_path, "/initrd.img"))
    assert {"firmware", "kernel/x86/microcode/GenuineIntel.bin"} <= found.paths
    assert "ahci" in found.modules


def test_unpacking_lz4_stops_at_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bomb no more is written at a time than one block."""
    monkeypatch.setattr(initramfs, "_LARGEST", 64 << 20)
    (tmp_path / "initrd.img").write_bytes(pack(archive({"init": bytes(512 << 20)})))
    written: list[int] = []

    def watched(argv: Sequence[str], **more: Any) -> Completed:
        done = run(argv, **more)
        written.append(Path(argv[-1]).stat().st_size)
        return done

    with pytest.raises(InitramfsError, match="does not end"):
        read_initramfs(watched, Place(tmp_path, "/initrd.img"))
    assert max(written) <= 8 << 20
    assert sum(written) <= 64 << 20


def test_a_damaged_lz4_block_is_told(tmp_path: Path) -> None:
    packed = bytearray(pack(INITRAMFS))
    packed[12:40] = bytes(28)
    (tmp_path / "initrd.img").write_bytes(packed)
    with pytest.raises((InitramfsError, ToolError)):
        read_initramfs(run, Place(tmp_path, "/initrd.img"))
    (tmp_path / "initrd.img").write_bytes(pack(INITRAMFS)[:-4])
    with pytest.raises(InitramfsError, match="ends in the middle"):
        read_initramfs(run, Place(tmp_path, "/initrd.img"))
