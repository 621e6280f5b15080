"""ext2, ext3 and ext4 with rare features, copied onto disks full of something else.

e2fsck finds the copy as clean as its source, and every file is there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from payload.decide.planning import MAPS_LATER, describe
from payload.system import device
from payload.system.command import run
from tests.support.server_image import MIB, make_image, tool
from tests.support.streamed_copy import overwrite
from tests.support.used_file_systems import (
    digests,
    filled_copy,
    findings,
    is_equal,
    is_planned_whole,
    mounted,
    notes,
    sync,
    treatment,
    use,
)

pytestmark = pytest.mark.root

SIZE = 48 * MIB
CHECK = ("e2fsck", "-f", "-n")
KINDS = {
    "ext2": [],
    "ext3 of old servers": ["-I", "128", "-O", "^dir_index,^resize_inode"],
    "ext3 with blocks of 1 KiB": ["-b", "1024"],
    "ext4": ["-b", "1024"],
    "ext4 meta_bg": ["-b", "1024", "-O", "meta_bg,^resize_inode"],
    "ext4 without flex_bg": ["-b", "1024", "-O", "^flex_bg"],
    "ext4 sparse_super2": ["-b", "1024", "-O", "sparse_super2,^resize_inode"],
    "ext4 metadata_csum_seed": ["-b", "1024", "-O", "metadata_csum_seed"],
    "ext4 inline_data": ["-b", "4096", "-O", "inline_data", "-I", "512"],
    "ext4 of 32 bits": ["-b", "1024", "-O", "^64bit"],
    "ext4 uninit_bg": ["-b", "1024", "-O", "uninit_bg,^metadata_csum"],
    "ext4 orphan_file and fast_commit": ["-O", "orphan_file,fast_commit"],
    "ext4 that may grow": ["-b", "1024", "-E", "resize=64m"],
}


def make(directory: Path, name: str) -> Path:
    image = make_image(directory / "ext.img", SIZE)
    tool("mke2fs", "-q", "-F", "-t", name.split(maxsplit=1)[0], *KINDS[name], str(image))
    return image


@contextmanager
def dumped(image: Path) -> Iterator[Path]:
    """Its files, read without the kernel."""
    with TemporaryDirectory(dir=image.parent) as directory:
        run(["debugfs", "-R", f"rdump / {directory}", str(image)])
        yield Path(directory)


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_as_clean_as_its_source(name: str, tmp_path: Path) -> None:
    image, kind = make(tmp_path, name), name.split(maxsplit=1)[0]
    with mounted(image, kind, writable=True) as root:
        use(root)
        wanted = digests(root)
    there = assert_clean_copy(tmp_path, image)
    with mounted(there, kind) as root:
        assert digests(root) == wanted


@pytest.mark.parametrize("features", ["quota,project", "casefold"])
def test_what_not_every_kernel_mounts(features: str, tmp_path: Path) -> None:
    tree = tmp_path / "files"
    tree.mkdir()
    use(tree)
    image = make_image(tmp_path / "ext.img", SIZE)
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-O", features, "-d", str(tree), str(image))
    run(["e2fsck", "-f", "-y", str(image)], ok=(0, 1))  # counts for the quota what mke2fs wrote
    there = assert_clean_copy(tmp_path, image)
    with dumped(there) as root:
        assert digests(root) == digests(tree)


def assert_clean_copy(directory: Path, image: Path, *options: str) -> Path:
    copy, there = filled_copy(directory, image)
    assert "blocks in use" in treatment(copy) and notes(copy) == []
    before = findings(image, *CHECK, *options)
    assert before[0] == 0, before
    assert findings(there, *CHECK, *options) == before
    assert not is_equal(image, there), "what is free was not copied"
    return there


def crash(image: Path, kind: str, directory: Path) -> Path:
    """As it lies on the disk when the power fails right after a file was synced."""
    crashed = directory / "crashed.img"
    with mounted(image, kind, writable=True) as root:
        use(root)
        sync(root)
        run(["cp", "--sparse=always", str(image), str(crashed)])
    return crashed


@pytest.mark.parametrize("name", ["ext2", "ext3 of old servers", "ext4"])
def test_a_journal_to_be_replayed_is_copied_with_all_it_may_know(name: str, tmp_path: Path) -> None:
    kind = name.split(maxsplit=1)[0]
    crashed = crash(make(tmp_path, name), kind, tmp_path)
    copy, there = filled_copy(tmp_path, crashed)
    assert is_planned_whole(copy, "it was not unmounted cleanly")
    assert is_equal(crashed, there)
    assert findings(there, *CHECK) == findings(crashed, *CHECK)
    repaired = findings(there, "e2fsck", "-f", "-y")
    assert repaired[0] in (0, 1), repaired
    with mounted(there, kind) as root:
        assert len(digests(root)) > 150


def test_a_journal_on_another_disk(tmp_path: Path) -> None:
    """The journal is copied whole as a disk of its own; what it belongs to is by its map."""
    journal = make_image(tmp_path / "journal.img", 8 * MIB)
    tool("mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev", str(journal))
    image = make_image(tmp_path / "ext.img", SIZE)
    with device.view(run, str(journal), 0, 8 * MIB, writable=True) as node:
        options = ["-b", "4096", "-J", f"device={node}"]
        tool("mke2fs", "-q", "-F", "-t", "ext4", *options, str(image))
    assert_clean_copy(tmp_path, image, "-j", str(journal))
    copy, there = filled_copy(tmp_path, journal)
    assert "jbd" in treatment(copy) and "every block" in treatment(copy)
    assert is_equal(journal, there)


def test_an_ext4_that_noted_errors_is_copied_whole(tmp_path: Path) -> None:
    image = make(tmp_path, "ext4")
    run(["debugfs", "-w", "-R", "set_super_value state 3", str(image)])
    before = findings(image, *CHECK)
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "it noted errors in itself")
    assert is_equal(image, there) and findings(there, *CHECK) == before


def test_clusters_of_blocks_are_copied_whole(tmp_path: Path) -> None:
    image = make_image(tmp_path / "ext.img", SIZE)
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-O", "bigalloc", "-C", "16384", str(image))
    with mounted(image, "ext4", writable=True) as root:
        use(root)
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "clusters of blocks") and is_equal(image, there)
    assert findings(there, *CHECK) == findings(image, *CHECK)


def test_a_damaged_descriptor_is_copied_with_its_damage(tmp_path: Path) -> None:
    image = make(tmp_path, "ext4")
    overwrite(image, 2048 + 0x0C, b"\x01\x00")  # the free blocks of the first group
    before = findings(image, *CHECK)
    assert before[0] != 0
    copy, there = filled_copy(tmp_path, image)
    assert is_planned_whole(copy, "the descriptor of group 0 has a wrong checksum")
    assert is_equal(image, there) and findings(there, *CHECK) == before


def test_a_damaged_bitmap_is_copied_with_its_damage(tmp_path: Path) -> None:
    """It is found when the map is read, of which the plan speaks as well."""
    image = make(tmp_path, "ext4")
    told = tool("dumpe2fs", str(image))
    overwrite(image, int(told.split("Block bitmap at ")[1].split()[0]) * 1024 + 900, b"\x55")
    before = findings(image, *CHECK)
    assert before[0] != 0
    copy, there = filled_copy(tmp_path, image)
    assert "blocks in use" in treatment(copy) and MAPS_LATER in describe(copy.plan)
    assert "the bitmap of group 0 has a wrong checksum" in notes(copy)[0]
    assert is_equal(image, there) and findings(there, *CHECK) == before
