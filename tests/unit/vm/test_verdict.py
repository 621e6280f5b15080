"""The rehearsal's judgement: one thing wrong is enough, and nothing unmeasured is right."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from payload.model.marker import Change, MachineReference
from payload.model.report import RegionReport, Report, Result
from tests.vm.case import Expected
from tests.vm.cases.sample import SAMPLE
from tests.vm.compare import Comparison, is_listed
from tests.vm.evidence import Evidence, Mount, SeenCard
from tests.vm.verdict import Facts, judge, render_text

SOURCE, TARGET = "52:54:00:67:77:01", "52:54:00:c0:97:02"
REGION = RegionReport("disk 1 partition 1", "sda", "ext3", 10, 5, 5, 0, 1.0, "d", "d", True)
REPORT = Report(
    Result.OK, "done", 0, source=MachineReference("s", "", "groupware"), regions=(REGION,),
    verified=True, changes=(Change("/etc/udev/rules.d/z25_persistent-net.rules", "names"),),
)  # fmt: skip
EVIDENCE = Evidence(
    host_name="groupware",
    system="running",
    failed_units=(),
    cards=(SeenCard("eth0", TARGET, ("192.0.2.10/24",)),),
    mounts=(Mount("/dev/sda1", "/boot", "ext3"), Mount("/dev/sdb1", "/srv/groupware", "xfs")),
    swaps=("/dev/sda2",),
    files_listed=12000,
    files_ok=12000,
    failed_files=(),
    rules=(f'SUBSYSTEM=="net", ATTRS{{address}}=="{TARGET}", NAME="eth0"',),
)
OLD_RULE = f'SUBSYSTEM=="net", ATTRS{{address}}=="{SOURCE}", NAME="eth1"'


def right() -> Facts:
    return Facts(
        expected=SAMPLE.expected,
        host_name="groupware",
        source_macs=(SOURCE,),
        digests_before=("a", "b"),
        digests_after=("a", "b"),
        written_to_source=0,
        source_report=REPORT,
        report=REPORT,
        comparisons=(Comparison("disk 1 partition 1", "ext3", 0, 0, 9, (), ()),),
        copy_booted=True,
        evidence=EVIDENCE,
    )


def test_all_right() -> None:
    verdict = judge(right())
    assert (verdict.result, verdict.problems) == ("ok", ())
    assert verdict.source_unchanged and verdict.verified and verdict.copy_booted is True
    assert verdict.eth0_mac_is_target is True
    assert verdict.partitions[0].used == 5
    assert "boots by itself, 12000 files" in render_text(verdict)


def _evidence(facts: Facts, **changes: object) -> None:
    facts.evidence = replace(EVIDENCE, **changes)  # type: ignore[arg-type]


def _report(facts: Facts, **changes: object) -> None:
    facts.report = facts.source_report = replace(REPORT, **changes)  # type: ignore[arg-type]


def _spoil(name: str, value: object) -> Callable[[Facts], None]:
    return lambda facts: setattr(facts, name, value)


@pytest.mark.parametrize(
    "spoil",
    [
        _spoil("failure", "Both machines have been silent."),
        _spoil("digests_after", ("a", "c")),
        _spoil("written_to_source", 512),
        _spoil("report", None),
        _spoil("source_report", replace(REPORT, sentence="another")),
        _spoil("comparisons", ()),
        _spoil("comparisons", (Comparison("x", "ext3", 1, 0, 9, (), ("1 blocks differ",)),)),
        _spoil("evidence", None),
        lambda facts: _report(facts, verified=False),
        lambda facts: _report(facts, regions=()),
        lambda facts: _report(facts, regions=(replace(REGION, target_digest="e"),)),
        lambda facts: _evidence(facts, host_name="localhost"),
        lambda facts: _evidence(facts, system="degraded"),
        lambda facts: _evidence(facts, cards=(SeenCard("eth0", SOURCE, ("192.0.2.10/24",)),)),
        lambda facts: _evidence(facts, cards=(SeenCard("eth0", TARGET, ()),)),
        lambda facts: _evidence(facts, cards=(SeenCard("eth1", TARGET, ("192.0.2.10/24",)),)),
        lambda facts: _evidence(facts, rules=()),
        lambda facts: _evidence(facts, rules=(*EVIDENCE.rules, OLD_RULE)),
        lambda facts: _evidence(facts, firmware="uefi"),
        lambda facts: _evidence(facts, mounts=EVIDENCE.mounts[:1]),
        lambda facts: _evidence(facts, swaps=()),
        lambda facts: _evidence(facts, files_ok=11999, failed_files=("/bin/sh",)),
        lambda facts: _evidence(facts, files_ok=11999),
        lambda facts: _evidence(facts, files_listed=0, files_ok=0),
    ],
)
def test_one_thing_wrong_is_enough(spoil: Callable[[Facts], None]) -> None:
    facts = right()
    spoil(facts)
    verdict = judge(facts)
    assert verdict.result == "failed"
    assert verdict.sentence == verdict.problems[0]


def test_a_listed_change_may_differ() -> None:
    facts = right()
    changed = "/etc/udev/rules.d/z25_persistent-net.rules"
    _evidence(facts, files_ok=11999, failed_files=(changed,))
    assert judge(facts).result == "ok"


def test_names_addresses_and_mounts_are_those_of_the_case() -> None:
    bond = SeenCard("bond0", "52:54:00:00:00:09", ("198.51.100.7/24", "fe80::1/64"))
    facts = right()
    facts.expected = Expected(
        cards=(SeenCard("bond0", "", ("198.51.100.7/24",)),),
        absent=("backup0",),
        mounts=(Mount("", "/", "xfs"),),
        least_files=1,
    )
    _evidence(facts, links=(bond,), mounts=(Mount("/dev/vda1", "/", "xfs"),))
    assert judge(facts).result == "ok"
    assert judge(facts).eth0_mac_is_target == "unknown"
    backup = SeenCard("backup0", SOURCE, ())
    _evidence(facts, links=(), cards=(backup,), mounts=(Mount("/dev/vda1", "/", "ext4"),))
    assert judge(facts).problems == (
        "bond0 of the copy is not there with 198.51.100.7/24.",
        "The copy has a card backup0.",
        "The copy has not mounted its file system as /.",
    )


def test_nothing_measured_is_not_right() -> None:
    verdict = judge(Facts())
    assert verdict.result == "failed"
    assert not (verdict.source_unchanged or verdict.verified or verdict.copy_booted)


def test_a_persons_copy_that_stays_silent_is_unknown() -> None:
    facts = right()
    facts.expected, facts.copy_booted, facts.evidence = None, None, None
    verdict = judge(facts)
    assert (verdict.result, verdict.copy_booted) == ("unknown", "unknown")
    assert verdict.host_name == "groupware"


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("etc/udev/rules.d/z25_persistent-net.rules", True),
        ("grub/grub.cfg", True),  # from /boot's own root
        ("var/lib/ugs-failover", False),
        ("etc/passwd", False),
        ("grub.cfg", True),
        ("rub/grub.cfg", False),
    ],
)
def test_listed_changes(path: str, listed: bool) -> None:
    changes = ("/etc/udev/rules.d/z25_persistent-net.rules", "/boot/grub/grub.cfg",
               "/var/lib/ugs-failover/copy.json")  # fmt: skip
    assert is_listed(path, changes) is listed
