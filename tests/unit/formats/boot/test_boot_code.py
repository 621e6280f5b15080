"""Boot sectors: what each loader's first sectors say, and that noise never gets further than us.

GRUB 2 on a real image is walked in tests/integration/test_finish.py.
"""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.boot.boot_code import read_boot_code
from payload.model.errors import AdaptError
from tests.support.boot_disks import ONE_PARTITION, boot_disk
from tests.support.grub_legacy_stages import LOADED, stage1, stage2


def test_no_code_is_no_loader() -> None:
    assert read_boot_code(boot_disk(), ONE_PARTITION, "sda") is None


def test_the_loader_of_the_active_partition_counts_where_sector_0_is_nobodys() -> None:
    table = replace(
        ONE_PARTITION,
        partitions=(replace(ONE_PARTITION.partitions[0], start=8 * 512, bootable=True),),
    )
    image = stage2(b"(hd0,1)/grub/menu.lst", first=40)
    own = [(8 * 512 + place, part) for place, part in (*stage1(40, LOADED), (510, b"\x55\xaa"))]
    code = read_boot_code(boot_disk((0, b"\x33\xc0\x8e"), *own, (40 * 512, image)), table, "sda")
    assert code is not None
    assert code.loader == "GRUB legacy"
    assert "partition 1 of sda" in code.checks[0]


def test_extlinux_is_found_in_its_partition() -> None:
    table = replace(
        ONE_PARTITION,
        partitions=(replace(ONE_PARTITION.partitions[0], start=8 * 512, bootable=True),),
    )
    own = b"\xeb\x58\x90EXTLINUX" + bytes(0x60) + struct.pack("<I", 5)
    parts = ((8 * 512, own), (8 * 512 + 510, b"\x55\xaa"), (13 * 512 + 24, b"\xfe\x02\xb2\x3e"))
    code = read_boot_code(boot_disk((0, b"\x33\xc0\x8e"), *parts), table, "sda")
    assert code is not None
    assert code.loader == "extlinux"
    assert "ldlinux.sys in sector 5" in code.checks[0]


def test_lilo_and_unknown_code_are_carried_over() -> None:
    lilo = read_boot_code(boot_disk((0, b"\xfa\xeb\x21\x01\xb4\x01LILO\x16")), ONE_PARTITION, "sda")
    other = read_boot_code(boot_disk((0, b"\x33\xc0\x8e\xd0")), ONE_PARTITION, "sda")
    assert lilo is not None
    assert other is not None
    assert (lilo.loader, other.loader) == ("LILO", "unknown")


def test_code_without_signature_starts_nowhere() -> None:
    with pytest.raises(AdaptError, match="55 AA"):
        read_boot_code(boot_disk((0, b"\x33"), (510, b"\0\0")), ONE_PARTITION, "sda")


GRUB2 = ((0x5A, b"\x00\x80\x01"), (0x180, b"GRUB \0Geom"))


@given(st.binary(min_size=1, max_size=4096), st.integers(0, 2048))
def test_noise_behind_a_boot_sector_is_an_answer_or_an_error(noise: bytes, place: int) -> None:
    for head in (GRUB2, stage1(1), stage1(2, LOADED)):
        try:
            code = read_boot_code(boot_disk(*head, (512 + place, noise)), ONE_PARTITION, "sda")
        except AdaptError:
            continue
        assert code is not None
