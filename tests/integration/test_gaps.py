"""What no partition holds: copied where it can be read in seconds, else its ends, and told."""

import os
import struct
from pathlib import Path

import pytest

from payload.decide.account import settle_accounts
from payload.model.account import Treatment
from payload.model.gap import GAP_END, GAP_LIMIT
from payload.model.plan import CopyMode, Method
from tests.support.server_image import MIB, make_image, tool
from tests.support.stream_disks import SECTOR, make_host, place_ext
from tests.support.streamed_copy import Copy, assert_equal_content, overwrite, read

pytestmark = pytest.mark.root
SIZE = 48 * MIB
MBR = """\
label: dos
label-id: 0xfa110e55

1 : start=4096, size=20480, type=83, bootable
2 : start=30000, size=40000, type=5
5 : start=32000, size=8000, type=82
6 : start=50000, size=8000, type=da
"""
GPT = "label: gpt\nfirst-lba: 34\n\n1 : start=4096, size=20480\n2 : start=50000, size=8000\n"
GAPS = {"mbr": (3 * MIB // 2, 15 * MIB, 22 * MIB, 35 * MIB), "gpt": (18_000, 15 * MIB, 30 * MIB)}


def make_source(directory: Path, script: str = MBR, size: int = SIZE) -> Path:
    path = make_image(directory / "source.img", size)
    tool("sfdisk", "-q", str(path), stdin=script)
    place_ext(directory, path, 4096, 20480)
    return path


def make_copy(mine: Path, its: Path, mode: CopyMode = CopyMode.USED) -> Copy:
    copy = Copy(make_host([mine], "S"), make_host([its], "T"), mode)
    copy.run()
    return copy


@pytest.mark.parametrize("kind", GAPS)
@pytest.mark.parametrize("more", [0, 8 * MIB])
def test_what_lies_between_partitions_is_copied(kind: str, more: int, tmp_path: Path) -> None:
    mine = make_source(tmp_path, MBR if kind == "mbr" else GPT)
    places = (*GAPS[kind], SIZE - 34 * SECTOR - 70_000)
    for place in places:
        overwrite(mine, place, os.urandom(60_000 if place > MIB else 2000))
    its = make_image(tmp_path / "target.img", SIZE + more)
    copy = make_copy(mine, its)
    for place in places:
        length = 60_000 if place > MIB else 2000
        assert read(its, place, length) == read(mine, place, length), place
    assert_equal_content(copy)
    (account,) = settle_accounts(copy.plan, copy.receiver.reports())
    assert account.proven and account.unread == account.cut == 0
    tool("sfdisk", "--verify", str(its))


def test_exact_is_exact(tmp_path: Path) -> None:
    mine = make_source(tmp_path)
    for place in (MIB, 13 * MIB, 22 * MIB, 29 * MIB, 40 * MIB):
        overwrite(mine, place, os.urandom(4096))
    overwrite(mine, SIZE - 5000, os.urandom(5000))
    overwrite(mine, 32000 * SECTOR, os.urandom(MIB))  # swap content
    its = make_image(tmp_path / "target.img", SIZE)
    make_copy(mine, its, CopyMode.EXACT)
    assert read(its, 0, SIZE) == read(mine, 0, SIZE)


def test_a_refresh_compares_the_gaps_too(tmp_path: Path) -> None:
    mine = make_source(tmp_path)
    its = make_image(tmp_path / "target.img", SIZE)
    make_copy(mine, its)
    overwrite(mine, 15 * MIB, b"new")
    overwrite(its, 22 * MIB, b"from elsewhere")
    again = make_copy(mine, its)
    assert read(its, 15 * MIB, 3) == b"new" and read(its, 22 * MIB, 14) == bytes(14)
    sent = {report.name: report.sent for report in again.receiver.reports() if report.sent}
    assert set(sent) <= {"disk 1 boot area", "disk 1 gap 2", "disk 1 gap 3", "disk 1 partition 1"}


def test_metadata_at_the_very_end_comes_along_and_what_was_there_does_not(tmp_path: Path) -> None:
    """A disk that is a member of an array keeps its superblock behind all partitions."""
    mine = make_source(tmp_path)
    end = os.urandom(300_000)
    overwrite(mine, SIZE - len(end), end)
    for more in (0, MIB, 9 * MIB):
        its = make_image(tmp_path / f"target{more}.img", SIZE + more)
        tool("sfdisk", "-q", str(its), stdin="label: gpt\n\nsize=8MiB\n")
        copy = Copy(make_host([mine], "S"), make_host([its], "T"))
        copy.run()
        assert read(its, SIZE - len(end), len(end)) == end
        assert not any(read(its, SIZE, more)[-MIB:]), "the second half of the old GPT"


def test_logical_partitions_that_are_chained_in_an_unusual_way(tmp_path: Path) -> None:
    """Both links stand in front of the first, so that there is no sector between the two."""

    def link(*entries: tuple[int, int, int]) -> bytes:
        packed = [
            struct.pack("<B3sB3sII", 0, bytes(3), kind, bytes(3), start, size)
            for kind, start, size in entries
        ]
        return bytes(446) + b"".join(packed).ljust(64, b"\0") + b"\x55\xaa"

    mine = make_source(tmp_path)
    overwrite(mine, 30000 * SECTOR, link((0x83, 2, 1000), (5, 1, 2000)))
    overwrite(mine, 30001 * SECTOR, link((0x83, 1001, 1000)))
    told = tool("sfdisk", "--dump", str(mine))
    assert "start=       30002," in told and "start=       31002," in told
    its = make_image(tmp_path / "target.img", SIZE + MIB)
    make_copy(mine, its)
    assert tool("sfdisk", "--dump", str(its)) == told.replace(str(mine), str(its))
    assert read(its, 0, SECTOR) == read(mine, 0, SECTOR)


def test_a_target_that_ends_behind_the_partitions(tmp_path: Path) -> None:
    mine = make_source(tmp_path)
    overwrite(mine, 35 * MIB, b"still there")
    its = make_image(tmp_path / "target.img", 36 * MIB)
    copy = make_copy(mine, its)
    assert read(its, 35 * MIB, 11) == b"still there"
    (account,) = settle_accounts(copy.plan, copy.receiver.reports())
    assert account.cut == 12 * MIB and account.proven


LARGE = 24 * MIB + GAP_LIMIT + 16 * MIB  # bytes: most of it is behind the partition
WITHOUT = "label: dos\n\n1 : start=4096, size=20480, type=83, bootable\n"


def test_a_gap_too_large_to_read_is_copied_at_its_ends_and_told(tmp_path: Path) -> None:
    mine = make_source(tmp_path, WITHOUT, LARGE)
    start = (4096 + 20480) * SECTOR
    places = (start, start + GAP_END - 600, LARGE - GAP_END, LARGE - 512)
    for place in places:
        overwrite(mine, place, os.urandom(512))
    its = make_image(tmp_path / "target.img", LARGE)
    copy = make_copy(mine, its)
    for place in places:
        assert read(its, place, 512) == read(mine, place, 512)
    (account,) = copy.plan.accounts
    assert account.total(Treatment.UNREAD) == LARGE - start - 2 * GAP_END
    assert [one.method for one in copy.plan.regions].count(Method.GAP) == 3


def test_a_deleted_partition_in_a_large_gap_is_copied(tmp_path: Path) -> None:
    mine = make_source(tmp_path, WITHOUT, LARGE)
    start = 13 * MIB  # the next MiB behind the partition
    place_ext(tmp_path, mine, start // SECTOR, 16 * MIB // SECTOR)
    overwrite(mine, start + 700 * MIB, b"far behind")
    its = make_image(tmp_path / "target.img", LARGE)
    copy = make_copy(mine, its)
    assert read(its, start, 16 * MIB) == read(mine, start, 16 * MIB)
    assert read(its, start + 700 * MIB, 10) == b"far behind"
    assert copy.plan.accounts[0].total(Treatment.UNREAD) == 0
    assert "shows ext4 at byte" in " ".join(copy.plan.warnings)
