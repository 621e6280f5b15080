"""File systems of many kinds, copied onto disks full of something else: as clean as the source.

Their own checkers judge, since not every kernel that runs these tests can mount them.
"""

from pathlib import Path

import pytest

from payload.decide.planning import describe
from tests.support.server_image import MIB, make_image, tool
from tests.support.used_file_systems import filled_copy, findings, is_equal

pytestmark = pytest.mark.root

# How it is made, how it is checked, MiB, and whether every block is copied.
KINDS = {
    "reiserfs": (["mkreiserfs", "-q", "-ff"], ["reiserfsck", "--check", "-y", "-q"], 64, False),
    "jfs": (["mkfs.jfs", "-q"], ["fsck.jfs", "-n"], 32, False),
    "f2fs": (["mkfs.f2fs", "-q"], ["fsck.f2fs", "--dry-run"], 64, True),
    "exfat": (["mkfs.exfat"], ["fsck.exfat", "-n"], 16, True),
    "ntfs": (["mkntfs", "-q", "-F", "-Q"], ["ntfsfix", "-n"], 32, False),
    "vfat": (["mkfs.vfat", "-F", "16"], ["fsck.vfat", "-n"], 32, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_as_clean_as_its_source(kind: str, tmp_path: Path) -> None:
    make, check, size, is_whole = KINDS[kind]
    image = make_image(tmp_path / f"{kind}.img", size * MIB)
    tool(*make, str(image))
    before = findings(image, *check)
    assert before[0] == 0, before
    copy, there = filled_copy(tmp_path, image)
    (line,) = (line for line in describe(copy.plan) if f"whole disk: {kind}" in line)
    assert ("every block, because" in line) is is_whole
    assert is_equal(image, there) is is_whole  # before reiserfsck writes when it looked
    assert findings(there, *check) == before
