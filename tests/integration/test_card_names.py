"""Whole runs on machines with several cards: names follow the wires, or nothing is written."""

import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from payload.model.report import Result
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from payload.system.packets import PacketPort
from payload.wire.beacon import ETHER_TYPE
from tests.support.machine_bench import (
    DEADLINE,
    ROOT_SIZE,
    ROOT_START,
    SOURCE_ID,
    TARGET_ID,
    Bench,
    content_digest,
    is_blank,
    read_in_copy,
)
from tests.support.network_namespaces import Machine, network
from tests.support.server_image import SOURCE_MAC

pytestmark = [pytest.mark.root, pytest.mark.waits]

BEACONS = 8  # of one card: two seconds of them
SECOND_MAC, THIRD_MAC = "02:00:00:00:00:02", "02:00:00:00:00:03"
HERE = ["02:00:00:00:00:11", "02:00:00:00:00:12"]
RULE = 'SUBSYSTEM=="net", DRIVERS=="?*", ATTRS{{address}}=="{}", NAME="{}"\n'


@contextmanager
def system_of(image: Path) -> Iterator[Path]:
    with (
        device.view(run, str(image), ROOT_START, ROOT_SIZE, writable=True) as node,
        LinuxMounts(run).mount(node, "ext4", writable=True) as root,
    ):
        yield root


def give_second_card(image: Path) -> None:
    """eth1 has an address in the network of the storage that fstab names."""
    with system_of(image) as root:
        for name, text in (
            ("fstab", "10.0.0.1:/spool /var/spool nfs noauto 0 0\n"),
            ("network/interfaces", "iface eth1 inet static\n address 10.0.0.7/24\n"),
            ("udev/rules.d/z25_persistent-net.rules", RULE.format(SECOND_MAC, "eth1")),
        ):
            with (root / "etc" / name).open("a") as file:
                file.write(text)


def set_mac(machine: Machine, card: str, mac: str) -> None:
    argv = ["ip", "-n", machine.name, "link", "set", card, "address", mac]
    subprocess.run(argv, check=True, timeout=30)


def wait_for_beacons(machine: Machine, card: str) -> None:
    """So many that the machine itself has heard the first when the last is seen."""
    with machine.inside():
        port = PacketPort(card, ETHER_TYPE, listening=True)
    with port:
        for _ in range(BEACONS):
            assert select.select([port], [], [], DEADLINE)[0]
            port.receive()


def cross(machine: Machine) -> None:
    """Plug each of two cards into the other's switch."""
    for card, switch in (("eth0", "breth1"), ("eth1", "breth0")):
        port = machine._port(card)
        argv = ["ip", "-n", machine.switch, "link", "set", port, "master", switch]
        subprocess.run(argv, check=True, timeout=30)


def test_names_follow_the_wires_against_the_order_of_the_cards(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    give_second_card(server[0])
    with network(2, cards=2) as (first, second):
        for card, there, here in (("eth0", SOURCE_MAC, HERE[0]), ("eth1", SECOND_MAC, HERE[1])):
            set_mac(first, card, there)
            set_mac(second, card, here)
        cross(second)
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, blanks)
        ours, theirs = target.report(), source.report()
    assert ours.result is theirs.result is Result.OK, ours.sentence
    assert {entry.name: entry.mac for entry in ours.cards} == {"eth0": HERE[1], "eth1": HERE[0]}
    for entry in ours.cards:
        assert "on the wire of the source's" in entry.why, ours.cards
    rules = read_in_copy(blanks[0], "etc/udev/rules.d/z25_persistent-net.rules").decode()
    assert RULE.format(HERE[1], "eth0") in rules and RULE.format(HERE[0], "eth1") in rules


def test_a_way_to_the_storage_without_a_card_is_a_no_before_anything_is_written(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    give_second_card(server[0])
    before = [content_digest(path) for path in server]
    with network(2, cards=2) as (first, second):
        set_mac(first, "eth0", SOURCE_MAC)
        set_mac(first, "eth1", SECOND_MAC)
        subprocess.run(["ip", "-n", second.name, "link", "del", "eth1"], check=True, timeout=30)
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, blanks)
        reports = [source.report(), target.report()]
    for report in reports:
        assert report.exit_code == 4
        assert "no network card for eth1, which leads to the SAN (10.0.0.1)" in report.sentence
    assert all(is_blank(path) for path in blanks)
    assert [content_digest(path) for path in server] == before


def test_a_wire_that_leads_elsewhere_is_known_before_the_first_write(
    bench: Bench, server: list[Path], blanks: list[Path]
) -> None:
    """Two cards for two names looked enough; but one of them hears the source's third card."""
    give_second_card(server[0])
    with system_of(server[0]) as root:
        with (root / "etc/network/interfaces").open("a") as file:
            file.write("iface eth2 inet static\n address 198.51.100.7/24\n")
        with (root / "etc/udev/rules.d/z25_persistent-net.rules").open("a") as file:
            file.write(RULE.format(THIRD_MAC, "eth2"))
    heard = bench.directory / "heard"
    with network(2, cards=3) as (first, second):
        for card, mac in (("eth0", SOURCE_MAC), ("eth1", SECOND_MAC), ("eth2", THIRD_MAC)):
            set_mac(first, card, mac)
        subprocess.run(["ip", "-n", second.name, "link", "del", "eth1"], check=True, timeout=30)
        first.unplug("eth2")  # so that the machines meet on the other wire
        countdown = "failover.countdown=1"
        source = bench.start(first, SOURCE_ID, server, countdown, release=heard)
        target = bench.start(second, TARGET_ID, blanks, countdown, release=heard)
        target.wait_for(r"^\[countdown\]")
        first.plug("eth2")
        wait_for_beacons(second, "eth2")
        heard.touch()
        ours, theirs = target.report(), source.report()
    assert ours.exit_code == 4
    assert "no network card for eth1, which leads to the SAN (10.0.0.1)" in ours.sentence
    assert "Nothing was written" in ours.sentence
    assert theirs.result is Result.FAILED and "the SAN (10.0.0.1)" in theirs.sentence
    assert all(is_blank(path) for path in blanks)
