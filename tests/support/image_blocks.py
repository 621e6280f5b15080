"""Sparse files as the disks of a machine: the adapter integration tests pass as `Host.blocks`.

It keeps the write gate as the kernel does on the live system: until `set_writable`, whoever opens
an image for writing, or makes a writable view of it, gets an error. `recheck` finds out when a
test puts another file in an image's place.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from payload.model.disk import Hardware
from payload.model.errors import TargetDiskError
from payload.model.volume import Extent
from payload.system import device
from payload.system.command import Run, run


@dataclass(frozen=True)
class ImageDisk:
    """An image and what the disk it plays says of itself. The node is the file's path."""

    path: Path
    serial: str = ""
    model: str = "Image"
    wwn: str = ""
    by_path: str = ""
    sector_size: int = 512
    transport: str = "sata"
    rotational: bool = False
    ineligible: str = ""
    bystander: bool = False
    controllers: tuple[str, ...] = ()


@dataclass
class ImageBlocks:
    """`Blocks` over image files."""

    images: Sequence[ImageDisk]
    run: Run = run
    writable: set[str] = field(default_factory=set)
    opened_for_writing: list[str] = field(default_factory=list)

    def find(self) -> tuple[Hardware, ...]:
        return tuple(self._hardware(image) for image in self.images)

    def _hardware(self, image: ImageDisk) -> Hardware:
        status = image.path.stat()
        return Hardware(
            name=image.path.name,
            node=str(image.path),
            size=status.st_size,
            sector_size=image.sector_size,
            model=image.model,
            serial=image.serial,
            wwn=image.wwn,
            path=image.by_path or f"image-{image.path.name}",
            transport=image.transport,
            rotational=image.rotational,
            ineligible=image.ineligible,
            bystander=image.bystander,
            controllers=tuple(image.controllers),
            sequence=status.st_ino,
        )

    def recheck(self, hardware: Hardware) -> None:
        """As `system.block`: another inode, size or name is another disk."""
        now = {found.node: found for found in self.find() if Path(found.node).exists()}
        found = now.get(hardware.node)
        if found is None or (found.sequence, found.size, found.wwn) != (
            hardware.sequence,
            hardware.size,
            hardware.wwn,
        ):
            raise TargetDiskError(f"{hardware.label} is no longer the disk that was agreed on.")
        if found.ineligible:
            raise TargetDiskError(f"{hardware.label} cannot be written to: {found.ineligible}.")

    def set_writable(self, node: str) -> None:
        if all(str(image.path) != node or image.ineligible for image in self.images):
            raise TargetDiskError(f"{node} is no disk that may be made writable.")
        self.writable.add(node)

    def set_read_only(self, node: str) -> None:
        self.writable.discard(node)

    def open_to_read(self, node: str) -> int:
        return device.open_to_read(node)

    def open_to_write(self, node: str) -> int:
        self._gate(node)
        return device.open_to_write(node)

    def drop_cache(self, node: str) -> None:
        device.drop_cache(node)

    def discard_step(self, node: str) -> int:
        return Path(node).stat().st_blksize

    def discard(self, descriptor: int, start: int, size: int) -> None:
        device.discard(descriptor, start, size)

    def zero(self, descriptor: int, start: int, size: int) -> None:
        device.zero(descriptor, start, size)

    def view(
        self, node: str, start: int, size: int, *, writable: bool = False
    ) -> AbstractContextManager[str]:
        if writable:
            self._gate(node)
        return device.view(self.run, node, start, size, writable=writable)

    @contextmanager
    def assemble(
        self, legs: Sequence[Sequence[Extent]], *, writable: bool = False
    ) -> Iterator[str]:
        """Without a device mapper: pieces are put together in a file, and put back in the end."""
        if len(legs[0]) == 1 and (len(legs) == 1 or not writable):
            node, start, size = legs[0][0]
            with self.view(node, start, size, writable=writable) as only:
                yield only
            return
        with NamedTemporaryFile(dir=self.images[0].path.parent) as file:
            whole = Path(file.name)
            whole.write_bytes(b"".join(_read(*extent) for extent in legs[0]))
            with device.view(self.run, file.name, 0, whole.stat().st_size, writable=writable) as it:
                yield it
            for leg in legs if writable else ():
                self._write(leg, whole.read_bytes())

    def _write(self, leg: Sequence[Extent], content: bytes) -> None:
        for node, start, size in leg:
            self._gate(node)
            with Path(node).open("r+b") as disk:
                disk.seek(start)
                disk.write(content[:size])
            content = content[size:]

    def _gate(self, node: str) -> None:
        if node not in {str(image.path) for image in self.images}:
            return  # no disk, but what is held in memory for a while
        if node not in self.writable:
            raise TargetDiskError(f"{node} is read-only: {os.strerror(1)}.")
        self.opened_for_writing.append(node)


def _read(node: str, start: int, size: int) -> bytes:
    with Path(node).open("rb") as disk:
        disk.seek(start)
        return disk.read(size)
