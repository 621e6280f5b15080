"""What is tied to a card by its MAC beside a name (wake on LAN, rings, queues), and what mentions a
card of the server where nothing is adapted."""

import os
from pathlib import Path

import pytest

from payload.finish.network.adapt import adapt_tree
from payload.formats.network.interface import Assignment
from payload.formats.network.udev_rules import retie_rules
from payload.model.machine import Card

OLD, HERE = "00:1a:64:6c:11:0e", "52:54:00:9a:00:11"
LOST = "00:1a:64:6c:11:0f"  # of the server, without a counterpart here
CARD = Card("ens1", HERE, "virtio_net", "0x1af4:0x1000", "0000:02:00.0")
ASSIGNMENT = Assignment(
    {"eth0": HERE}, [CARD], macs={OLD: HERE}, source=(OLD, LOST), slots={"0000:03:00.0": HERE}
)
MIB = 1 << 20


def wake(mac: str) -> str:
    return (
        f'ACTION=="add", SUBSYSTEM=="net", ATTR{{address}}=="{mac}",'
        ' RUN+="/usr/sbin/ethtool -s %k wol g"\n'
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for directory in ("etc/udev/rules.d", "etc/systemd/network", "etc/network/if-up.d"):
        (tmp_path / "copy" / directory).mkdir(parents=True)
    return tmp_path / "copy"


def rules_of(root: Path, name: str) -> Path:
    return root / "etc/udev/rules.d" / name


def retied(text: str) -> str:
    before = text.encode("latin-1")
    after = retie_rules(before, "/etc/udev/rules.d/90-own.rules", ASSIGNMENT)
    assert retie_rules(after, "/etc/udev/rules.d/90-own.rules", ASSIGNMENT) == after
    return after.decode("latin-1")


@pytest.mark.parametrize(
    "rule",
    [
        'SUBSYSTEM=="net", ATTR{address}=="MAC", RUN+="/sbin/ethtool -G %k rx 4096"\n',
        'ATTRS{address}=="MAC", ENV{NM_UNMANAGED}="1"\n',
        'SUBSYSTEM=="net", SYSFS{address}=="MAC", ATTR{tx_queue_len}="10000"\n',
        'ATTR(address)=="MAC", ATTR{mtu}="9000"\n',
        'SUBSYSTEM=="net", ATTR{address}!="MAC", GOTO="end"\n',
        'SUBSYSTEM=="net", ATTR{address}=="00:00:5e:00:53:07|MAC", ENV{X}="1"\n',
        'SUBSYSTEM=="net|usb", ATTR{address}=="MAC", NAME="%k"\n',
        'SUBSYSTEM=="net", \\\n  ATTR{address}=="MAC", \\\r\n  RUN+="/x"',
        '\xe4\x85 ATTR{address}=="MAC", ENV{X}="\xff"\r\n',
        'ATTR{address}==i"MAC", ENV{X}="1"\n',
    ],
)
def test_a_rule_by_hand_is_for_the_card_that_has_the_role_here(rule: str) -> None:
    assert retied(rule.replace("MAC", OLD)) == rule.replace("MAC", HERE)


@pytest.mark.parametrize(
    "rule",
    [
        f"# {wake(OLD)}",
        wake("00:00:5e:00:53:07"),
        wake(HERE),
        wake(LOST),
        f'SUBSYSTEM=="net", KERNEL=="eth0", ATTR{{address}}="{OLD}"\n',
        f'SUBSYSTEM=="bluetooth", ATTR{{address}}=="{OLD}", RUN+="/x"\n',
        f'SUBSYSTEM=="net", RUN+="/sbin/wake {OLD}"\n',
        f'SUBSYSTEM=="net", ATTR{{address}}=="{OLD}:00:00", RUN+="/x"\n',
        f'SUBSYSTEM=="net", ATTR{{address}}=="{OLD}',
    ],
)
def test_what_does_not_ask_for_a_card_that_has_a_counterpart_stays(rule: str) -> None:
    assert retied(rule) == rule


@pytest.mark.parametrize(
    ("before", "after"),
    [(OLD.upper(), HERE.upper()), ("00-1a-64-6c-11-0e", "52-54-00-9a-00-11")],
)
def test_a_mac_that_udev_never_sees_is_written_as_before(before: str, after: str) -> None:
    """udev compares it with sysfs letter by letter: the rule was without effect, and stays so."""
    assert retied(wake(before)) == wake(after)


def test_a_mac_wrapped_over_two_lines_is_read() -> None:
    rule = wake(f"{OLD[:6]}\\\n{OLD[6:]}")
    assert retied(rule) == wake(HERE)


def test_each_change_is_listed_with_its_lines(root: Path) -> None:
    rules_of(root, "90-wol.rules").write_text(f"# by hand\n{wake(OLD)}\n{wake(LOST)}{wake(OLD)}")
    (change,) = [one for one in adapt_tree(root, ASSIGNMENT).changes if "wol" in one.where]
    assert change.where == "/etc/udev/rules.d/90-wol.rules"
    assert change.what == f"udev rules: {OLD} became {HERE} (lines 2, 5)"
    assert rules_of(root, "90-wol.rules").read_text() == (
        f"# by hand\n{wake(HERE)}\n{wake(LOST)}{wake(HERE)}"
    )


NAME = f'SUBSYSTEM=="net", ATTR{{address}}=="{OLD}", NAME="eth0"\n'


@pytest.mark.parametrize("name", ["70-persistent-net.rules", "71-persistent-net.rules"])
@pytest.mark.parametrize("names", [NAME, ""])
def test_a_rule_by_hand_in_the_generators_file_too(root: Path, name: str, names: str) -> None:
    rules_of(root, "70-persistent-net.rules").write_text(NAME)
    rules_of(root, name).write_text(names + wake(OLD))
    adapt_tree(root, ASSIGNMENT)
    assert wake(HERE) in rules_of(root, name).read_text()
    assert wake(OLD) not in rules_of(root, name).read_text()
    assert adapt_tree(root, ASSIGNMENT).changes == ()


def test_beside_predictable_names_too(root: Path) -> None:
    (root / "usr/lib/udev/rules.d").mkdir(parents=True)
    (root / "usr/lib/udev/rules.d/80-net-setup-link.rules").touch()
    rules_of(root, "70-persistent-net.rules").write_text(wake(OLD))
    adapt_tree(root, Assignment({"enp3s0": HERE}, [CARD], macs={OLD: HERE}))
    assert rules_of(root, "70-persistent-net.rules").read_text() == wake(HERE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OLD, HERE),
        (OLD.upper(), HERE.upper()),
        ("00-1a-64-6c-11-0e", "52-54-00-9a-00-11"),
        ("00-1A-64-6C-11-0E", "52-54-00-9A-00-11"),
        ("001a.646c.110e", "5254.009a.0011"),
        (f"00-00-5e-00-53-07 {OLD}", f"00-00-5e-00-53-07 {HERE}"),
        ("00-1a-64-6c-11-0f", "00-1a-64-6c-11-0f"),
    ],
)
@pytest.mark.parametrize("path", ["10-wol.link", "10-wol.link.d/own.conf", "lan.network"])
def test_systemd_writes_macs_in_three_ways(root: Path, path: str, before: str, after: str) -> None:
    """systemd.link(5), MACAddress=: colons, hyphens or dots."""
    text = "[Match]\nMACAddress={}\n\n[Link]\nWakeOnLan=magic\nRxBufferSize=max\n"
    place = root / "etc/systemd/network" / path
    place.parent.mkdir(exist_ok=True)
    place.write_text(text.format(before))
    done = adapt_tree(root, ASSIGNMENT)
    assert place.read_text() == text.format(after)
    assert (f"/etc/systemd/network/{path}" in [one.where for one in done.changes]) is (
        before != after
    )


