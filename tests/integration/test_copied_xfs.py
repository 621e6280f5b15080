"""xfs, copied onto disks full of something else: xfs_repair finds the copy as clean as the source.

What xfs_db does not call free is compared byte by byte, and every file where this kernel can mount
the kind: it has given up xfs without checksums (v4).
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload.system.command import run
from tests.support.server_image import MIB, make_image, tool
from tests.support.streamed_copy import overwrite, read
from tests.support.used_file_systems import (
    digests,
    filled_copy,
    findings,
    is_equal,
    is_planned_whole,
    mounted,
    notes,
    sync,
    treatment,
    use,
)

pytestmark = pytest.mark.root

SIZE = 48 * MIB
CHECK = ("xfs_repair", "-n")
KINDS = {
    "as mkfs makes it": [],
    "reflink and rmapbt": ["-m", "reflink=1,rmapbt=1"],
    "bigtime and inobtcount": ["-m", "bigtime=1,inobtcount=1"],
    "large extent counters": ["-i", "nrext64=1"],
    "of older servers": ["-m", "reflink=0,bigtime=0,finobt=0", "-i", "sparse=0"],
    "sectors of 512": ["-s", "size=512"],
    "sectors of 4096": ["-s", "size=4096"],
    "blocks of 1 KiB": ["-b", "size=1024"],
    "two groups": ["-d", "agcount=2"],
}


def make(directory: Path, options: list[str]) -> Path:
    """Smaller than 300 MiB, which mkfs.xfs would else refuse."""
    image = make_image(directory / "xfs.img", SIZE)
    tool("mkfs.xfs", "-q", "--unsupported", *options, str(image))
    return image


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_as_clean_as_its_source(name: str, tmp_path: Path) -> None:
    image = make(tmp_path, KINDS[name])
    with mounted(image, "xfs", writable=True) as root:
        use(root)
        if "reflink" in name:
            run(["cp", "--reflink=always", str(root / "grown1"), str(root / "shared")])
        wanted = digests(root)
    assert_equal_copy(tmp_path, image)
    with mounted(tmp_path / "target1.img", "xfs") as root:
        assert digests(root) == wanted


def test_an_xfs_without_checksums(tmp_path: Path) -> None:
    tree = tmp_path / "files"
    tree.mkdir()
    use(tree)
    image = make_image(tmp_path / "xfs.img", SIZE)
    prototype = tmp_path / "prototype"
    prototype.write_text("\n".join(["/", "0 0", "d--755 0 0", *entries(tree), "$", ""]))
    options = ["-m", "crc=0", "-p", str(prototype)]
    tool("mkfs.xfs", "-q", "--unsupported", *options, str(image))
    assert_equal_copy(tmp_path, image)


def entries(tree: Path) -> Iterator[str]:
    """Of mkfs.xfs's prototype, whose words are split at blanks."""
    for number, path in enumerate(sorted(path for path in tree.rglob("*") if path.is_file())):
        plain = path.rename(tree / f"plain{number}")
        yield f"{plain.name} ---644 0 0 {plain}"


def assert_equal_copy(directory: Path, image: Path) -> None:
    copy, there = filled_copy(directory, image)
    assert "blocks in use" in treatment(copy) and notes(copy) == []
    code, words = findings(image, *CHECK)
    assert findings(there, *CHECK) == (code, words)
    assert code == 0
    free = list(free_ranges(image))
    assert sum(end - start for start, end in free) > 6 * MIB
    assert without(free, image) == without(free, there)
    assert not is_equal(image, there), "what is free was not copied"


def free_ranges(image: Path) -> Iterator[tuple[int, int]]:
    """First and last byte, as xfs_db lists them: group, block of it, and length."""
    words = run(["xfs_db", "-r", "-c", "sb 0", "-c", "p blocksize agblocks", str(image)]).stdout
    block, group = (int(number) for number in re.findall(r" = (\d+)", words))
    for line in run(["xfs_db", "-r", "-c", "freesp -d", str(image)]).stdout.splitlines():
        if numbers := re.fullmatch(r"\s*(\d+)\s+(\d+)\s+(\d+)", line):
            number, first, length = map(int, numbers.groups())
            start = (number * group + first) * block
            yield start, start + length * block


def without(free: list[tuple[int, int]], image: Path) -> bytes:
    content = bytearray(image.read_bytes())
    for start, end in free:
        content[start:end] = bytes(end - start)
    return bytes(content)


def test_a_log_to_be_replayed_is_copied_with_all_it_may_know(tmp_path: Path) -> None:
    image, crashed = make(tmp_path, []), tmp_path / "crashed.img"
    with mounted(image, "xfs", writable=True) as root:
        use(root)
        sync(root)
        run(["cp", "--sparse=always", str(image), str(crashed)])
    copy, there = filled_copy(tmp_path, crashed)
    assert is_planned_whole(copy, "it was not unmounted cleanly")
    assert is_equal(crashed, there)
    assert findings(there, *CHECK) == findings(crashed, *CHECK)
    with mounted(there, "xfs", writable=True) as root:
        assert len(digests(root)) > 150


def test_a_damaged_xfs_is_copied_with_its_damage(tmp_path: Path) -> None:
    image = make(tmp_path, [])
    with mounted(image, "xfs", writable=True) as root:
        use(root)
    with image.open("r+b") as file:
        file.seek(512 + 0x10)  # of the first group's header (AGF): the root of its free blocks
        file.write(b"\xff\xff")
    before = findings(image, *CHECK)
    assert before[0] != 0
    _, there = filled_copy(tmp_path, image)
    assert findings(there, *CHECK) == before


def test_free_space_that_the_superblock_contradicts_is_no_map(tmp_path: Path) -> None:
    """partclone believes a damaged tree of free space, whose checksum it does not look at."""
    image = make(tmp_path, ["-d", "agcount=1"])
    with mounted(image, "xfs", writable=True) as root:
        use(root)
    (tree,) = struct.unpack(">I", read(image, 512 + 0x10, 4))  # agf_bno_root
    level, count = struct.unpack(">HH", read(image, tree * 4096 + 4, 4))
    places = [tree * 4096 + 56 + 8 * number for number in range(count)]  # behind bb_crc
    start, length, place = max(
        (*struct.unpack(">II", read(image, place, 8)), place) for place in places
    )
    assert level == 0 and length > 100, "the room behind all files"
    overwrite(image, place, struct.pack(">II", start - 60, length + 60))
    before = findings(image, *CHECK)
    copy, there = filled_copy(tmp_path, image)
    assert "245760 bytes less in use than its superblock says" in notes(copy)[0]
    assert is_equal(image, there) and findings(there, *CHECK) == before
    assert before[0] != 0


def test_an_xfs_whose_log_lies_elsewhere_is_copied_whole(tmp_path: Path) -> None:
    image, log = make_image(tmp_path / "xfs.img", SIZE), make_image(tmp_path / "log", 32 * MIB)
    tool("mkfs.xfs", "-q", "--unsupported", "-l", f"logdev={log},size=16m", str(image))
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "cannot be read")
    assert is_equal(image, there)
