"""Source and copy side by side, from outside: tables, boot code, every block, every file.

Trusts nothing the payload said but its list of changes. Reads raw images through read-only loop
mounts at an offset, journals not replayed. Needs root.
"""

import hashlib
import json
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vm.case import Volume
from tests.vm.images import ImageError, call

Table = dict[str, Any]  # as sfdisk --json writes it
Fingerprint = tuple[object, ...]

SECTOR = 512
BLOCK = 4096
STRETCH = 1 << 20
EXTENDED_TYPES = ("5", "f", "85")
# How to look at a file system without replaying its journal.
LOOK_ONLY = {
    "ext2": "ro", "ext3": "ro,noload", "ext4": "ro,noload", "xfs": "ro,norecovery,nouuid",
    "btrfs": "ro,rescue=nologreplay,subvolid=5",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A partition of a raw image. `start` and `size` in bytes."""

    image: Path
    start: int
    size: int


@dataclass(frozen=True)
class Blocks:
    """Differing 4 KiB blocks. `left_out` are zeros in the copy: blocks not in use, not copied."""

    changed: int
    left_out: int


@dataclass(frozen=True)
class Comparison:
    """One partition, or the boot area. `problems` is empty when the copy is what it should be."""

    name: str
    file_system: str
    changed_blocks: int
    left_out_blocks: int
    files: int  # compared one by one
    changed_files: tuple[str, ...]  # and listed by the payload
    problems: tuple[str, ...]


def compare_disks(
    pairs: Iterable[tuple[Path, Path]], changes: Iterable[str], volumes: Iterable[Volume] = ()
) -> list[Comparison]:
    """Compare raw images (source, copy). `changes` are the paths the payload says it changed,
    `volumes` file systems that begin inside of partitions."""
    listed = tuple(changes)
    found: list[Comparison] = []
    inside = tuple(volumes)
    for number, (source, copy) in enumerate(pairs):
        here = tuple(volume for volume in inside if volume.disk == number)
        found += _compare_disk(f"disk {number + 1}", source, copy, listed, here)
    return found


def _compare_disk(
    name: str, source: Path, copy: Path, changes: tuple[str, ...], volumes: tuple[Volume, ...]
) -> Iterator[Comparison]:
    table = _table(source)
    if table is None:
        yield _compare_content(f"{name} whole disk", Place(source, 0, source.stat().st_size),
                               Place(copy, 0, source.stat().st_size), changes)  # fmt: skip
        return
    yield _compare_boot_area(name, source, copy, table, changes)
    for entry in table["partitions"]:
        if entry["type"].lower() in EXTENDED_TYPES:
            continue
        start, size = entry["start"] * SECTOR, entry["size"] * SECTOR
        number = entry["node"].removeprefix(str(source)).lstrip("p")
        inside = tuple(one for one in volumes if start <= one.start < start + size)
        for piece, place, length in cut(f"{name} partition {number}", start, size, inside):
            yield _compare_content(piece, Place(source, place, length),
                                   Place(copy, place, length), changes)  # fmt: skip


def cut(
    name: str, start: int, size: int, volumes: tuple[Volume, ...]
) -> Iterator[tuple[str, int, int]]:
    """The volumes in a partition, and what lies around them: name, start, size. Bytes."""
    position = start
    for volume in sorted(volumes, key=lambda one: one.start):
        if position < volume.start:
            yield f"{name} before {volume.name}", position, volume.start - position
        yield f"{name} {volume.name}", volume.start, volume.size
        position = volume.start + volume.size
    if position < start + size:
        yield (f"{name} behind {volume.name}" if volumes else name,
               position, start + size - position)  # fmt: skip


def _table(image: Path) -> Table | None:
    """The partition table as sfdisk tells it, None where there is none."""
    try:
        document = call("sfdisk", "--json", image)
    except ImageError:
        return None
    table: Table = json.loads(document)["partitiontable"]
    return table


def _compare_boot_area(
    name: str, source: Path, copy: Path, table: Table, changes: tuple[str, ...]
) -> Comparison:
    problems = []
    there = _table(copy)
    if there is None or _entries(there, copy) != _entries(table, source):
        problems.append("the partition tables differ")
    if there is None or there["id"] != table["id"]:
        problems.append("the disk signatures differ")
    first = min((entry["start"] for entry in table["partitions"]), default=1) * SECTOR
    if any(begin < first for begin, _ in listed_ranges(changes)):
        # The boot loader was installed anew, and the payload says so.
        return Comparison(f"{name} boot area", "", 0, 0, 0, (), tuple(problems))
    if _read(source, 0, 440) != _read(copy, 0, 440):
        problems.append("the boot code differs")
    # The GPT itself lies in its first 34 sectors and rightly knows the size of its own disk.
    behind = (1 if table["label"] == "dos" else 34) * SECTOR
    if _read(source, behind, first - behind) != _read(copy, behind, first - behind):
        problems.append("the gap before the first partition differs")
    return Comparison(f"{name} boot area", "", 0, 0, 0, (), tuple(problems))


def _entries(table: Table, image: Path) -> list[Table]:
    entries = [dict(entry) for entry in table["partitions"]]
    for entry in entries:
        entry["node"] = entry["node"].removeprefix(str(image))
    return entries


def _compare_content(name: str, source: Place, copy: Place, changes: tuple[str, ...]) -> Comparison:
    kind = _file_system(source)
    if kind == "swap":
        same = _read(source.image, source.start, BLOCK) == _read(copy.image, copy.start, BLOCK)
        problems = () if same else ("the swap header differs",)
        return Comparison(name, kind, 0, 0, 0, (), problems)
    blocks = compare_blocks(source, copy)
    if kind not in (*LOOK_ONLY, "vfat"):
        return _judge_blocks(name, kind, blocks)
    return _compare_files(name, kind, source, copy, blocks, changes)


def _judge_blocks(name: str, kind: str, blocks: Blocks) -> Comparison:
    # Without a known file system there is no telling what is in use: every block counts.
    wrong = blocks.changed if kind else blocks.changed + blocks.left_out
    problems = (f"{wrong} blocks differ",) if wrong else ()
    return Comparison(name, kind, blocks.changed, blocks.left_out, 0, (), problems)


def _compare_files(
    name: str, kind: str, source: Place, copy: Place, blocks: Blocks, changes: tuple[str, ...]
) -> Comparison:
    problems = []
    with looked_at(source, kind) as before:
        old = read_tree(before)
    with looked_at(copy, kind) as after:
        new = read_tree(after)
    differing = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    unexplained = [
        path
        for path in differing
        if not is_listed(from_root(path, kind), changes)
        and not (path not in old and is_made_for(from_root(path, kind), changes))
    ]
    if unexplained:
        problems.append(f"differ without being listed: {', '.join(unexplained[:10])}")
    # A journal that was replayed changes blocks alone; the range is listed then.
    told = any(first <= copy.start <= last for first, last in listed_ranges(changes))
    if blocks.changed and not differing and not told:
        problems.append(f"{blocks.changed} blocks differ, but no file does")
    if kind.startswith("ext") and _is_clean(source) and not _is_clean(copy):
        problems.append("e2fsck finds errors in the copy")
    return Comparison(name, kind, blocks.changed, blocks.left_out, len(old),
                      tuple(differing), tuple(problems))  # fmt: skip


def from_root(path: str, kind: str) -> str:
    """A path as the server may see it: on btrfs without the subvolume, which is a directory of the
    file system's own top."""
    return path.partition("/")[2] or path if kind == "btrfs" else path


def listed_ranges(changes: Iterable[str]) -> list[tuple[int, int]]:
    """First and last byte of every range in a list of changes ("disk ID bytes FIRST-LAST")."""
    found = (re.fullmatch(r"disk .* bytes (\d+)-(\d+)", change) for change in changes)
    return [(int(match[1]), int(match[2])) for match in found if match]


def is_listed(path: str, changes: Iterable[str]) -> bool:
    """Whether a file (from its own file system's root) is a listed change. The list counts from
    the server's root, so /boot/grub/x is grub/x on its partition."""
    return any(change.endswith(f"/{path}") for change in changes)


def is_made_for(path: str, changes: Iterable[str]) -> bool:
    """Whether this can be a directory that had to be made for a listed change."""
    return any(f"/{path}/" in change for change in changes)


def compare_blocks(source: Place, copy: Place) -> Blocks:
    """Count the differing blocks of two equally large places."""
    changed = left_out = 0
    with source.image.open("rb") as old, copy.image.open("rb") as new:
        old.seek(source.start)
        new.seek(copy.start)
        for position in range(0, source.size, STRETCH):
            length = min(STRETCH, source.size - position)
            before, after = old.read(length), new.read(length)
            if before != after:
                more = _differing_blocks(before, after)
                changed += more.changed
                left_out += more.left_out
    return Blocks(changed, left_out)


def _differing_blocks(before: bytes, after: bytes) -> Blocks:
    starts = [
        start
        for start in range(0, len(before), BLOCK)
        if before[start : start + BLOCK] != after[start : start + BLOCK]
    ]
    left_out = sum(1 for start in starts if not any(after[start : start + BLOCK]))
    return Blocks(len(starts) - left_out, left_out)


def read_tree(top: Path) -> dict[str, Fingerprint]:
    """Everything below `top` but times of directories, which change with what is in them."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = Path(directory, name)
            found[str(path.relative_to(top))] = _fingerprint(path)
    return found


def _fingerprint(path: Path) -> Fingerprint:
    facts = path.lstat()
    common = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_rdev)
    attributes = tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(os.listxattr(path, follow_symlinks=False))
    )
    if stat.S_ISREG(facts.st_mode):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return (*common, attributes, facts.st_mtime_ns, facts.st_nlink, digest)
    if stat.S_ISLNK(facts.st_mode):
        return (*common, attributes, str(path.readlink()))
    return (*common, attributes)


@contextmanager
def looked_at(place: Place, kind: str) -> Iterator[Path]:
    """The file system mounted read-only, its journal left alone; a FAT one as a copy of it."""
    if kind == "vfat":
        with tempfile.TemporaryDirectory(prefix="ugs-look-") as directory:
            call("mcopy", "-s", "-p", "-m", "-i", f"{place.image}@@{place.start}", "::*", directory)
            yield Path(directory)
        return
    window = f"loop,offset={place.start},sizelimit={place.size}"
    with tempfile.TemporaryDirectory(prefix="ugs-look-") as point:
        call("mount", "-t", kind, "-o", f"{LOOK_ONLY[kind]},{window}", place.image, point)
        try:
            yield Path(point)
        finally:
            # Another process may have inherited the mount a moment ago: not our business.
            call("umount", "--lazy", point)


def _file_system(place: Place) -> str:
    argv = ["blkid", "-p", "-O", str(place.start), "-S", str(place.size), "-s", "TYPE",
            "-o", "value", str(place.image)]  # fmt: skip
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def _is_clean(place: Place) -> bool:
    argv = ["e2fsck", "-fn", f"{place.image}?offset={place.start}"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _read(image: Path, start: int, length: int) -> bytes:
    with image.open("rb") as stream:
        stream.seek(start)
        return stream.read(length)
