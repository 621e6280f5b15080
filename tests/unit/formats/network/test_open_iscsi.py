"""Records of open-iscsi: a session keeps its card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.network.interface import Assignment
from payload.formats.network.open_iscsi import rewrite_record
from payload.model.machine import Card

OLD, HERE, LOST = "00:1a:64:6c:11:0e", "52:54:00:9a:00:11", "00:1a:64:6c:11:0f"
PATH = "/etc/iscsi/ifaces/san0"
ASSIGNMENT = Assignment({"eth0": HERE}, [Card("ens1", HERE)], macs={OLD: HERE})
RECORD = """\
# BEGIN RECORD 2.0-874
iface.iscsi_ifacename = san0
iface.hwaddress = {}
iface.transport_name = tcp
# END RECORD
"""


def rewritten(text: str, assignment: Assignment = ASSIGNMENT) -> str:
    return rewrite_record(text.encode("latin-1"), PATH, assignment).decode("latin-1")


@pytest.mark.parametrize(("before", "after"), [(OLD, HERE), (OLD.upper(), HERE.upper())])
def test_the_session_is_bound_to_the_card_here(before: str, after: str) -> None:
    assert rewritten(RECORD.format(before)) == RECORD.format(after)
    assert rewritten(RECORD.format(after)) == RECORD.format(after)


@pytest.mark.parametrize("line", ["  iface.hwaddress={}\r\n", "\tiface.hwaddress = {}"])
def test_blanks_and_line_ends_stay(line: str) -> None:
    assert rewritten(line.format(OLD)) == line.format(HERE)


@pytest.mark.parametrize(
    "text",
    [
        RECORD.format(LOST),
        RECORD.format("<empty>"),
        f"iface.initiatorname = iqn.2001-04.org.example:{OLD}\n",
        f"# iface.hwaddress = {OLD}\n",
        f"node.name = {OLD}\n",
        "",
    ],
)
def test_all_else_stays(text: str) -> None:
    assert rewritten(text) == text


def test_a_card_that_moved_over_with_the_disks_stays() -> None:
    moved = Assignment({}, [Card("ens1", OLD)], macs={OLD: HERE})
    assert rewritten(RECORD.format(OLD), moved) == RECORD.format(OLD)


@given(st.binary(max_size=120))
def test_bytes_of_no_record_stay(content: bytes) -> None:
    assert rewrite_record(content, PATH, ASSIGNMENT) == content
