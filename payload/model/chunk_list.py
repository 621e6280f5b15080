"""Many chunks in little memory: 8 bytes for each, so 8 MiB for each TiB of content."""

from array import array
from collections.abc import Iterable, Iterator

from payload.model.plan import CHUNK_SIZE

_UNIT = 512  # bytes; every sector size is a multiple
_LENGTH_BITS = 12  # a chunk has at most CHUNK_SIZE / _UNIT = 2048 units


class ChunkList:
    """Offsets and lengths of chunks, ascending, at most one in each CHUNK_SIZE."""

    def __init__(self, chunks: Iterable[tuple[int, int]] = ()) -> None:
        self._packed = array("Q")
        self.size = 0  # bytes of content in all chunks
        for offset, length in chunks:
            self.append(offset, length)

    def append(self, offset: int, length: int) -> None:
        """Raises ValueError unless the chunk keeps the rules and follows the last one."""
        slot = offset // CHUNK_SIZE
        if offset < 0 or length <= 0 or offset % _UNIT or length % _UNIT:
            raise ValueError(f"{length} bytes at {offset} are not whole sectors")
        if (offset + length - 1) // CHUNK_SIZE != slot:
            raise ValueError(f"{length} bytes at {offset} are more than one chunk")
        if self._packed and slot <= self[-1][0] // CHUNK_SIZE:
            raise ValueError(f"the chunk at {offset} is out of order")
        self._packed.append(offset // _UNIT << _LENGTH_BITS | length // _UNIT)
        self.size += length

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: int) -> tuple[int, int]:
        packed = self._packed[index]
        return (packed >> _LENGTH_BITS) * _UNIT, (packed & (1 << _LENGTH_BITS) - 1) * _UNIT

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return (self[index] for index in range(len(self)))
