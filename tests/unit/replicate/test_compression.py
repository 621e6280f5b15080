"""Whether a chunk is packed, and how hard, follows from what network and processor took before."""

import os
import random
from dataclasses import dataclass

import pytest

from payload.model.message import Encoding
from payload.replicate import compression as module
from payload.replicate.compression import LEVELS, LOOK_AGAIN, Compression, Packer, Price

TEXT = b"one line of a log file, much like the next one %d\n" * 2000
GIGABIT = 4 / 118e6  # seconds for a byte when four connections share 1 Gbit/s


@dataclass
class Wire:
    """A network that takes so long for a byte."""

    price: float
    time: float = 0.0

    def carry(self, compression: Compression, size: int) -> None:
        self.time += size * self.price
        compression.sent(size, self.time)


def feed(compression: Compression, content: bytes, chunks: int, price: float) -> list[Encoding]:
    wire, seen = Wire(price, compression._network_time), []
    for _ in range(chunks):
        encoding, body = compression.pack(memoryview(content))
        wire.carry(compression, len(body))
        seen.append(encoding)
    return seen


class PaperPacker(Packer):
    """Costs and saves what the test says, on any machine under any load."""

    def __init__(self, level: int, price: float, ratio: float) -> None:
        super().__init__(level)
        self.truth = (price, ratio)
        self.used = 0

    def pack(self, content: memoryview) -> bytes:
        price, self.ratio = self.truth
        self.price.learn(len(content), len(content) * price)
        self.used += 1
        return bytes(int(len(content) * self.ratio))


def levels(*truths: tuple[float, float]) -> list[Packer]:
    """A real machine's: about 1.8, 3.1 and 20 ns for a byte of programs."""
    truths = truths or ((1.8e-9, 0.30), (3.1e-9, 0.27), (2e-8, 0.25))
    return [PaperPacker(level, *truth) for level, truth in zip(LEVELS, truths, strict=True)]


def mostly_used(packers: list[Packer], price: float) -> int:
    """The level that a wire with that price for a byte ends up with, 0 for none."""
    compression = Compression(packers=packers)
    feed(compression, bytes(100_000), 400, price)
    counts = {packer.level: packer.used for packer in packers if isinstance(packer, PaperPacker)}
    best = max(counts, key=lambda level: counts[level])
    return best if counts[best] > 200 else 0


@pytest.mark.parametrize(
    ("price", "level"),
    [(0.0, 0), (GIGABIT / 100, 0), (GIGABIT, 1), (GIGABIT * 10, 3), (GIGABIT * 200, 9)],
)
def test_the_slower_the_wire_the_harder_it_is_packed(price: float, level: int) -> None:
    assert mostly_used(levels(), price) == level


def test_no_level_is_tried_that_could_not_pay() -> None:
    packers = levels()
    mostly_used(packers, GIGABIT / 2)
    assert [isinstance(one, PaperPacker) and one.used > 0 for one in packers] == [
        True,
        False,
        False,
    ]


def test_what_cannot_be_packed_is_soon_left_alone_and_tried_again() -> None:
    compression = Compression()
    tried = feed(compression, random.Random(1).randbytes(50_000), 10 * LOOK_AGAIN, GIGABIT)
    assert tried == [Encoding.RAW] * len(tried)
    assert compression.packers[0].ratio > 0.9
    assert compression.packers[1].ratio == 0.0
    text = feed(compression, TEXT, 20 * LOOK_AGAIN, 1e-6)
    assert text[-5:] == [Encoding.ZSTD] * 5


def test_packing_ends_when_the_network_gets_fast() -> None:
    compression = Compression(packers=levels())
    assert feed(compression, TEXT, 100, GIGABIT)[-LOOK_AGAIN:] == [Encoding.ZSTD] * LOOK_AGAIN
    fast = feed(compression, TEXT, 300, price=1e-13)[-100:]
    assert fast.count(Encoding.ZSTD) <= 100 // LOOK_AGAIN + 1


def test_a_full_buffer_now_and_then_is_a_slow_wire_all_the_time() -> None:
    """Most sends end at once, the one that fills the buffer waits for all of them."""
    compression, seen, time = Compression(packers=levels()), [], 0.0
    for number in range(100):
        encoding, body = compression.pack(memoryview(TEXT))
        time += 0.01 if number % 5 == 0 else 1e-6
        compression.sent(len(body), time)
        seen.append(encoding)
    assert seen == [Encoding.ZSTD] * 100


def test_a_price_forgets_what_was_long_ago() -> None:
    price = Price(1.0, 1e6)
    assert price.value == 1e-6
    for _ in range(400):
        price.learn(1000, 1e-6)
    assert price.value == pytest.approx(1e-9, rel=0.01)
    assert Price().value == 0.0


def test_a_packer_learns_from_what_it_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((10.0, 10.5))
    monkeypatch.setattr(module, "perf_counter", lambda: next(now))
    packer = Packer(1)
    content = os.urandom(500) + bytes(500)
    packed = packer.pack(memoryview(content))
    assert packer.price.value == 0.5 / 1000
    assert packer.ratio == len(packed) / 1000
    assert packer.cost(1.0) == 0.5 / 1000 + len(packed) / 1000
