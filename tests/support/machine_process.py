"""One machine as a process: the real session with image files as disks, in a network namespace.

`python -m tests.support.machine_process MACHINE.json` runs it; events go to standard output as
text, the report to `report.json` beside the images. Everything but disks, board and power is real.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from payload import __version__
from payload.console.lines import render_line
from payload.model.codec import to_pretty_json
from payload.model.event import Agreement, Countdown, Event
from payload.model.machine import Firmware, MachineIdentity
from payload.model.settings import Settings, read_kernel_line
from payload.session import meeting
from payload.session.engine import run
from payload.system.board import machine_id
from payload.system.command import run as run_command
from payload.system.emulator import LinuxEmulator, Running, VirtualMachine
from payload.system.host import Host
from payload.system.mdns import Judge, Mdns, Neighbourhood, Saying, Sighting
from payload.system.mounts import LinuxMounts
from payload.wire import channel
from payload.wire.tls import load_site
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.network_namespaces import namespace_links


@dataclass(frozen=True)
class PaperBoard:
    """A mainboard that is what the test says."""

    machine_id: str
    uuid: str = ""

    def identity(self, macs: tuple[str, ...]) -> MachineIdentity:
        own = machine_id(self.uuid, macs) if self.uuid else self.machine_id
        return MachineIdentity(own, vendor="Paper", product="Board", uuid=self.uuid, macs=macs)

    def firmware(self) -> Firmware:
        return Firmware.BIOS

    def memory(self) -> int:
        return 1 << 30


class NoEmulator:
    """What these images hold starts nowhere."""

    def missing(self) -> str:
        return "the images of a test are no system"

    def hindrance(self) -> str:
        raise AssertionError("nothing is started without an emulator")

    def free_memory(self) -> int:
        raise AssertionError("nothing is started without an emulator")

    def start(self, machine: VirtualMachine) -> AbstractContextManager[Running]:
        raise AssertionError("nothing is started without an emulator")


class NoPower:
    """A process cannot be switched off; the session never asks for it either."""

    def off(self) -> None:
        raise AssertionError("a session does not switch off, its caller does")

    reboot = off


class CountingMdns(Mdns):
    """The real one. Each time the session asks who is in sight, `looks` grows by a byte."""

    def __init__(self, looks: Path) -> None:
        super().__init__()
        self._looks = looks

    def join(
        self, card: str, addresses: Sequence[str], saying: Saying, judge: Judge
    ) -> Neighbourhood:
        return CountedNeighbourhood(self._looks, card, tuple(addresses), saying, judge)


class CountedNeighbourhood(Neighbourhood):
    def __init__(
        self,
        looks: Path,
        card: str,
        addresses: tuple[str, ...],
        saying: Saying,
        judge: Judge,
    ) -> None:
        super().__init__(card, addresses, saying, judge)
        self._looks = looks

    def sightings(self) -> tuple[Sighting, ...]:
        with self._looks.open("ab") as file:
            file.write(b".")
        return super().sightings()


class HeldStop(threading.Event):
    """The key that stops the countdown. The countdown stands still until `release` exists."""

    def __init__(self, release: Path) -> None:
        super().__init__()
        self._release = release

    def wait(self, timeout: float | None = None) -> bool:
        while not self._release.exists() and not self.is_set():
            time.sleep(0.05)
        return super().wait(timeout)


def own_modules() -> set[str]:
    return {name for name in sys.modules if name.split(".")[0] == "payload"}


def main(document: str) -> int:
    machine = json.loads(Path(document).read_text())
    stop = HeldStop(Path(machine["release"])) if machine["release"] else threading.Event()
    loaded: set[str] = set()  # when the plan was shown: nothing is written before
    meeting.SETTLE, channel.SILENCE = machine["settle"], machine["silence"]

    def monitor(event: Event) -> None:
        line = render_line(event)
        if line is not None:
            print(line, flush=True)
        if isinstance(event, Agreement) and not loaded:
            loaded.update(own_modules())
        if isinstance(event, Countdown) and machine.get("press_key"):
            stop.set()

    host = Host(
        run=run_command,
        blocks=ImageBlocks(
            [ImageDisk(**{**disk, "path": Path(disk["path"])}) for disk in machine["disks"]]
        ),
        mounts=LinuxMounts(run_command),
        board=PaperBoard(machine["id"], machine["uuid"]),
        power=NoPower(),
        links=namespace_links(),
        mdns=CountingMdns(Path(machine["looks"])),
        emulator=LinuxEmulator(accelerated=False) if machine["emulates"] else NoEmulator(),
    )
    settings = read_kernel_line(Settings(), machine["kernel_line"])
    site = load_site(Path(machine["site"]))
    report = run(host, site, settings, monitor, stop, __version__)
    late = own_modules() - loaded if loaded else set()
    assert not late, f"imported after the plan was shown: {late}"
    Path(machine["report"]).write_bytes(to_pretty_json(report))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
