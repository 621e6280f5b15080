"""A server and copies of it in every state, made once: each scenario gets files of its own."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from payload.model.disk import Unfinished
from payload.model.mark import MARK_OFFSET, encode_mark
from payload.model.marker import USED_PATH
from payload.model.report import Report, Result
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from payload.wire.tls import make_site_key
from tests.integration.harness import (
    ROOT_SIZE,
    ROOT_START,
    SOURCE_ID,
    TARGET_ID,
    Bench,
    copy_once,
)
from tests.integration.server_image import MIB, make_image, make_server


@contextlib.contextmanager
def root_for_writing(image: Path) -> Iterator[Path]:
    with (
        device.view(run, str(image), ROOT_START, ROOT_SIZE, writable=True) as node,
        LinuxMounts(run).mount(node, "ext4", writable=True) as root,
    ):
        yield root


@dataclass
class Workshop:
    """A server and a finished copy of it, made once; every scenario gets files of its own."""

    directory: Path
    site: Path
    _copies: "Future[tuple[Report, Report]]" = field(default_factory=Future)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def prepare(self) -> None:
        """Make the server, and begin to copy it."""
        make_site_key(self.site)
        (self.directory / "server").mkdir()
        make_server(self.directory / "server")
        threading.Thread(target=self._copy, name="the first copy", daemon=True).start()

    def _copy(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                bench = Bench(self.directory, self.site, stack)
                server = self.files("server", "disk0.img", "disk1.img")
                self._copies.set_result(copy_once(bench, server, self._blank("copy")))
        except BaseException as error:  # noqa: BLE001  whoever waits for it has to hear of it
            self._copies.set_exception(error)

    def files(self, *names: str) -> list[Path]:
        directory = self.directory / names[0]
        return [directory / name for name in names[1:]]

    def _blank(self, name: str) -> list[Path]:
        directory = self.directory / name
        directory.mkdir()
        return [
            make_image(directory / "t0.img", 120 * MIB),
            make_image(directory / "t1.img", 32 * MIB),
        ]

    def blank(self) -> list[Path]:
        return self._blank(f"blank{next(self._numbers)}")

    def server(self) -> list[Path]:
        return self._own("server", "disk0.img", "disk1.img")

    def first_copy(self) -> tuple[Report, Report]:
        """The reports of the run that made the copy."""
        return self._copies.result()

    def copy(self) -> list[Path]:
        """Our copy of SOURCE_ID, made for TARGET_ID, unused."""
        for report in self.first_copy():
            assert report.result is Result.OK, report.sentence
        return self._own("copy", "t0.img", "t1.img")

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
        content = images[0].read_bytes().replace(TARGET_ID.encode(), machine_id.encode())
        serial = f"serial:{TARGET_ID[0]}-t".encode()
        images[0].write_bytes(content.replace(serial, f"serial:{machine_id[0]}-t".encode()))
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

    def foreign(self, name: str = "foreign.img", size: int = 120 * MIB) -> Path:
        """A disk with somebody's data."""
        directory = self.directory / f"foreign{next(self._numbers)}"
        directory.mkdir()
        image = make_image(directory / name, size)
        run(["mke2fs", "-q", "-F", "-t", "ext4", str(image)])
        return image

    def _own(self, name: str, *names: str) -> list[Path]:
        directory = self.directory / f"{name}{next(self._numbers)}"
        directory.mkdir()
        made = [directory / one.name for one in self.files(name, *names)]
        for old, new in zip(self.files(name, *names), made, strict=True):
            run(["cp", "--sparse=always", str(old), str(new)])
        return made
