"""Machines that meet: which fit together, which disk is meant, and the way back."""

from pathlib import Path

import pytest

from payload.model.marker import USED_PATH
from payload.model.report import Result
from tests.support.image_blocks import ImageDisk
from tests.support.machine_bench import (
    NO_COUNTDOWN,
    SOURCE_ID,
    TARGET_ID,
    THIRD_ID,
    is_blank,
    read_in_copy,
)
from tests.support.network_namespaces import network
from tests.support.scenario import Scenario, assert_apart, assert_copied, unchanged

pytestmark = [pytest.mark.root, pytest.mark.waits]

AS_SOURCE = f"{NO_COUNTDOWN} failover.role=source"
UUID = "4c4c4544-0042-3510-8052-b4c04f4a3132"


# --- what fits together, and what does not


def test_blank_and_blank(case: Scenario) -> None:
    one, other = case.made.blank(), case.made.blank()
    with network(2) as (first, second):
        machines = [
            case.bench.start(first, TARGET_ID, one),
            case.bench.start(second, THIRD_ID, other),
        ]
        words = r"^\[wait\] - .* says that it is a target too"
        assert_apart(machines, words, words)
    assert all(is_blank(path) for path in (*one, *other))


def test_system_and_blank(case: Scenario) -> None:
    assert_copied(case.made.first_copy())
    (copied, _) = case.made.copy()
    assert b"groupware" in read_in_copy(copied, "etc/hostname")


def test_system_and_our_unused_copy(case: Scenario) -> None:
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


def test_system_and_our_used_copy(case: Scenario) -> None:
    report = case.undecided(TARGET_ID, case.made.used_copy())
    assert "was in service" in report.sentence
    assert "it was mounted last on 20" in report.sentence
    assert "To copy from it: failover.role=source" in report.sentence


def test_system_and_our_used_copy_that_a_person_named(case: Scenario) -> None:
    server, used = case.made.server(), case.made.used_copy()
    named = f"{NO_COUNTDOWN} failover.overwrite=7-t0.img,serial:7-t1.img"
    with network(2) as (first, second), unchanged(server):
        assert_copied(
            case.pair((first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, used, named))
        )
    with pytest.raises(FileNotFoundError):
        read_in_copy(used[0], "newer.txt")


def test_system_and_our_copy_made_for_another_machine(case: Scenario) -> None:
    report = case.undecided(THIRD_ID, case.made.copy())
    assert "made for machine 77777777" in report.sentence


def test_system_and_copy_of_another_source(case: Scenario) -> None:
    server, copied = case.made.server(), case.made.copy()
    with network(2) as (first, second), unchanged([*server, *copied]):
        machines = [
            case.bench.start(first, THIRD_ID, server),
            case.bench.start(second, TARGET_ID, copied),
        ]
        words = r"^\[wait\] - .*holds a copy of another machine than this source"
        assert_apart(machines, words, words)


def test_system_and_system(case: Scenario) -> None:
    one, other = case.made.server(), case.made.server()
    with network(2) as (first, second), unchanged([*one, *other]):
        machines = [
            case.bench.start(first, SOURCE_ID, one),
            case.bench.start(second, THIRD_ID, other),
        ]
        words = r"^\[wait\] - groupware says that it is a source too.*failover.overwrite="
        assert_apart(machines, words, words)


def test_copy_in_service_and_blank_without_a_word(case: Scenario) -> None:
    used, blank = case.made.used_copy(), case.made.blank()
    with network(2) as (first, second), unchanged(used):
        standby = case.bench.start(first, TARGET_ID, used)
        empty = case.bench.start(second, THIRD_ID, blank)
        assert standby.report().exit_code == 3
        assert_apart([empty], "No source found yet")
    assert all(is_blank(path) for path in blank)


def test_copy_in_service_and_blank_by_a_persons_word(case: Scenario) -> None:
    used, blank = case.made.used_copy(), case.made.blank()
    with network(2) as (first, second), unchanged(used):
        assert_copied(
            case.pair((first, TARGET_ID, used, AS_SOURCE), (second, THIRD_ID, blank, NO_COUNTDOWN))
        )
    assert b"came while the copy served" in read_in_copy(blank[0], "newer.txt")


def test_our_copy_and_our_copy(case: Scenario) -> None:
    one, other = case.made.copy(), case.made.copy_for(THIRD_ID)
    with network(2) as (first, second), unchanged([*one, *other]):
        machines = [
            case.bench.start(first, TARGET_ID, one),
            case.bench.start(second, THIRD_ID, other),
        ]
        words = r"^\[wait\] - .* says that it is a target too"
        assert_apart(machines, words, words)


