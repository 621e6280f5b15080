"""Never the wrong way round: every pair of machines through the real thing.

Two or three payload processes with sparse files as disks; afterwards the bytes of the target's
disks and the hashes of all that must not change are looked at. A run spends most of its time
waiting, so all scenarios that were asked for run side by side, and each test waits for its own.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from payload.model.marker import USED_PATH
from payload.model.report import Report, Result
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.integration.harness import (
    NO_COUNTDOWN,
    ROOT_SIZE,
    ROOT_START,
    SOURCE_ID,
    TARGET_ID,
    THIRD_ID,
    Bench,
    Process,
    end,
    is_blank,
    read_in_copy,
    sha256,
    slow_down,
    speed_up,
)
from tests.integration.image_blocks import ImageDisk
from tests.integration.namespaces import Machine, network
from tests.integration.server_image import MIB
from tests.integration.workshop import Workshop, root_for_writing

# One worker for all of them: they are played side by side already.
pytestmark = [pytest.mark.root, pytest.mark.xdist_group("decisions")]
AT_ONCE = 8
AS_SOURCE = f"{NO_COUNTDOWN} failover.role=source"
COUNTDOWN_SECONDS = 12
COUNTDOWN = f"failover.countdown={COUNTDOWN_SECONDS}"
UUID = "4c4c4544-0042-3510-8052-b4c04f4a3132"


@dataclass
class Scenario:
    """What one scenario has at hand."""

    bench: Bench
    made: Workshop

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
    before = {path: sha256(path) for path in images}
    yield
    assert {path: sha256(path) for path in images} == before


def assert_copied(reports: tuple[Report, Report]) -> Report:
    source, target = reports
    assert target.result is Result.OK, target.sentence
    assert source == target and target.verified
    return target


def assert_apart(processes: Sequence[Process], *patterns: str) -> None:
    """Each says why it waits, and after a while neither has made a plan."""
    for process, pattern in zip(processes, patterns, strict=True):
        process.wait_for(pattern)
    time.sleep(3)
    for process in processes:
        assert process.process.poll() is None and "[plan]" not in process.log, process.log


SCENARIOS: list[Callable[[Scenario], None]] = []


def scenario(work: Callable[[Scenario], None]) -> Callable[[Scenario], None]:
    SCENARIOS.append(work)
    return work


# --- what fits together, and what does not


@scenario
def blank_and_blank(case: Scenario) -> None:
    one, other = case.made.blank(), case.made.blank()
    with network(2) as (first, second):
        machines = [
            case.bench.start(first, TARGET_ID, one),
            case.bench.start(second, THIRD_ID, other),
        ]
        words = r"^\[wait\] - .* says that it is a target too"
        assert_apart(machines, words, words)
    assert all(is_blank(path) for path in (*one, *other))


@scenario
def system_and_blank(case: Scenario) -> None:
    assert_copied(case.made.first_copy())
    (copied, _) = case.made.copy()
    assert b"groupware" in read_in_copy(copied, "etc/hostname")


@scenario
def system_and_our_unused_copy(case: Scenario) -> None:
    server, copied = case.made.server(), case.made.copy()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server)
        target = case.bench.start(second, TARGET_ID, copied)
        words = r"lost: our copy of groupware of 20\d\d-\d\d-\d\d \d\d:\d\d UTC, unused$"
        for process in (source, target):
            process.wait_for(words)
        target.wait_for("This machine is a copy, ready and unused since")
        report = assert_copied((source.report(), target.report()))
    assert sum(region.held for region in report.regions) > sum(one.sent for one in report.regions)


@scenario
def system_and_our_used_copy(case: Scenario) -> None:
    report = case.undecided(TARGET_ID, case.made.used_copy())
    assert "was in service" in report.sentence
    assert "it was mounted last on 20" in report.sentence
    assert "To copy from it: failover.role=source" in report.sentence


@scenario
def system_and_our_used_copy_that_a_person_named(case: Scenario) -> None:
    server, used = case.made.server(), case.made.used_copy()
    named = f"{NO_COUNTDOWN} failover.overwrite=7-t0.img,serial:7-t1.img"
    with network(2) as (first, second), unchanged(server):
        assert_copied(
            case.pair((first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, used, named))
        )
    with pytest.raises(FileNotFoundError):
        read_in_copy(used[0], "newer.txt")


@scenario
def system_and_our_copy_made_for_another_machine(case: Scenario) -> None:
    report = case.undecided(THIRD_ID, case.made.copy())
    assert "made for machine 77777777" in report.sentence


@scenario
def system_and_copy_of_another_source(case: Scenario) -> None:
    server, copied = case.made.server(), case.made.copy()
    with network(2) as (first, second), unchanged([*server, *copied]):
        machines = [
            case.bench.start(first, THIRD_ID, server),
            case.bench.start(second, TARGET_ID, copied),
        ]
        words = r"^\[wait\] - .*holds a copy of another machine than this source"
        assert_apart(machines, words, words)


@scenario
def system_and_system(case: Scenario) -> None:
    one, other = case.made.server(), case.made.server()
    with network(2) as (first, second), unchanged([*one, *other]):
        machines = [
            case.bench.start(first, SOURCE_ID, one),
            case.bench.start(second, THIRD_ID, other),
        ]
        words = r"^\[wait\] - groupware says that it is a source too.*failover.overwrite="
        assert_apart(machines, words, words)


@scenario
def copy_in_service_and_blank_without_a_word(case: Scenario) -> None:
    used, blank = case.made.used_copy(), case.made.blank()
    with network(2) as (first, second), unchanged(used):
        standby = case.bench.start(first, TARGET_ID, used)
        empty = case.bench.start(second, THIRD_ID, blank)
        assert standby.report().exit_code == 3
        assert_apart([empty], "No source found yet")
    assert all(is_blank(path) for path in blank)


@scenario
def copy_in_service_and_blank_by_a_persons_word(case: Scenario) -> None:
    used, blank = case.made.used_copy(), case.made.blank()
    with network(2) as (first, second), unchanged(used):
        assert_copied(
            case.pair((first, TARGET_ID, used, AS_SOURCE), (second, THIRD_ID, blank, NO_COUNTDOWN))
        )
    assert b"came while the copy served" in read_in_copy(blank[0], "newer.txt")


@scenario
def our_copy_and_our_copy(case: Scenario) -> None:
    one, other = case.made.copy(), case.made.copy_for(THIRD_ID)
    with network(2) as (first, second), unchanged([*one, *other]):
        machines = [
            case.bench.start(first, TARGET_ID, one),
            case.bench.start(second, THIRD_ID, other),
        ]
        words = r"^\[wait\] - .* says that it is a target too"
        assert_apart(machines, words, words)


@scenario
def interrupted_copy_and_the_same_source(case: Scenario) -> None:
    server, broken = case.made.server(), case.made.unfinished_copy()
    with network(2) as (first, second), unchanged(server):
        report = assert_copied(
            case.pair(
                (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, broken, NO_COUNTDOWN)
            )
        )
    assert sum(region.held for region in report.regions) > sum(one.sent for one in report.regions)


@scenario
def interrupted_copy_and_another_source(case: Scenario) -> None:
    server, broken = case.made.server(), case.made.unfinished_copy()
    with network(2) as (first, second), unchanged([*server, *broken]):
        machines = [
            case.bench.start(first, THIRD_ID, server),
            case.bench.start(second, TARGET_ID, broken),
        ]
        words = r"^\[wait\] - .*holds a copy of another machine than this source"
        assert_apart(machines, words, words)


# --- which disk


@scenario
def several_disks_of_which_one_is_foreign(case: Scenario) -> None:
    server, blank, foreign = case.made.server(), case.made.blank(), case.made.foreign("a.img")
    disks = [foreign, *blank]
    with network(2) as (first, second), unchanged([*server, foreign]):
        assert_copied(
            case.pair(
                (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, disks, NO_COUNTDOWN)
            )
        )


@scenario
def source_with_one_disk_and_target_with_three(case: Scenario) -> None:
    server, blank = case.made.server(), [*case.made.blank(), *case.made.blank()]
    blank[3] = blank[3].rename(blank[3].with_name("t2.img"))
    disks = [blank[0], blank[1], blank[3]]
    with network(2) as (first, second), unchanged(server):
        assert_copied(
            case.pair(
                (first, SOURCE_ID, server[:1], NO_COUNTDOWN),
                (second, TARGET_ID, disks, NO_COUNTDOWN),
            )
        )
    assert not is_blank(disks[0]) and is_blank(disks[1]) and is_blank(disks[2])


@scenario
def live_stick_that_came_first(case: Scenario) -> None:
    server, blank, stick = case.made.server(), case.made.blank(), case.made.foreign("sda")
    reason = "it holds the live medium this system runs from"
    disks = [ImageDisk(stick, serial="STICK", ineligible=reason), *blank]
    with network(2) as (first, second), unchanged([*server, stick]):
        assert_copied(
            case.pair(
                (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, disks, NO_COUNTDOWN)
            )
        )


@scenario
def live_stick_that_a_person_named_all_the_same(case: Scenario) -> None:
    stick, blank = case.made.foreign("sda"), case.made.blank()
    disks = [ImageDisk(stick, serial="STICK", ineligible="it holds the live medium"), *blank]
    report = case.undecided(TARGET_ID, disks, "failover.overwrite=STICK")
    assert "it holds the live medium" in report.sentence


@scenario
def disks_without_serial_and_with_the_same_serial(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    sources = [ImageDisk(path, by_path=f"pci-0-ata-{n}") for n, path in enumerate(server, 1)]
    targets = [
        ImageDisk(path, serial="QM00001", by_path=f"pci-0-ata-{n}")
        for n, path in enumerate(blank, 1)
    ]
    with network(2) as (first, second), unchanged(server):
        report = assert_copied(
            case.pair(
                (first, SOURCE_ID, sources, NO_COUNTDOWN),
                (second, TARGET_ID, targets, NO_COUNTDOWN),
            )
        )
    warnings = " ".join(report.warnings)
    assert "another disk has the same serial, so it counts for nothing" in warnings
    assert "it is known only by where it is plugged in (pci-0-ata-1)" in warnings


AHCI = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
RAID = "pci:v00001000d00000060sv00001028sd00001F0Cbc01sc04i00"


@scenario
def target_whose_controller_the_system_does_not_know(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    targets = [
        ImageDisk(path, serial=path.name, controllers=(controller,))
        for path, controller in zip(blank, (RAID, AHCI), strict=True)
    ]
    with network(2) as (first, second), unchanged(server):
        reports = case.pair(
            (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, targets, NO_COUNTDOWN)
        )
    for report in reports:
        assert report.exit_code == 4
        assert "has no driver for the controller of disk t0.img" in report.sentence
        assert "PCI 1000:0060" in report.sentence and "AHCI or IDE" in report.sentence
    assert all(is_blank(path) for path in blank)


@scenario
def preflight_on_both_screens(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    targets = [ImageDisk(path, serial=path.name, controllers=(AHCI,)) for path in blank]
    with network(2) as (first, second), unchanged(server):
        look = f"{NO_COUNTDOWN} failover.dry-run=1"
        source = case.bench.start(first, SOURCE_ID, server)
        target = case.bench.start(second, TARGET_ID, targets, look)
        for process in (source, target):
            process.wait_for(r"^\[plan\] +driver for the target's disks: yes, ahci$")
            process.wait_for(r"^\[plan\] +memory of the target: yes, 1024 MiB$")
            process.wait_for(r"^\[plan\] +estimate: about 1 min for 0.0 GB over 10000 Mbit/s")
            assert process.report().result is Result.DRY_RUN
    assert all(is_blank(path) for path in blank)


# --- which machine


@scenario
def the_same_dmi_uuid_on_both_machines(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, uuid=UUID)
        target = case.bench.start(second, TARGET_ID, blank, uuid=UUID)
        report = assert_copied((source.report(), target.report()))
    assert report.source and report.target
    assert report.source.id != report.target.id


@scenario
def the_same_machine_seen_twice(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server)
        direct = f"{NO_COUNTDOWN} failover.ip=192.0.2.2/24 failover.peer=192.0.2.1"
        target = case.bench.start(second, SOURCE_ID, blank, direct)
        first.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
        words = ("No target found yet", "a machine with the very id of this one: it is not called")
        assert_apart([source, target], *words)
    assert all(is_blank(path) for path in blank)


# --- the way back


@scenario
def fail_back_without_a_word(case: Scenario) -> None:
    old, serving = case.made.server(), case.made.used_copy()
    with network(2) as (first, second), unchanged([*old, *serving]):
        repaired = case.bench.start(first, SOURCE_ID, old)
        standby = case.bench.start(second, TARGET_ID, serving)
        assert standby.report().exit_code == 3
        assert_apart([repaired], "No target found yet")


@scenario
def fail_back_with_a_word_on_one_machine_only(case: Scenario) -> None:
    old, serving = case.made.server(), case.made.used_copy()
    with network(2) as (first, second), unchanged([*old, *serving]):
        machines = [
            case.bench.start(first, SOURCE_ID, old),
            case.bench.start(second, TARGET_ID, serving, AS_SOURCE),
        ]
        words = r"^\[wait\] - groupware says that it is a source too.*failover.overwrite="
        assert_apart(machines, words, words)


@scenario
def fail_back_with_a_word_on_both_machines(case: Scenario) -> None:
    old, serving = case.made.server(), case.made.used_copy()
    named = f"{NO_COUNTDOWN} failover.overwrite=5-disk0.img,5-disk1.img"
    with network(2) as (first, second), unchanged(serving):
        report = assert_copied(
            case.pair((first, TARGET_ID, serving, AS_SOURCE), (second, SOURCE_ID, old, named))
        )
    assert b"came while the copy served" in read_in_copy(old[0], "newer.txt")
    with pytest.raises(FileNotFoundError):
        read_in_copy(old[0], USED_PATH)  # the new copy was never started
    assert f"/{USED_PATH}" in [change.where for change in report.changes]
    assert report.source and report.source.id == TARGET_ID


# --- what changes under way


def stopped_before_the_write(
    case: Scenario, targets: Sequence[Path], meddle: Callable[[], None]
) -> Report:
    """The target's report after `meddle` was done while the countdown ran."""
    server = case.made.server()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, COUNTDOWN)
        target = case.bench.start(second, TARGET_ID, targets, COUNTDOWN)
        target.wait_for(r"^\[countdown\]")
        meddle()
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.FAILED and theirs.result is Result.FAILED
    assert "othing was written" in ours.sentence, ours.sentence
    assert "othing was written" in theirs.sentence, theirs.sentence
    return ours


