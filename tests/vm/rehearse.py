"""The main job in virtual machines: two machines booted from the ISO, then the copy by itself.

    python -m tests.vm.rehearse --iso ISO --output build/rehearsal
        [--source "disk0.img disk1.img"] [--firmware bios|uefi]

Without --source the sample server is copied, and its copy has to prove itself by what only it can
say. With --source a person's own disks are used through overlays and never written. Everything
stays in the output directory: report.json, report.txt, serial logs, pictures, disks.

Exit status: 0 all is right, 1 something is not (the last line says what), 2 all that can be
measured is right, but whether the copy boots has to be seen on its picture.
"""

import argparse
import itertools
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from payload.model.codec import to_pretty_json
from payload.model.machine import Firmware
from tests.vm import images, sample_server
from tests.vm.compare import Comparison, compare_disks
from tests.vm.evidence import Evidence, read_evidence
from tests.vm.images import Image, ImageError
from tests.vm.machine import (
    Bus,
    Card,
    Drive,
    Hardware,
    Machine,
    MachineError,
    Medium,
    MediumKind,
    Wire,
)
from tests.vm.verdict import Facts, Verdict, judge, render_text
from tests.vm.watch import Seen, choose_display, watch

CACHE = Path("build/cache")
TARGET_MAC = "52:54:00:c0:97:02"
TARGET_UUID = "5e0c4f7a-3d1b-4f5e-a2c9-0d8e7b6a5c02"
TARGET_GROWTH = 1.2  # the target's first disk is that much larger
MEMORY = 1280  # MiB
START_SECONDS = 420.0  # until the payload speaks, two machines at once on emulated CPUs
SILENCE_SECONDS = 420.0
COPY_SECONDS = 420.0  # until the copy has proved itself
LEFTOVERS = ("*.log", "*.png", "*.qcow2", "*.raw", "*.fd", "report.*")


@dataclass(frozen=True)
class Task:
    """What to rehearse. No `sources` means the sample server."""

    iso: Path
    output: Path
    sources: tuple[Path, ...] = ()
    firmware: Firmware = Firmware.BIOS
    cache: Path = CACHE


@dataclass
class Rehearsal:
    """The state of one rehearsal: filled step by step, so that a failure shows all before it."""

    task: Task
    say: Callable[[str], None]
    originals: tuple[Image, ...] = ()
    overlays: tuple[Image, ...] = ()
    blanks: tuple[Image, ...] = ()
    facts: Facts = field(default_factory=Facts)

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        self.say(text)
        begin = time.monotonic()
        try:
            yield
        finally:
            self.facts.seconds[name] = round(time.monotonic() - begin, 1)


def rehearse(task: Task, say: Callable[[str], None]) -> Verdict:
    """Run all of it and write the reports. Never raises for a failed rehearsal: the verdict says
    what failed."""
    task.output.mkdir(parents=True, exist_ok=True)
    for pattern in LEFTOVERS:
        for leftover in task.output.glob(pattern):
            leftover.unlink()
    rehearsal = Rehearsal(task, say)
    try:
        _run(rehearsal)
    except (MachineError, ImageError, ValueError) as error:
        rehearsal.facts.failure = str(error)
    verdict = judge(rehearsal.facts)
    (task.output / "report.json").write_bytes(to_pretty_json(verdict))
    (task.output / "report.txt").write_text(render_text(verdict))
    return verdict


def _run(rehearsal: Rehearsal) -> None:
    _check(rehearsal.task)
    _prepare(rehearsal)
    try:
        _copy(rehearsal)
    finally:
        _check_source(rehearsal)  # above all when something went wrong
    _check_copy(rehearsal)


def _check(task: Task) -> None:
    if os.geteuid() != 0:
        raise ValueError("A rehearsal needs root: it builds and mounts disk images.")
    if not task.iso.is_file():
        raise ValueError(f"There is no ISO {task.iso}: run `make iso` first.")
    if task.firmware is Firmware.UEFI and not task.sources:
        raise ValueError(
            "The sample server boots by BIOS only: name the disks of a UEFI machine by SOURCE=, "
            "or leave FIRMWARE out."
        )


