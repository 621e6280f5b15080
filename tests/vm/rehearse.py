"""The main job in virtual machines: two machines booted from the ISO, then the copy by itself.

    python -m tests.vm.rehearse --iso ISO --output build/rehearsal
        [--source "disk0.img disk1.img"] [--firmware bios|uefi] [--proof]

Without --source the sample server is copied, and its copy has to prove itself by what only it can
say. With --source a person's own disks are used through overlays and never written. Everything
stays in the output directory: report.json, report.txt, serial logs, pictures, disks.

The machines run by KVM where it starts a kernel, else they are emulated (`accelerator`). An
emulated target has no virtualization, so that it skips the boot proof: a machine in an emulated one
takes minutes and then says little. --proof asks for it all the same.

Exit status: 0 all is right, 1 something is not (the last line says what), 2 all that can be
measured is right, but whether the copy boots has to be seen on its picture.
"""

import argparse
import itertools
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from payload.model.codec import to_pretty_json
from payload.model.machine import Firmware
from tests.vm import images
from tests.vm.accelerator import Accelerator, choose_accelerator
from tests.vm.case import SOURCE_UUID, TARGET_UUID, Case, common_networks, plug_in
from tests.vm.cases.sample import SAMPLE
from tests.vm.compare import Comparison, compare_disks
from tests.vm.evidence import Evidence, read_evidence
from tests.vm.hardware import Bus, Card, Drive, Hardware, Kernel, Medium, MediumKind
from tests.vm.images import Image, ImageError
from tests.vm.machine import Machine, MachineError
from tests.vm.servers import build
from tests.vm.verdict import Facts, Verdict, judge, render_text
from tests.vm.watch import NotCopiedError, Seen, choose_display, watch

CACHE = Path("build/cache")
SOURCE_MAC, TARGET_MAC = "52:54:00:67:77:01", "52:54:00:c0:97:02"
TARGET_GROWTH = 1.2  # the target's first disk is that much larger
MEMORY = 1280  # MiB, at least
PROOF_MEMORY = 3072  # MiB of a target that starts its copy in a machine inside
START_SECONDS = 420.0  # until the payload speaks, two machines at once on emulated CPUs
SILENCE_SECONDS = 1200.0  # as long as a program of the copy may take, on emulated CPUs
COPY_SECONDS = 420.0  # until the copy has proved itself
STARVED = "IO-APIC + timer doesn't work"  # a kernel's panic, in its first moments
LEFTOVERS = ("*.log", "*.png", "*.qcow2", "*.raw", "*.fd", "report.*")


@dataclass(frozen=True)
class Task:
    """What to rehearse: a case, or a person's own disks (`case` is None then).

    `targets` are finished copies that the target's disks begin with, instead of being blank.
    `proof`: the target has what a boot proof takes, virtualization and memory. `kernel`: the live
    system is started by it on both machines, not through the medium's boot menu.
    """

    iso: Path
    output: Path
    accelerator: Accelerator
    case: Case | None = SAMPLE
    sources: tuple[Path, ...] = ()
    firmware: Firmware = Firmware.BIOS
    cache: Path = CACHE
    targets: tuple[Path, ...] = ()
    proof: bool = False
    kernel: Kernel | None = None


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
        rehearsal.facts.refused = isinstance(error, NotCopiedError) and error.refused
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
    if task.case is not None and task.case.after and not task.targets:
        raise ValueError(f"There is no copy to refresh: run case {task.case.after} first.")
    if task.firmware is Firmware.UEFI and task.case is SAMPLE:
        raise ValueError(
            "The sample server boots by BIOS only: name the disks of a UEFI machine by SOURCE=, "
            "or leave FIRMWARE out."
        )


# -- before -------------------------------------------------------------------------------------


def _prepare(rehearsal: Rehearsal) -> None:
    task, facts, case = rehearsal.task, rehearsal.facts, rehearsal.task.case
    sources = task.sources
    if case is not None:
        facts.expected, facts.host_name = case.expected, case.host_name
        facts.source_macs = tuple(card.mac for card in case.source.cards)
        with rehearsal.step("server", f"building the server {case.host_name} (cached)"):
            sources = sources or build(case.recipe, task.cache).disks
    with rehearsal.step("disks", "source disks: taking their SHA-256, laying overlays over them"):
        rehearsal.originals = tuple(images.look_at(path) for path in sources)
        facts.digests_before = tuple(images.digest(image.path) for image in rehearsal.originals)
        rehearsal.overlays = tuple(
            images.make_overlay(image, task.output / f"source{number}.qcow2")
            for number, image in enumerate(rehearsal.originals)
        )
        rehearsal.blanks = tuple(_make_targets(task, rehearsal.originals))


