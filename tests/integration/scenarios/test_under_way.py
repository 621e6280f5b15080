"""What changes between the plan and the end of the copy."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from payload.model.report import Report, Result
from payload.session import meeting
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.machine_bench import (
    NO_COUNTDOWN,
    ROOT_SIZE,
    ROOT_START,
    SILENCE,
    SOURCE_ID,
    TARGET_ID,
    THIRD_ID,
    content_digest,
    end,
    is_blank,
    slow_down,
    speed_up,
)
from tests.support.network_namespaces import network
from tests.support.prepared_disks import root_for_writing
from tests.support.scenario import Scenario, assert_copied, unchanged
from tests.support.server_image import MIB

pytestmark = [pytest.mark.root, pytest.mark.waits]

# Held until the test is done with what it does in between, however long that takes.
HELD_COUNTDOWN = "failover.countdown=1"
# Never comes to its end.
LONG_COUNTDOWN = "failover.countdown=3600"


def stopped_before_the_write(
    case: Scenario, targets: Sequence[Path], meddle: Callable[[], None]
) -> Report:
    """The target's report after `meddle` was done while the countdown ran."""
    server, done = case.made.server(), case.bench.directory / "meddled"
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, HELD_COUNTDOWN, release=done)
        target = case.bench.start(second, TARGET_ID, targets, HELD_COUNTDOWN, release=done)
        target.wait_for(r"^\[countdown\]")
        meddle()
        done.touch()
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.FAILED and theirs.result is Result.FAILED
    assert "othing was written" in ours.sentence, ours.sentence
    assert "othing was written" in theirs.sentence, theirs.sentence
    return ours


def test_disks_whose_names_swapped_between_plan_and_write(case: Scenario) -> None:
    blank, foreign = case.made.blank(), case.made.foreign("t2.img", 32 * MIB)
    beside = blank[0].with_name("t2.img")
    foreign.rename(beside)
    before = content_digest(beside)
    aside = beside.with_name("aside")

    def swap() -> None:
        blank[1].rename(aside)
        beside.rename(blank[1])
        aside.rename(beside)

    report = stopped_before_the_write(case, [*blank, beside], swap)
    assert report.exit_code == 8 and "t1.img" in report.sentence
    assert is_blank(blank[0]) and is_blank(beside) and content_digest(blank[1]) == before


def test_disk_replaced_between_plan_and_write(case: Scenario) -> None:
    blank, foreign = case.made.blank(), case.made.foreign()
    before = content_digest(foreign)

    def exchange() -> None:
        foreign.replace(blank[0])

    report = stopped_before_the_write(case, blank, exchange)
    assert report.exit_code == 8 and "another device" in report.sentence
    assert content_digest(blank[0]) == before and is_blank(blank[1])


def test_disk_written_to_between_plan_and_write(case: Scenario) -> None:
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


def test_copy_started_between_plan_and_write(case: Scenario) -> None:
    """Somebody mounted our unused copy for writing while the machines counted down."""
    copied = case.made.copy()
    hashes: list[str] = []

    def use() -> None:
        with root_for_writing(copied[0]) as root:
            (root / "newer.txt").write_text("mail\n")
        hashes.extend(content_digest(path) for path in copied)

    report = stopped_before_the_write(case, copied, use)
    assert report.exit_code == 3 and "was in service" in report.sentence
    assert [content_digest(path) for path in copied] == hashes


def test_second_source_during_the_countdown(case: Scenario) -> None:
    """The target has chosen the only source there was. It waits again, and says between which, as
    it does with two that were there from the start; with one of them gone it goes on. The machines
    settle for as long as on a live system."""
    one, other, blank = case.made.server(), case.made.server(), case.made.blank()
    with network(3) as (first, second, third), unchanged([*one, *other]):
        source = case.bench.start(first, SOURCE_ID, one, settle=meeting.SETTLE)
        target = case.bench.start(second, TARGET_ID, blank, LONG_COUNTDOWN, settle=meeting.SETTLE)
        target.wait_for(r"^\[countdown\]")
        late = case.bench.start(third, THIRD_ID, other, settle=meeting.SETTLE)
        target.wait_for(r"^\[note\] groupware on .* 99999999 fits, too.*Nothing was written")
        target.wait_for(r"^\[wait\] 2 machines would fit as the other side")
        for process in (source, target, late):
            assert process.process.poll() is None, process.log
        assert all(is_blank(path) for path in blank)
        end(late.process)
        target.wait_for(r"(?s)2 machines would fit.*\n\[countdown\]")
    assert all(is_blank(path) for path in blank)


