"""Machines as processes, and what a test asks of them and of their disks."""

import contextlib
import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from payload.model.codec import from_json
from payload.model.report import Report
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from payload.wire import channel
from tests.support.image_blocks import ImageDisk
from tests.support.network_namespaces import Machine, network

SOURCE_ID, TARGET_ID, THIRD_ID = "5" * 32, "7" * 32, "9" * 32
DEADLINE = 300.0  # seconds for a run that takes about ten, on however busy a machine
SETTLE = 0.5  # seconds a fitting peer must have been alone; the live system takes ten times that
SILENCE = 5.0  # seconds, where a test waits until a cut is noticed; a live system takes 15
LOOKS = 12  # a machine that looked around so often would have settled twice
ROOT_START, ROOT_SIZE = 55296 * 512, 131072 * 512
NO_COUNTDOWN = "failover.countdown=0"
BLOCK = 1 << 16  # bytes in which an image is looked at


@dataclass
class Process:
    """A machine's process and what it says."""

    process: "subprocess.Popen[str]"
    directory: Path
    lines: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        return (self.directory / "console.log").read_text()

    @property
    def looks(self) -> Path:
        """Grows by a byte whenever the machine looks which others there are."""
        return self.directory / "looks"

    @property
    def look_count(self) -> int:
        """How often it looked so far."""
        return _size(self.looks)

    def wait_for_looks(self) -> None:
        """Until it had every chance to settle on a peer that fits. Not with `failover.peer=`:
        such a machine looks for nobody."""
        wanted, end = self.look_count + LOOKS, time.monotonic() + DEADLINE
        while self.look_count < wanted:
            assert self.process.poll() is None and time.monotonic() < end, self.log
            time.sleep(0.05)

    def wait_for(self, pattern: str) -> str:
        """The first console line that matches; fails with the whole log after DEADLINE."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            found = re.search(pattern, self.log, re.MULTILINE)
            if found:
                return found.group()
            if self.process.poll() is not None and not re.search(pattern, self.log, re.MULTILINE):
                break
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} was never said:\n{self.log}")

    def report(self) -> Report:
        """The report it ended with."""
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.log}") from None
        path = self.directory / "report.json"
        assert path.exists(), self.log
        report = from_json(Report, path.read_bytes())
        assert report.exit_code == self.process.returncode
        return report


@dataclass
class Bench:
    """Starts machines and ends whatever is still running."""

    directory: Path
    site: Path
    stack: contextlib.ExitStack

    def start(
        self,
        machine: Machine,
        machine_id: str,
        disks: Sequence[Path | ImageDisk],
        kernel_line: str = NO_COUNTDOWN,
        *,
        site: Path | None = None,
        press_key: bool = False,
        uuid: str = "",
        emulates: bool = False,
        settle: float = SETTLE,
        silence: float = channel.SILENCE,
        release: Path | None = None,
    ) -> Process:
        """A path is a disk whose serial is made of the machine and the file's name. With `uuid`
        the machine's id follows from that and its cards, as on a real board. A machine that
        `emulates` starts its finished copy, without help of the processor. A peer that fits must
        be alone for `settle` seconds; a connection is given up when the other kernel has not
        answered for `silence` seconds. The countdown stands still until the file `release` is
        made."""
        directory = self.directory / f"{machine_id[0]}-{time.monotonic_ns()}"
        directory.mkdir()
        document = directory / "machine.json"
        document.write_text(
            json.dumps(
                {
                    "id": machine_id,
                    "uuid": uuid,
                    "disks": [_disk(disk, machine_id) for disk in disks],
                    "kernel_line": kernel_line,
                    "site": str(site or self.site),
                    "report": str(directory / "report.json"),
                    "press_key": press_key,
                    "emulates": emulates,
                    "settle": settle,
                    "silence": silence,
                    "release": str(release or ""),
                    "looks": str(directory / "looks"),
                }
            )
        )
        console = self.stack.enter_context((directory / "console.log").open("w"))
        process = machine.start(
            [sys.executable, "-u", "-m", "tests.support.machine_process", str(document)],
            stdout=console,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.stack.callback(end, process)
        return Process(process, directory)


def _disk(disk: Path | ImageDisk, machine_id: str) -> dict[str, Any]:
    if isinstance(disk, Path):
        disk = ImageDisk(disk, serial=f"{machine_id[0]}-{disk.name}")
    return {**asdict(disk), "path": str(disk.path)}


def end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def content_digest(path: Path) -> str:
    """Of the size and of every block that is not zeros, with its place. Holes are not read."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    for start, block in written_blocks(path):
        digest.update(start.to_bytes(8, "big") + block)
    return digest.hexdigest()


def is_blank(path: Path) -> bool:
    return next(written_blocks(path), None) is None


def written_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """The blocks of a sparse file that are not zeros, and where they are."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        for first, last in _data_ranges(file.fileno(), end):
            file.seek(first)
            for start in range(first, last, BLOCK):
                block = file.read(min(BLOCK, end - start))
                if block.count(0) != len(block):
                    yield start, block


def _data_ranges(descriptor: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a file may hold something, in whole blocks."""
    last = 0
    while last < end:
        try:
            first = os.lseek(descriptor, last, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data behind this
                return
            raise
        last = os.lseek(descriptor, first, os.SEEK_HOLE)
        last = -(-last // BLOCK) * BLOCK
        yield first // BLOCK * BLOCK, last


def read_in_copy(image: Path, name: str) -> bytes:
    mounts = LinuxMounts(run)
    with (
        device.view(run, str(image), ROOT_START, ROOT_SIZE, writable=False) as node,
        mounts.mount(node, "ext4") as root,
    ):
        return (root / name).read_bytes()


def copy_once(bench: Bench, server: list[Path], targets: list[Path]) -> tuple[Report, Report]:
    with network(2) as (first, second):
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, targets)
        return source.report(), target.report()


def slow_down(machine: Machine, card: str, rate: str = "8mbit") -> None:
    """A slow wire, so that there is a middle to cut the copy in."""
    shape = ["qdisc", "add", "dev", card, "root", "tbf", "rate", rate, "burst", "64kb"]
    tc = [*shape, "latency", "50ms"]
    subprocess.run(["tc", "-n", machine.name, *tc], check=True)
    port = machine._port(card)
    tc[3] = port
    subprocess.run(["tc", "-n", machine.switch, *tc], check=True)


def speed_up(machine: Machine, card: str) -> None:
    """Undo `slow_down`."""
    for name, device_name in ((machine.name, card), (machine.switch, machine._port(card))):
        subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", device_name, "root"], check=True)
