"""With which words a file system is mounted: to look at it changes nothing on its disk."""

import pytest

from payload.system.mounts import mount_options


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ext3", "ro,nodev,nosuid,noexec,noload"),
        ("ext4", "ro,nodev,nosuid,noexec,noload"),
        ("xfs", "ro,nodev,nosuid,noexec,norecovery,nouuid"),
        ("btrfs", "ro,nodev,nosuid,noexec,rescue=nologreplay"),
        ("vfat", "ro,nodev,nosuid,noexec"),
    ],
)
def test_looking_replays_no_journal(kind: str, expected: str) -> None:
    assert ",".join(mount_options(kind, writable=False)) == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("ext4", "rw,nodev,nosuid"), ("xfs", "rw,nodev,nosuid,nouuid")]
)
def test_a_copy_is_mounted_to_be_changed(kind: str, expected: str) -> None:
    assert ",".join(mount_options(kind, writable=True)) == expected
