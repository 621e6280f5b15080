"""A mounted copy is adapted whole, below its own root, and only where it has to be."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.adapt import adapt_tree, run_adapt
from payload.finish.network.cards import read_cards
from payload.formats.network.interface import Assignment
from payload.model.errors import AdaptError, SettingsError
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "00:50:56:9a:00:11", "00:50:56:9a:00:22"
CARD = Card("ens1", HERE, "e1000", "0x8086:0x100f", "0000:02:00.0")
RULE = f'SUBSYSTEM=="net", DRIVERS=="?*", ATTRS{{address}}=="{OLD}", NAME="eth0"\n'
ADDED = RULE.replace(OLD, HERE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "copy"
    (place / "etc/udev/rules.d").mkdir(parents=True)
    return place


def rules(root: Path, name: str) -> Path:
    return root / "etc/udev/rules.d" / name


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_one_file_names_the_cards_and_the_others_are_silent(root: Path) -> None:
    rules(root, "z25_persistent-net.rules").write_text(RULE)
    rules(root, "70-persistent-net.rules").write_text("# empty\n")
    rules(root, "70-persistent-cd.rules").write_text(RULE)
    rules(root, "75-persistent-net-generator.rules").write_text(RULE)
    done = adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert [change.where for change in done.changes] == [
        "/etc/udev/rules.d/z25_persistent-net.rules"
    ]
    assert rules(root, "z25_persistent-net.rules").read_text().endswith(ADDED)
    assert rules(root, "70-persistent-net.rules").read_text() == "# empty\n"
    assert rules(root, "70-persistent-cd.rules").read_text() == RULE
    before = snapshot(root)
    assert adapt_tree(root, Assignment({"eth0": HERE}, [CARD])).changes == ()
    assert snapshot(root) == before


def test_a_second_file_with_rules_must_not_contradict(root: Path) -> None:
    rules(root, "z25_persistent-net.rules").write_text(ADDED)
    rules(root, "70-persistent-net.rules").write_text(RULE)
    adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert rules(root, "z25_persistent-net.rules").read_text() == "#" + ADDED
    assert rules(root, "70-persistent-net.rules").read_text().endswith(ADDED)


def test_check_lists_and_writes_nothing(root: Path) -> None:
    rules(root, "70-persistent-net.rules").write_text(RULE)
    before = snapshot(root)
    assert len(adapt_tree(root, Assignment({"eth0": HERE}, [CARD]), check=True).changes) == 1
    assert snapshot(root) == before


def test_an_absolute_link_means_the_copys_own_root(root: Path, tmp_path: Path) -> None:
    live = tmp_path / "live.rules"
    live.write_text(RULE)
    rules(root, "70-persistent-net.rules").symlink_to("/etc/real.rules")
    (root / "etc/real.rules").write_text(RULE)
    rules(root, "71-persistent-net.rules").symlink_to(live)
    done = adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert [change.where for change in done.changes] == ["/etc/real.rules"]
    assert rules(root, "70-persistent-net.rules").is_symlink()
    assert live.read_text() == RULE


def test_mode_and_owner_stay(root: Path) -> None:
    place = rules(root, "70-persistent-net.rules")
    place.write_text(RULE)
    place.chmod(0o600)
    adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert place.stat().st_mode & 0o7777 == 0o600


def test_without_rules_ethn_gets_the_file_of_the_systems_generator(root: Path) -> None:
    adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert f'ATTR{{address}}=="{HERE}"' in rules(root, "70-persistent-net.rules").read_text()


def test_without_rules_on_etch(root: Path) -> None:
    rules(root, "z45_persistent-net-generator.rules").symlink_to(
        "../persistent-net-generator.rules"
    )
    (root / "etc/udev/persistent-net-generator.rules").write_text("")
    adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert rules(root, "z25_persistent-net.rules").read_text().endswith(ADDED)


def test_predictable_names_get_link_files(root: Path) -> None:
    (root / "usr/lib/udev/rules.d").mkdir(parents=True)
    (root / "lib").symlink_to("/usr/lib")
    (root / "usr/lib/udev/rules.d/80-net-setup-link.rules").write_text("")
    done = adapt_tree(root, Assignment({"enp3s0": HERE}, [CARD]))
    link = root / "etc/systemd/network/10-failover-enp3s0.link"
    assert f"[Match]\nMACAddress={HERE}\n\n[Link]\nName=enp3s0\n" in link.read_text()
    assert [change.where for change in done.changes] == [f"/{link.relative_to(root)}"]
    assert adapt_tree(root, Assignment({"enp3s0": HERE}, [CARD])).changes == ()


def test_a_system_without_udev_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(AdaptError, match="no /etc/udev"):
        adapt_tree(tmp_path, Assignment({"eth0": HERE}, [CARD]))


def test_a_full_disk_leaves_the_old_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules(root, "70-persistent-net.rules").write_text(RULE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("payload.system.edits.os.fsync", full)
    with pytest.raises(AdaptError, match="No space left on device"):
        adapt_tree(root, Assignment({"eth0": HERE}, [CARD]))
    assert snapshot(root)["etc/udev/rules.d/70-persistent-net.rules"][0] == RULE.encode()


def test_univention_setting_an_old_address_is_told(root: Path) -> None:
    (root / "etc/univention").mkdir()
    (root / "etc/univention/base.conf").write_text(f"interfaces/eth0/mac: {OLD}\n")
    assert "interfaces/eth0/mac" in adapt_tree(root, Assignment({}, [CARD])).warnings[0]


def document(**told: object) -> bytes:
    return json.dumps(
        {"nics": [{"mac": HERE}, {"mac": OTHER, "bus": "0000:03:00.0"}]} | told
    ).encode()


def test_without_assignment_the_names_go_by_slot(root: Path) -> None:
    place = rules(root, "70-persistent-net.rules")
    place.write_text(RULE)
    done = run_adapt(root, document())
    assert {entry.name: entry.mac for entry in done.cards} == {"eth0": OTHER, "eth1": HERE}
    after = place.read_bytes()
    assert run_adapt(root, document()).changes == ()
    assert place.read_bytes() == after


@pytest.mark.parametrize("path", ["/../../outside.rules", "/etc/link/outside.rules"])
def test_a_path_never_leads_out_of_the_root(root: Path, tmp_path: Path, path: str) -> None:
    (root / "etc/link").symlink_to(tmp_path)
    run_adapt(root, document(assign={"eth0": HERE}, path=path))
    assert not (tmp_path / "outside.rules").exists()
    assert [found.is_relative_to(root) for found in tmp_path.rglob("outside.rules")] == [True]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"nics": [{"mac": "00:11"}]}, "not a valid"),
        ({"nics": [{"mac": HERE}, {"mac": HERE.upper()}]}, "twice"),
        ({"nics": [{"mac": HERE, "driver": 'x"\nNAME="y'}]}, "not a valid"),
        ({"assign": {'eth0", RUN="/bin/sh': HERE}}, "no name"),
        ({"assign": {"eth0": OLD}}, "no listed card"),
        ({"assign": {"eth0": HERE, "eth1": HERE}}, "Two names"),
    ],
)
def test_a_wrong_document_changes_nothing(
    root: Path, told: dict[str, object], sentence: str
) -> None:
    rules(root, "70-persistent-net.rules").write_text(RULE)
    before = snapshot(root)
    with pytest.raises(SettingsError, match=sentence):
        run_adapt(root, document(**told))
    assert snapshot(root) == before


@given(st.binary(max_size=60))
def test_noise_is_no_list_of_cards(noise: bytes) -> None:
    with pytest.raises(SettingsError):
        read_cards(b"?" + noise)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no directory"):
        run_adapt(tmp_path / "nowhere", document())
