"""Cards paired by wire: real frames between network namespaces, crossed against the slots."""

import select
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest

from payload.connect.beacons import Beaconing, Listening
from payload.finish.network.assignment import plan_names
from payload.model.errors import ToolError
from payload.model.machine import Card
from payload.model.network import Arrival, NamesInUse
from payload.model.settings import Settings
from payload.system.packets import PacketPort
from payload.wire.beacon import ETHER_TYPE, Beacon, beacon_key, ethernet_frame, pack_beacon
from tests.support.network_namespaces import Machine, namespace_links, network
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.waits]

KEY = beacon_key("source's run", "target's run")
Place = tuple[str, int]  # "source eth0", VLAN tag


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Wires:
    source: Machine
    target: Machine

    def mac(self, machine: Machine, card: str) -> str:
        with machine.inside():
            return next(one.mac for one in namespace_links().cards() if one.name == card)

    def cards(self, machine: Machine) -> tuple[Card, ...]:
        with machine.inside():
            return namespace_links().cards()

    def move(self, machine: Machine, card: str, switch: str) -> None:
        """Plug a card into the switch of another name."""
        _ip("-n", machine.switch, "link", "set", machine._port(card), "master", f"br{switch}")


@contextmanager
def wires(cards: int) -> Iterator[Wires]:
    with network(2, cards=cards) as (source, target):
        for machine in (source, target):
            for number, card in enumerate(machine.cards):
                last = f"{machine.name[-1]}{number}"
                _ip("-n", machine.name, "link", "set", card, "address", f"02:00:00:00:00:{last}")
                _ip("-n", machine.name, "link", "set", card, "up")
        yield Wires(source, target)


@contextmanager
def hearing(
    wires: Wires, tags: Callable[[Card], tuple[int, ...]] = lambda _: ()
) -> Iterator[Listening]:
    """Source and target at work; the threads stay on the machine they were started on."""
    notes: list[object] = []
    with ExitStack() as stack:
        with wires.target.inside():
            listening = Listening(namespace_links(), Settings(), KEY, notes.append)
        stack.callback(listening.close)
        with wires.source.inside():
            sending = Beaconing(namespace_links(), Settings(), KEY, tags, notes.append)
        stack.callback(sending.close)
        yield listening
    assert notes == []


def wait_for(listening: Listening, count: int) -> tuple[Arrival, ...]:
    wait_until(lambda: len(listening.arrivals()) >= count)
    return listening.arrivals()


def names_of(wires: Wires, arrivals: tuple[Arrival, ...], in_use: NamesInUse) -> dict[str, str]:
    source, target = wires.cards(wires.source), wires.cards(wires.target)
    plan = plan_names(in_use, source, (), target, arrivals)
    name_of = {card.mac: card.name for card in target}
    return {entry.name: name_of.get(entry.mac, "") for entry in plan}


def in_use(wires: Wires, **vlans: tuple[int, ...]) -> NamesInUse:
    macs = {card.name: card.mac for card in wires.cards(wires.source)}
    return NamesInUse(macs, tuple(macs), vlans=vlans)


def test_three_cards_against_the_order_of_the_slots() -> None:
    with wires(3) as here:
        for card, switch in (("eth0", "eth2"), ("eth1", "eth0"), ("eth2", "eth1")):
            here.move(here.target, card, switch)
        with hearing(here) as listening:
            arrivals = wait_for(listening, 3)
        assert names_of(here, arrivals, in_use(here)) == {
            "eth0": "eth1",
            "eth1": "eth2",
            "eth2": "eth0",
        }


@contextmanager
def managed_switch(wires: Wires, ways: dict[Place, list[Place]]) -> Iterator[None]:
    """A switch that knows VLANs, for beacons: what comes in at (port, tag) leaves at others.

    The kernel's bridge may have been built without them, so it is made of a thread here.
    """
    machines = {"source": wires.source, "target": wires.target}
    closing = threading.Event()

    def carry(ports: dict[str, PacketPort]) -> None:
        while not closing.is_set():
            for name, port in ports.items():
                if select.select([port], [], [], 0.02)[0] and (found := port.receive()):
                    for out, tag in ways.get((name, found[1]), ()):
                        ports[out].send(ethernet_frame(found[0], ports[out].mac, tag))

    with ExitStack() as stack:
        ports = {}
        for name in {name for name, _ in (*ways, *(one for way in ways.values() for one in way))}:
            machine = machines[name.split()[0]]
            port = machine._port(name.split()[1])
            _ip("-n", machine.switch, "link", "set", port, "nomaster")
            with replace(machine, name=machine.switch).inside():
                ports[name] = stack.enter_context(PacketPort(port, ETHER_TYPE, listening=True))
        thread = threading.Thread(target=carry, args=(ports,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(closing.set)
        yield


def test_a_vlan_tells_apart_what_hangs_on_one_switch() -> None:
    everywhere = [("target eth0", 0), ("target eth1", 0)]
    ways: dict[Place, list[Place]] = {
        ("source eth0", 0): everywhere,
        ("source eth1", 0): everywhere,
        ("source eth1", 100): [("target eth0", 100)],
    }
    with wires(2) as here, managed_switch(here, ways):
        with hearing(here, lambda card: (100,) if card.name == "eth1" else ()) as listening:
            arrivals = wait_for(listening, 5)
        tagged = Arrival(here.mac(here.source, "eth1"), here.mac(here.target, "eth0"), 100, 100)
        assert tagged in arrivals and len(arrivals) == 5
        names = names_of(here, arrivals, in_use(here, eth0=(0,), eth1=(100,)))
        assert names == {"eth0": "eth1", "eth1": "eth0"}


def test_a_tag_that_a_switch_takes_off_is_seen() -> None:
    ways: dict[Place, list[Place]] = {("source eth0", 100): [("target eth0", 0)]}
    with wires(1) as here, managed_switch(here, ways):
        with hearing(here, lambda _: (100,)) as listening:
            arrivals = wait_for(listening, 1)
        assert [(one.sent, one.received) for one in arrivals] == [(100, 0)]


def test_foreign_frames_are_ignored() -> None:
    with wires(1) as here:
        foreign = beacon_key("another source's run", "target's run")
        lie, last = Beacon("02:00:00:00:00:99"), Beacon("02:00:00:00:00:77")
        with here.source.inside():
            port = PacketPort("eth0", ETHER_TYPE, listening=False)
        with port, hearing(here) as listening:
            wait_for(listening, 1)  # its card is open: what is sent from now on is heard in order
            for _ in range(5):
                port.send(ethernet_frame(pack_beacon(lie, foreign), port.mac))
                port.send(ethernet_frame(b"", port.mac))
                port.send(ethernet_frame(b"\xff" * 1400, port.mac))
            port.send(ethernet_frame(pack_beacon(last, KEY), port.mac))
            arrivals = wait_for(listening, 2)
        assert {one.source for one in arrivals} == {here.mac(here.source, "eth0"), last.mac}


def test_a_card_that_is_plugged_in_later_is_heard() -> None:
    with wires(2) as here:
        here.target.unplug("eth1")
        with hearing(here) as listening:
            assert len(wait_for(listening, 1)) == 1
            here.target.plug("eth1")
            assert len(wait_for(listening, 2)) == 2


def test_what_is_no_card_is_told() -> None:
    with pytest.raises(ToolError, match="nowhere0"):
        PacketPort("nowhere0", ETHER_TYPE, listening=True)