@scenario
def disks_whose_names_swapped_between_plan_and_write(case: Scenario) -> None:
    blank, foreign = case.made.blank(), case.made.foreign("t2.img", 32 * MIB)
    beside = blank[0].with_name("t2.img")
    foreign.rename(beside)
    before = sha256(beside)
    aside = beside.with_name("aside")

    def swap() -> None:
        blank[1].rename(aside)
        beside.rename(blank[1])
        aside.rename(beside)

    report = stopped_before_the_write(case, [*blank, beside], swap)
    assert report.exit_code == 8 and "t1.img" in report.sentence
    assert is_blank(blank[0]) and is_blank(beside) and sha256(blank[1]) == before


@scenario
def disk_replaced_between_plan_and_write(case: Scenario) -> None:
    blank, foreign = case.made.blank(), case.made.foreign()
    before = sha256(foreign)
    report = stopped_before_the_write(case, blank, lambda: foreign.replace(blank[0]))
    assert report.exit_code == 8 and "another device" in report.sentence
    assert sha256(blank[0]) == before and is_blank(blank[1])


@scenario
def disk_written_to_between_plan_and_write(case: Scenario) -> None:
    """The same device, but somebody's data is on it by now, where no partition would be."""
    blank = case.made.blank()

    def write() -> None:
        with blank[1].open("r+b") as disk:
            disk.seek(-4096, os.SEEK_END)
            disk.write(b"data")

    report = stopped_before_the_write(case, blank, write)
    assert report.exit_code == 8
    assert "on it was blank, now there is no known signature, but data at byte" in report.sentence
    assert is_blank(blank[0]) and blank[1].read_bytes().strip(b"\0") == b"data"


