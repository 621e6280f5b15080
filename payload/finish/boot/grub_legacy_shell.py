"""GRUB legacy put on a disk anew, by its own shell and with the copy's own stages.

The shell is let loose on a small image that has the copy's stages at their path in a partition of
their number; what it makes of sector 0 and the gap there holds on the copy's disk as well, since a
stage 1.5 names its stage 2 by partition and path, not by sectors. So the bytes are known, and read
as the check reads them, before one is written, and the shell never has a disk in its hands.

Debian's package cannot be installed beside GRUB 2, and its program is i386: it lies unpacked, with
the C library it runs on, in a directory of its own.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from payload.finish.boot.grub_layout import Room
from payload.finish.boot.menus import Menu, Trees
from payload.model.disk import BOOT_CODE_SIZE, SECTOR
from payload.model.errors import AdaptError
from payload.system.command import Run
from payload.system.files import read_inside

SHELL = Path("/usr/lib/grub-legacy")
LIVE_SHELL = "reinstalled by the live system's GRUB legacy, from the copy's own stages"
_FILES = ("grub", "ld-linux.so.2", "libc.so.6")
_STAGES = {
    "ext2": "e2fs_stage1_5",
    "ext3": "e2fs_stage1_5",
    "ext4": "e2fs_stage1_5",
    "reiserfs": "reiserfs_stage1_5",
    "xfs": "xfs_stage1_5",
    "jfs": "jfs_stage1_5",
    "vfat": "fat_stage1_5",
}
_LAST_PRIMARY = 4
_SMALL, _LARGE = 2048, 16384  # sectors: a partition before the stages', and that one
_PATIENCE = 60.0  # seconds; it takes less than one


@dataclass(frozen=True)
class Stages:
    """The stages of a copy: `directory` on its partition `number` (from 1) has stage 2."""

    directory: str
    number: int
    stage1: bytes
    stage1_5: bytes
    stage2: bytes


def is_there(shell: Path = SHELL) -> bool:
    return all((shell / name).is_file() for name in _FILES)


def find_stages(menu: Menu, trees: Trees, shell: Path = SHELL) -> Stages:
    """The copy's own stages, those it lacks from beside the shell. Raises AdaptError."""
    directory, tree = menu.stage2.rpartition("/")[0], trees[menu.place]
    name = _STAGES.get(menu.place.kind)
    if name is None:
        raise AdaptError(
            f"GRUB legacy has no stage 1.5 for {menu.place.kind or 'its'} file system."
        )
    found = []
    for wanted in ("stage1", name, "stage2"):
        content = read_inside(tree, f"{directory}/{wanted}")
        if not content and wanted != "stage2":
            content = (shell / wanted).read_bytes()
        found.append(content or b"")
    return Stages(directory, menu.place.number, *found)


def install_stages(run: Run, stages: Stages, room: Room, shell: Path = SHELL) -> dict[int, bytes]:
    """What makes a disk with that gap start those stages: byte of the disk -> bytes, sector 0 last.

    Raises AdaptError when they do not fit or the shell refuses, ToolError, OSError.
    """
    sectors = -(-len(stages.stage1_5) // SECTOR)
    if sectors * SECTOR > room.size:
        raise AdaptError(f"Its stage 1.5 needs {sectors} sectors, {room.name} has {room.sectors}.")
    with tempfile.TemporaryDirectory(prefix="ugs-failover-") as name:
        work = Path(name)
        image = _make_image(run, work, stages, (room.start + room.size) // SECTOR)
        (work / "devices").write_text(f"(hd0) {image}\n")
        root = f"(hd0,{stages.number - 1})"
        script = (
            f"root {root}\n"
            f"embed {stages.directory}/stage1_5 (hd0)\n"
            f"install {stages.directory}/stage1 (hd0) (hd0)1+{sectors} p"
            f" {root}{stages.directory}/stage2\n"
            "quit\n"
        )
        loader = [str(shell / "ld-linux.so.2"), "--library-path", str(shell), str(shell / "grub")]
        options = ["--batch", "--no-floppy", f"--device-map={work / 'devices'}"]
        said = run([*loader, *options], stdin=script, timeout=_PATIENCE).stdout
        refused = [line.strip() for line in said.splitlines() if line.startswith("Error ")]
        if refused:
            raise AdaptError(f"GRUB legacy's shell says: {refused[0]}.")
        with image.open("rb") as disk:
            head = disk.read(SECTOR * (1 + sectors))
    return {SECTOR: head[SECTOR:], 0: head[:BOOT_CODE_SIZE]}


def _make_image(run: Run, work: Path, stages: Stages, first: int) -> Path:
    """A disk with the stages in a file system of their partition's number, at sector `first` or
    behind it."""
    image = work / "disk"
    table, start = plan_table(stages.number, first)
    with image.open("wb") as file:
        file.truncate((start + _LARGE + _SMALL) * SECTOR)
    run(["sfdisk", "--quiet", str(image)], stdin=table, timeout=_PATIENCE)
    tree = work / "tree"
    directory = tree / stages.directory.strip("/")
    directory.mkdir(parents=True)
    for name in ("stage1", "stage1_5", "stage2"):
        (directory / name).write_bytes(getattr(stages, name))
    place = ["-E", f"offset={start * SECTOR}"]
    kind = ["-t", "ext2", "-I", "128"]
    size = f"{_LARGE * SECTOR // 1024}k"
    argv = ["mke2fs", "-q", "-F", *kind, *place, "-d", str(tree), str(image), size]
    run(argv, timeout=_PATIENCE)
    return image


def plan_table(number: int, first: int) -> tuple[str, int]:
    """sfdisk's script for a disk whose partition `number` can be found by that number, none before
    sector `first`; and the sector that one begins at."""
    lines = ["label: dos", "unit: sectors"]
    if number <= _LAST_PRIMARY:
        lines.append(f"{number} : start={first}, size={_LARGE}, type=83")
        return "\n".join(lines) + "\n", first
    logical = [first + step * (_SMALL + 1) + 1 for step in range(number - _LAST_PRIMARY)]
    whole = logical[-1] + _LARGE - first
    lines.append(f"1 : start={first}, size={whole}, type=5")
    for count, start in enumerate(logical, 1):
        size = _LARGE if start == logical[-1] else _SMALL
        lines.append(f"{_LAST_PRIMARY + count} : start={start}, size={size}, type=83")
    return "\n".join(lines) + "\n", logical[-1]
