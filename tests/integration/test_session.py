"""The whole run, twice: two payload processes in two namespaces, image files as disks.

Real links, real mDNS, real TLS, real stream, real loop devices and mounts. What is on paper is
the mainboard and the disks' names; nothing is booted (`tests/vm` does that).
"""

import json
import re
from pathlib import Path

import pytest

from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.codec import from_json
from payload.model.marker import CopyMarker
from payload.model.report import Result
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from payload.wire.tls import make_site_key
from tests.support.machine_bench import (
    NO_COUNTDOWN,
    SILENCE,
    SOURCE_ID,
    TARGET_ID,
    THIRD_ID,
    Bench,
    content_digest,
    copy_once,
    end,
    is_blank,
    read_in_copy,
    slow_down,
    speed_up,
)
from tests.support.network_namespaces import network
from tests.support.scenario import assert_apart
from tests.support.server_image import MIB, make_image, make_server

pytestmark = [pytest.mark.root, pytest.mark.waits]


def test_a_blank_machine_becomes_a_proven_copy(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    before = [content_digest(path) for path in server]
    with network(2) as (first, second):
        target_mac = json.loads(second.ip("-j", "link", "show", "eth0"))[0]["address"]
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, blanks)
        theirs, ours = source.report(), target.report()
    assert ours.result is Result.OK, ours.sentence
    assert theirs == ours, "both machines hold the same report"
    assert [content_digest(path) for path in server] == before
    assert ours.verified
    for region in ours.regions:
        assert region.verified and region.source_digest == region.target_digest
    tables = [run(["sfdisk", "--dump", str(path)]).stdout for path in (server[0], blanks[0])]
    assert re.findall("start=.*", tables[0]) == re.findall("start=.*", tables[1])
    assert blanks[0].read_bytes()[:440] == server[0].read_bytes()[:440]
    rules = read_in_copy(blanks[0], "etc/udev/rules.d/z25_persistent-net.rules").decode()
    assert f'ATTRS{{address}}=="{target_mac}", NAME="eth0"' in rules
    assert '#SUBSYSTEM=="net", DRIVERS=="?*", ATTRS{address}=="02:00:00:00:00:01"' in rules
    marker = from_json(CopyMarker, read_in_copy(blanks[0], "var/lib/ugs-failover/copy.json"))
    assert (marker.source.id, marker.target.id) == (SOURCE_ID, TARGET_ID)


def test_a_refresh_moves_what_changed_and_no_more(
    bench: Bench, server: list[Path], blanks: list[Path], tmp_path: Path
) -> None:
    _, first = copy_once(bench, server, blanks)
    assert first.result is Result.OK, first.sentence
    with (
        device.view(run, str(server[1]), 1 * MIB, 31 * MIB, writable=True) as node,
        LinuxMounts(run).mount(node, "ext4", writable=True) as tree,
    ):
        (tree / "mail/0007").write_text("a newer message\n")
    _, second = copy_once(bench, server, blanks)
    assert second.result is Result.OK, second.sentence
    assert sum(region.sent for region in second.regions) < sum(r.sent for r in first.regions) / 3
    with (
        device.view(run, str(blanks[1]), 1 * MIB, 31 * MIB, writable=False) as node,
        LinuxMounts(run).mount(node, "ext4") as tree,
    ):
        assert (tree / "mail/0007").read_text() == "a newer message\n"


