"""Both halves of a copy in one process, between image files, and what may befall their disks."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blake3 import blake3

from payload.model.event import Event
from payload.model.inventory import Inventory
from payload.model.message import ChunkRequest, MapAnswer, MapRequest, Message
from payload.model.plan import CopyMode, Method, Plan
from payload.replicate.receiver import Receiver
from payload.replicate.sender import Sender
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.memory_line import MemoryLine, serve_in_thread
from tests.support.server_image import MIB, make_image
from tests.support.stream_disks import SECTOR, Images, look_at, plan_for


class CuttingLine:
    """A near end that counts what is asked and may break after so many answers."""

    def __init__(self, line: MemoryLine, copy: "Copy") -> None:
        self._line, self._copy = line, copy

    def send(self, message: Message) -> None:
        if isinstance(message, ChunkRequest):
            self._copy.asked.append((message.region, message.offset))
        self._line.send(message)

    def receive(self, timeout: float | None) -> Message:
        self._copy.answers += 1
        if self._copy.answers == self._copy.cut_at:
            self._line.close()
        return self._line.receive(timeout)

    def close(self) -> None:
        self._line.close()


@dataclass
class Copy:
    """Both halves of a copy in one process."""

    source: Images
    target: Images
    mode: CopyMode = CopyMode.USED
    verify: bool = True
    cut_at: int = -1
    answers: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source_inventory = look_at(self.source, "source")
        self.target_inventory: Inventory = look_at(self.target, "target")
        self.plan: Plan = plan_for(
            self.source_inventory, self.target_inventory, self.mode, verify=self.verify
        )
        self.sender = Sender(self.source.host, self.plan, self.source_inventory)
        self.receiver = Receiver(
            self.target.host,
            self.plan,
            self.target_inventory,
            copy_id="c" * 32,
            connections=4,
            monitor=self.events.append,
            clock=lambda: 1234567890.0,
        )

    def open_data(self) -> CuttingLine:
        return CuttingLine(serve_in_thread(self.sender.serve), self)

    def _answer_maps(self, line: MemoryLine) -> None:
        while True:
            request = line.receive(None)
            assert isinstance(request, MapRequest)
            for part in self.sender.answer_map(request):
                line.send(part)

    def fetch_maps(self) -> None:
        line = serve_in_thread(self._answer_maps)
        self.receiver.fetch_maps(line)
        line.close()

    def prepare(self) -> None:
        self.receiver.begin()
        self.fetch_maps()

    def run(self, *, seal: bool = True) -> None:
        self.prepare()
        self.receiver.discard_free()
        self.receiver.fetch(self.open_data)
        self.receiver.verify()
        self.receiver.write_heads(self.open_data)
        if seal:
            self.receiver.seal()
            self.sender.close()

    @property
    def sent(self) -> int:
        return sum(report.sent for report in self.receiver.reports())

    def chunks(self, region: int) -> list[tuple[int, int]]:
        """The chunks of a region, as the source maps them."""
        numbers: list[int] = []
        for part in self.sender.answer_map(MapRequest(region)):
            assert isinstance(part, MapAnswer)
            numbers += part.chunks
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def places(self, region: int) -> tuple[Path, Path, int]:
        """Source image, target image and start of a region."""
        pair = self.plan.disks[self.plan.regions[region].pair]
        return (
            Path(self.source_inventory.disk(pair.source.id).hardware.node),
            Path(self.target_inventory.disk(pair.target.id).hardware.node),
            self.plan.regions[region].start,
        )


def hashes(images: Images) -> list[str]:
    return [blake3().update_mmap(path).hexdigest() for path in images.paths]


def read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def tree_digests(images: Images, node: Path, start: int, size: int, kind: str) -> dict[str, str]:
    with (
        images.blocks.view(str(node), start, size) as device,
        LinuxMounts().mount(device, kind) as root,
    ):
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def full_chunk(copy: Copy) -> tuple[int, int]:
    """One of the root file system that is neither its head nor zeros."""
    path, _, start = copy.places(copy.plan.root)
    chunks = copy.chunks(copy.plan.root)[1:]
    return next((at, n) for at, n in chunks if read(path, start + at, n).strip(b"\0"))


def assert_equal_content(copy: Copy) -> None:
    """Every chunk of every partition, compared by reading both images."""
    for region in copy.plan.regions:
        if region.method is not Method.BOOT:
            source, target, start = copy.places(region.index)
            for offset, length in copy.chunks(region.index):
                there = read(target, start + offset, length)
                assert there == read(source, start + offset, length), (region, offset)


class Faults:
    """Makes the system calls of the stream fail, or lie, at chosen places of chosen files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bad: list[tuple[Path, int, int, int]] = []  # path, first, end, errno
        self._calls: dict[str, Callable[..., int]] = {
            name: getattr(os, name) for name in ("preadv", "pwritev")
        }
        self.name = ""
        for name in self._calls:
            monkeypatch.setattr(os, name, self._wrap(name))

    def _wrap(self, name: str) -> Callable[..., int]:
        def call(descriptor: int, buffers: list[memoryview], offset: int) -> int:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            for bad, first, end, code in self.bad:
                inside = offset < end and first < offset + len(buffers[0])
                if name == self.name and path == bad and inside:
                    raise OSError(code, os.strerror(code))
            return self._calls[name](descriptor, buffers, offset)

        return call


def allocated(path: Path) -> int:
    """Bytes that a sparse file takes."""
    return path.stat().st_blocks * 512


def fill(path: Path) -> None:
    """As a disk that was in use before: every block allocated."""
    with path.open("r+b") as file:
        left = path.stat().st_size
        block = os.urandom(MIB)
        while left:
            left -= file.write(block[: min(left, MIB)])


def slowed(call: Callable[..., int], seconds: float = 0.02) -> Callable[..., int]:
    """A disk slow enough for whoever follows behind."""

    def slow(*arguments: object) -> int:
        time.sleep(seconds)
        return call(*arguments)

    return slow


def exchange(image: Path) -> None:
    """Another device of the same size, with data on it, by the same name."""
    size = image.stat().st_size
    image.rename(image.with_suffix(".old"))
    make_image(image, size)
    overwrite(image, 0, b"somebody's data")


class LoopDevices:
    """Loop devices over the images."""

    def __init__(self, paths: list[Path], sector_size: int = SECTOR) -> None:
        self._paths = paths
        self._sector_size = sector_size
        self._devices: list[Path] = []

    def __enter__(self) -> list[Path]:
        for path in self._paths:
            options = ["--find", "--show", "--sector-size", str(self._sector_size)]
            self._devices.append(Path(run(["losetup", *options, str(path)]).stdout.strip()))
        return self._devices

    def __exit__(self, *_: object) -> None:
        for device in self._devices:
            run(["losetup", "--detach", str(device)])
