"""Two machines and the wires between them, as fast as the row of the table asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.network_namespaces import Machine, network

SOURCE_ADDRESSES = {"eth0": "192.0.2.1", "eth1": "198.51.100.1"}  # of each wire
TARGET_ADDRESSES = {"eth0": "192.0.2.2", "eth1": "198.51.100.2"}
TARGET_ADDRESS = TARGET_ADDRESSES["eth0"]  # the peers know one
PORT = 10000
GIGABIT = 1000  # 10^6 bits per second
# A bucket must hold what is sent between two ticks of the clock; the rest waits in its queue.
_BUCKET = ("burst", "1mb", "latency", "30ms")


@dataclass(frozen=True)
class Wire:
    """The two ends, and who else has a card on each wire. Both directions are limited alike."""

    source: Machine
    target: Machine
    stranger: Machine

    def limit(self, megabits: int) -> None:
        """10^6 bits per second for each wire, 0 for as fast as the kernel can."""
        for machine in (self.source, self.target):
            for card in machine.cards:
                command = ("tc", "-n", machine.name, "qdisc")
                machine.run([*command, "del", "dev", card, "root"], ok=(0, 2))
                if megabits:
                    rate = ("tbf", "rate", f"{megabits}mbit", *_BUCKET)
                    machine.run([*command, "add", "dev", card, "root", *rate])

    def sent(self) -> int:
        """Bytes that left the source so far, heads of packets included."""
        cards = self.source.cards
        counters = [f"/sys/class/net/{card}/statistics/tx_bytes" for card in cards]
        return sum(map(int, self.source.run(["cat", *counters]).stdout.split()))


@contextmanager
def wire() -> Iterator[Wire]:
    """Gone again, with every process on it, when the block ends."""
    with network(3, cards=len(SOURCE_ADDRESSES)) as (source, target, stranger):
        for machine, addresses in ((source, SOURCE_ADDRESSES), (target, TARGET_ADDRESSES)):
            for card, address in addresses.items():
                machine.ip("address", "add", f"{address}/24", "dev", card)
                machine.ip("link", "set", card, "up")
        yield Wire(source, target, stranger)


def listens(machine: Machine) -> bool:
    """Does anybody wait for a call at PORT?"""
    return bool(machine.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout.strip())
