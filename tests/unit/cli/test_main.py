"""The commands: what they print, and what they end with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.cli.main import main
from payload.model.codec import from_json, to_json
from payload.model.disk import Content, Disk, FileSystem, Hardware, Partition, PartitionTable
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Card, Firmware, MachineIdentity
from payload.model.plan import Plan
from payload.model.role import Decision, Role
from tests.support import machines

PROJECT = Path(__file__).resolve().parents[3]
MIB = 1 << 20

TABLE = PartitionTable(
    "dos",
    "0x1234abcd",
    (
        Partition(
            1,
            MIB,
            900 * MIB,
            "83",
            uuid="1234abcd-01",
            bootable=True,
            file_system=FileSystem("ext4", "1f"),
        ),
    ),
)
SOURCE_DISK = Hardware("sda", "/dev/sda", 1000 * MIB, model="ST1", serial="S1", path="pci-1")
SOURCE = Inventory(
    machine=MachineIdentity(id="a" * 32, vendor="Dell", product="R1", macs=("00:16:3e:00:00:01",)),
    firmware=Firmware.BIOS,
    cards=(Card("eth0", "00:16:3e:00:00:01", "e1000", carrier=True),),
    disks=(
        Disk(SOURCE_DISK, Content(False, "an MBR with one partition", TABLE)),
        Disk(Hardware("sr0", "/dev/sr0", 0, ineligible="it is an optical drive")),
    ),
    systems=(InstalledSystem(SOURCE_DISK.id, 1, "ext4", "Debian 4.0", "groupware", "2.0"),),
)
TARGET_DISK = Hardware("sda", "/dev/sda", 1200 * MIB, model="WD1", serial="T1", path="pci-1")
TARGET = Inventory(
    machine=MachineIdentity(id="b" * 32, vendor="HP", product="DL", macs=("00:16:3e:00:00:02",)),
    firmware=Firmware.BIOS,
    disks=(Disk(TARGET_DISK, Content(True, "zeros wherever it was looked at")),),
)
SMALL = replace(
    TARGET, disks=(Disk(replace(TARGET_DISK, size=901 * MIB - 512), TARGET.disks[0].content),)
)


ANY_BYTES = st.binary(max_size=200) | st.text(max_size=50).map(
    lambda text: json.dumps(text).encode()
)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    for name, inventory in (("source", SOURCE), ("target", TARGET), ("small", SMALL)):
        (tmp_path / f"{name}.json").write_bytes(to_json(inventory))
    return tmp_path


def test_role_of_a_source(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["role", str(documents / "source.json")]) == 0
    decision = from_json(Decision, capsys.readouterr().out)
    assert decision.role is Role.SOURCE
    assert decision.reasons


def test_role_as_text(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["role", str(documents / "target.json"), "--text"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("role     target (blank)\nbecause  ")
    assert "may be" in text


def test_role_beside_a_peer(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(documents / "source.json")
    assert main(["role", path, path]) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "same machine"


def test_role_with_a_setting(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(documents / "source.json")
    assert main(["role", path, "--set", "role=target", "--set", "overwrite=S1"]) == 0
    assert json.loads(capsys.readouterr().out)["role"] == "target"
    assert main(["role", path, "--set", "colour=red"]) == 2
    assert "'colour'" in capsys.readouterr().err


def test_the_way_back_is_explained_with_the_words_of_both_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serving, old = tmp_path / "serving.json", tmp_path / "old.json"
    serving.write_bytes(to_json(machines.copy(used=True)))
    old.write_bytes(to_json(machines.server()))
    as_source, named = "role=source", "overwrite=SA"
    for words, rule in (
        ([], "own role undecided"),
        (["--set", as_source], "two sources"),
        (["--set-peer", named], "own role undecided"),
        (["--set", as_source, "--set-peer", named], "source and target"),
    ):
        assert main(["role", str(serving), str(old), *words]) == 0
        assert json.loads(capsys.readouterr().out)["rule"] == rule
    words = ["--set-source", as_source, "--set", named]
    assert main(["plan", str(serving), str(old), *words]) == 4
    assert "only 1 of the target" in capsys.readouterr().out  # nothing but its number of disks


def test_plan_as_text(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(documents / "source.json"), str(documents / "target.json")]) == 0
    text = capsys.readouterr().out
    assert "groupware" in text and "Digest of the plan: " in text
    assert "\nPreflight:\nsizes and sectors: yes, " in text
    assert "\nclocks: unknown, it is looked at when both machines are booted" in text
    assert "\nestimate: about 1 min for 1.0 GB over a wire of unknown speed" in text


def test_plan_as_json(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", str(documents / "source.json"), str(documents / "target.json"), "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["possible"] is True
    assert from_json(Plan, json.dumps(told["plan"])).digest == told["digest"]
    assert [check["answer"] for check in told["preflight"]["checks"]][:3] == [
        "yes",
        "yes",
        "unknown",
    ]


def test_a_plan_without_the_memory_for_it_is_none(
    documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (documents / "target.json").write_bytes(to_json(replace(TARGET, memory=64 * MIB)))
    assert main(["plan", str(documents / "source.json"), str(documents / "target.json")]) == 4
    assert "64 MiB of memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "target", "code", "word"),
    [
        ("source", "small", 4, "512"),
        ("source", "source", 3, "The second machine is source, not target."),
        ("target", "source", 3, "The first machine is target, not source."),
    ],
)
def test_an_impossible_plan_is_a_reason(
    source: str,
    target: str,
    code: int,
    word: str,
    documents: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["plan", str(documents / f"{source}.json"), str(documents / f"{target}.json")]
    assert main(arguments) == code
    text = capsys.readouterr().out
    assert text.startswith("No copy is possible: ")
    assert main([*arguments, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["possible"] is False
    assert " ".join(told["reason"].split()) in " ".join(text.split())
    assert word in told["reason"]


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"\xff\xfe", b'{"machine": 7}', b"[" * 100_000]
)
def test_a_bad_document_is_named(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["role", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"ugs-failover: {path} ")
    assert captured.err.count("\n") == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=ANY_BYTES)
def test_any_bytes_as_a_document_end_well(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    assert main(["plan", str(path), str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_adapt_rewrites_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "root/etc/udev/rules.d/z25_persistent-net.rules"
    rules.parent.mkdir(parents=True)
    old = 'SUBSYSTEM=="net", DRIVERS=="?*", ATTRS{address}=="00:16:3e:00:00:01", NAME="eth0"\n'
    rules.write_text(old)
    cards = tmp_path / "cards.json"
    cards.write_text(
        json.dumps(
            {
                "nics": [{"mac": "00:16:3e:00:00:02", "driver": "e1000", "pci": "0x8086:0x100e"}],
                "assign": {"eth0": "00:16:3e:00:00:02"},
                "path": "/etc/udev/rules.d/z25_persistent-net.rules",
            }
        )
    )
    arguments = ["adapt", str(tmp_path / "root"), "--cards", str(cards)]
    assert main([*arguments, "--check"]) == 20
    assert "would be changed: /etc/udev/rules.d/z25" in capsys.readouterr().out
    assert rules.read_text() == old
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"]
    once = rules.read_text()
    assert main([*arguments, "--check"]) == 0, "nothing is left to do"
    capsys.readouterr()
    assert '"00:16:3e:00:00:02", NAME="eth0"' in once
    assert main(arguments) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert rules.read_text() == once
    cards.write_text('{"nics": 7}')
    assert main(arguments) == 2
    assert str(cards) in capsys.readouterr().err


def test_a_site_key_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site-key", str(tmp_path / "site")]) == 0
    assert (tmp_path / "site/site.key").stat().st_mode & 0o777 == 0o600
    assert main(["site-key", str(tmp_path / "site")]) == 2
    assert "already" in capsys.readouterr().err


def test_wrong_words_end_with_2() -> None:
    for words in ([], ["copy"], ["adapt", "/tmp"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2


def test_what_nobody_foresaw_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("payload.cli.reference.PAGES", {"settings.md": broken})
    assert main(["settings"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1] == (
        "ugs-failover: This is a mistake in UGS-Failover (ZeroDivisionError('oops')); "
        "please report it."
    )


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("payload.cli.reference.PAGES", {"settings.md": interrupted})
    assert main(["settings"]) == 130
    assert "Ended from outside." in capsys.readouterr().err
