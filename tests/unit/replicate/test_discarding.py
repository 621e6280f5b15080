"""What is given back on the target: whole units, free wholly, and never a byte in use."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from payload.model.message import MapAnswer
from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.replicate import discarding
from payload.replicate.discarding import plan_discards
from payload.replicate.ledger import Ledger

SECTOR = 512
CHUNKS = st.dictionaries(
    st.integers(1, 15), st.tuples(st.integers(0, 1000), st.integers(1, 1048)), max_size=12
)


def ledger_of(slots: dict[int, tuple[int, int]]) -> Ledger:
    """A region of 16 chunks: the first, and in some other places a piece."""
    ledger = Ledger(Region(0, 0, 1, 1 << 20, 16 * CHUNK_SIZE, Method.USED), SECTOR)
    numbers = [0, CHUNK_SIZE]
    for slot, (first, count) in sorted(slots.items()):
        numbers += (slot * CHUNK_SIZE + first * SECTOR, count * SECTOR)
    ledger.add(MapAnswer(0, tuple(numbers), last=True))
    return ledger


@given(CHUNKS)
def test_free_is_what_no_chunk_covers(slots: dict[int, tuple[int, int]]) -> None:
    ledger = ledger_of(slots)
    pieces = sorted([*ledger.free_runs(), *ledger._chunks])
    assert pieces[0][0] == 0
    for (start, length), (following, _) in pairwise(pieces):
        assert start + length == following
    assert sum(pieces[-1]) == 16 * CHUNK_SIZE


@given(CHUNKS, st.sampled_from([512, 4096, 65536, 1 << 20, 3 << 20]), st.integers(0, 99))
def test_discards_are_whole_units_inside_what_is_free(
    slots: dict[int, tuple[int, int]], unit: int, sectors: int
) -> None:
    base = sectors * SECTOR
    free = list(ledger_of(slots).free_runs())
    planned = list(plan_discards(iter(free), base, unit))
    for start, length in planned:
        assert start % unit == length % unit == 0 < length
        assert any(base + at <= start and start + length <= base + at + n for at, n in free)
    lost = sum(length for _, length in free) - sum(length for _, length in planned)
    assert lost < 2 * unit * max(len(free), 1)


def test_much_is_discarded_in_steps() -> None:
    total = 5 * discarding.STEP + 4096
    planned = list(plan_discards(iter([(0, total)]), 512, 512))
    assert [length for _, length in planned] == [discarding.STEP] * 5 + [4096]
    assert planned[0][0] == 512


class Disk:
    """A disk that takes a minute for each discard."""

    discard_step = 4096

    def __init__(self) -> None:
        self.now = 0.0
        self.discarded: list[tuple[int, int]] = []

        class Hardware:
            label = "Slow 1"

        self.hardware = Hardware()

    def discard(self, start: int, length: int) -> None:
        self.now += 60.0
        self.discarded.append((start, length))


def test_a_disk_that_takes_long_is_not_waited_for() -> None:
    disk = Disk()
    ledgers = [ledger_of(dict.fromkeys(range(2, 15), (0, 1)))]
    note = discarding.discard_free(disk, ledgers, lambda: disk.now)  # type: ignore[arg-type]
    assert "Slow 1" in note and "within 120 seconds" in note
    assert len(disk.discarded) == 3
