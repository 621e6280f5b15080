"""The rows of the table, in the order they are measured."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tests.bench import ours, peers
from tests.bench.figures import LINE, Row, add_rows
from tests.bench.measure import Costs, cpu_of, disk_clock, measure
from tests.bench.network import GIGABIT, Wire
from tests.bench.ours import Job
from tests.bench.work import (
    GIB,
    SAMPLE,
    Bay,
    Chunks,
    Original,
    check_copy,
    cool,
    make_disk,
    make_original,
    make_target,
    spoil,
)
from tests.support.server_image import make_image, tool
from tests.support.strangers import ATTACKS, attacking, card_addresses, link_local

CHANGED = 0.01  # of the chunks in use, for a refresh
LINE_REPEATS = 3
WARM_UP = 3.0  # seconds until strangers do all they can


@dataclass(frozen=True)
class Sizes:
    """Of one run of the bench. Bytes; `part` are used in rows beside the main ones, `line` are the
    GiB in use of those for linearity."""

    image: int
    used: int
    part: int
    sparse: int
    line: tuple[int, ...]


FULL = Sizes(6 * GIB, 4 * GIB, GIB, 4096 * GIB, (1, 2, 4))
QUICK = Sizes(2 * GIB, GIB, GIB // 4, 512 * GIB, ())


@dataclass
class Bench:
    """What all rows need: the wire, a directory on a disk, the site of both machines.

    `bay` holds the source's images while they are copied: disks of their own, as two machines
    have. Without it they lie beside the target's.
    """

    wire: Wire
    directory: Path
    site: Path
    bay: Bay | None = None

    def original(self, size: int, used: int, copies: int = 1) -> Original:
        original = make_original(self.directory, size, used, copies)
        return self.bay.put(original) if self.bay else original

    def disks(self, used: int) -> list[Original]:
        """Two that hold the same, with partitions."""
        original = make_disk(self.directory, used)
        if self.bay:
            return [self.bay.put(original), self.bay.put(original, "second.img")]
        second = self.directory / "source-second.img"
        tool("cp", "--sparse=always", str(original.path), str(second))
        return [original, Original(second, original.chunks)]

    def target(self, size: int, name: str = "target.img") -> Path:
        return make_target(self.directory / name, size)

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
        return _row(key, title, original.used, costs)

    def own(
        self,
        key: str,
        title: str,
        rate: int,
        original: Original,
        target: Path,
        *,
        changed: int = SAMPLE,
        **options: Any,
    ) -> Row:
        return self.own_disks(key, title, rate, [(original, target)], changed=changed, **options)

    def own_disks(
        self,
        key: str,
        title: str,
        rate: int,
        disks: Sequence[tuple[Original, Path]],
        *,
        changed: int = SAMPLE,
        **options: Any,
    ) -> Row:
        """`options` are fields of `Job`."""
        wire, result = self.wire, self.directory / "result.json"
        sources, targets = [str(one.path) for one, _ in disks], [str(path) for _, path in disks]
        job = Job(sources, targets, str(self.site), str(result), **options)
        chosen = [self._prepare(rate, original, target, changed) for original, target in disks]
        costs = measure(
            wire,
            rate * len(job.cards),
            (wire.source, ours.command("source", job, self.directory / "source.json")),
            (wire.target, ours.command("target", job, self.directory / "target.json")),
            disk_clock(self.directory),
        )
        for (original, target), chunks in zip(disks, chosen, strict=True):
            check_copy(original.path, target, chunks)
        outcome = ours.read_outcome(result)
        used = sum(original.used for original, _ in disks)
        if outcome.verified is not job.verify or outcome.used < used:
            raise SystemExit(f"{title}: not the whole copy was proven.")
        return _row(key, title, used, costs, outcome)

    def _prepare(self, rate: int, original: Original, target: Path, changed: int) -> Chunks:
        chosen = spoil(target, original.chunks, changed)
        cool(original.path, target)
        self.wire.limit(rate)
        return chosen


def _row(key: str, title: str, used: int, costs: Costs, outcome: ours.Outcome | None = None) -> Row:
    return Row(
        key,
        title,
        costs.seconds,
        used,
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
    title = "no limit: ours, verify=off"
    yield bench.own("ours_nolimit_unverified", title, 0, original, target, verify=False)


def links(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """One wire against two of the same kind."""
    original = bench.original(sizes.image, sizes.used)
    target = bench.target(sizes.image)
    title = "500 Mbit/s: ours"
    yield bench.own("ours_one_link", title, GIGABIT // 2, original, target)
    title, cards = "twice 500 Mbit/s: ours", list(bench.wire.source.cards)
    yield bench.own("ours_two_links", title, GIGABIT // 2, original, target, cards=cards)


def disks(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """Two disks with two partitions each: at once, and one disk after the other."""
    pair = bench.disks(sizes.part)
    targets = [
        bench.target(original.size, f"target-{number}.img") for number, original in enumerate(pair)
    ]
    both = list(zip(pair, targets, strict=True))
    yield bench.own_disks("ours_disks_at_once", "no limit: ours, two disks", 0, both)
    rows = [bench.own_disks("", "", 0, [one]) for one in both]
    title = "no limit: ours, two disks in turn"
    yield add_rows("ours_disks_in_turn", title, rows)


def line(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """The same image size, once, twice and four times the same in it. The best of a few, since
    the question is about us, and not about what else runs here."""
    for _ in range(LINE_REPEATS):
        for copies in sizes.line:
            original = bench.original(sizes.image, GIB, copies)
            title = f"1 Gbit/s: ours, {copies} GiB in use"
            target = bench.target(sizes.image)
            yield bench.own(f"{LINE}{copies}g", title, GIGABIT, original, target)


def sparse(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """A disk so large that whatever grows with its size shows."""
    original = make_original(bench.directory, sizes.sparse, GIB // 4)
    target = make_image(bench.directory / "sparse-target.img", sizes.sparse)
    try:
        title = f"no limit: ours, {sizes.sparse // GIB} GiB sparse"
        yield bench.own("ours_sparse", title, 0, original, target)
    finally:
        for path in (original.path, target):  # backup programs choke on files of this size
            path.unlink()


def strangers(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """Without and with all that a stranger without the site's key can do, all the time."""
    original, target = bench.original(sizes.image, sizes.part), bench.target(sizes.image)
    yield bench.own("ours_quiet", "no limit: ours, undisturbed", 0, original, target)
    stranger = bench.wire.stranger
    stranger.ip("link", "set", "eth0", "up")
    card_addresses(stranger)
    host = link_local(bench.wire.source)
    with attacking(stranger, list(ATTACKS), host, ours.SOURCE_ID) as attackers:
        time.sleep(WARM_UP)
        before, begun = sum(map(cpu_of, attackers)), time.monotonic()
        row = bench.own("ours_attacked", "no limit: ours, under attack", 0, original, target)
        spent = sum(map(cpu_of, attackers)) - before
        processors = (time.monotonic() - begun) * (os.cpu_count() or 1)
    yield replace(row, flood=spent / processors)


CASES: dict[str, Case] = {
    "gigabit": first_gigabit,
    "nolimit": first_without_limit,
    "links": links,
    "disks": disks,
    "line": line,
    "sparse": sparse,
    "strangers": strangers,
}
