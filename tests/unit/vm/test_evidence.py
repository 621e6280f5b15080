"""Evidence counts only when it is whole, and of the boot that was asked."""

import pytest

from tests.vm.evidence import read_evidence

LINES = """\
EVIDENCE n1 host_name groupware
EVIDENCE n1 system degraded
EVIDENCE n1 failed_unit networking.service
EVIDENCE n1 card eth0 52:54:00:c0:97:02 192.0.2.10/24,fe80::1/64
EVIDENCE n1 card eth1 52:54:00:c0:97:03 -
EVIDENCE n1 mount /dev/sda5 / ext4
EVIDENCE n1 mount /dev/sda1 /boot ext3
EVIDENCE n1 swap /dev/sda2
EVIDENCE n1 files_listed 3
EVIDENCE n1 files_ok 2
EVIDENCE n1 failed_file etc/a file
EVIDENCE n1 rule #SUBSYSTEM=="net", ATTRS{address}=="52:54:00:67:77:01", NAME="eth0"
EVIDENCE n1 rule SUBSYSTEM=="net", ATTRS{address}=="52:54:00:c0:97:02", NAME="eth0"
EVIDENCE n1 end 13
"""


def test_whole_evidence() -> None:
    evidence = read_evidence("Debian GNU/Linux groupware ttyS0\n\n" + LINES + "[  OK  ] x\n", "n1")
    assert evidence is not None
    assert (evidence.host_name, evidence.system) == ("groupware", "degraded")
    assert evidence.failed_units == ("networking.service",)
    card, other = evidence.card("eth0"), evidence.card("eth1")
    assert card is not None and card.addresses == ("192.0.2.10/24", "fe80::1/64")
    assert other is not None and other.addresses == ()
    assert evidence.card("eth2") is None
    assert [mount.place for mount in evidence.mounts] == ["/", "/boot"]
    assert (evidence.files_listed, evidence.files_ok) == (3, 2)
    assert evidence.failed_files == ("/etc/a file",)


def test_only_rules_in_force_name_a_card() -> None:
    evidence = read_evidence(LINES, "n1")
    assert evidence is not None
    assert evidence.names("52:54:00:c0:97:02") == ("eth0",)
    assert evidence.names("52:54:00:67:77:01") == ()


def test_another_boots_evidence_is_none() -> None:
    assert read_evidence(LINES, "n2") is None


@pytest.mark.parametrize("lost", range(14))
def test_with_any_line_lost_it_is_none(lost: int) -> None:
    lines = LINES.splitlines()
    del lines[lost]
    assert read_evidence("\n".join(lines), "n1") is None
