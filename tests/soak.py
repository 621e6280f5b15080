"""Copies in which a machine dies at a random moment, and what lies on the target then.

    python -m tests.soak --runs 60 [--seed 1] [--cuts 10]

First one copy whose connections are cut at 1, 50 and 99 %, so many times in a row each. Then, run
by run, two payload processes copy a small server; one of them, or both, are killed (SIGKILL)
somewhere between the plan and the last word, and started again, until a copy comes to its end.
Whenever the target is dead its disks are judged from outside: whatever starts or calls itself a
copy has to be one, of the old content or of the new, whole. A seed makes the same trial again, as
far as the machine's load does not move its moments.
"""

import argparse
import contextlib
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from payload.decide.disk_verdict import Finding, judge
from payload.identify.inventory import take_inventory
from payload.model.errors import FailoverError
from payload.model.inventory import Inventory
from payload.model.report import Report, Result
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.machine_bench import (
    DEADLINE,
    SOURCE_ID,
    TARGET_ID,
    Bench,
    Process,
    content_digest,
    end,
    slow_down,
    speed_up,
)
from tests.support.machine_process import NoPower, PaperBoard
from tests.support.network_namespaces import Machine, network
from tests.support.prepared_disks import PreparedDisks, root_for_writing
from tests.vm.compare import compare_disks

AT_ONCE = 3
PATIENCE = 8.0  # seconds; a source that does not answer is called again after three
LINK_BACK = "The link is back"
_RESTARTS = 4
# Where a trial dies: the stage, and within how many seconds after its begin.
_MOMENTS = (("plan", 1.0), ("copy", 8.0), ("copy", 8.0), ("verify", 1.0), ("finish", 1.5))
_CLAIMS = frozenset(
    {Finding.SYSTEM, Finding.MIXED, Finding.UNUSED_COPY, Finding.USED_COPY, Finding.COPY_ELSEWHERE}
)


@dataclass(frozen=True)
class Death:
    """One machine (or both, `together`) dies `delay` seconds after the target began `stage`."""

    side: str
    stage: str
    delay: float
    together: bool


@dataclass(frozen=True)
class Trial:
    """`refresh`: the target holds an older copy; else it is blank."""

    seed: int
    refresh: bool
    deaths: tuple[Death, ...]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. `refusal` is the sentence of a target that wrote nothing more."""

    trial: Trial
    refusal: str
    looks: int  # how often the disks of a dead target were judged
    claims: int  # how often they claimed to be a copy


def draw(seed: int) -> Trial:
    """The trial of a seed."""
    dice = random.Random(seed)
    deaths = []
    for _ in range(dice.choice((1, 1, 2))):
        stage, longest = dice.choice(_MOMENTS)
        side = dice.choice(("source", "target", "target"))
        together = dice.random() < 0.25
        deaths.append(Death(side, stage, round(dice.uniform(0, longest), 3), together))
    return Trial(seed, dice.random() < 0.5, tuple(deaths))


@dataclass
class Bed:
    """What trials share: a server, the server as it was when the older copy was made of it."""

    made: PreparedDisks
    server: list[Path]
    older: list[Path]

    @classmethod
    def prepare(cls, made: PreparedDisks) -> "Bed":
        older, server = made.server(), made.server()
        with root_for_writing(server[0]) as root:
            for number, file in enumerate(sorted((root / "usr/share/doc").iterdir())):
                if number % 3 == 0:
                    file.write_text(file.read_text()[::-1])
            (root / "etc/newer").write_text("written after the older copy was made\n")
        made.copy()  # wait for it: whoever measures a trial does not measure this
        return cls(made, server, older)


@dataclass
class Play:
    """One trial under way."""

    trial: Trial
    bed: Bed
    bench: Bench
    machines: dict[str, Machine]
    targets: list[Path]
    running: dict[str, Process] = field(default_factory=dict)
    looks: int = 0
    claims: int = 0
    _starts: int = 0

    def start(self, side: str) -> None:
        machine_id, disks = {
            "source": (SOURCE_ID, self.bed.server),
            "target": (TARGET_ID, self.targets),
        }[side]
        self.running[side] = self.bench.start(self.machines[side], machine_id, disks)

    def is_alive(self, side: str) -> bool:
        return self.running[side].process.poll() is None

    def die(self, death: Death) -> None:
        """Wait for the moment, kill, look at what is left, start again whoever is dead."""
        target = self.running["target"]
        with self._slow(death.stage == "copy"):
            try:
                target.wait_for(rf"^\[{death.stage}\]")
            except AssertionError as error:
                raise AssertionError(self.logs) from error
            time.sleep(death.delay)
            for side in self.running:
                if death.together or side == death.side:
                    end(self.running[side].process)
        if not self.is_alive("target"):
            self.look()
        for side in self.running:
            if not self.is_alive(side):
                self.start(side)

    @contextlib.contextmanager
    def _slow(self, wanted: bool) -> Iterator[None]:
        machine = self.machines["target"]
        if not wanted:
            yield
            return
        slow_down(machine, "eth0")
        try:
            yield
        finally:
            speed_up(machine, "eth0")

    def come_to_an_end(self) -> Report:
        """The target's report. A source that had ended before is started once more."""
        deadline = time.monotonic() + DEADLINE
        while self.is_alive("target"):
            assert time.monotonic() < deadline, self.logs
            if not self.is_alive("source"):
                self._starts += 1
                assert self._starts <= _RESTARTS, self.logs
                self.start("source")
            time.sleep(0.2)
        end(self.running["source"].process)
        return self.running["target"].report()

    def look(self) -> None:
        """Nothing on the dead target says that it is whole and is not."""
        self.looks += 1
        inventory = look_at_target(self.targets)
        if not claims_to_be_whole(inventory, self.targets):
            return
        self.claims += 1
        versions = (self.bed.server, self.bed.older) if self.trial.refresh else (self.bed.server,)
        found = [differences(version, self.targets, inventory) for version in versions]
        assert [] in found, f"{found}\n{self.logs}"

    @property
    def logs(self) -> str:
        return "\n".join(f"--- {side}\n{one.log}" for side, one in self.running.items())


