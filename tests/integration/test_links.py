"""Two wires between two machines: both are used, and the loss of either only slows the copy."""

import subprocess
import threading
import time
from pathlib import Path

import pytest

from payload.connect import links as connect_ways
from payload.connect.discovery import Address
from payload.connect.links import Pair, Ways, own_reach
from payload.connect.pairing import Listener, call
from payload.model.errors import ToolError
from payload.model.report import Result
from payload.model.settings import Settings
from payload.system.command import run
from payload.system.links import Links
from payload.wire.tls import load_site, make_site_key
from tests.support.machine_bench import (
    DEADLINE,
    NO_COUNTDOWN,
    SILENCE,
    SOURCE_ID,
    TARGET_ID,
    Bench,
    content_digest,
    slow_down,
    speed_up,
)
from tests.support.network_namespaces import Machine, namespace_links, network
from tests.support.server_image import make_server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.waits]

JOINED = "also runs over network card eth1 now"


def received(machine: Machine, card: str) -> int:
    """Bytes that came in by that card."""
    counter = f"/sys/class/net/{card}/statistics/rx_bytes"
    return int(machine.run(["cat", counter]).stdout)


def test_both_wires_carry_the_copy_and_losing_either_only_slows_it(
    bench: Bench, tmp_path: Path, blanks: list[Path]
) -> None:
    """Each card meets every card of the source; those of two different wires never answer."""
    (tmp_path / "server").mkdir()
    images = make_server(tmp_path / "server", files=100)
    server = [images.system, images.data]
    before = [content_digest(path) for path in server]
    with network(2, cards=2) as (first, second):
        for card in second.cards:
            slow_down(second, card, "2mbit")
        main, further = second.cards
        second.unplug(further)  # so that the conversation can only run over the other one
        source = bench.start(first, SOURCE_ID, server, silence=SILENCE)
        line = f"{NO_COUNTDOWN} failover.connections=1"
        target = bench.start(second, TARGET_ID, blanks, line, silence=SILENCE)
        target.wait_for(r"^\[copy\].*\d+%")
        second.plug(further)
        target.wait_for(JOINED)
        end = time.monotonic() + DEADLINE
        while min(received(second, card) for card in second.cards) < 300_000:
            assert time.monotonic() < end and "[report]" not in target.log, target.log
            time.sleep(0.2)

        second.unplug(further)
        target.wait_for("The copy goes on over the other link; this one is tried again")
        second.plug(further)
        target.wait_for(rf"(?s){JOINED}.*{JOINED}")

        second.unplug(main)  # and with it the control conversation
        target.wait_for("The source answers again")
        speed_up(second, further)
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.OK, ours.sentence
    assert theirs.result is Result.OK and theirs.regions == ours.regions
    assert ours.verified
    assert "the copy carries on where it was" not in target.log, "it was never interrupted"
    assert [content_digest(path) for path in server] == before


def no_probe_is_under_way() -> bool:
    return not any(thread.name == "probe" for thread in threading.enumerate())


def into_one_switch(machine: Machine) -> None:
    port = machine._port("eth1")
    command = ["ip", "-n", machine.switch, "link", "set", port, "master", "breth0"]
    subprocess.run(command, check=True)


def test_cards_in_one_switch_are_paired_one_to_one_and_a_dark_one_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every card reaches every other there. A pair that is in use, or adds nothing, is not taken
    twice; a stranger's address is no link."""
    monkeypatch.setattr(connect_ways, "NO_CARRIER", 0.2)
    make_site_key(tmp_path)
    site, settings = load_site(tmp_path), Settings()
    with network(2, cards=2) as (source, target):
        for machine in (source, target):
            into_one_switch(machine)
            for card in machine.cards:
                machine.ip("link", "set", card, "up")
        with source.inside():
            links = namespace_links()
            wait_until(lambda: all(one.addresses for one in own_reach(links, settings)))
            reach = own_reach(links, settings)
            macs = {card.name: card.mac for card in links.cards()}
            listener = Listener(site.credentials(SOURCE_ID), settings.port, lambda event: None)
        address = {one.card: one.addresses[0] for one in reach}
        with target.inside():
            links = namespace_links()
            wait_until(lambda: all(one.addresses for one in own_reach(links, settings)))
            credentials = site.credentials(TARGET_ID)
            ways = Ways(links, settings, credentials, SOURCE_ID)
            main = call([Address(address[macs["eth0"]], settings.port, "eth0")], credentials)
            ways.took(main, reach)
            found: list[Pair] = []

            def look() -> list[Pair]:
                found.extend(ways.look(reach))
                return found

            wait_until(look)
            assert found == [Pair("eth1", macs["eth1"])]
            channel = ways.open(found[0])
            assert channel.local_address.endswith("%eth1") and channel.peer_id == SOURCE_ID
            wait_until(no_probe_is_under_way)
            assert ways.look(reach) == []

            target.unplug("eth1")
            wait_until(lambda: ways.look(reach) == [] and channel.closed)
            assert not main.closed

            stranger = Ways(links, settings, credentials, "9" * 32)
            for _ in range(2):  # the first look asks, the second knows the answer
                assert stranger.look(reach) == []
                wait_until(no_probe_is_under_way)
            assert stranger.look(reach) == []
            main.close()
        listener.close()


def test_unknown_card_is_an_error() -> None:
    with pytest.raises(ToolError, match="switch the network card nosuch0 on: there is no"):
        Links(run).up("nosuch0")