@scenario
def copy_started_between_plan_and_write(case: Scenario) -> None:
    """Somebody mounted our unused copy for writing while the machines counted down."""
    copied = case.made.copy()
    hashes: list[str] = []

    def use() -> None:
        with root_for_writing(copied[0]) as root:
            (root / "newer.txt").write_text("mail\n")
        hashes.extend(sha256(path) for path in copied)

    report = stopped_before_the_write(case, copied, use)
    assert report.exit_code == 3 and "was in service" in report.sentence
    assert [sha256(path) for path in copied] == hashes


@scenario
def disk_replaced_while_the_link_was_away(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    foreign = case.made.foreign("t1.img", 32 * MIB)
    before = sha256(foreign)
    with network(2) as (first, second), unchanged(server):
        slow_down(second, "eth0")
        source = case.bench.start(first, SOURCE_ID, server)
        target = case.bench.start(second, TARGET_ID, blank)
        target.wait_for(r"^\[copy\].*\d+%")
        second.unplug("eth0")
        target.wait_for(r"(?s)^\[copy\][^\n]*\d%.*calling the source again")
        foreign.replace(blank[1])
        second.plug("eth0")
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.FAILED and theirs.result is Result.FAILED
    assert ours.exit_code == 8 and "no longer the disk" in ours.sentence
    assert "The link is back" not in target.log, "found out before anything more was written"
    assert sha256(blank[1]) == before
    assert not blank[0].read_bytes()[:512].strip(b"\0"), "nothing bootable"


@scenario
def source_started_anew_in_the_middle_with_other_content(case: Scenario) -> None:
    """It was switched off, ran as the server for a while, and came back from the medium."""
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second):
        slow_down(second, "eth0")
        source = case.bench.start(first, SOURCE_ID, server)
        target = case.bench.start(second, TARGET_ID, blank)
        target.wait_for(r"^\[copy\].* all [1-9]\d?%")
        end(source.process)
        target.wait_for(r"(?s)^\[copy\][^\n]*\d%.*calling the source again")
        with root_for_writing(server[0]) as root:
            for file in (root / "usr/share/doc").iterdir():
                file.write_text(file.read_text()[::-1])
        expected = sha256_of_tree(server[0])
        speed_up(second, "eth0")
        with unchanged(server):
            source = case.bench.start(first, SOURCE_ID, server)
            assert_copied((source.report(), target.report()))
    assert "everything is compared with it again" in target.log
    assert sha256_of_tree(blank[0]) == expected