def play_cuts(bed: Bed, bench: Bench, times: int) -> None:
    """One copy onto blank disks, its link cut at 1, 50 and 99 %, `times` times in a row each.
    Raises AssertionError when it does not carry on, or the copy is not the server."""
    targets = bed.made.blank()
    with network(2) as (first, second):
        slow_down(second, "eth0")
        source = bench.start(first, SOURCE_ID, bed.server)
        target = bench.start(second, TARGET_ID, targets)
        for percent in (1, 50, 99):
            _wait_for_percent(target, percent)
            for _ in range(times):
                _cut(second, target)
        speed_up(second, "eth0")
        reports = source.report(), target.report()
    assert [report.result for report in reports] == [Result.OK] * 2, reports[1].sentence
    assert LINK_BACK in target.log
    found = differences(bed.server, targets, look_at_target(targets))
    assert found == [], f"{found}\n{target.log}"
    shutil.rmtree(targets[0].parent)


def _cut(machine: Machine, target: Process) -> None:
    """And wait until the link is back, or a while: what is cut while it is on its way back, or when
    nothing more is needed of it, needs no second way back."""
    seen, until = target.log.count(LINK_BACK), time.monotonic() + PATIENCE
    machine.cut()
    while target.log.count(LINK_BACK) == seen and time.monotonic() < until:
        time.sleep(0.05)


def percent_of(log: str) -> int:
    """How far the copy was at last; all of it once what was held back is written."""
    if "writing the held back heads" in log:
        return 100
    return max(
        (int(found) for found in re.findall(r"^\[copy\].* all (\d+)%", log, re.M)), default=0
    )