def test_disk_replaced_while_the_link_was_away(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    foreign = case.made.foreign("t1.img", 32 * MIB)
    before = content_digest(foreign)
    with network(2) as (first, second), unchanged(server):
        slow_down(second, "eth0")
        source = case.bench.start(first, SOURCE_ID, server, silence=SILENCE)
        target = case.bench.start(second, TARGET_ID, blank, silence=SILENCE)
        target.wait_for(r"^\[copy\].*\d+%")
        second.unplug("eth0")
        target.wait_for(r"(?s)^\[copy\][^\n]*\d%.*calling the source again")
        foreign.replace(blank[1])
        second.plug("eth0")
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.FAILED and theirs.result is Result.FAILED
    assert ours.exit_code == 8 and "no longer the disk" in ours.sentence
    assert "The link is back" not in target.log, "found out before anything more was written"
    assert content_digest(blank[1]) == before
    assert not first_sector(blank[0]).strip(b"\0"), "nothing bootable"


def test_disk_replaced_while_only_the_conversation_was_away(case: Scenario) -> None:
    """Two wires carry the copy; with one of them the conversation is lost, and found again."""
    server, blank = case.made.server(), case.made.blank()
    foreign = case.made.foreign("t1.img", 32 * MIB)
    before = content_digest(foreign)
    with network(2, cards=2) as (first, second), unchanged(server):
        for card in second.cards:
            slow_down(second, card, "200kbit")
        second.unplug("eth1")  # so that the conversation can only run over the other one
        source = case.bench.start(first, SOURCE_ID, server, silence=SILENCE)
        one = f"{NO_COUNTDOWN} failover.connections=1"
        target = case.bench.start(second, TARGET_ID, blank, one, silence=SILENCE)
        target.wait_for(r"^\[copy\].*\d+%")
        second.plug("eth1")
        target.wait_for(r"also runs over network card eth1 now")
        foreign.replace(blank[1])
        second.unplug("eth0")
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.FAILED and theirs.result is Result.FAILED
    assert ours.exit_code == 8 and "no longer the disk" in ours.sentence
    assert "[verify]" not in target.log, "found out before the copy was at its end"
    assert content_digest(blank[1]) == before
    assert not first_sector(blank[0]).strip(b"\0"), "nothing bootable"


def test_source_started_anew_in_the_middle_with_other_content(case: Scenario) -> None:
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


def first_sector(image: Path) -> bytes:
    with image.open("rb") as disk:
        return disk.read(512)


def sha256_of_tree(image: Path) -> dict[str, str]:
    with (
        device.view(run, str(image), ROOT_START, ROOT_SIZE, writable=False) as node,
        LinuxMounts(run).mount(node, "ext4") as root,
    ):
        return {path.name: content_digest(path) for path in (root / "usr/share/doc").iterdir()}


def test_key_on_the_source_in_the_countdown(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, LONG_COUNTDOWN, press_key=True)
        target = case.bench.start(second, TARGET_ID, blank, LONG_COUNTDOWN)
        assert source.report().result is Result.STOPPED
        assert target.report().result is Result.STOPPED
    assert all(is_blank(path) for path in blank)


def test_source_that_vanishes_in_the_countdown(case: Scenario) -> None:
    """The countdown is waited out to its end: it leads to no write without the source."""
    server, blank, gone = case.made.server(), case.made.blank(), case.bench.directory / "gone"
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, HELD_COUNTDOWN, release=gone)
        target = case.bench.start(second, TARGET_ID, blank, HELD_COUNTDOWN, release=gone)
        target.wait_for(r"^\[countdown\]")
        end(source.process)
        gone.touch()
        target.wait_for(r"Nothing was written\.(\n.*)*^\[wait\]")
        target.wait_for_looks()
        assert target.process.poll() is None and "[copy]" not in target.log, target.log
    assert all(is_blank(path) for path in blank)


def test_source_that_comes_back_is_counted_down_for_anew(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, LONG_COUNTDOWN)
        target = case.bench.start(second, TARGET_ID, blank, LONG_COUNTDOWN)
        target.wait_for(r"^\[countdown\]")
        end(source.process)
        target.wait_for(r"Nothing was written\.(\n.*)*^\[wait\]")
        case.bench.start(first, SOURCE_ID, server, LONG_COUNTDOWN)
        target.wait_for(r"(?s)Nothing was written\..*^\[wait\].*^\[countdown\]")
        assert target.process.poll() is None and "[copy]" not in target.log, target.log
    assert all(is_blank(path) for path in blank)


def test_target_that_vanishes_in_the_countdown(case: Scenario) -> None:
    server, blank = case.made.server(), case.made.blank()
    with network(2) as (first, second), unchanged(server):
        source = case.bench.start(first, SOURCE_ID, server, LONG_COUNTDOWN)
        target = case.bench.start(second, TARGET_ID, blank, LONG_COUNTDOWN)
        source.wait_for(r"^\[countdown\]")
        end(target.process)
        source.wait_for(r"Nothing was written\.(\n.*)*^\[wait\]")
    assert all(is_blank(path) for path in blank)
