"""Whole systems, one directory each: the tree before, the cards, the tree after, byte by byte."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.adapt import run_adapt
from payload.finish.naming import Assignment, Interface
from payload.finish.netplan import read_netplan, rewrite_netplan
from payload.finish.systems import SYSTEMS

SAMPLES = Path(__file__).parent.parent / "fixtures/net-names"
CASES = sorted(SAMPLES.iterdir())
OLD, NEW = "00:1a:64:6c:11:0e", "00:50:56:9a:00:11"


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sample(case: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(case / "before", root)
    cards = (case / "cards.json").read_bytes()
    expected = contents(case / "after")
    before = contents(root)
    for path in before:
        (root / path).chmod(0o600)
    looked = run_adapt(root, cards, check=True)
    assert contents(root) == before, "looking changes nothing"
    done = run_adapt(root, cards)
    assert contents(root) == expected
    assert looked.changes == done.changes
    changed = {f"/{path}" for path in expected if expected[path] != before.get(path)}
    assert {change.where for change in done.changes} == changed, "every change is told"
    for path in before.keys() & expected.keys():
        assert (root / path).stat().st_mode & 0o7777 == 0o600
    assert run_adapt(root, cards).changes == (), "a second run finds nothing to do"
    assert contents(root) == expected


def test_a_renamed_file_hands_down_its_mode(tmp_path: Path) -> None:
    case = SAMPLES / "11-sles10"
    shutil.copytree(case / "before", tmp_path / "copy")
    network = tmp_path / "copy/etc/sysconfig/network"
    (network / f"ifcfg-eth-id-{OLD}").chmod(0o640)
    run_adapt(tmp_path / "copy", (case / "cards.json").read_bytes())
    assert (network / f"ifcfg-eth-id-{NEW}").stat().st_mode & 0o7777 == 0o640


ASSIGNMENT = Assignment({"eth0": NEW, "san0": NEW}, macs={OLD: NEW}, slots={"0000:03:00.0": NEW})
_WORDS = st.sampled_from(
    [
        *("[Match]", "[Link]", "[ethernet]", "[connection]", "network:", "ethernets:", "match:"),
        *("MACAddress=", "Path=pci-0000:03:00.0", "Name=eth0", "HWADDR=", "DEVICE=eth0", "mac="),
        *(
            "mac-address=",
            "interface-name=eth0",
            "eth0",
            "san0",
            "mac",
            "macaddress: ",
            "set-name: ",
        ),
        *(
            OLD,
            OLD.upper(),
            NEW,
            "{",
            "}",
            "[",
            "]",
            ": ",
            "- ",
            "  ",
            "\n",
            "\r\n",
            "\r",
            "#",
            "'",
        ),
        *(
            '"',
            "\\\n",
            "\t",
            "\xe4",
            "\0",
            "*a",
            "&a ",
            "!!",
            "|",
            "address 10.0.0.5",
            "iface eth0 inet",
        ),
        *("SUBSYSTEM==", 'NAME="eth0"', "ATTR{address}==", ", ", "driver e1000"),
    ]
)
_FILES = st.one_of(
    st.lists(_WORDS, max_size=30).map(lambda words: "".join(words).encode("latin-1")),
    st.binary(max_size=120),
)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.title)
@given(content=_FILES)
def test_any_file_is_read_and_twice_is_once(system, content: bytes) -> None:
    path = system.patterns[0].replace("*", "eth0")
    assert all(isinstance(one, Interface) for one in system.read(content, path))
    once = system.rewrite(content, path, ASSIGNMENT)
    assert system.rewrite(once, path, ASSIGNMENT) == once


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.title)
@given(content=_FILES)
def test_nobody_assigned_changes_nothing(system, content: bytes) -> None:
    path = system.patterns[0].replace("*", "eth0")
    assert system.rewrite(content, path, Assignment({})) == content


def test_netplan_too_deep_to_read_is_left_alone() -> None:
    deep = b"network: " + b"[" * 5000
    assert read_netplan(deep) == []
    assert rewrite_netplan(deep, "", ASSIGNMENT) == deep
