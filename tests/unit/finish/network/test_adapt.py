"""A mounted copy is adapted whole, below its own root, and only where it has to be."""

import json
from pathlib import Path

import pytest

from payload.finish.network.adapt import adapt_tree, plan_edits, refuse_lost_ways, run_adapt
from payload.formats.network.interface import Assignment
from payload.model.errors import AdaptError, SettingsError
from payload.model.machine import Card
from payload.model.network import NamesInUse
from payload.model.report import CardName

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


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no directory"):
        run_adapt(tmp_path / "nowhere", document())


# --- what is to be written


def test_a_system_that_is_adapted_has_nothing_left_to_do(root: Path) -> None:
    rules(root, "70-persistent-net.rules").write_text(RULE)
    assignment = Assignment({"eth0": HERE}, [CARD])
    (edit,) = plan_edits(root, assignment)
    assert rules(root, "70-persistent-net.rules").read_text() == RULE, "planning writes nothing"
    rules(root, "70-persistent-net.rules").write_bytes(edit.content)
    assert plan_edits(root, assignment) == ()


def test_with_a_path_that_file_alone_is_looked_at_and_made(root: Path) -> None:
    rules(root, "70-persistent-net.rules").write_text(RULE)
    (root / "etc/iftab").write_text(f"eth0 mac {OLD}\n")
    path = "/etc/new/own.rules"
    done = adapt_tree(root, Assignment({"eth0": HERE}, [CARD], macs={OLD: HERE}), path=path)
    assert [change.where for change in done.changes] == [path]
    assert HERE in (root / "etc/new/own.rules").read_text()
    assert rules(root, "70-persistent-net.rules").read_text() == RULE


def test_what_ties_names_elsewhere_follows_and_each_change_says_how(root: Path) -> None:
    files = {
        "etc/iftab": f"eth0 mac {OLD}\n",
        "etc/NetworkManager/NetworkManager.conf": f"[main]\nno-auto-default={OLD}\n",
        "etc/systemd/network/lan.network": "[Match]\nPath=pci-0000:03:00.0\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assignment = Assignment({"eth0": HERE}, [CARD], macs={OLD: HERE}, slots={"0000:03:00.0": HERE})
    told = {change.where: change.what for change in adapt_tree(root, assignment).changes}
    assert told == {
        "/etc/iftab": f"iftab: eth0 is {HERE}",
        "/etc/NetworkManager/NetworkManager.conf": (
            f"NetworkManager settings: {OLD} became {HERE} (line 2)"
        ),
        "/etc/systemd/network/lan.network": f"networkd: the interface is {HERE}",
    }


def test_a_file_called_after_a_card_is_renamed_and_the_old_one_is_gone(root: Path) -> None:
    network = root / "etc/sysconfig/network"
    network.mkdir(parents=True)
    (network / f"ifcfg-eth-id-{OLD}").write_text("BOOTPROTO='dhcp'\n")
    assignment = Assignment({}, [CARD], macs={OLD: HERE})
    (change,) = adapt_tree(root, assignment).changes
    before, after = (f"/etc/sysconfig/network/ifcfg-eth-id-{mac}" for mac in (OLD, HERE))
    assert (change.where, change.what.endswith(f"(renamed from {before})")) == (after, True)
    assert [path.name for path in network.iterdir()] == [f"ifcfg-eth-id-{HERE}"]
    assert adapt_tree(root, assignment).changes == ()


def test_a_template_of_univention_says_the_same_as_the_file_made_from_it(root: Path) -> None:
    templates = root / "etc/univention/templates/files"
    for place in (root / "etc", templates / "etc"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "iftab").write_text(f"eth0 mac {OLD}\n")
    adapt_tree(root, Assignment({"eth0": HERE}, [CARD], macs={OLD: HERE}))
    assert (templates / "etc/iftab").read_text() == f"eth0 mac {HERE}\n"


# --- cloud-init


CLOUD = "etc/cloud/cloud.cfg.d"


def test_cloud_init_is_kept_from_the_network_and_told(root: Path) -> None:
    (root / CLOUD).mkdir(parents=True)
    done = adapt_tree(root, Assignment({}, [CARD]))
    assert [change.where for change in done.changes] == [f"/{CLOUD}/99-failover-network.cfg"]
    assert "network: {config: disabled}" in (root / CLOUD / "99-failover-network.cfg").read_text()
    assert "make new SSH host keys" in done.warnings[0]
    again = adapt_tree(root, Assignment({}, [CARD]))
    assert (again.changes, again.warnings) == ((), ())


def test_cloud_init_that_is_switched_off_is_left_alone(root: Path) -> None:
    (root / CLOUD).mkdir(parents=True)
    (root / "etc/cloud/cloud-init.disabled").touch()
    assert adapt_tree(root, Assignment({}, [CARD])).changes == ()


@pytest.mark.parametrize(
    "text", ["#network: {config: disabled}\n", "x:\n network: {config: disabled}"]
)
def test_what_only_looks_like_switching_it_off_does_not_count(root: Path, text: str) -> None:
    (root / CLOUD).mkdir(parents=True)
    (root / CLOUD / "50-own.cfg").write_text(text)
    assert len(adapt_tree(root, Assignment({}, [CARD])).changes) == 1


# --- refusals


@pytest.mark.parametrize(
    ("served", "lost"), [("", "no card for eth0, which leads to the SAN"), (HERE, "")]
)
def test_a_copy_that_could_not_serve_is_refused(served: str, lost: str) -> None:
    plan = (CardName("eth0", served, "by order"),)
    in_use = NamesInUse(addressed=("eth0",), ways={"eth0": ("the SAN",)})
    if not lost:
        refuse_lost_ways(plan, in_use)
        return
    with pytest.raises(AdaptError, match=lost):
        refuse_lost_ways(plan, in_use)


def test_a_server_of_which_nothing_can_be_read_is_told_and_not_changed(root: Path) -> None:
    place = root / "etc/network/interfaces"
    place.parent.mkdir()
    with place.open("wb") as file:
        file.truncate((16 << 20) + 1)  # more than any file of settings
    rules(root, "70-persistent-net.rules").write_text(RULE)
    with pytest.raises(AdaptError, match=r"network names at .* could not be read"):
        run_adapt(root, document())
    assert rules(root, "70-persistent-net.rules").read_text() == RULE


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("etc/systemd/network/50-own.link", True),
        ("etc/systemd/network/50-own.network", False),
        ("etc/udev/rules.d/90-own.rules", True),
        ("etc/iftab", False),
    ],
)
def test_which_files_the_initramfs_has_a_copy_of(root: Path, name: str, *, stale: bool) -> None:
    text = {
        ".link": f"[Match]\nMACAddress={OLD}\n",
        ".network": f"[Match]\nMACAddress={OLD}\n",
        ".rules": f'ATTR{{address}}=="{OLD}", ENV{{x}}="1"\n',
        "": f"eth0 mac {OLD}\n",
    }
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text[Path(name).suffix])
    done = adapt_tree(root, Assignment({}, [CARD], macs={OLD: HERE}))
    assert [change.where for change in done.changes] == [f"/{name}"]
    assert done.initramfs_stale is stale
