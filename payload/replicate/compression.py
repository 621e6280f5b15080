"""Packing that pays: none on a fast wire, zstd on a slow one, harder on a very slow one.

Each connection decides for itself, chunk by chunk, by what it measured: how long the network
takes for a byte, how long each level takes to pack one, and how much it saves. How long the
network takes is the kernel's own account (`Channel.network_time`), which leaves out the time in
which the target had no room: more packing would help against the one, not against the other.
"""

from dataclasses import dataclass, field
from time import perf_counter

import zstandard

from payload.model.message import Encoding

LEVELS = (1, 3, 9)  # of zstd
WORTHWHILE = 0.9  # packed size over size: above, the body goes as it is
MEMORY = 16  # chunks that count most in what is known of network and processor
LOOK_AGAIN = 16  # chunks after which another way than the best is tried
NEXT_SAVES = 0.15  # of the body, by the next level: more is rare, and less may not be worth a try


@dataclass
class Price:
    """Seconds for a byte, over the last dozens of chunks. A single one tells little: a buffer takes
    some at once, and lets others wait until it has room."""

    seconds: float = 0.0
    size: float = 0.0

    def learn(self, size: int, seconds: float) -> None:
        self.seconds += seconds - self.seconds / MEMORY
        self.size += size - self.size / MEMORY

    @property
    def value(self) -> float:
        """0.0 as long as nothing was learned."""
        return self.seconds / self.size if self.size else 0.0


class Packer:
    """One level of zstd, and what it was found to cost and to save."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.price = Price()
        self.ratio = 0.0  # packed size over size; 0.0 until it was tried
        self._compressor: zstandard.ZstdCompressor | None = None  # takes memory: only when used

    def pack(self, content: memoryview) -> bytes:
        if self._compressor is None:
            self._compressor = zstandard.ZstdCompressor(level=self.level)
        start = perf_counter()
        packed = self._compressor.compress(content)
        self.price.learn(len(content), perf_counter() - start)
        self.ratio = _blend(self.ratio, len(packed) / len(content))
        return packed

    def cost(self, sending: float) -> float:
        """Seconds for a byte of content, packed and sent, if sending one takes `sending`."""
        return self.price.value + min(self.ratio, 1.0) * sending

    def next_may_pay(self, sending: float) -> bool:
        """May a higher level save more than the double work of this one?"""
        return NEXT_SAVES * self.ratio * sending > self.price.value


def _blend(old: float, new: float) -> float:
    """A running average that a single hiccup does not turn over."""
    return new if not old else old + (new - old) / 4


def _starting_packers() -> list[Packer]:
    return [Packer(level) for level in LEVELS]


@dataclass
class Compression:
    """What one connection learned. The way that costs least is taken: a byte as it is, or packed
    by one of the levels. Every LOOK_AGAIN chunks a neighbour of it is tried, since content and
    network change."""

    sending: Price = field(default_factory=lambda: Price(1e-2, 1e6))  # until measured: 1 Gbit/s
    packers: list[Packer] = field(default_factory=_starting_packers)
    _chunks: int = 0
    _network_time: float = 0.0

    def pack(self, content: memoryview) -> tuple[Encoding, bytes | memoryview]:
        """The body to send."""
        packer = self._choose()
        if packer is not None:
            packed = packer.pack(content)
            if len(packed) <= WORTHWHILE * len(content):
                return Encoding.ZSTD, packed
        return Encoding.RAW, content

    def sent(self, size: int, network_time: float) -> None:
        """A body of `size` bytes went out; `network_time` is the connection's up to now."""
        self.sending.learn(size, network_time - self._network_time)
        self._network_time = network_time

    def _choose(self) -> Packer | None:
        """The packer for the next chunk, None for none."""
        self._chunks += 1
        if not self.packers[0].ratio:
            return self.packers[0]
        best = self._best()
        if self._chunks % LOOK_AGAIN:
            return best
        return self._neighbour(best, upwards=bool(self._chunks // LOOK_AGAIN % 2))

    def _best(self) -> Packer | None:
        sending = self.sending.value
        known = [packer for packer in self.packers if packer.ratio]
        best = min(known, key=lambda packer: packer.cost(sending))
        return best if best.cost(sending) < sending else None

    def _neighbour(self, best: Packer | None, *, upwards: bool) -> Packer | None:
        if best is None:
            return self.packers[0]
        place = self.packers.index(best) + (1 if upwards else -1)
        if upwards and not best.next_may_pay(self.sending.value):
            return best
        return self.packers[min(max(place, 0), len(self.packers) - 1)]
