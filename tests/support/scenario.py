"""Disks, machines and assertions of a scenario."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.model.report import Report, Result
from tests.support.image_blocks import ImageDisk
from tests.support.machine_bench import NO_COUNTDOWN, SOURCE_ID, Bench, Process, content_digest
from tests.support.network_namespaces import Machine, network
from tests.support.prepared_disks import PreparedDisks


@dataclass(frozen=True)
class Scenario:
    """Disks to choose from, and a bench to start machines on."""

    bench: Bench
    made: PreparedDisks

    def pair(
        self,
        source: tuple[Machine, str, Sequence[Path | ImageDisk], str],
        target: tuple[Machine, str, Sequence[Path | ImageDisk], str],
    ) -> tuple[Report, Report]:
        processes = [self.bench.start(*words) for words in (source, target)]
        source_report, target_report = (process.report() for process in processes)
        return source_report, target_report

    def undecided(
        self, machine_id: str, disks: Sequence[Path | ImageDisk], line: str = NO_COUNTDOWN
    ) -> Report:
        """A machine that ends by itself beside a server that waits, having written nothing."""
        server = self.made.server()
        images = [disk.path if isinstance(disk, ImageDisk) else disk for disk in disks]
        with network(2) as (first, second), unchanged([*server, *images]):
            source = self.bench.start(first, SOURCE_ID, server)
            source.wait_for(r"^\[wait\]")
            report = self.bench.start(second, machine_id, disks, line).report()
            assert_apart([source], "No target found yet")
        assert (report.result, report.exit_code) == (Result.FAILED, 3), report.sentence
        return report


@contextlib.contextmanager
def unchanged(images: Sequence[Path]) -> Iterator[None]:
    before = {path: content_digest(path) for path in images}
    yield
    assert {path: content_digest(path) for path in images} == before


def assert_copied(reports: tuple[Report, Report]) -> Report:
    source, target = reports
    assert target.result is Result.OK, target.sentence
    assert source == target and target.verified
    return target


def assert_apart(processes: Sequence[Process], *patterns: str) -> None:
    """Each says why it waits, and none has made a plan when all had time enough to settle."""
    for process, pattern in zip(processes, patterns, strict=True):
        process.wait_for(pattern)
    for process in processes:
        process.wait_for_looks()
    for process in processes:
        assert process.process.poll() is None and "[plan]" not in process.log, process.log