# -- before -------------------------------------------------------------------------------------


def _prepare(rehearsal: Rehearsal) -> None:
    task, facts = rehearsal.task, rehearsal.facts
    facts.is_sample = not task.sources
    facts.target_mac, facts.source_mac = TARGET_MAC, sample_server.MAC
    sources = task.sources
    if facts.is_sample:
        with rehearsal.step("sample server", "building the sample server (cached)"):
            sources = sample_server.build(task.cache).disks
    with rehearsal.step("disks", "source disks: taking their SHA-256, laying overlays over them"):
        rehearsal.originals = tuple(images.look_at(path) for path in sources)
        facts.digests_before = tuple(images.digest(image.path) for image in rehearsal.originals)
        rehearsal.overlays = tuple(
            images.make_overlay(image, task.output / f"source{number}.qcow2")
            for number, image in enumerate(rehearsal.originals)
        )
        rehearsal.blanks = tuple(
            images.make_blank(task.output / f"target{number}.raw", _target_size(number, image))
            for number, image in enumerate(rehearsal.originals)
        )


def _target_size(number: int, original: Image) -> int:
    size = int(original.size * TARGET_GROWTH) if number == 0 else original.size
    return -(-size // images.MIB) * images.MIB


def plan_source(task: Task, overlays: tuple[Image, ...], wire: Path) -> Hardware:
    """The server as it stands: an IDE controller where the board has one, booted from a CD."""
    return Hardware(
        name="source",
        firmware=task.firmware,
        bus=Bus.IDE if task.firmware is Firmware.BIOS and len(overlays) <= 3 else Bus.AHCI,
        drives=_drives("SRC", overlays),
        medium=Medium(task.iso, MediumKind.CD),
        card=Card(sample_server.MAC, "e1000", Wire(wire, listens=True)),
        memory=MEMORY,
        uuid=sample_server.MACHINE_UUID,
    )


def plan_target(task: Task, blanks: tuple[Image, ...], wire: Path) -> Hardware:
    """Another machine: other controller, other card, booted from a USB stick."""
    return Hardware(
        name="target",
        firmware=task.firmware,
        bus=Bus.AHCI,
        drives=_drives("TGT", blanks),
        medium=Medium(task.iso, MediumKind.USB),
        card=Card(TARGET_MAC, "e1000e", Wire(wire, listens=False)),
        memory=MEMORY,
        uuid=TARGET_UUID,
        variables=task.output / "target-variables.fd",
    )


def plan_copy(target: Hardware, disks: tuple[Image, ...], words: dict[str, str]) -> Hardware:
    """The target, medium taken out and alone: what boots now is the copy."""
    card = Card(TARGET_MAC, "e1000e")
    drives = _drives("TGT", disks)
    return replace(target, name="copy", drives=drives, medium=None, card=card, words=words)


def _drives(prefix: str, disks: tuple[Image, ...]) -> tuple[Drive, ...]:
    return tuple(
        Drive(disk.path, disk.format, f"{prefix}{number:05}") for number, disk in enumerate(disks)
    )


# -- the copy -----------------------------------------------------------------------------------


def _copy(rehearsal: Rehearsal) -> None:
    """Boot both machines from the ISO and wait until both switched themselves off."""
    task = rehearsal.task
    with (
        rehearsal.step("copy, power-on to power-off", "both machines boot from the ISO"),
        _wire() as wire,
        Machine(plan_source(task, rehearsal.overlays, wire), task.output) as source,
        Machine(plan_target(task, rehearsal.blanks, wire), task.output) as target,
    ):
        display = choose_display()
        try:
            said = watch(source, target, display, start=START_SECONDS, patience=SILENCE_SECONDS)
        except MachineError:
            source.take_picture("failed")
            target.take_picture("failed")
            raise
        finally:
            display.close()
        power_on = source.started
    _take_reports(rehearsal.facts, said, power_on)


@contextmanager
def _wire() -> Iterator[Path]:
    """A place for the socket that is the cable; short, as unix sockets demand."""
    path = Path("/run" if Path("/run").is_dir() else "/tmp", f"ugs-wire-{secrets.token_hex(4)}")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _take_reports(facts: Facts, said: tuple[Seen, Seen], power_on: float) -> None:
    source, target = said
    facts.source_report, facts.report = source.report, target.report
    moments = [("boot", power_on), *target.began.items()]
    for (name, begin), (_, end) in itertools.pairwise(moments):
        facts.seconds[f"target: {name}"] = round(end - begin, 1)


# -- after --------------------------------------------------------------------------------------


def _check_source(rehearsal: Rehearsal) -> None:
    with rehearsal.step("source check", "source disks: taking their SHA-256 again"):
        facts = rehearsal.facts
        facts.digests_after = tuple(images.digest(image.path) for image in rehearsal.originals)
        facts.written_to_source = sum(images.written_bytes(one) for one in rehearsal.overlays)


def _check_copy(rehearsal: Rehearsal) -> None:
    """The copy boots on its own machine, and meanwhile both sides are compared from outside."""
    task, facts = rehearsal.task, rehearsal.facts
    overlays = tuple(
        images.make_overlay(blank, task.output / f"copy{number}.qcow2")
        for number, blank in enumerate(rehearsal.blanks)
    )
    nonce = secrets.token_hex(8)
    words = {"opt/ugs/nonce": nonce, "opt/ugs/poweroff": "1"} if facts.is_sample else {}
    hardware = plan_copy(plan_target(task, rehearsal.blanks, Path()), overlays, words)
    with Machine(hardware, task.output) as copy:
        with rehearsal.step("comparison", "comparing source and copy while the copy boots"):
            facts.comparisons = tuple(_compare(rehearsal))
        with rehearsal.step("copy boots", "waiting for the copy to prove itself"):
            if facts.is_sample:
                facts.evidence = _collect_evidence(copy, nonce)
                facts.copy_booted = facts.evidence is not None
            else:
                facts.copy_booted = _reaches_login(copy)
                copy.take_picture("booted" if facts.copy_booted else "unclear")


def _compare(rehearsal: Rehearsal) -> list[Comparison]:
    report = rehearsal.facts.report
    changes = [change.where for change in report.changes] if report else []
    pairs = []
    for number, (original, blank) in enumerate(
        zip(rehearsal.originals, rehearsal.blanks, strict=True)
    ):
        raw = images.as_raw(original, rehearsal.task.output / f"original{number}.raw")
        pairs.append((raw, blank.path))
    return compare_disks(pairs, changes)


def _collect_evidence(copy: Machine, nonce: str) -> Evidence | None:
    copy.wait_for(rf"^EVIDENCE {nonce} end \d+$", COPY_SECONDS)
    evidence = read_evidence(copy.text, nonce)
    copy.take_picture("booted")
    copy.wait_for_power_off(COPY_SECONDS)
    return evidence


def _reaches_login(copy: Machine) -> bool | None:
    """True when a login prompt came; None when the serial line cannot tell, since many servers
    use only their screen."""
    try:
        copy.wait_for(r"\blogin: *\Z", COPY_SECONDS)
    except MachineError:
        return None
    return True


# -- the command --------------------------------------------------------------------------------


def _parse(arguments: list[str] | None) -> Task:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.rehearse")
    parser.add_argument("--iso", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("build/rehearsal"))
    parser.add_argument("--source", nargs="+", default=[], help="raw or qcow2 images, in order")
    parser.add_argument("--firmware", choices=[kind.value for kind in Firmware], default="bios")
    given = parser.parse_args(arguments)
    sources = tuple(Path(name) for words in given.source for name in words.split())
    return Task(given.iso.resolve(), given.output.resolve(), sources, Firmware(given.firmware))


def main(arguments: list[str] | None = None) -> int:
    verdict = rehearse(_parse(arguments), lambda line: print(f"rehearsal: {line}", flush=True))
    print(render_text(verdict))
    print(f"rehearsal: {verdict.result}: {verdict.sentence}")
    return {"ok": 0, "unknown": 2}.get(verdict.result, 1)


if __name__ == "__main__":
    sys.exit(main())
