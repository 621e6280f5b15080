"""jfs, filled by a kernel that knows it, copied onto disks full of something else."""

from pathlib import Path

import pytest

from payload.decide.planning import describe
from payload.model.disk import MIB
from payload.system.command import run
from tests.support.foreign_kernel import USE, digests, run_in_kernel, use
from tests.support.second_disk import copy_of, notes, used
from tests.support.server_image import make_image, tool
from tests.support.streamed_copy import read

pytestmark = pytest.mark.root

KIND = "jfs"
SIZE = 160 * MIB  # more than one page of the map tells of
CHECK = ["fsck.jfs", "-n", "-f"]


def make(directory: Path) -> Path:
    image = make_image(directory / "jfs.img", SIZE)
    tool("mkfs.jfs", "-q", str(image))
    return image


@pytest.mark.parametrize("is_enlarged", [False, True])
def test_a_copy_is_as_clean_as_its_source(is_enlarged: bool, tmp_path: Path) -> None:
    image = make(tmp_path)
    use(image, KIND)
    if is_enlarged:
        with image.open("r+b") as file:
            file.truncate(SIZE + 64 * MIB)
        run_in_kernel(image, KIND, "mount -o remount,resize .; df .")
    wanted = digests(image, KIND)
    run([*CHECK, str(image)])
    copy, there = copy_of(tmp_path, image, filled=True)
    assert notes(copy) == [] and used(copy) < SIZE * 3 // 4
    assert ", blocks in use" in next(line for line in describe(copy.plan) if ": jfs" in line)
    run([*CHECK, str(there)])
    assert len(wanted) > 100 and digests(there, KIND) == wanted


def test_a_log_to_be_replayed_is_copied_with_all_it_may_know(tmp_path: Path) -> None:
    image = make(tmp_path)
    run_in_kernel(image, KIND, f"{USE}sync", unmount=False)
    copy, there = copy_of(tmp_path, image, filled=True)
    assert notes(copy) == []
    assert "because it was not unmounted cleanly" in "\n".join(describe(copy.plan))
    assert read(image, 0, SIZE) == read(there, 0, SIZE)
