"""reiserfs, filled by a kernel that knows it, copied onto disks full of something else."""

from pathlib import Path

import pytest

from payload.decide.planning import describe
from payload.formats.disk.reiserfs_map import read_reiserfs_map
from payload.formats.disk.superblocks import look_with
from payload.formats.disk.unknown_layout import ContradictionError
from payload.model.disk import MIB
from payload.system.command import run
from tests.support.foreign_kernel import USE, digests, run_in_kernel, use
from tests.support.second_disk import copy_of, notes, used
from tests.support.server_image import make_image, tool
from tests.support.streamed_copy import overwrite, read

pytestmark = pytest.mark.root

KIND = "reiserfs"
SIZE = 160 * MIB  # more than one bitmap of blocks of 4 KiB tells of
KINDS = {
    "3.6": [],
    "small blocks": ["--block-size", "1024"],
    "a journal of another size": ["--journal-size", "1000"],
}
CHECK = ["reiserfsck", "--check", "-y", "-q"]


def make(directory: Path, options: list[str]) -> Path:
    image = make_image(directory / "reiserfs.img", SIZE)
    tool("mkreiserfs", "-q", "-ff", *options, str(image))
    return image


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_as_clean_as_its_source(name: str, tmp_path: Path) -> None:
    image = make(tmp_path, KINDS[name])
    use(image, KIND)
    wanted = digests(image, KIND)
    run([*CHECK, str(image)])
    copy, there = copy_of(tmp_path, image, filled=True)
    assert notes(copy) == [] and used(copy) < SIZE * 3 // 4
    assert "reiserfs, 167.8 MB, blocks in use" in "\n".join(describe(copy.plan))
    run([*CHECK, str(there)])
    assert len(wanted) > 100 and digests(there, KIND) == wanted


def test_a_copy_of_the_older_format_is_as_clean_as_its_source(tmp_path: Path) -> None:
    """Newer kernels do not mount what mkreiserfs makes of it, but it takes a list of bad blocks
    into its tree and bitmaps."""
    bad = tmp_path / "bad"
    bad.write_text("".join(f"{number}\n" for number in (9000, 9001, 20_000, 32_769, 40_000)))
    image = make(tmp_path, ["--format", "3.5", "--badblocks", str(bad)])
    run([*CHECK, str(image)])
    copy, there = copy_of(tmp_path, image, filled=True)
    assert notes(copy) == [] and used(copy) < SIZE // 2
    for number in (20_000, 32_769, 40_000):
        assert read(image, number * 4096, 4096) == read(there, number * 4096, 4096)
    run([*CHECK, str(there)])


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_journal_to_be_replayed_is_copied_with_all_it_may_know(
    is_marked: bool, tmp_path: Path
) -> None:
    """The journal is asked, too: its first transaction marks the superblock as in use, and that
    may be all that a crash left in its place."""
    image = make(tmp_path, [])
    use(image, KIND)
    run_in_kernel(image, KIND, f"mkdir more\ncd more\n{USE}sync", unmount=False)
    if not is_marked:
        overwrite(image, 65536 + 50, b"\1\0")
    copy, there = copy_of(tmp_path, image, filled=True)
    assert notes(copy) == []
    assert "because it was not unmounted cleanly" in "\n".join(describe(copy.plan))
    assert read(image, 0, SIZE) == read(there, 0, SIZE)
    assert any("./more/mail/149" in line for line in digests(there, KIND, "rw"))


def test_free_blocks_that_are_called_used_contradict_the_superblock(tmp_path: Path) -> None:
    image = make(tmp_path, [])
    look_with(str(image), lambda read_at: list(read_reiserfs_map(read_at, SIZE)))
    overwrite(image, 17 * 4096 + 2000, b"\xff")
    with pytest.raises(ContradictionError, match="as many free blocks"):
        look_with(str(image), lambda read_at: list(read_reiserfs_map(read_at, SIZE)))
