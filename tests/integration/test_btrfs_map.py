"""btrfs on one device, copied onto disks full of something else: as clean as the source."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from payload.decide.planning import describe
from payload.formats.disk.btrfs_map import read_btrfs_map
from payload.formats.disk.btrfs_tree import SUPERBLOCK, Chunks, parse_superblock, read_chunks
from payload.formats.disk.superblocks import ReadAt, look_with
from payload.formats.disk.unknown_layout import UnknownLayoutError
from payload.model.disk import MIB
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.second_disk import copy_of, notes, used
from tests.support.server_image import make_image, tool
from tests.support.streamed_copy import overwrite, read

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("btrfs")]

SIZE = 320 * MIB
KINDS = {
    "as mkfs makes it": [],
    "data kept twice": ["--data", "dup"],
    "nothing kept twice": ["--metadata", "single"],
    "mixed groups": ["--mixed"],
    "small nodes": ["--nodesize", "4096"],
    "large nodes": ["--nodesize", "65536"],
    "SHA-256": ["--csum", "sha256"],
    "BLAKE2": ["--csum", "blake2"],
    "of old servers": ["--features", "^skinny-metadata,^no-holes", "-R", "^free-space-tree"],
}


@contextmanager
def mounted(image: Path, *options: str, writable: bool = False) -> Iterator[Path]:
    """The kernel knows a btrfs by its id, and a copy has that of its original: it forgets."""
    size = image.stat().st_size
    with (
        device.view(run, str(image), 0, size, writable=writable) as node,
        LinuxMounts(run).mount(node, "btrfs", writable=writable, options=options) as root,
    ):
        yield root
    run(["btrfs", "device", "scan", "--forget"])


def make(directory: Path, options: list[str]) -> Path:
    image = make_image(directory / "btrfs.img", SIZE)
    tool("mkfs.btrfs", "-q", "-f", *options, str(image))
    return image


def use(image: Path) -> None:
    """As in daily life: chunks are added, files are written in every way, and deleted."""
    with mounted(image, "compress=zstd", writable=True) as root:
        for number in range(300):
            (root / f"small{number}").write_bytes(os.urandom(number * 20))
        (root / "large").write_bytes(os.urandom(40 * MIB))
        (root / "packed").write_bytes(b"text\n" * 1_000_000)
        run(["btrfs", "subvolume", "snapshot", str(root), str(root / "snapshot")])
        for number in range(0, 300, 2):
            (root / f"small{number}").unlink()
        (root / "reserved").touch()
        run(["fallocate", "--length", str(9 * MIB), str(root / "reserved")])
        with (root / "reserved").open("r+b") as file:
            file.seek(3 * MIB)
            file.write(os.urandom(MIB))
        (root / "database").touch()
        run(["chattr", "+C", str(root / "database")])  # without checksums
        (root / "database").write_bytes(os.urandom(9 * MIB))


def digests(image: Path) -> dict[str, str]:
    with mounted(image) as root:
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def scrub(image: Path) -> str:
    """What the kernel says of every copy of every block. Raises ToolError for an error."""
    with mounted(image, writable=True) as root:
        return run(["btrfs", "scrub", "start", "-B", "-r", str(root)]).stdout


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_as_clean_as_its_source(name: str, tmp_path: Path) -> None:
    image = make(tmp_path, KINDS[name])
    use(image)
    wanted = digests(image)
    copy, there = copy_of(tmp_path, image, filled=True)
    assert notes(copy) == [] and used(copy) < SIZE * 3 // 4
    assert "reserved" in wanted and "snapshot/large" in wanted
    assert_every_stripe_is_equal(image, there)
    run(["btrfs", "check", "--check-data-csum", "--readonly", str(there)])
    assert digests(there) == wanted
    assert "no errors found" in scrub(there)


def assert_every_stripe_is_equal(image: Path, copy: Path) -> None:
    """What `btrfs inspect-internal` knows of where metadata lies, against the copies of it."""
    told = run(["btrfs", "inspect-internal", "dump-tree", "--noscan", str(image)]).stdout
    blocks = {int(one) for one in re.findall(r"^(?:leaf|node) (\d+) ", told, re.MULTILINE)}
    size = int(re.findall(r"^nodesize\s+(\d+)", dump_super(image), re.MULTILINE)[0])
    chunks = look_with(str(image), chunks_of)
    compared = 0
    for block in blocks:
        chunk = chunks.all[chunks.index_of(block, size)]
        for place in chunk.places:
            there = place + block - chunk.start
            assert read(image, there, size) == read(copy, there, size)
            compared += 1
    assert compared >= len(blocks) > 10


def dump_super(image: Path) -> str:
    return run(["btrfs", "inspect-internal", "dump-super", str(image)]).stdout


def chunks_of(read_at: ReadAt) -> Chunks:
    return read_chunks(read_at, parse_superblock(read_at(SUPERBLOCK, 4096), SIZE))


def test_a_log_to_be_replayed_is_copied_with_all_it_may_know(tmp_path: Path) -> None:
    image, crashed = make(tmp_path, []), tmp_path / "crashed.img"
    # A slow machine may take longer than the half minute after which the log is done with.
    with mounted(image, "commit=3600", writable=True) as root:
        (root / "before").write_bytes(b"before")
        os.sync()
        with (root / "synced").open("wb") as file:
            file.write(b"synced" * 4000)
            file.flush()
            os.fsync(file.fileno())
        run(["cp", "--sparse=always", str(image), str(crashed)])
    copy, there = copy_of(tmp_path, crashed, filled=True)
    assert notes(copy) == []
    assert "because it was not unmounted cleanly" in "\n".join(describe(copy.plan))
    assert read(crashed, 0, SIZE) == read(there, 0, SIZE)


def test_one_of_several_devices_is_copied_whole(tmp_path: Path) -> None:
    images = [make_image(tmp_path / f"{name}.img", SIZE) for name in "ab"]
    tool("mkfs.btrfs", "-q", "-f", *map(str, images))
    copy, there = copy_of(tmp_path, images[0], filled=True)
    assert notes(copy) == []
    assert "because it is one of several devices" in "\n".join(describe(copy.plan))
    assert read(images[0], 0, SIZE) == read(there, 0, SIZE)


@pytest.mark.parametrize("options", [["--csum", "xxhash"]])
def test_what_is_not_known_is_refused(options: list[str], tmp_path: Path) -> None:
    image = make(tmp_path, options)
    with pytest.raises(UnknownLayoutError):
        look_with(str(image), lambda read_at: list(read_btrfs_map(read_at, SIZE)))
    copy, there = copy_of(tmp_path, image, filled=True)
    assert "because its map is not read: its checksums" in "\n".join(describe(copy.plan))
    assert notes(copy) == [] and read(image, 0, SIZE) == read(there, 0, SIZE)


def test_a_damaged_block_is_read_from_its_other_copy(tmp_path: Path) -> None:
    image = make(tmp_path, [])
    whole = look_with(str(image), lambda read_at: list(read_btrfs_map(read_at, SIZE)))
    root = int(re.findall(r"^chunk_root\s+(\d+)", dump_super(image), re.MULTILINE)[0])
    chunks = look_with(str(image), chunks_of)
    chunk = chunks.all[chunks.index_of(root, 16384)]
    first, second = (place + root - chunk.start for place in chunk.places)
    overwrite(image, first + 4000, b"damage")
    assert look_with(str(image), lambda read_at: list(read_btrfs_map(read_at, SIZE))) == whole
    overwrite(image, second + 4000, b"damage")
    with pytest.raises(UnknownLayoutError, match="is damaged"):
        look_with(str(image), lambda read_at: list(read_btrfs_map(read_at, SIZE)))
