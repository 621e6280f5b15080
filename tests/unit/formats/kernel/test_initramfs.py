"""Images of all makers and compressors, as they were made, and as they never should be."""

import bz2
import gzip
import lzma
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest
import zstandard

from payload.formats.kernel import initramfs
from payload.formats.kernel.initramfs import InitramfsError, read_initramfs
from payload.system.files import Place
from tests.support.cpio_archives import INITRAMFS, MICROCODE, archive


def lz4_legacy(data: bytes) -> bytes:
    """LZ4 in the format that the kernel reads: independent blocks of 8 MiB behind their sizes."""
    blocks = (
        lz4.block.compress(data[at : at + (8 << 20)], store_size=False)
        for at in range(0, len(data), 8 << 20)
    )
    return b"\x02\x21\x4c\x18" + b"".join(
        len(block).to_bytes(4, "little") + block for block in blocks
    )


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstandard.compress,
    "lz4": lz4_legacy,
}


def image(tmp_path: Path, content: bytes) -> Place:
    (tmp_path / "initrd.img").write_bytes(content)
    return Place(tmp_path, "/initrd.img")


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("early", [b"", MICROCODE + bytes(512), MICROCODE])
def test_every_compression_with_and_without_microcode(
    tmp_path: Path, packer: str, early: bytes
) -> None:
    place = image(tmp_path, early + PACKERS[packer](INITRAMFS))
    found = read_initramfs(place, lambda path: path.startswith("etc/udev/rules.d/"))
    assert found.modules == {"ahci", "virtio_net", "sym53c8xx"}
    assert found.kept == {"etc/udev/rules.d/70-persistent-net.rules": b"# rules\n"}
    assert ("kernel/x86/microcode/GenuineIntel.bin" in found.paths) == bool(early)


@pytest.mark.parametrize("packer", ["gzip", "xz", "zstd", "bzip2"])
def test_parts_packed_in_parallel_are_one_archive(tmp_path: Path, packer: str) -> None:
    pack = PACKERS[packer]
    place = image(
        tmp_path, b"".join(pack(INITRAMFS[at : at + 200]) for at in range(0, len(INITRAMFS), 200))
    )
    assert "ahci" in read_initramfs(place).modules


def test_several_archives_follow_each_other(tmp_path: Path) -> None:
    more = gzip.compress(archive({"conf/conf.d/resume": b"RESUME=none\n"}))
    found = read_initramfs(image(tmp_path, gzip.compress(INITRAMFS) + bytes(3) + more))
    assert {"init", "conf/conf.d/resume"} <= found.paths


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x45\x3d\xcd\x28" + bytes(5000), "cramfs"),
        (b"-rom1fs-" + bytes(5000), "romfs"),
        (gzip.compress(b"\x01" + bytes(1079) + b"\x53\xef" + bytes(900)), "ext2"),
        (b"MZ" + bytes(5000), "no known kind"),
        (gzip.compress(INITRAMFS)[:-40], "damaged: it ends in the middle"),
        (gzip.compress(INITRAMFS)[:40] + bytes(200), "damaged"),
        (zstandard.compress(INITRAMFS)[:-9], "damaged"),
        (lz4_legacy(INITRAMFS)[:-4], "damaged: it ends in the middle"),
        (lz4_legacy(INITRAMFS)[:12] + bytes(28) + lz4_legacy(INITRAMFS)[40:], "damaged"),
        (INITRAMFS[:200], "damaged: it ends in the middle"),
        (bytes(4096), "empty"),
        (b"", "empty"),
        (gzip.compress(gzip.compress(INITRAMFS)), "no known kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_what_is_none_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(InitramfsError, match=why):
        read_initramfs(image(tmp_path, content))


@pytest.mark.parametrize(
    ("packer", "size", "limit"),
    # zstd makes up to 32 MiB of the kilobyte it is given at a time
    [("gzip", 32, 16), ("bzip2", 32, 16), ("xz", 32, 24), ("zstd", 128, 96), ("lz4", 48, 32)],
)
def test_little_is_unpacked_at_a_time(tmp_path: Path, packer: str, size: int, limit: int) -> None:
    """Zeros pack so well that a few bytes would fill the memory. Sizes in MiB."""
    place = image(tmp_path, PACKERS[packer](archive({"init": bytes(size << 20)})))
    assert (tmp_path / "initrd.img").stat().st_size < 1 << 18
    tracemalloc.start()
    try:
        assert read_initramfs(place).paths == {"init"}
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < limit << 20


def test_all_that_is_packed_shares_one_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = gzip.compress(archive({"init": bytes(1 << 20)}))
    monkeypatch.setattr(initramfs, "_LARGEST", 3 << 20)
    assert read_initramfs(image(tmp_path, once * 2)).paths == {"init"}
    with pytest.raises(InitramfsError, match="does not end"):
        read_initramfs(image(tmp_path, once * 4))


def test_zeros_before_the_end_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse file costs nothing and may be as long as its file system allows."""
    monkeypatch.setattr(initramfs, "_LARGEST", 3 << 20)
    place = image(tmp_path, archive({"init": b"x"}))
    os.truncate(tmp_path / "initrd.img", 2 << 20)
    assert read_initramfs(place).paths == {"init"}
    os.truncate(tmp_path / "initrd.img", 1 << 40)
    with pytest.raises(InitramfsError, match="does not end"):
        read_initramfs(place)


@pytest.mark.parametrize("packer", PACKERS)
def test_unpacking_stops_at_a_limit_whatever_the_packer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: str
) -> None:
    monkeypatch.setattr(initramfs, "_LARGEST", 3 << 20)
    place = image(tmp_path, PACKERS[packer](archive({"init": bytes(16 << 20)})))
    with pytest.raises(InitramfsError, match="does not end"):
        read_initramfs(place)


def test_more_files_than_any_initramfs_has_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initramfs, "_LONGEST", 1 << 14)
    place = image(tmp_path, gzip.compress(archive({f"{n:04}": b"" for n in range(1000)})))
    with pytest.raises(InitramfsError, match="more files than"):
        read_initramfs(place)
    kept = image(tmp_path, archive({"conf/one": bytes(1 << 14)}))
    with pytest.raises(InitramfsError, match="more files than"):
        read_initramfs(kept, lambda path: path.startswith("conf/"))


def test_a_dictionary_larger_than_memory_is_damage(tmp_path: Path) -> None:
    content = bytearray(PACKERS["lzma"](INITRAMFS))
    content[1:5] = (0xFFFF0000).to_bytes(4, "little")
    with pytest.raises(InitramfsError, match="damaged"):
        read_initramfs(image(tmp_path, bytes(content)))
