"""Of which content a map of used blocks is read, and the reason where it is not."""

import pytest

from payload.decide.layout import choose_method
from payload.model.disk import FileSystem
from payload.model.map_kinds import FAT12_LIMIT, MAPPED, MEMBERS, why_whole
from payload.model.plan import CopyMode, Method

GB = 1 << 30


@pytest.mark.parametrize(
    ("system", "size", "reason"),
    [
        (FileSystem("ext4"), GB, ""),
        (FileSystem("ext4", doubt="of a reason"), GB, "of a reason"),
        (FileSystem("vfat"), FAT12_LIMIT + 1, ""),
        (FileSystem("vfat"), FAT12_LIMIT, "a FAT this small"),
        (FileSystem("vfat", doubt="of a reason"), FAT12_LIMIT, "of a reason"),
        (FileSystem("reiserfs"), GB, ""),
        (FileSystem("jfs"), GB, ""),
        (FileSystem("f2fs"), GB, "f2fs is not read"),
        (FileSystem("exfat"), GB, "exfat is not read"),
        (FileSystem("crypto_LUKS"), GB, ""),
        (None, GB, ""),
    ],
)
def test_what_is_copied_whole_has_a_reason(
    system: FileSystem | None, size: int, reason: str
) -> None:
    why = why_whole(system, size)
    assert reason in why and bool(why) is bool(reason)
    if reason:
        assert choose_method(system, size, CopyMode.USED) is Method.ALL


@pytest.mark.parametrize("kind", sorted(MAPPED | MEMBERS))
def test_a_sound_one_of_each_kind_with_a_map_is_copied_by_it(kind: str) -> None:
    assert why_whole(FileSystem(kind), GB) == ""
    assert choose_method(FileSystem(kind), GB, CopyMode.USED) is Method.USED


def test_no_fat12_is_larger_than_the_limit() -> None:
    """4084 clusters (Microsoft, FAT specification 1.03, 3.5) of at most 64 KiB, and less than a
    MiB of tables and root directory in front of them."""
    assert FAT12_LIMIT > 4084 * 64 * 1024 + (1 << 16)
