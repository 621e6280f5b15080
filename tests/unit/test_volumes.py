"""The names a fstab or boot menu calls a file system by."""

import pytest

from payload.finish.volumes import Mount, Volume, mounted_at, parse_fstab

ROOT = Volume(0, 6, 0, 0, "ext4", "AAAA-root", "slash", "0xfa-06", "83", place=1)
DATA = Volume(1, 1, 0, 0, "xfs", "bbbb-data", "", "0xda-01", "83", place=0)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("UUID=aaaa-root", ROOT),
        ('UUID="bbbb-data"', DATA),
        ("LABEL=slash", ROOT),
        ("PARTUUID=0xda-01", DATA),
        ("/dev/disk/by-uuid/bbbb-data", DATA),
        ("/dev/sdb6", ROOT),
        ("/dev/hda1", DATA),
        ("/dev/vda1", DATA),
        ("/dev/cciss/c0d1p6", ROOT),
        ("/dev/nvme1n1p6", ROOT),
        ("/dev/sda6", None),
        ("LABEL=", None),
        ("UUID=", None),
        ("/dev/mapper/vg-root", None),
        ("tmpfs", None),
    ],
)
def test_a_name_means_one_volume(spec: str, found: Volume | None) -> None:
    assert mounted_at([DATA, ROOT], [Mount(spec, "/x", "ext4")], "/x") is found


def test_fstab() -> None:
    text = "# c\nUUID=1 / ext4 defaults 0 1\nx none swap sw\n/dev/sda1 /a\\040b/ ext3\nbroken\n"
    assert parse_fstab(text) == (Mount("UUID=1", "/", "ext4"), Mount("/dev/sda1", "/a b", "ext3"))
