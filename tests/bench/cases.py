"""The rows of the table, in the order they are measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.bench import ours, peers
from tests.bench.figures import LINE, Row
from tests.bench.measure import Costs, disk_clock, measure
from tests.bench.network import GIGABIT, Wire
from tests.bench.ours import Job
from tests.bench.work import (
    GIB,
    SAMPLE,
    Chunks,
    Original,
    bring,
    check_copy,
    cool,
    make_original,
    make_target,
    spoil,
)
from tests.integration.server_image import make_image

CHANGED = 0.01  # of the chunks in use, for a refresh


@dataclass(frozen=True)
class Sizes:
    """Of one run of the bench. Bytes; `line` are the used sizes of the rows for linearity."""

    image: int
    used: int
    sparse: int
    line: tuple[int, ...]


FULL = Sizes(6 * GIB, 4 * GIB, 4096 * GIB, (GIB, 2 * GIB, 4 * GIB))
QUICK = Sizes(2 * GIB, GIB, 512 * GIB, ())


@dataclass
class Bench:
    """What all rows need: the wire, a directory on a disk, the site of both machines.

    `medium` is where the source's image lies while it is copied: a disk of its own, as two
    machines have, or None for the target's.
    """

    wire: Wire
    directory: Path
    site: Path
    medium: Path | None = None

    def original(self, size: int, used: int) -> Original:
        original = make_original(self.directory, size, used)
        return bring(original, self.medium) if self.medium else original

    def target(self, size: int) -> Path:
        return make_target(self.directory / "target.img", size)

    def peer(
        self, key: str, title: str, rate: int, original: Original, commands: tuple[str, str]
    ) -> Row:
        """`commands` are the source's and the target's."""
        target = self.target(original.size)
        wire = self.wire
        chosen = self._prepare(rate, original, target, SAMPLE)
        costs = measure(
            wire,
            rate,
            (wire.target, peers.listening(commands[1])),
            (wire.source, peers.waiting(commands[0])),
            disk_clock(self.directory),
        )
        check_copy(original.path, target, chosen)
        return _row(key, title, original, costs)

    def own(
        self,
        key: str,
        title: str,
        rate: int,
        original: Original,
        target: Path,
        *,
        changed: int = SAMPLE,
        blank: bool = True,
    ) -> Row:
        wire, result = self.wire, self.directory / "result.json"
        job = Job(str(original.path), str(target), blank, str(self.site), str(result))
        chosen = self._prepare(rate, original, target, changed)
        costs = measure(
            wire,
            rate,
            (wire.source, ours.command("source", job, self.directory / "source.json")),
            (wire.target, ours.command("target", job, self.directory / "target.json")),
            disk_clock(self.directory),
        )
        check_copy(original.path, target, chosen)
        outcome = ours.read_outcome(result)
        if not outcome.verified or outcome.used != original.used:
            raise SystemExit(f"{title}: not the whole copy was proven.")
        return _row(key, title, original, costs, outcome)

    def _prepare(self, rate: int, original: Original, target: Path, changed: int) -> Chunks:
        chosen = spoil(target, original.chunks, changed)
        cool(original.path, target)
        self.wire.limit(rate)
        return chosen


def _row(
    key: str, title: str, original: Original, costs: Costs, outcome: ours.Outcome | None = None
) -> Row:
    return Row(
        key,
        title,
        costs.seconds,
        original.used,
        costs.wire_bytes,
        costs.source_cpu,
        costs.target_cpu,
        costs.other_cpu,
        costs.shares,
        costs.memory,
        outcome.steps if outcome else {},
        outcome.sent if outcome else 0,
    )


class Case(Protocol):
    """Measures one row, or a few that belong together."""

    def __call__(self, bench: Bench, sizes: Sizes) -> Iterator[Row]: ...


def first_gigabit(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    original = bench.original(sizes.image, sizes.used)
    source, target = original.path, bench.target(sizes.image)
    way = peers.dd(source, target, "64k")
    yield bench.peer("dd_64k_1g", "1 Gbit/s: dd bs=64k | nc", GIGABIT, original, way)
    way = peers.partclone(source, target, packed=True)
    yield bench.peer(
        "partclone_zstd_1g", "1 Gbit/s: partclone | zstd -1 | nc", GIGABIT, original, way
    )
    yield bench.own("ours_1g", "1 Gbit/s: ours", GIGABIT, original, target)
    yield bench.own(
        "ours_refresh_1g",
        "1 Gbit/s: ours, 1 % changed",
        GIGABIT,
        original,
        target,
        changed=max(1, round(len(original.chunks) * CHANGED)),
        blank=False,
    )


def first_without_limit(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    original = bench.original(sizes.image, sizes.used)
    source, target = original.path, bench.target(sizes.image)
    way = peers.dd(source, target, "1M")
    yield bench.peer("dd_1m_nolimit", "no limit: dd bs=1M | nc", 0, original, way)
    way = peers.partclone(source, target, packed=False)
    yield bench.peer("partclone_nolimit", "no limit: partclone | nc", 0, original, way)
    yield bench.own("ours_nolimit", "no limit: ours", 0, original, target)


def line(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """The same image size, more and more in it."""
    for used in sizes.line:
        original = bench.original(sizes.image, used)
        name = f"{used // GIB} GiB"
        target = bench.target(sizes.image)
        yield bench.own(
            f"{LINE}{used // GIB}g", f"no limit: ours, {name} in use", 0, original, target
        )


def sparse(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """A disk so large that whatever grows with its size shows."""
    original = make_original(bench.medium or bench.directory, sizes.sparse, GIB // 4)
    target = make_image(bench.directory / "sparse-target.img", sizes.sparse)
    try:
        title = f"no limit: ours, {sizes.sparse // GIB} GiB sparse"
        yield bench.own("ours_sparse", title, 0, original, target)
    finally:
        for path in (original.path, target):  # backup programs choke on files of this size
            path.unlink()


CASES: dict[str, Case] = {
    "gigabit": first_gigabit,
    "nolimit": first_without_limit,
    "line": line,
    "sparse": sparse,
}