def _make_targets(task: Task, originals: tuple[Image, ...]) -> Iterator[Image]:
    """The target's disks: blank, or as an earlier copy left them."""
    sizes = task.case.target_sizes if task.case else ()
    for number, size in enumerate(sizes or _target_sizes(originals)):
        path = task.output / f"target{number}.raw"
        if task.targets:
            images.call("cp", "--sparse=always", task.targets[number], path)
            yield images.look_at(path)
        else:
            yield images.make_blank(path, size)


def _target_sizes(originals: tuple[Image, ...]) -> list[int]:
    """As large as the source's, the first larger."""
    sizes = [image.size for image in originals]
    sizes[0] = int(sizes[0] * TARGET_GROWTH)
    return [-(-size // images.MIB) * images.MIB for size in sizes]


def plan_source(task: Task, overlays: tuple[Image, ...], wires: dict[str, Path]) -> Hardware:
    """The server as it stands, booted from a CD."""
    bare = task.case.source if task.case else _anybodys_source(task, len(overlays))
    return replace(
        bare,
        drives=_drives("SRC", overlays),
        medium=Medium(task.iso, MediumKind.CD),
        cards=plug_in(bare.cards, wires, listens=True),
        memory=max(bare.memory, MEMORY),
        kernel=task.kernel,
    )


def plan_target(task: Task, blanks: tuple[Image, ...], wires: dict[str, Path]) -> Hardware:
    """Another machine, booted from a USB stick."""
    bare = task.case.target if task.case else _anybodys_target(task)
    return replace(
        bare,
        drives=_drives("TGT", blanks),
        medium=Medium(task.iso, MediumKind.USB),
        cards=plug_in(bare.cards, wires, listens=False),
        memory=max(bare.memory, PROOF_MEMORY if task.proof else MEMORY),
        virtualizes=task.proof,
        variables=task.output / "target-variables.fd",
        kernel=task.kernel,
    )


def _anybodys_source(task: Task, disks: int) -> Hardware:
    """An IDE controller where the board has one with room enough."""
    bus = Bus.IDE if task.firmware is Firmware.BIOS and disks <= 3 else Bus.AHCI
    card = Card(SOURCE_MAC, "e1000", network="lan")
    return Hardware("source", task.firmware, bus, cards=(card,), uuid=SOURCE_UUID)


def _anybodys_target(task: Task) -> Hardware:
    card = Card(TARGET_MAC, "e1000e", network="lan")
    return Hardware("target", task.firmware, Bus.AHCI, cards=(card,), uuid=TARGET_UUID)


def plan_copy(target: Hardware, disks: tuple[Image, ...], words: dict[str, str]) -> Hardware:
    """The target, medium taken out and alone: what boots now is the copy."""
    cards = tuple(replace(card, wire=None) for card in target.cards)
    drives = _drives("TGT", disks)
    return replace(target, name="copy", drives=drives, medium=None, cards=cards, words=words,
                   kernel=None)  # fmt: skip


def _drives(prefix: str, disks: tuple[Image, ...]) -> tuple[Drive, ...]:
    return tuple(
        Drive(disk.path, disk.format, f"{prefix}{number:05}") for number, disk in enumerate(disks)
    )


# -- the copy -----------------------------------------------------------------------------------


def _copy(rehearsal: Rehearsal) -> None:
    """Boot both machines from the ISO and wait until both switched themselves off."""
    task = rehearsal.task
    bare = plan_source(task, (), {}), plan_target(task, (), {})
    with (
        rehearsal.step("copy, power-on to power-off", "both machines boot from the ISO"),
        _wires(common_networks(*bare)) as wires,
        Machine(
            plan_source(task, rehearsal.overlays, wires), task.output, task.accelerator
        ) as source,
        Machine(
            plan_target(task, rehearsal.blanks, wires), task.output, task.accelerator
        ) as target,
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
def _wires(networks: Iterable[str]) -> Iterator[dict[str, Path]]:
    """A place per network for the socket that is the cable; short, as unix sockets demand."""
    directory = Path("/run" if Path("/run").is_dir() else "/tmp")
    wires = {name: directory / f"ugs-wire-{secrets.token_hex(4)}" for name in networks}
    try:
        yield wires
    finally:
        for path in wires.values():
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
    task = rehearsal.task
    overlays = tuple(
        images.make_overlay(blank, task.output / f"copy{number}.qcow2")
        for number, blank in enumerate(rehearsal.blanks)
    )
    nonce = secrets.token_hex(8)
    words = {"opt/ugs/nonce": nonce, "opt/ugs/poweroff": "1"} if task.case else {}
    hardware = plan_copy(plan_target(task, rehearsal.blanks, {}), overlays, words)
    try:
        _boot_copy(rehearsal, hardware, nonce)
    except StarvedError:
        rehearsal.say("this machine was too busy to emulate a timer: booting the copy again")
        _boot_copy(rehearsal, hardware, nonce)


class StarvedError(MachineError):
    """The emulated timer did not tick in the moment in which the kernel looked whether it does."""


def _boot_copy(rehearsal: Rehearsal, hardware: Hardware, nonce: str) -> None:
    task, facts = rehearsal.task, rehearsal.facts
    with Machine(hardware, task.output, task.accelerator) as copy:
        with rehearsal.step("comparison", "comparing source and copy while the copy boots"):
            facts.comparisons = tuple(_compare(rehearsal))
        with rehearsal.step("copy boots", "waiting for the copy to prove itself"):
            try:
                _let_it_prove_itself(copy, task, facts, nonce)
            except MachineError as error:
                if STARVED not in copy.text:
                    raise
                raise StarvedError(str(error)) from error


def _let_it_prove_itself(copy: Machine, task: Task, facts: Facts, nonce: str) -> None:
    if task.case is not None:
        _answer_questions(copy, task.case)
        facts.evidence = _collect_evidence(copy, nonce)
        facts.copy_booted = facts.evidence is not None
    else:
        facts.copy_booted = _reaches_login(copy)
        copy.take_picture("booted" if facts.copy_booted else "unclear")


def _compare(rehearsal: Rehearsal) -> list[Comparison]:
    report, case = rehearsal.facts.report, rehearsal.task.case
    changes = [change.where for change in report.changes] if report else []
    pairs = []
    for number, original in enumerate(rehearsal.originals):
        raw = images.as_raw(original, rehearsal.task.output / f"original{number}.raw")
        place = case.place_of(number) if case else number
        pairs.append((raw, rehearsal.blanks[place].path))
    return compare_disks(pairs, changes, case.volumes if case else ())


def _answer_questions(copy: Machine, case: Case) -> None:
    for question, answer in case.typed:
        copy.wait_for(question, COPY_SECONDS)
        copy.type_line(answer)


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


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.rehearse")
    parser.add_argument("--iso", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("build/rehearsal"))
    parser.add_argument("--source", nargs="+", default=[], help="raw or qcow2 images, in order")
    parser.add_argument("--firmware", choices=[kind.value for kind in Firmware], default="bios")
    parser.add_argument("--proof", action="store_true", help="a boot proof also in emulation")
    return parser.parse_args(arguments)


def _plan_task(given: argparse.Namespace, accelerator: Accelerator) -> Task:
    sources = tuple(Path(name) for words in given.source for name in words.split())
    return Task(
        given.iso.resolve(),
        given.output.resolve(),
        accelerator,
        None if sources else SAMPLE,
        sources,
        Firmware(given.firmware),
        proof=given.proof or accelerator is Accelerator.KVM,
    )


def _say(line: str) -> None:
    print(f"rehearsal: {line}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    given = _parse(arguments)
    try:
        choice = choose_accelerator(given.iso)
    except (ImageError, ValueError) as error:
        _say(f"failed: {error}")
        return 1
    _say(str(choice))
    verdict = rehearse(_plan_task(given, choice.accelerator), _say)
    print(render_text(verdict))
    _say(f"{verdict.result}: {verdict.sentence}")
    return {"ok": 0, "unknown": 2}.get(verdict.result, 1)


if __name__ == "__main__":
    sys.exit(main())