def test_a_copy_that_is_not_read_back_says_so_everywhere(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    with network(2) as (first, second):
        line = f"{NO_COUNTDOWN} failover.verify=off"
        machines = [
            bench.start(first, SOURCE_ID, server, line),
            bench.start(second, TARGET_ID, blanks, line),
        ]
        reports = [machine.report() for machine in machines]
    for machine, report in zip(machines, reports, strict=True):
        assert report.result is Result.OK and not report.verified
        assert "verified copy" not in report.sentence
        assert "not read back (failover.verify=off)" in report.sentence
        assert any("failover.verify=off" in warning for warning in report.warnings)
        assert "DONE, BUT NOT VERIFIED" in machine.log
        before = machine.log[: machine.log.index("[copy]")]
        assert "[plan] Note: What is written to the target is not read back" in before
        areas = [region for region in report.regions if region.name.endswith("boot area")]
        assert areas and all(region.verified for region in areas)
        assert not all(region.verified for region in report.regions)


def test_a_key_stops_the_countdown_and_nothing_is_written(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    with network(2) as (first, second):
        source = bench.start(first, SOURCE_ID, server, "failover.countdown=3600")
        target = bench.start(second, TARGET_ID, blanks, "failover.countdown=3600", press_key=True)
        assert target.report().result is Result.STOPPED
        assert source.report().result is Result.STOPPED
    assert all(is_blank(path) for path in blanks)


def test_a_look_ends_where_the_writing_would_begin(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    with network(2) as (first, second):
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, blanks, f"{NO_COUNTDOWN} failover.dry-run=1")
        assert target.report().result is Result.DRY_RUN
        assert source.report().result is Result.DRY_RUN
    assert all(is_blank(path) for path in blanks)


def test_a_disk_with_foreign_data_is_not_touched(
    bench: Bench, server: list[Path], tmp_path: Path
) -> None:
    foreign = make_image(tmp_path / "foreign.img", 120 * MIB)
    run(["mke2fs", "-q", "-F", "-t", "ext4", str(foreign)])
    before = content_digest(foreign)
    with network(1) as (only,):
        report = bench.start(only, TARGET_ID, [foreign]).report()
    assert report.result is Result.FAILED and report.exit_code == 3
    assert content_digest(foreign) == before


def test_a_target_too_small_by_a_sector_is_a_clear_no_on_both_sides(
    bench: Bench, server: list[Path], tmp_path: Path
) -> None:
    end_of_table = (36862 + 155650) * 512
    small = [
        make_image(tmp_path / "s0.img", end_of_table - 512),
        make_image(tmp_path / "s1.img", 32 * MIB),
    ]
    source, target = copy_once(bench, server, small)
    for report in (source, target):
        assert report.exit_code == 4
        assert "(1 sectors) too small" in report.sentence
    assert all(is_blank(path) for path in small)


def test_machines_of_different_sites_never_pair(
    bench: Bench, server: list[Path], blanks: list[Path], tmp_path: Path
) -> None:
    make_site_key(tmp_path / "elsewhere")
    with network(2) as (first, second):
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, blanks, site=tmp_path / "elsewhere")
        assert_apart([source, target], "No target found yet", "belongs to another site")
    assert all(is_blank(path) for path in blanks)


def test_two_targets_are_shown_and_not_chosen_from(
    bench: Bench, server: list[Path], blanks: list[Path], tmp_path: Path
) -> None:
    other = [make_image(tmp_path / "o0.img", 120 * MIB), make_image(tmp_path / "o1.img", 32 * MIB)]
    with network(3) as (first, second, third):
        targets = [
            bench.start(second, TARGET_ID, blanks),
            bench.start(third, THIRD_ID, other),
        ]
        for target in targets:
            target.wait_for(r"^\[wait\]")
        source = bench.start(first, SOURCE_ID, server, settle=15)
        source.wait_for("2 machines would fit")
        assert all(is_blank(path) for path in (*blanks, *other))
        end(targets[1].process)
        assert targets[0].report().result is Result.OK
        assert source.report().result is Result.OK
    assert all(is_blank(path) for path in other)


def test_a_cut_link_carries_on_when_it_is_back(
    bench: Bench, tmp_path: Path, blanks: list[Path]
) -> None:
    (tmp_path / "server").mkdir()
    images = make_server(tmp_path / "server", files=100)
    with network(2) as (first, second):
        slow_down(second, "eth0")
        source = bench.start(first, SOURCE_ID, [images.system, images.data], silence=SILENCE)
        two = f"{NO_COUNTDOWN} failover.connections=2"
        target = bench.start(second, TARGET_ID, blanks, two, silence=SILENCE)
        for machine in (target, source):
            machine.wait_for(r"^\[copy\].*\d+%, held up by the wire$")
        second.unplug("eth0")
        target.wait_for("calling the source again")
        source.wait_for("Waiting for the target to come back")
        speed_up(second, "eth0")
        second.plug("eth0")
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.OK, ours.sentence
    assert theirs.result is Result.OK
    assert ours.verified


def test_a_link_that_stays_away_ends_clearly_and_the_next_boot_carries_on(
    bench: Bench, tmp_path: Path, blanks: list[Path]
) -> None:
    (tmp_path / "server").mkdir()
    images = make_server(tmp_path / "server", files=100)
    server = [images.system, images.data]
    short = f"{NO_COUNTDOWN} failover.connections=2 failover.reconnect=1"
    with network(2) as (first, second):
        slow_down(second, "eth0")
        source = bench.start(first, SOURCE_ID, server, short, silence=SILENCE)
        target = bench.start(second, TARGET_ID, blanks, short, silence=SILENCE)
        target.wait_for(r"^\[copy\].*\d+%")
        second.unplug("eth0")
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.FAILED and theirs.result is Result.FAILED
    assert "does not boot" in ours.sentence
    content = blanks[0].read_bytes()
    assert not content[:512].strip(b"\0"), "nothing bootable"
    mark = decode_mark(content[MARK_OFFSET : MARK_OFFSET + MARK_SIZE])
    assert mark is not None and mark.source_id == SOURCE_ID
    _, again = copy_once(bench, server, blanks)
    assert again.result is Result.OK, again.sentence
    assert sum(region.held for region in again.regions) > 0, "what was there is not sent again"
