"""The report as people read it."""

from dataclasses import replace

from hypothesis import given

from payload.console.report_text import WIDTH, render_report, totals
from payload.model.report import Hole, Report, Result
from tests.support.console_samples import REPORT, REPORTS

WHOLE = """\
DONE: the copy is finished and verified
The target is now a verified copy of groupware and starts as that server.

source    groupware on Dell PowerEdge aaaaaaaa
target    HP ProLiant bbbbbbbb
started   2026-11-06 21:20:00 UTC
verified  yes, read back from the target's disks
result    ok, exit code 0
program   UGS-Failover 0.1.0
plan      4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f

region                fs    total  used  wire  held   secs   MB/s digest   ok
disk 1 boot area      -     1.05M 1.05M  900K     0      0    2.1 cccccccc yes
disk 1 partition 5    ext4   500G 37.0G 12.0G 1.00G    353  104.8 dddddddd yes

Every byte:
- ST3500320NS 9QM1AB2C 500.1 GB: 37.0 GB copied and compared, 463 GB free by
  ext4's map, 107 MB that no partition holds, not looked at

Boot loader:
- GRUB 2, carried over
- checked: boot code names sector 1

Network cards:
- eth0 is now 00:16:3e:00:00:02 (the copy came over this card)

Warnings:
- The journal of the root file system was not empty.

Changed beyond the bit copy:
- /etc/udev/rules.d/z25_persistent-net.rules: eth0 renamed

Seconds:
- identify 1.5, copy 353.0
"""


def test_the_whole_report() -> None:
    assert render_report(REPORT) == WHOLE


def test_holes_and_what_is_not_proven_are_told() -> None:
    region = replace(REPORT.regions[1], verified=False, holes=(Hole(512, 1024),))
    report = replace(REPORT, result=Result.HOLES, regions=(region,), verified=False)
    text = " ".join(render_report(report).split())
    assert text.startswith("DONE, BUT WITH HOLES")
    assert "disk 1 partition 5: bytes 512 to 1535 of the source could not be read" in text
    assert "dddddddd NO" in text
    assert "verified no, only 0 of 1 regions" in text


def test_a_copy_that_was_not_read_back_is_not_called_verified() -> None:
    region = replace(REPORT.regions[1], verified=False, target_digest="")
    report = replace(REPORT, regions=(REPORT.regions[0], region), verified=False)
    text = " ".join(render_report(report).split())
    assert text.startswith("DONE, BUT NOT VERIFIED: what was written was not read back")
    assert "verified no, only 1 of 2 regions were read back whole" in text
    assert "finished and verified" not in text


def test_an_early_end_says_only_what_is_known() -> None:
    report = Report(Result.FAILED, "No disk was found.", 11, version="0.1.0")
    assert render_report(report) == (
        "FAILED: this run made no usable copy\nNo disk was found.\n\n"
        "verified  no\nresult    failed, exit code 11\nprogram   UGS-Failover 0.1.0\n"
    )


def test_the_account_says_what_was_not_compared_and_what_is_missing() -> None:
    account = replace(REPORT.accounts[0], compared=5 * 10**9, missing=7 * 10**9, unreadable=512)
    text = " ".join(render_report(replace(REPORT, accounts=(account,))).split())
    assert "37.0 GB copied, 5.00 GB of it compared, 512 B of it unreadable and zeros," in text
    assert "7.00 GB MISSING" in text


def test_the_gaps_of_a_disk_are_one_row() -> None:
    gap = replace(REPORT.regions[0], name="disk 1 gap 1", is_gap=True, total=1000, used=1000)
    other = replace(gap, name="disk 1 gap 2", total=2000, used=2000, verified=False)
    text = render_report(replace(REPORT, regions=(*REPORT.regions, gap, other)))
    assert [line.split()[:5] for line in text.splitlines() if "gap" in line] == [
        ["disk", "1", "gaps", "-", "3.00K"]
    ]
    assert next(line for line in text.splitlines() if "gaps" in line).endswith("-        NO")


def test_totals() -> None:
    assert totals(REPORT) == (
        "37.0 GB of content, 12.0 GB over the wire, 1.00 GB already there, 05:54 in all"
    )


@given(REPORTS)
def test_any_report_stays_on_its_lines(report: Report) -> None:
    for line in render_report(report).split("\n"):
        assert len(line) <= WIDTH
        assert all(" " <= character <= "~" for character in line)
