"""A server and copies of it in every state: made once, and each test gets files of its own."""

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from payload.formats.disk.unfinished_mark import MARK_OFFSET, encode_mark
from payload.model.codec import from_json, to_pretty_json
from payload.model.disk import Unfinished
from payload.model.marker import USED_PATH
from payload.model.report import Report, Result
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from payload.wire.tls import make_site_key
from tests.support.machine_bench import (
    ROOT_SIZE,
    ROOT_START,
    SOURCE_ID,
    TARGET_ID,
    Bench,
    copy_once,
)
from tests.support.once import made_once
from tests.support.server_image import MIB, make_image, make_server

SERVER = ("disk0.img", "disk1.img")
TARGET = ("t0.img", "t1.img")
SIZES = (120 * MIB, 32 * MIB)  # of the target's disks


@contextlib.contextmanager
def root_for_writing(image: Path) -> Iterator[Path]:
    with (
        device.view(run, str(image), ROOT_START, ROOT_SIZE, writable=True) as node,
        LinuxMounts(run).mount(node, "ext4", writable=True) as root,
    ):
        yield root


@dataclass(frozen=True)
class PreparedDisks:
    """`shared` holds what is made once, for all processes that name the same directory; a test's
    files are made in `own`."""

    shared: Path
    own: Path

    @property
    def site(self) -> Path:
        return made_once(self.shared / "site", make_site_key)

    def server(self) -> list[Path]:
        return self._own(self._server(), SERVER)

    def first_copy(self) -> tuple[Report, Report]:
        """The reports of the run that made the copy: the source's and the target's."""
        directory = self._copy()
        source, target = (
            from_json(Report, (directory / f"{side}.json").read_bytes())
            for side in ("source", "target")
        )
        return source, target

    def copy(self) -> list[Path]:
        """Our copy of SOURCE_ID, made for TARGET_ID, unused."""
        for report in self.first_copy():
            assert report.result is Result.OK, report.sentence
        return self._own(self._copy(), TARGET)

    def used_copy(self) -> list[Path]:
        """The copy after it was in service: its root was mounted for writing, and it noted that
        it was started."""
        images = self.copy()
        with root_for_writing(images[0]) as root:
            (root / USED_PATH).write_text("Sun Mar  1 10:00:00 UTC 2026\n")
            (root / "newer.txt").write_text("mail that came while the copy served\n")
        return images

    def copy_for(self, machine_id: str) -> list[Path]:
        """The copy as if it had been made for that machine."""
        images = self.copy()
        serials = (f"serial:{owner[0]}-t".encode() for owner in (TARGET_ID, machine_id))
        _replace(images[0], TARGET_ID.encode(), machine_id.encode())
        _replace(images[0], *serials)
        return images

    def unfinished_copy(self) -> list[Path]:
        """The copy as it is while it is made: nothing starts, our mark on each disk."""
        images = self.copy()
        for image in images:
            disk_id = f"serial:{TARGET_ID[0]}-{image.name}"
            mark = Unfinished("c" * 32, SOURCE_ID, TARGET_ID, disk_id, 1_772_359_200)
            with image.open("r+b") as disk:
                disk.write(bytes(512))
                disk.seek(MARK_OFFSET)
                disk.write(encode_mark(mark))
        return images

    def blank(self) -> list[Path]:
        return _make_blank(self._directory("blank"))

    def foreign(self, name: str = "foreign.img", size: int = 120 * MIB) -> Path:
        """A disk with somebody's data."""
        image = make_image(self._directory("foreign") / name, size)
        run(["mke2fs", "-q", "-F", "-t", "ext4", str(image)])
        return image

    def _server(self) -> Path:
        return made_once(self.shared / "server", make_server)

    def _copy(self) -> Path:
        return made_once(self.shared / "copy", self._make_copy)

    def _make_copy(self, directory: Path) -> None:
        with contextlib.ExitStack() as stack:
            bench = Bench(directory, self.site, stack)
            reports = copy_once(bench, self.server(), _make_blank(directory))
        for side, report in zip(("source", "target"), reports, strict=True):
            (directory / f"{side}.json").write_bytes(to_pretty_json(report))

    def _own(self, directory: Path, names: tuple[str, ...]) -> list[Path]:
        images = [directory / name for name in names]
        return copy_images(images, self._directory(directory.name))

    def _directory(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.own))


def copy_images(images: list[Path], directory: Path) -> list[Path]:
    """Copies of sparse images, under their names; holes stay holes."""
    run(["cp", "--reflink=auto", *map(str, images), str(directory)])
    return [directory / image.name for image in images]


def _make_blank(directory: Path) -> list[Path]:
    return [make_image(directory / name, size) for name, size in zip(TARGET, SIZES, strict=True)]


def _replace(image: Path, old: bytes, new: bytes) -> None:
    """Every occurrence, by as many bytes."""
    with image.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        place = content.find(old)
        while place >= 0:
            content[place : place + len(new)] = new
            place = content.find(old, place)
