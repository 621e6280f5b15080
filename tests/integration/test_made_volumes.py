"""The arrays and volume groups that tests are made with are what the real tools take for such."""

import subprocess
from pathlib import Path

import pytest

from payload.system import device
from payload.system.command import run
from tests.support.image_ranges import ImageRange
from tests.support.md_arrays import MIB, Array, add_to_array
from tests.support.server_image import make_image
from tests.support.volume_groups import Extents, lvm, make_volume_group

pytestmark = pytest.mark.root


def examine(image: Path) -> str:
    argv = ["mdadm", "--examine", str(image)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
@pytest.mark.parametrize("clean", [True, False])
def test_mdadm_reads_the_superblocks(tmp_path: Path, version: str, clean: bool) -> None:
    array = Array(2, version, clean=clean)
    for number in range(2):
        member = ImageRange(make_image(tmp_path / f"m{number}.img", 32 * MIB), 0, 32 * MIB)
        data = add_to_array(array, number, member, events=40)
        told = examine(member.image)
        for words in (
            "Magic : a92b4efc",
            "Raid Level : raid1",
            "Raid Devices : 2",
            f"State : {'clean' if clean else 'active'}",
            "correct",
            "active sync" if version == "0.90" else "AA",
        ):
            assert words in told, told
        assert told.count("Events : ") == 1 and "40" in told.partition("Events : ")[2][:8]
        if version in ("1.1", "1.2"):
            assert f"Data Offset : {data.start // 512} sectors" in told


def test_lvm_reads_the_volume_group(tmp_path: Path) -> None:
    first, second = (
        ImageRange(make_image(tmp_path / name, 40 * MIB), 4 * MIB, 32 * MIB) for name in "ab"
    )
    root = (Extents(0, 2, 3), Extents(1, 5, 4))
    found = make_volume_group("vg", [first, second], {"root": root, "swap": [Extents(0, 7, 1)]})
    assert [piece.size for piece in found["root"]] == [3 * MIB, 4 * MIB]
    with (
        device.view(run, str(first.image), first.start, first.size) as one,
        device.view(run, str(second.image), second.start, second.size) as other,
    ):
        columns = "lv_name,lv_size,seg_start_pe,seg_pe_ranges"
        told = lvm([one, other], "lvs", "--noheadings", "--segments", "--units", "m", "-o", columns)
        lines = [line.split() for line in told.splitlines()]
        assert lines == [
            ["root", "7.00m", "0", f"{one}:2-4"],
            ["root", "7.00m", "3", f"{other}:5-8"],
            ["swap", "1.00m", "0", f"{one}:7-7"],
        ]
        starts = lvm([one, other], "pvs", "--noheadings", "--units", "b", "-o", "pe_start")
    assert {int(start.strip("B")) for start in starts.split()} == {
        found["root"][0].start - first.start - 2 * MIB,
        found["root"][1].start - second.start - 5 * MIB,
    }
