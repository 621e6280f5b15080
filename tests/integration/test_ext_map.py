"""Our reading of ext bitmaps beside partclone's, on file systems of many kinds."""

import os
import struct
from pathlib import Path

import pytest

from payload.formats.disk.ext_map import read_ext_map
from payload.formats.disk.unknown_layout import ContradictionError, UnknownLayoutError
from payload.model.disk import MIB
from payload.model.errors import ToolError
from payload.model.plan import CHUNK_SIZE
from payload.replicate.extents import MAPPING_TIMEOUT, map_device, read_map
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.server_image import make_image, tool, write_tree
from tests.support.stream_disks import make_host

pytestmark = pytest.mark.root

SUPERBLOCK = 1024
UNKNOWN = {
    "not clean": (0x3A, "<H", 0),
    "errors": (0x3A, "<H", 3),
    "a journal to be replayed": (0x60, "<I", 0x2C6),
    "a new feature": (0x60, "<I", 0x80000000 | 0x2C2),
    "an old revision": (0x4C, "<I", 0),
    "larger than the device": (0x150, "<I", 1),
    "no blocks in a group": (0x20, "<I", 0),
    "blocks of no size": (0x18, "<I", 30),
    "descriptors of no size": (0xFE, "<H", 0),
    "a descriptor that has other free blocks": (4096 - 1024 + 12, "<H", 1),
    "a bitmap that lies nowhere": (4096 - 1024, "<I", 0xFFFFFF00),
}
KINDS = {
    "ext2": ["-t", "ext2", "-b", "4096"],
    "ext2 without sparse superblocks": [
        "-t",
        "ext2",
        "-b",
        "4096",
        "-O",
        "^sparse_super,^resize_inode",
    ],
    "ext2 with small blocks": ["-t", "ext2", "-b", "1024"],
    "ext2 of 2 KiB blocks": ["-t", "ext2", "-b", "2048"],
    "ext3": ["-t", "ext3", "-b", "4096"],
    "ext3 of old servers": [
        "-t",
        "ext3",
        "-b",
        "4096",
        "-I",
        "128",
        "-O",
        "^dir_index,^resize_inode",
    ],
    "ext3 with small blocks": ["-t", "ext3", "-b", "1024"],
    "ext4": ["-t", "ext4", "-b", "4096"],
    "ext4 with small blocks": ["-t", "ext4", "-b", "1024"],
    "ext4 in groups of few": ["-t", "ext4", "-b", "1024", "-g", "1024"],
    "ext4 in groups of 2 MiB": ["-t", "ext4", "-b", "4096", "-g", "512"],
    "ext4 without flex_bg": ["-t", "ext4", "-b", "4096", "-O", "^flex_bg"],
    "ext4 with large flex_bg": ["-t", "ext4", "-b", "1024", "-G", "64"],
    "ext4 with uninit_bg": ["-t", "ext4", "-b", "1024", "-O", "uninit_bg,^metadata_csum"],
    "ext4 without checksums": ["-t", "ext4", "-b", "1024", "-O", "^uninit_bg,^metadata_csum"],
    "ext4 of 32 bits": ["-t", "ext4", "-b", "1024", "-O", "^64bit"],
    "ext4 with meta_bg": ["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
    "ext4 with meta_bg of 32 bits": [
        *("-t", "ext4", "-b", "1024", "-g", "1024"),
        *("-O", "meta_bg,^resize_inode,^64bit,^flex_bg"),
    ],
    "ext4 with quota and project": ["-t", "ext4", "-b", "4096", "-O", "quota,project"],
    "ext4 with inline data": ["-t", "ext4", "-b", "4096", "-O", "inline_data", "-I", "256"],
    "ext4 without journal": ["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
    "ext4 with many inodes": ["-t", "ext4", "-b", "4096", "-i", "1024"],
    "ext4 with few inodes": ["-t", "ext4", "-b", "4096", "-N", "256"],
    "ext4 not initialized lazily": ["-t", "ext4", "-b", "4096", "-E", "lazy_itable_init=0"],
    "ext4 with a stride": ["-t", "ext4", "-E", "stride=16,stripe_width=64", "-b", "1024"],
}
# Not every kernel that runs these tests was built with it: looked at as mke2fs left them.
NOT_MOUNTED = ("quota",)


def partclone_map(image: Path, kind: str, size: int) -> list[tuple[int, int]]:
    map_file = image.with_suffix(".map")
    map_file.unlink(missing_ok=True)
    options = ["--quiet", "--UI-fresh=0", "--domain", "--logfile", str(image.with_suffix(".log"))]
    with device.view(run, str(image), 0, size) as node:
        argv = [f"partclone.{kind}", *options, "--source", node, "--output", str(map_file)]
        run(argv, timeout=MAPPING_TIMEOUT)
    return list(read_map(map_file, size))


def make(tmp_path: Path, options: list[str], size: int = 140 * MIB + 5 * 1024) -> Path:
    image = make_image(tmp_path / "fs", size)
    tree = tmp_path / "tree"
    write_tree(tree, {f"usr/{n % 9}/{n}": f"text {n}\n" * (n * n % 3000) for n in range(60)})
    (tree / "random").write_bytes(os.urandom(9 * MIB + 17))
    tool("mke2fs", "-q", "-F", *options, "-d", str(tree), str(image))
    return image


def use(image: Path, kind: str) -> None:
    """As in daily life: written to, and deleted from, by the kernel."""
    size = image.stat().st_size
    with (
        device.view(run, str(image), 0, size, writable=True) as node,
        LinuxMounts(run).mount(node, kind, writable=True) as root,
    ):
        for number in range(0, 60, 3):
            (root / f"usr/{number % 9}/{number}").unlink()
        for number in range(30):
            (root / f"new{number}").write_bytes(os.urandom(number * 50_000))
        for number in range(0, 30, 2):
            (root / f"new{number}").unlink()


def blocks(runs: list[tuple[int, int]], unit: int) -> set[int]:
    return {block for at, n in runs for block in range(at // unit, -(-(at + n) // unit))}


@pytest.mark.parametrize("name", KINDS)
def test_every_block_that_partclone_finds_is_found(name: str, tmp_path: Path) -> None:
    image, kind = make(tmp_path, KINDS[name]), name.split(maxsplit=1)[0]
    size = image.stat().st_size
    for is_used in (False, True):
        if is_used and any(word in name for word in NOT_MOUNTED):
            return
        if is_used:
            use(image, kind)
        ours = list(read_ext_map(str(image), size))
        assert ours == sorted(ours)
        theirs = blocks(partclone_map(image, kind, size), 1024)
        found = blocks(ours, 1024)
        assert theirs - {0} <= found, "block 0 is the boot block, and always copied"
        assert len(found) <= size // 1024
        # Between the first and the last block of a MiB all are taken: no more than that.
        slots = {block // 1024 for block in theirs}
        more = {block // 1024 for block in found} - slots
        assert not more or min(more) - 1 in slots


def test_the_map_that_is_used_is_that_of_partclone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunk by chunk, and partclone is not even asked."""
    image = make(tmp_path, ["-t", "ext4"], 300 * MIB)
    use(image, "ext4")
    host = make_host([image], "S").host
    ours = list(map_device(host, str(image), "ext4", 300 * MIB, 512))
    monkeypatch.setattr("payload.replicate.extents.EXT_KINDS", frozenset())
    assert ours == list(map_device(host, str(image), "ext4", 300 * MIB, 512))
    assert sum(length for _, length in ours) < 60 * MIB


def test_a_sparse_file_system_of_terabytes_costs_next_to_nothing(tmp_path: Path) -> None:
    image = make_image(tmp_path / "fs", 1 << 40)
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-N", "100000", str(image))
    used = sum(length for _, length in read_ext_map(str(image), 1 << 40))
    theirs = sum(length for _, length in partclone_map(image, "ext4", 1 << 40))
    assert theirs <= used < theirs + 8192 * 2 * CHUNK_SIZE


@pytest.mark.parametrize(
    "options",
    [
        ["-O", "sparse_super2"],
        ["-O", "bigalloc"],
        ["-b", "1024", "-O", "bigalloc"],
        ["-r", "0", "-t", "ext2"],
    ],
)
def test_features_that_are_not_known_are_left_to_partclone(
    options: list[str], tmp_path: Path
) -> None:
    image = make_image(tmp_path / "fs", 64 * MIB)
    tool("mke2fs", "-q", "-F", *([] if "-t" in options else ["-t", "ext4"]), *options, str(image))
    with pytest.raises(UnknownLayoutError):
        list(read_ext_map(str(image), 64 * MIB))


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_in_doubt_is_left_to_partclone(name: str, tmp_path: Path) -> None:
    image = make(tmp_path, ["-t", "ext4", "-b", "4096"], 64 * MIB)
    place, layout, value = UNKNOWN[name]
    with image.open("r+b") as file:
        file.seek(SUPERBLOCK + place)
        file.write(struct.pack(layout, value))
    with pytest.raises(UnknownLayoutError):
        list(read_ext_map(str(image), 64 * MIB))


def flip(image: Path, place: int, bits: int) -> None:
    with image.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ bits]))


def assert_copied_whole(image: Path, kind: str, reason: str) -> None:
    """Not left to partclone, which would believe the bitmap."""
    size = image.stat().st_size
    with pytest.raises(ContradictionError, match=reason):
        list(read_ext_map(str(image), size))
    with pytest.raises(ToolError, match=reason):
        map_device(make_host([image], "S").host, str(image), kind, size, 512)


@pytest.mark.parametrize(
    ("kind", "reason"), [("ext4", "wrong checksum"), ("ext3", "as many free blocks")]
)
def test_a_damaged_bitmap_is_no_map(kind: str, reason: str, tmp_path: Path) -> None:
    image = make(tmp_path, ["-t", kind, "-b", "4096"], 64 * MIB)
    told = tool("dumpe2fs", str(image))
    flip(image, int(told.split("Block bitmap at ")[1].split()[0]) * 4096 + 1900, 4)
    assert_copied_whole(image, kind, reason)


def test_a_damaged_descriptor_is_no_map(tmp_path: Path) -> None:
    image = make(tmp_path, ["-t", "ext4", "-b", "4096"], 64 * MIB)
    flip(image, 4096 + 8, 1)  # where the first inode table is said to lie
    assert_copied_whole(image, "ext4", "wrong checksum")


def test_an_inode_table_that_is_called_free_contradicts_the_bitmap(tmp_path: Path) -> None:
    """One bit for another, so that the number of free blocks stays right."""
    image = make(tmp_path, ["-t", "ext3", "-b", "4096"], 64 * MIB)
    told = tool("dumpe2fs", str(image))
    bitmap = int(told.split("Block bitmap at ")[1].split()[0]) * 4096
    table = int(told.split("Inode table at ")[1].split("-")[0])
    free = int(told.split("Free blocks: ")[-1].split()[0].split("-")[0].rstrip(","))
    flip(image, bitmap + table // 8, 1 << table % 8)
    flip(image, bitmap + free // 8, 1 << free % 8)
    assert_copied_whole(image, "ext3", "calls free what is in use")


@pytest.mark.parametrize("count", [3, 40])  # with and without a block that lists them
def test_a_bad_block_that_is_called_free_contradicts_the_bitmap(count: int, tmp_path: Path) -> None:
    image = make_image(tmp_path / "fs", 64 * MIB)
    bad = tmp_path / "bad"
    bad.write_text("".join(f"{9000 + number}\n" for number in range(count)))
    tool("mke2fs", "-q", "-F", "-t", "ext3", "-b", "4096", "-l", str(bad), str(image))
    list(read_ext_map(str(image), 64 * MIB))
    told = tool("dumpe2fs", str(image))
    bitmap = int(told.split("Block bitmap at ")[1].split()[0]) * 4096
    last = 9000 + count - 1
    flip(image, bitmap + last // 8, 1 << last % 8)
    flip(image, bitmap + 12000 // 8, 1 << 12000 % 8)
    assert_copied_whole(image, "ext3", "calls free what is in use")