# --- told


def warnings(root: Path) -> list[str]:
    before = adapt_tree(root, ASSIGNMENT, check=True).warnings
    assert adapt_tree(root, ASSIGNMENT).warnings == before
    return [one for one in before if "of the server" in one]


@pytest.mark.parametrize("mac", [OLD, OLD.upper(), "00-1a-64-6c-11-0e"])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/network/interfaces", "iface br0 inet dhcp\n\thwaddress ether MAC\n"),
        ("etc/network/interfaces", "# lan\nrename mac/MAC=lan\n"),
        ("etc/network/if-up.d/wake", '#!/bin/sh\n[ "$mac" = MAC ] && ethtool -s $IFACE wol g\n'),
        ("etc/default/grub", 'X=1\nGRUB_CMDLINE_LINUX="ifname=eth0:MAC"\n'),
        ("etc/udev/rules.d/90-own.rules", '\nSUBSYSTEM=="net", RUN+="/sbin/wake MAC"\n'),
        ("etc/systemd/network/br0.netdev", "[NetDev]\nMACAddress=MAC\n"),
        ("etc/sysconfig/network-scripts/ifcfg-br0", "DEVICE=br0\nMACADDR=MAC\n"),
    ],
)
def test_what_is_not_adapted_is_told_with_file_and_line(
    root: Path, path: str, text: str, mac: str
) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text.replace("MAC", mac))
    assert warnings(root) == [
        (
            f"/{path}, line 2, names the network card {OLD} of the server, and was left so: the"
            f" card that has its role in the copy is {HERE}."
        )
    ]
    assert (root / path).read_text() == text.replace("MAC", mac)


