"""The room behind a file system that is smaller than its partition: what lies there is copied."""

import os
from pathlib import Path

import pytest

from payload.decide.planning import describe
from payload.model.plan import Method
from tests.support.second_disk import copy_of
from tests.support.server_image import MIB, make_image, tool
from tests.support.streamed_copy import assert_equal_content, overwrite, read

pytestmark = pytest.mark.root

START = 1 * MIB  # of the partition
BEHIND = 12 * MIB
# How it is made on a device that is larger by BEHIND, and its MiB.
KINDS = {
    "ext4": (["mkfs.ext4", "-q", "-F", "{}", "64M"], 64),
    "btrfs": (["mkfs.btrfs", "-q", "--byte-count", "120M", "{}"], 120),
    "xfs": (["mkfs.xfs", "-q", "-d", "size=320m", "{}"], 320),
    "ntfs": (["mkntfs", "-q", "-F", "-Q", "{}", "131072"], 64),
    "vfat": (["mkfs.vfat", "-F", "32", "{}", "307200"], 300),
    "swap": (["mkswap", "{}", "32768"], 32),
}


def make_disk(directory: Path, kind: str) -> tuple[Path, int]:
    """A disk with one partition and a smaller file system in it, and where that ends."""
    make, size = KINDS[kind]
    system = make_image(directory / "system.img", size * MIB + BEHIND)
    tool(*(word.format(system) for word in make))
    end = START + size * MIB
    disk = make_image(directory / "disk.img", end + BEHIND + MIB)
    partition = f"start=2048, size={(size * MIB + BEHIND) // 512}, type=83"
    tool("sfdisk", "-q", str(disk), stdin=f"label: dos\n\n1 : {partition}\n")
    overwrite(disk, START, system.read_bytes())
    return disk, end


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_behind_a_file_system_is_copied(kind: str, tmp_path: Path) -> None:
    disk, end = make_disk(tmp_path, kind)
    pattern = os.urandom(5 * MIB)
    overwrite(disk, end + 4 * MIB, pattern)
    copy, there = copy_of(tmp_path, disk)
    assert read(there, end, BEHIND) == read(disk, end, BEHIND)
    assert_equal_content(copy)
    region = next(one for one in copy.plan.regions if one.pair == 1 and one.is_volume)
    is_whole = region.method is Method.ALL
    told = ", and all 12.6 MB behind its end" in "\n".join(describe(copy.plan))
    assert told is not is_whole
    # NTFS ends a sector early, for its second boot sector; mkfs.vfat fills whole tracks.
    assert is_whole or BEHIND <= region.behind < BEHIND + 65536
    used = sum(length for _, length in copy.chunks(region.index))
    assert is_whole or used < region.size - 20 * MIB, "its map is still used"
