"""Whole systems, one directory each: the tree before, the cards, the tree after, byte by byte."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.adapt import run_adapt
from payload.formats.network.interface import Assignment, Interface, System
from payload.formats.network.registry import SYSTEMS

SAMPLES = Path(__file__).parents[3] / "fixtures/net-names"
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


@pytest.mark.parametrize(("crossed", "told"), [(False, 0), (True, 1)])
def test_names_of_the_kernel_that_change_places_are_told(
    tmp_path: Path, crossed: bool, told: int
) -> None:
    case = SAMPLES / "15-ifnames-off-two-cards"
    shutil.copytree(case / "before", tmp_path / "copy")
    document = json.loads((case / "cards.json").read_text())
    macs = [nic["mac"] for nic in document["nics"]]
    document["assign"] = dict(zip(("eth0", "eth1"), macs[::-1] if crossed else macs, strict=True))
    done = run_adapt(tmp_path / "copy", json.dumps(document).encode())
    assert len([one for one in done.warnings if "exchange such names" in one]) == told
    assert done.initramfs_stale


def test_a_udev_that_waits_for_a_name_may_exchange_names(tmp_path: Path) -> None:
    case = SAMPLES / "16-univention"
    shutil.copytree(case / "before", tmp_path / "copy")
    done = run_adapt(tmp_path / "copy", (case / "cards.json").read_bytes())
    assert {card.name: card.mac[-2:] for card in done.cards} == {"eth0": "22", "eth1": "11"}
    assert not [warning for warning in done.warnings if "exchange" in warning]


@pytest.mark.parametrize(
    ("name", "stale"),
    [("06-rhel6", True), ("11-sles10", False), ("07-rhel5", False), ("01-predictable-name", True)],
)
def test_it_is_told_when_the_initramfs_holds_old_files(
    tmp_path: Path, name: str, stale: bool
) -> None:
    shutil.copytree(SAMPLES / name / "before", tmp_path / "copy")
    cards = (SAMPLES / name / "cards.json").read_bytes()
    assert run_adapt(tmp_path / "copy", cards).initramfs_stale is stale
    assert run_adapt(tmp_path / "copy", cards).initramfs_stale is False, "nothing changed"


@pytest.mark.parametrize(
    "text", ["network: {config: disabled}\n", "network:\n  config: disabled\n"]
)
def test_cloud_init_that_leaves_the_network_alone_is_left_alone(tmp_path: Path, text: str) -> None:
    case = SAMPLES / "08-netplan-cloud-init"
    shutil.copytree(case / "before", tmp_path / "copy")
    (tmp_path / "copy/etc/cloud/cloud.cfg.d/50-own.cfg").write_text(text)
    done = run_adapt(tmp_path / "copy", (case / "cards.json").read_bytes())
    assert not [change for change in done.changes if "/etc/cloud/" in change.where]


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
def test_any_file_is_read_and_twice_is_once(system: System, content: bytes) -> None:
    path = system.patterns[0].replace("*", "eth0")
    assert all(isinstance(one, Interface) for one in system.read(content, path))
    once = system.rewrite(content, path, ASSIGNMENT)
    assert system.rewrite(once, path, ASSIGNMENT) == once


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.title)
@given(content=_FILES)
def test_nobody_assigned_changes_nothing(system: System, content: bytes) -> None:
    path = system.patterns[0].replace("*", "eth0")
    assert system.rewrite(content, path, Assignment({})) == content
