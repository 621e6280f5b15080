"""What is copied: an ext4 with a real /usr/lib in it, and the disk it goes onto."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.model.plan import Method, Region
from payload.replicate.extents import find_chunks
from tests.support.server_image import make_image, tool
from tests.support.stream_disks import make_host

MIB, GIB = 1 << 20, 1 << 30
PARTITIONS = 2  # of a disk with a table
BLOCK = 4096  # bytes
TREES = (Path("/usr/lib"), Path("/usr/share"), Path("/usr/bin"))
SPARE = 2 * GIB  # of memory, for the work itself and the page cache of the peers
SAMPLE = 64  # chunks spoiled before each row and looked at after it

Chunks = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Original:
    """A disk to be copied, and its chunks in use as (offset, length) from its begin."""

    path: Path
    chunks: Chunks

    @property
    def size(self) -> int:
        with self.path.open("rb") as disk:
            return disk.seek(0, os.SEEK_END)

    @property
    def used(self) -> int:
        """Bytes in the chunks of a copy."""
        return sum(length for _, length in self.chunks)


def make_original(directory: Path, size: int, used: int, copies: int = 1) -> Original:
    """An ext4 of `size` bytes with real files of about `used` bytes, so many times; kept for the
    next run. With the same `used`, more copies are more of the same."""
    files = list(choose_files(TREES, used))
    times = f"x{copies}" if copies > 1 else ""
    name = f"source-{size // MIB}m-{_fingerprint(files)}{times}.img"
    path = directory / name
    if not path.exists():
        _make_file_system(directory, path, size, files, copies)
    return Original(path, _chunks(path, 0, size))


def make_disk(directory: Path, used: int) -> Original:
    """A disk with a table and PARTITIONS file systems, each of about `used` bytes, kept."""
    part = make_original(directory, 2 * used, used)
    path = directory / f"source-disk-{part.path.name.removeprefix('source-')}"
    starts = [MIB + number * part.size for number in range(PARTITIONS)]
    if not path.exists():
        fresh = make_image(path.with_suffix(".part"), starts[-1] + part.size + MIB)
        lines = [f"start={start // 512}, size={part.size // 512}, type=83" for start in starts]
        tool("sfdisk", "-q", str(fresh), stdin="\n".join(["label: dos", *lines, ""]))
        for start in starts:
            place = [f"if={part.path}", f"of={fresh}", f"seek={start // MIB}", "bs=1M"]
            tool("dd", *place, "conv=notrunc,sparse", "status=none")
        fresh.rename(path)
    chunks = [
        (start + offset, length)
        for start in starts
        for offset, length in _chunks(path, start, part.size)
    ]
    return Original(path, chunks)


def choose_files(trees: Sequence[Path], limit: int) -> Iterator[Path]:
    """Files and links below the trees, in order of their names, until `limit` bytes of disk."""
    total = 0
    for tree in trees:
        for directory, below, names in os.walk(tree):
            below.sort()
            for name in sorted(names):
                path = Path(directory, name)
                if path.is_file() or path.is_symlink():
                    total += _space(path)
                    if total > limit:
                        return
                    yield path


def _space(path: Path) -> int:
    """Bytes on the disk, the inode among them."""
    size = 0 if path.is_symlink() else path.stat().st_size
    return -(-size // BLOCK) * BLOCK + 256


def _fingerprint(files: Sequence[Path]) -> str:
    words = "\n".join(f"{path} {path.lstat().st_mtime_ns}" for path in files)
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def _make_file_system(
    directory: Path, image: Path, size: int, files: Sequence[Path], copies: int
) -> None:
    tree, part = directory / "tree", image.with_suffix(".part")
    try:
        for number in range(copies):
            for path in files:
                place = tree / str(number) / path.relative_to("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                _place(path, place, number)
        inodes = max(len(files) * copies * 2, 100_000)
        make_image(part, size)
        tool("mke2fs", "-q", "-F", "-t", "ext4", "-N", str(inodes), "-d", str(tree), str(part))
        part.rename(image)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        part.unlink(missing_ok=True)


def _place(path: Path, place: Path, number: int) -> None:
    """A hard link where the file system allows it, else a copy; more than one link would be one
    file in the image."""
    try:
        if number:
            raise OSError
        os.link(path, place, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, place, follow_symlinks=False)


def _chunks(path: Path, start: int, size: int) -> Chunks:
    """Of the file system there; offsets are from its begin."""
    host = make_host([path], "S").host
    region = Region(0, 0, 0, start, size, Method.USED, "ext4")
    chunks, note = find_chunks(host, str(path), region, 512)
    if note:
        raise SystemExit(f"The map of {path} could not be read: {note}")
    return list(chunks)


class Bay:
    """A directory whose images are block devices of their own, as the disks of a machine are:
    whoever reads one pays for it as for a disk, also where the directory lies in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._devices: dict[Path, Path] = {}

    def put(self, original: Original, name: str = "") -> Original:
        """The same image, here. A new one takes the place of all others, unless it has a name."""
        path = self.directory / (name or original.path.name)
        if path not in self._devices:
            if not name:
                self.empty()
            tool("cp", "--sparse=always", str(original.path), str(path))
            command = ["losetup", "--find", "--show", "--read-only", str(path)]
            self._devices[path] = Path(subprocess.check_output(command, text=True).strip())
        return Original(self._devices[path], original.chunks)

    def empty(self) -> None:
        for path, device in self._devices.items():
            tool("losetup", "--detach", str(device))
            path.unlink()
        self._devices.clear()