def test_interrupted_copy_and_the_same_source(case: Scenario) -> None:
    server, broken = case.made.server(), case.made.unfinished_copy()
    with network(2) as (first, second), unchanged(server):
        report = assert_copied(
            case.pair(
                (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, broken, NO_COUNTDOWN)
            )
        )
    assert sum(region.held for region in report.regions) > sum(one.sent for one in report.regions)


def test_interrupted_copy_and_another_source(case: Scenario) -> None:
    server, broken = case.made.server(), case.made.unfinished_copy()
    with network(2) as (first, second), unchanged([*server, *broken]):
        machines = [
            case.bench.start(first, THIRD_ID, server),
            case.bench.start(second, TARGET_ID, broken),
        ]
        words = r"^\[wait\] - .*holds a copy of another machine than this source"
        assert_apart(machines, words, words)


# --- which disk


def test_several_disks_of_which_one_is_foreign(case: Scenario) -> None:
    server, blank, foreign = case.made.server(), case.made.blank(), case.made.foreign("a.img")
    disks = [foreign, *blank]
    with network(2) as (first, second), unchanged([*server, foreign]):
        assert_copied(
            case.pair(
                (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, disks, NO_COUNTDOWN)
            )
        )


def test_source_with_one_disk_and_target_with_three(case: Scenario) -> None:
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


def test_live_stick_that_came_first(case: Scenario) -> None:
    server, blank, stick = case.made.server(), case.made.blank(), case.made.foreign("sda")
    reason = "it holds the live medium this system runs from"
    medium = ImageDisk(stick, serial="STICK", ineligible=reason, bystander=True)
    disks: list[Path | ImageDisk] = [medium, *blank]
    with network(2) as (first, second), unchanged([*server, stick]):
        assert_copied(
            case.pair(
                (first, SOURCE_ID, server, NO_COUNTDOWN), (second, TARGET_ID, disks, NO_COUNTDOWN)
            )
        )


def test_live_stick_that_a_person_named_all_the_same(case: Scenario) -> None:
    stick, blank = case.made.foreign("sda"), case.made.blank()
    disks: list[Path | ImageDisk] = [
        ImageDisk(stick, serial="STICK", ineligible="it holds the live medium"),
        *blank,
    ]
    report = case.undecided(TARGET_ID, disks, "failover.overwrite=STICK")
    assert "it holds the live medium" in report.sentence


def test_disks_without_serial_and_with_the_same_serial(case: Scenario) -> None:
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


def test_target_whose_controller_the_system_does_not_know(case: Scenario) -> None:
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


def test_preflight_on_both_screens(case: Scenario) -> None:
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


def test_the_same_dmi_uuid_on_both_machines(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, uuid=UUID)
        target = case.bench.start(second, TARGET_ID, blank, uuid=UUID)
        report = assert_copied((source.report(), target.report()))
    assert report.source and report.target
    assert report.source.id != report.target.id


def test_the_same_machine_seen_twice(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server)
        direct = f"{NO_COUNTDOWN} failover.ip=192.0.2.2/24 failover.peer=192.0.2.1"
        target = case.bench.start(second, SOURCE_ID, blank, direct)
        first.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
        target.wait_for("a machine with the very id of this one: it is not called")
        assert_apart([source], "No target found yet")
        assert target.process.poll() is None and "[plan]" not in target.log, target.log
    assert all(is_blank(path) for path in blank)


# --- the way back


def test_fail_back_without_a_word(case: Scenario) -> None:
    old, serving = case.made.server(), case.made.used_copy()
    with network(2) as (first, second), unchanged([*old, *serving]):
        repaired = case.bench.start(first, SOURCE_ID, old)
        standby = case.bench.start(second, TARGET_ID, serving)
        assert standby.report().exit_code == 3
        assert_apart([repaired], "No target found yet")


def test_fail_back_with_a_word_on_one_machine_only(case: Scenario) -> None:
    old, serving = case.made.server(), case.made.used_copy()
    with network(2) as (first, second), unchanged([*old, *serving]):
        machines = [
            case.bench.start(first, SOURCE_ID, old),
            case.bench.start(second, TARGET_ID, serving, AS_SOURCE),
        ]
        words = r"^\[wait\] - groupware says that it is a source too.*failover.overwrite="
        assert_apart(machines, words, words)


def test_fail_back_with_a_word_on_both_machines(case: Scenario) -> None:
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
