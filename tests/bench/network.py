"""Two machines and the wire between them, as fast as the row of the table asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.integration.namespaces import Machine, network

SOURCE_ADDRESS = "192.0.2.1"
TARGET_ADDRESS = "192.0.2.2"
PORT = 10000
GIGABIT = 1000  # 10^6 bits per second
# A bucket must hold what is sent between two ticks of the clock; the rest waits in its queue.
_BUCKET = ("burst", "1mb", "latency", "30ms")


@dataclass(frozen=True)
class Wire:
    """The two ends. Both directions are limited alike."""

    source: Machine
    target: Machine

    def limit(self, megabits: int) -> None:
        """10^6 bits per second, 0 for as fast as the kernel can."""
        for machine in (self.source, self.target):
            command = ("tc", "-n", machine.name, "qdisc")
            machine.run([*command, "del", "dev", "eth0", "root"], ok=(0, 2))
            if megabits:
                rate = ("tbf", "rate", f"{megabits}mbit", *_BUCKET)
                machine.run([*command, "add", "dev", "eth0", "root", *rate])

    def sent(self) -> int:
        """Bytes that left the source so far, heads of packets included."""
        counter = "/sys/class/net/eth0/statistics/tx_bytes"
        return int(self.source.run(["cat", counter]).stdout)


@contextmanager
def wire() -> Iterator[Wire]:
    """Gone again, with every process on it, when the block ends."""
    with network(2) as (source, target):
        for machine, address in ((source, SOURCE_ADDRESS), (target, TARGET_ADDRESS)):
            machine.ip("address", "add", f"{address}/24", "dev", "eth0")
            machine.ip("link", "set", "eth0", "up")
        yield Wire(source, target)


def listens(machine: Machine) -> bool:
    """Does anybody wait for a call at PORT?"""
    return bool(machine.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout.strip())