def has_room(directory: Path, size: int) -> bool:
    """Is there memory for an image of `size` bytes, and SPARE beside it for the work?"""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    space = os.statvfs(directory)
    return min(kib * 1024 - SPARE, space.f_bavail * space.f_frsize) >= size


def make_target(path: Path, size: int) -> Path:
    """A disk: blocks it has already, so that no row pays for the file system below it. Where a row
    before made zeros by punching holes, which a disk would not, they are filled."""
    if not path.exists() or path.stat().st_size != size:
        path.unlink(missing_ok=True)
        place = [f"of={path}", "bs=1M", f"count={size // MIB}", "oflag=direct"]
        subprocess.run(["dd", "if=/dev/zero", *place], check=True, capture_output=True)
    with path.open("r+b", buffering=0) as disk:
        for start, end in _holes(disk.fileno(), size):
            disk.seek(start)
            for left in range(end - start, 0, -MIB):
                disk.write(bytes(min(left, MIB)))
    return path


def _holes(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    position = os.lseek(descriptor, 0, os.SEEK_HOLE)
    while position < size:
        try:
            end = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end
            end = size
        yield position, end
        position = os.lseek(descriptor, end, os.SEEK_HOLE) if end < size else size


def cool(*paths: Path) -> None:
    """As after power on: what lies in these files is on the disk and nowhere in memory."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def spoil(target: Path, chunks: Chunks, count: int, seed: int = 1) -> Chunks:
    """Write something else at the begin of so many chunks, which are returned."""
    dice = random.Random(seed)
    chosen = sorted(dice.sample(list(chunks), min(count, len(chunks))))
    with target.open("r+b") as disk:
        for offset, _ in chosen:
            disk.seek(offset)
            disk.write(dice.randbytes(BLOCK))
    return chosen


def check_copy(source: Path, target: Path, chunks: Chunks) -> None:
    """A way that did not copy what was spoiled has no place in the table."""
    with source.open("rb") as original, target.open("rb") as copy:
        for offset, _ in chunks:
            original.seek(offset)
            copy.seek(offset)
            if original.read(BLOCK) != copy.read(BLOCK):
                raise SystemExit(f"{target} differs from {source} at byte {offset}.")
