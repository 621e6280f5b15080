"""Blocks compared: what was changed is told from what was only not copied."""

import os
from pathlib import Path

import pytest

from tests.vm.case import Volume
from tests.vm.compare import (
    BLOCK,
    STRETCH,
    Blocks,
    Place,
    compare_blocks,
    cut,
    from_root,
    is_made_for,
    listed_ranges,
    read_tree,
)

SIZE = STRETCH + 3 * BLOCK + 512


@pytest.fixture
def places(tmp_path: Path) -> tuple[Place, Place]:
    content = os.urandom(SIZE)
    for name, lead in (("source", 512), ("copy", 4096)):
        (tmp_path / name).write_bytes(bytes(lead) + content + b"behind it, " + name.encode())
    return Place(tmp_path / "source", 512, SIZE), Place(tmp_path / "copy", 4096, SIZE)


def _write(place: Place, position: int, data: bytes) -> None:
    with place.image.open("r+b") as stream:
        stream.seek(place.start + position)
        stream.write(data)


def test_equal_places(places: tuple[Place, Place]) -> None:
    assert compare_blocks(*places) == Blocks(changed=0, left_out=0)


@pytest.mark.parametrize("position", [0, STRETCH - 1, STRETCH, SIZE - 1])
def test_one_byte_is_found(places: tuple[Place, Place], position: int) -> None:
    source, copy = places
    with source.image.open("rb") as stream:
        stream.seek(source.start + position)
        byte = stream.read(1)[0]
    _write(copy, position, bytes([byte ^ 1]))
    assert compare_blocks(*places) == Blocks(changed=1, left_out=0)


def test_zeros_in_the_copy_were_left_out(places: tuple[Place, Place]) -> None:
    _write(places[1], 2 * BLOCK, bytes(BLOCK))
    _write(places[1], STRETCH + 3 * BLOCK, bytes(512))  # the short block at the end
    assert compare_blocks(*places) == Blocks(changed=0, left_out=2)


def test_trees_differ_in_content_mode_and_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("text")
    (tmp_path / "link").symlink_to("a")
    before = read_tree(tmp_path)
    assert set(before) == {"a", "a/file", "link"}
    (tmp_path / "a").chmod(0o700)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("b")
    after = read_tree(tmp_path)
    assert {path for path in before if before[path] != after[path]} == {"a", "link"}


def test_directories_made_for_a_change() -> None:
    changes = ("/var/lib/ugs-failover/copy.json",)
    assert is_made_for("var/lib/ugs-failover", changes)
    assert not is_made_for("var/lib/ugs", changes)


def test_ranges_are_told_from_files() -> None:
    changes = ("disk serial:A B bytes 512-31743", "/etc/disk bytes 1-2", "disk x bytes none")
    assert listed_ranges(changes) == [(512, 31743)]


def test_a_subvolume_is_no_directory_of_the_servers() -> None:
    assert from_root("@/etc/fstab", "btrfs") == "etc/fstab"
    assert from_root("@home", "btrfs") == "@home"
    assert from_root("boot/grub", "ext4") == "boot/grub"


def test_volumes_and_what_lies_around_them_cover_the_partition() -> None:
    volumes = (Volume(0, 300, 50, "vg/swap"), Volume(0, 110, 190, "vg/root"))
    assert list(cut("partition 2", 100, 300, volumes)) == [
        ("partition 2 before vg/root", 100, 10),
        ("partition 2 vg/root", 110, 190),
        ("partition 2 vg/swap", 300, 50),
        ("partition 2 behind vg/swap", 350, 50),
    ]
    assert list(cut("partition 1", 100, 300, ())) == [("partition 1", 100, 300)]
