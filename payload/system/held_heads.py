"""Disks whose first bytes are in memory, while what lies on them is mounted and changed.

A file system on a whole disk begins where our mark is, and where the disk begins to be somebody's.
Its begin reaches the disk when everything else did: until then it is joined with the rest of the
disk by the device mapper. All positions and sizes are bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from payload.model.volume import Extent
from payload.system.host import Blocks


@dataclass(frozen=True)
class HeldHeads:
    """`Blocks`, but for the begins of some disks: `files` holds them, by the disk's node."""

    blocks: Blocks
    files: Mapping[str, Path]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.blocks, name)

    def assemble(
        self, legs: Sequence[Sequence[Extent]], *, writable: bool = False
    ) -> AbstractContextManager[str]:
        """As `Blocks.assemble`. Raises ToolError."""
        split = [[piece for extent in leg for piece in self._split(extent)] for leg in legs]
        return self.blocks.assemble(split, writable=writable)

    def view(
        self, node: str, start: int, size: int, *, writable: bool = False
    ) -> AbstractContextManager[str]:
        """As `Blocks.view`. Raises ToolError."""
        return self.assemble([[(node, start, size)]], writable=writable)

    def _split(self, extent: Extent) -> Iterator[Extent]:
        node, start, size = extent
        file = self.files.get(node)
        held = max(0, min(size, file.stat().st_size - start)) if file else 0
        if held:
            yield str(file), start, held
        if size > held:
            yield node, start + held, size - held

    def read(self, node: str) -> bytes:
        """What the begin of a disk is by now."""
        return self.files[node].read_bytes()


@contextmanager
def hold_heads(blocks: Blocks, heads: Mapping[str, bytes]) -> Iterator[HeldHeads]:
    """Lay these begins over the disks; `heads` is by node. The live system's files are in memory,
    and these are gone at the end. Raises OSError."""
    with TemporaryDirectory(prefix="ugs-failover-heads-") as directory:
        files = {node: Path(directory, str(number)) for number, node in enumerate(heads)}
        for node, file in files.items():
            file.write_bytes(heads[node])
        yield HeldHeads(blocks, files)