def _wait_for_percent(process: Process, percent: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while percent_of(process.log) < percent:
        alive = process.process.poll() is None
        assert alive and time.monotonic() < deadline, process.log
        time.sleep(0.02)


def play(trial: Trial, bed: Bed, bench: Bench) -> Outcome:
    """Raises AssertionError when the rule is broken."""
    targets = bed.made.copy() if trial.refresh else bed.made.blank()
    with network(2) as (first, second):
        machines = {"source": first, "target": second}
        playing = Play(trial, bed, bench, machines, targets)
        for side in machines:
            playing.start(side)
        for death in trial.deaths:
            playing.die(death)
        report = playing.come_to_an_end()
        playing.look()
        if report.result is Result.OK:
            inventory = look_at_target(targets)
            assert claims_to_be_whole(inventory, targets), playing.logs
            found = differences(bed.server, targets, inventory)
            assert found == [], f"{found}\n{playing.logs}"
        else:
            assert report.exit_code != FailoverError.exit_code, playing.logs
    shutil.rmtree(targets[0].parent)
    refusal = "" if report.result is Result.OK else report.sentence
    return Outcome(trial, refusal, playing.looks, playing.claims)


# --- judging the disks


def look_at_target(images: Sequence[Path]) -> Inventory:
    """What the payload would find on them."""
    disks = [ImageDisk(path, serial=f"{TARGET_ID[0]}-{path.name}") for path in images]
    nothing: Any = SimpleNamespace(cards=lambda: ())
    host = Host(
        run,
        ImageBlocks(disks),
        LinuxMounts(),
        PaperBoard(TARGET_ID),
        NoPower(),
        nothing,
        nothing,
        nothing,
    )
    return take_inventory(host, "", 0)


def claims_to_be_whole(inventory: Inventory, images: Sequence[Path]) -> bool:
    """Would it start, or would the payload take it for a copy or a system?"""
    with images[0].open("rb") as disk:
        starts = bool(disk.read(440).strip(b"\0"))  # boot code; the table comes before it
    findings = {verdict.finding for verdict in judge(inventory, frozenset())}
    return starts or bool(findings & _CLAIMS)


def differences(server: Sequence[Path], copy: Sequence[Path], inventory: Inventory) -> list[str]:
    """In what the copy is not the server, beyond what its marker lists. Blocks that no file has
    are free and may hold what was there before."""
    markers = [system.marker for system in inventory.systems if system.marker]
    if len(markers) != 1:
        return [f"{len(markers)} markers; {inventory.warnings}"]
    changes = [change.where for change in markers[0].changes]
    compared = compare_disks(zip(server, copy, strict=True), changes)
    return [
        f"{one.name}: {problem}"
        for one in compared
        for problem in one.problems
        if "but no file does" not in problem
    ]


# --- the command


def play_all(seeds: Iterable[int], bed: Bed, directory: Path) -> Iterator[Outcome]:
    """Several at once, since a copy spends most of its time waiting."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = [pool.submit(play_seed, seed, bed, directory) for seed in seeds]
        try:
            for trial in trials:
                yield trial.result()
        finally:
            pool.shutdown(cancel_futures=True)


def play_seed(seed: int, bed: Bed, directory: Path) -> Outcome:
    """Whatever the trial raises gets the seed it was drawn from."""
    trial = draw(seed)
    own = directory / f"trial-{seed}"
    own.mkdir()
    try:
        with contextlib.ExitStack() as stack:
            return play(trial, bed, Bench(own, bed.made.site, stack))
    except Exception as error:
        raise AssertionError(f"--seed {seed} --runs 1: {trial}: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each has its own")
    parser.add_argument("--cuts", type=int, default=10, help="in a row, at each of three places")
    given = parser.parse_args(arguments)
    seeds = range(given.seed, given.seed + given.runs)
    deaths = refusals = claims = 0
    with tempfile.TemporaryDirectory(prefix="ugs-soak-") as name:
        bed = Bed.prepare(PreparedDisks(Path(name), Path(name)))
        before = [content_digest(path) for path in bed.server]
        if given.cuts:
            with contextlib.ExitStack() as stack:
                play_cuts(bed, Bench(Path(name), bed.made.site, stack), given.cuts)
            print(f"soak: cut {3 * given.cuts} times: whole and equal", flush=True)
        for outcome in play_all(seeds, bed, Path(name)):
            deaths += len(outcome.trial.deaths)
            refusals += bool(outcome.refusal)
            claims += outcome.claims
            words = f"refused: {outcome.refusal}" if outcome.refusal else "whole and equal"
            print(f"soak: {outcome.trial}: {words}", flush=True)
        assert [content_digest(path) for path in bed.server] == before, "the source was written to"
    print(
        f"soak: {len(seeds)} copies, {deaths} deaths, {refusals} refusals; disks claimed to be a "
        f"copy {claims} times, and were one each time"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
