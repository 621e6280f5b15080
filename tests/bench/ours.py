"""One side of our own stream as a process: `python -m tests.bench.ours source|target JOB.json`.

Everything is as shipped: the plan computed from both inventories, mutual TLS, digests, proof by
reading back. What is left out is how the machines find each other and what follows the copy.
"""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic

from payload.connect.discovery import Address
from payload.connect.pairing import Listener, call
from payload.model.disk import Content
from payload.model.errors import LinkError
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import MachineIdentity
from payload.model.message import Attach, MapRequest
from payload.model.plan import Plan
from payload.model.settings import Settings
from payload.replicate.receiver import Receiver
from payload.replicate.sender import Sender
from payload.wire.channel import Channel
from payload.wire.tls import load_site
from tests.bench.network import PORT, SOURCE_ADDRESSES
from tests.support.stream_disks import Images, LoopBlocks, look_at, make_host, plan_for

SOURCE_ID, TARGET_ID = "5" * 32, "7" * 32
SESSION = "bench"


@dataclass(frozen=True)
class Job:
    """What both sides are told. `blank` is what the target knows of its disks, `cards` are those
    whose wires are used, the first one first."""

    sources: list[str]
    targets: list[str]
    site: str
    result: str
    blank: bool = True
    verify: bool = True
    cards: list[str] = field(default_factory=lambda: ["eth0"])


@dataclass(frozen=True)
class Outcome:
    """What the target found: seconds of each step, bytes of chunks."""

    steps: dict[str, float]
    used: int
    sent: int
    held: int
    verified: bool


def command(side: str, job: Job, file: Path) -> list[str]:
    file.write_text(json.dumps(asdict(job)))
    return [sys.executable, "-m", "tests.bench.ours", side, str(file)]


@dataclass(frozen=True)
class Stage:
    """Both machines as each of them knows them."""

    source: Images
    target: Images
    source_inventory: Inventory
    target_inventory: Inventory
    plan: Plan


def _stage(job: Job) -> Stage:
    source = make_host([Path(path) for path in job.sources], "S", blocks=LoopBlocks)
    target = make_host([Path(path) for path in job.targets], "T")
    own = _with_system(replace(look_at(source, "source"), machine=MachineIdentity(SOURCE_ID)))
    other = replace(look_at(target, "target"), machine=MachineIdentity(TARGET_ID), systems=())
    if job.blank:
        blank = Content(True, "blank")
        other = replace(other, disks=tuple(replace(disk, content=blank) for disk in other.disks))
    return Stage(source, target, own, other, plan_for(own, other, verify=job.verify))


def _with_system(inventory: Inventory) -> Inventory:
    """The first file system is a server's root, as far as the stream cares."""
    whole = InstalledSystem(inventory.disks[0].id, 0, "ext4", host_name="bench")
    return replace(inventory, systems=inventory.systems[:1] or (whole,))


# --- source


def serve(job: Job) -> None:
    """Answer one target, until it hangs up."""
    stage = _stage(job)
    credentials = load_site(Path(job.site)).credentials(SOURCE_ID)
    sender = Sender(stage.source.host, stage.plan, stage.source_inventory)
    listener = Listener(credentials, PORT, lambda event: None)
    control = listener.accept(600.0)
    assert control is not None
    threading.Thread(target=_accept, args=(listener, sender), daemon=True).start()
    try:
        while True:
            request = control.receive(None)
            assert isinstance(request, MapRequest)
            for answer in sender.answer_map(request):
                control.send(answer)
    except LinkError:
        listener.close()
        sender.close()


def _accept(listener: Listener, sender: Sender) -> None:
    while True:
        channel = listener.accept(600.0)
        if channel is not None:
            threading.Thread(target=_serve, args=(channel, sender), daemon=True).start()


def _serve(channel: Channel, sender: Sender) -> None:
    try:
        assert channel.receive(10.0) == Attach(SESSION)
        sender.serve(channel)
    except LinkError:
        channel.close()


# --- target


def fetch(job: Job) -> None:
    """Copy, prove, seal; write what it took to the job's result file."""
    stage = _stage(job)
    credentials = load_site(Path(job.site)).credentials(TARGET_ID)
    receiver = Receiver(
        stage.target.host,
        stage.plan,
        stage.target_inventory,
        copy_id="b" * 32,
        connections=Settings().connections,
        monitor=lambda event: None,
    )

    def dial(card: str) -> Channel:
        return call([Address(SOURCE_ADDRESSES[card], PORT, card)], credentials, SOURCE_ID)

    def dial_data(card: str) -> Channel:
        channel = dial(card)
        channel.send(Attach(SESSION))
        return channel

    links = [partial(dial_data, card) for card in job.cards]
    further = links[1:]

    def find_links() -> list[Callable[[], Channel]]:
        taken: list[Callable[[], Channel]] = [*further]
        further.clear()
        return taken

    print("ready", flush=True)
    sys.stdin.readline()
    watch = Watch()
    control = dial(job.cards[0])
    receiver.begin()
    watch.tick("begin")
    receiver.fetch_maps(control)
    watch.tick("maps")
    receiver.fetch(links[0], find_links)
    watch.tick("copy")
    receiver.verify()
    watch.tick("verify")
    receiver.write_heads(links[0])
    watch.tick("heads")
    receiver.seal()
    watch.tick("seal")
    control.close()
    _write_outcome(Path(job.result), receiver, watch.steps)


class Watch:
    """Seconds of one step after the other."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = monotonic()

    def tick(self, name: str) -> None:
        now = monotonic()
        self.steps[name] = round(now - self._last, 3)
        self._last = now


def _write_outcome(file: Path, receiver: Receiver, steps: dict[str, float]) -> None:
    reports = receiver.reports()
    outcome = Outcome(
        steps,
        used=sum(report.used for report in reports),
        sent=sum(report.sent for report in reports),
        held=sum(report.held for report in reports),
        verified=all(report.verified for report in reports),
    )
    file.write_text(json.dumps(asdict(outcome)))


def read_outcome(file: Path) -> Outcome:
    return Outcome(**json.loads(file.read_text()))


def main(side: str, file: str) -> None:
    job = Job(**json.loads(Path(file).read_text()))
    {"source": serve, "target": fetch}[side](job)


if __name__ == "__main__":
    main(*sys.argv[1:])