def sha256_of_tree(image: Path) -> dict[str, str]:
    with (
        device.view(run, str(image), ROOT_START, ROOT_SIZE, writable=False) as node,
        LinuxMounts(run).mount(node, "ext4") as root,
    ):
        return {path.name: sha256(path) for path in (root / "usr/share/doc").iterdir()}


@scenario
def key_on_the_source_in_the_countdown(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, COUNTDOWN, press_key=True)
        target = case.bench.start(second, TARGET_ID, blank, COUNTDOWN)
        assert source.report().result is Result.STOPPED
        assert target.report().result is Result.STOPPED
    assert all(is_blank(path) for path in blank)


@scenario
def source_that_vanishes_in_the_countdown(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, COUNTDOWN)
        target = case.bench.start(second, TARGET_ID, blank, COUNTDOWN)
        target.wait_for(r"^\[countdown\]")
        end(source.process)
        target.wait_for(r"Nothing was written\.(\n.*)*^\[wait\]")
        time.sleep(COUNTDOWN_SECONDS)
        assert target.process.poll() is None
    assert all(is_blank(path) for path in blank)


@scenario
def target_that_vanishes_in_the_countdown(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, COUNTDOWN)
        target = case.bench.start(second, TARGET_ID, blank, COUNTDOWN)
        source.wait_for(r"^\[countdown\]")
        end(target.process)
        source.wait_for(r"Nothing was written\.(\n.*)*^\[wait\]")
    assert all(is_blank(path) for path in blank)


# --- pytest


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[[Scenario], None], "Future[None]"]]:
    """Every scenario of this session, begun. The first copy is made in the meantime."""
    directory = tmp_path_factory.mktemp("decisions")
    made = Workshop(directory, directory / "site")
    made.prepare()
    asked = [
        item.callspec.params["work"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and getattr(item, "originalname", "") == NAME
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {work: pool.submit(play, work, made) for work in asked}
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(directory)


def play(work: Callable[[Scenario], None], made: Workshop) -> None:
    with contextlib.ExitStack() as stack:
        directory = made.directory / f"play-{work.__name__}"
        directory.mkdir()
        work(Scenario(Bench(directory, made.site, stack), made))


NAME = "test_decision"


@pytest.mark.parametrize("work", SCENARIOS, ids=lambda work: work.__name__)
def test_decision(
    work: Callable[[Scenario], None],
    running: dict[Callable[[Scenario], None], "Future[None]"],
) -> None:
    running[work].result()