def test_a_card_without_a_counterpart_is_told_where_it_is_named(root: Path) -> None:
    rules_of(root, "90-wol.rules").write_text(wake(LOST) + wake(OLD) + wake(LOST))
    assert warnings(root) == [
        (
            f"/etc/udev/rules.d/90-wol.rules, lines 1, 3, names the network card {LOST} of the"
            " server, and was left so: no card has its role in the copy."
        )
    ]


def test_comments_and_a_card_that_moved_over_are_not_told(root: Path) -> None:
    (root / "etc/network/interfaces").write_text(f"# hwaddress {OLD}\n  # {LOST}\n")
    (root / "etc/network/if-up.d/x").write_text(f"#{LOST}\nip link {HERE} {OLD}:00 0{OLD}\n")
    assert warnings(root) == []


def test_the_generators_rules_for_cards_that_are_gone_are_not_told(root: Path) -> None:
    rules_of(root, "70-persistent-net.rules").write_text(
        NAME + NAME.replace(OLD, LOST).replace("eth0", "eth1")
    )
    assert warnings(root) == []


# --- hostile


def test_links_lead_nowhere_else(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.rules"
    outside.write_text(wake(OLD))
    rules_of(root, "90-a.rules").symlink_to(outside)
    rules_of(root, "90-b.rules").symlink_to("../../../../../outside.rules")
    rules_of(root, "90-c.rules").symlink_to("90-c.rules")
    rules_of(root, "90-d.rules").symlink_to("/etc/real")
    (root / "etc/network/if-up.d/x").symlink_to(outside)
    os.mkfifo(root / "etc/network/if-up.d/y")
    (root / "etc/real").write_text(wake(OLD))
    done = adapt_tree(root, ASSIGNMENT)
    assert "/etc/real" in [change.where for change in done.changes]
    assert (root / "etc/real").read_text() == wake(HERE)
    assert outside.read_text() == wake(OLD)


def test_the_number_of_warnings_has_an_end(root: Path) -> None:
    for number in range(100):
        (root / f"etc/network/if-up.d/{number:03}").write_text(f"{LOST}\n" * 50)
    told = warnings(root)
    assert len(told) == 21
    assert "lines 1, 2, 3, 4, 5 and 45 more, names" in told[0]
    assert told[-1] == (
        "80 more files of the copy name network cards of the server that were left so."
    )


def test_a_script_too_large_to_be_read_is_told_and_does_not_end_the_copy(root: Path) -> None:
    with (root / "etc/network/if-up.d/large").open("wb") as file:
        file.truncate(17 * MIB)
    done = adapt_tree(root, ASSIGNMENT)
    assert [one for one in done.warnings if "if-up.d/large" in one] == [
        (
            "/etc/network/if-up.d/large is larger than any script or setting, and was not looked"
            " into for network cards of the server."
        )
    ]


@pytest.mark.parametrize(
    "piece",
    ["\\\n", "a", "A{", "A(", '="', "a=", " ", '"', 'A=="', "\\\r\n", "#\\\n", "x rename_netiface"],
)
def test_the_longest_rule_is_read_in_its_length(piece: str) -> None:
    """What goes with the square of it would take hours for one file."""
    text = ('NAME="' + piece * (900_000 // len(piece)) + f'"\n{wake(OLD)}').encode()
    assert len(retie_rules(text, "/etc/udev/rules.d/90-own.rules", ASSIGNMENT)) == len(text)


def test_a_rule_longer_than_udev_reads_is_left_and_told(root: Path) -> None:
    rules_of(root, "90-own.rules").write_text(f"{'x' * MIB} {wake(OLD)}")
    assert [one.split(" names ")[0] for one in warnings(root)] == [
        "/etc/udev/rules.d/90-own.rules, line 1,"
    ]
    assert wake(OLD) in rules_of(root, "90-own.rules").read_text()
