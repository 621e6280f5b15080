"""Whether machines run by KVM here or are emulated: as somebody asks, or as a trial shows.

A /dev/kvm that opens proves nothing: QEMU may end at a register that the processor does not have,
or the guest stand still while its kernel is unpacked. So the ISO's own kernel is started, and its
first word decides. The outcome is remembered for this kernel, this QEMU and this boot of the host.
"""

import fcntl
import hashlib
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from payload.model.codec import DocumentError, from_json, to_pretty_json
from tests.vm.images import call, digest, extract

KVM = Path("/dev/kvm")
MEMORY = Path("build/accelerator.json")  # where the last trial is remembered
PATIENCE = 10.0  # seconds until the kernel's first word
# What unpacks the kernel may speak before; the kernel itself begins with its version.
WORD = b"Linux version "
WARNING = "warning: "  # QEMU's complaints that end nothing


class Accelerator(StrEnum):
    """The values are QEMU's names."""

    KVM = "kvm"
    TCG = "tcg"


class Outcome(StrEnum):
    """What became of a trial."""

    SPOKE = "spoke"
    ENDED = "ended"  # QEMU did, without a word of the kernel
    STOOD_STILL = "stood still"
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class Trial:
    """A start of a kernel under KVM. `detail` is what the system or QEMU said."""

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Choice:
    """What to run machines with, and why."""

    accelerator: Accelerator
    why: str

    def __str__(self) -> str:
        return f"{'KVM' if self.accelerator is Accelerator.KVM else 'emulated'}: {self.why}"


@dataclass(frozen=True)
class Remembered:
    """A trial, and the inputs it was made with."""

    key: str
    trial: Trial


def parse_wish(word: str) -> Accelerator | None:
    """What ACCEL asks for; None for nothing. Raises ValueError."""
    if not word:
        return None
    try:
        return Accelerator(word.lower())
    except ValueError:
        raise ValueError(f"ACCEL is {word!r}; it can be kvm, tcg, or left out.") from None


def decide(wish: Accelerator) -> Choice:
    """The choice of whoever set ACCEL."""
    return Choice(wish, f"ACCEL={wish} asks for it")


def decide_by_trial(trial: Trial) -> Choice:
    """The choice that a trial shows."""
    detail = f": {trial.detail}" if trial.detail else ""
    match trial.outcome:
        case Outcome.SPOKE:
            return Choice(Accelerator.KVM, "the live system's kernel starts under it")
        case Outcome.NOT_STARTED:
            why = f"KVM cannot be used here{detail}"
        case Outcome.ENDED:
            why = f"KVM does not start a kernel here (QEMU ended{detail})"
        case Outcome.STOOD_STILL:
            why = f"KVM does not start a kernel here (no word of it in {PATIENCE:.0f} s)"
    return Choice(Accelerator.TCG, why)


def choose_accelerator(iso: Path, memory: Path = MEMORY, wish: str | None = None) -> Choice:
    """The choice for machines that boot from this ISO. Raises ValueError when `wish` (ACCEL unless
    given) is no accelerator, ImageError when the ISO cannot be read."""
    asked = parse_wish(os.environ.get("ACCEL", "") if wish is None else wish)
    if asked is not None:
        return decide(asked)
    if fault := open_fault(KVM):
        return decide_by_trial(Trial(Outcome.NOT_STARTED, fault))
    with TemporaryDirectory(prefix="ugs-kernel-") as directory, _alone(memory):
        (kernel,) = extract(iso, Path(directory), "/live/vmlinuz")
        key = key_of(kernel)
        trial = recall(memory, key)
        if trial is None:
            trial = try_kernel(plan_trial(kernel))
            memory.write_bytes(to_pretty_json(Remembered(key, trial)))
    return decide_by_trial(trial)


def open_fault(node: Path) -> str:
    """Why the node cannot be opened, "" when it can."""
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{node}: {error.strerror}"
    return ""


@contextmanager
def _alone(memory: Path) -> Iterator[None]:
    """One trial at a time; who comes second finds its outcome."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    with memory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def key_of(kernel: Path) -> str:
    """Changes with the kernel, with QEMU, with the processor and with each boot of the host."""
    models = {line for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")}  # fmt: skip
    words = (
        digest(kernel),
        call("qemu-system-x86_64", "--version"),
        Path("/proc/sys/kernel/random/boot_id").read_text(),
        *sorted(models),
    )
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def recall(memory: Path, key: str) -> Trial | None:
    """The trial that was made with these inputs, None when there was none."""
    try:
        remembered = from_json(Remembered, memory.read_bytes())
    except (OSError, DocumentError):
        return None
    return remembered.trial if remembered.key == key else None


def plan_processor(accelerator: Accelerator, *, virtualizes: bool) -> list[str]:
    """QEMU's arguments for the one processor of a machine."""
    if accelerator is Accelerator.KVM:
        own = "" if virtualizes else ",svm=off,vmx=off"
        return ["-accel", "kvm", "-cpu", f"host{own}", "-smp", "1"]
    # Without SVM, QEMU ends the extended leaves of CPUID before 0x80000008, the size of addresses;
    # a kernel of 2025 takes another for granted then, and copies to programs go wrong.
    own = "" if virtualizes else ",svm=off,xlevel=0x8000000a"
    # TCG runs `rep movsb` byte by byte, and a kernel would use it for every copy: without
    # `erms` and `fsrm` it does not.
    return ["-accel", "tcg,thread=multi", "-cpu", f"max,erms=off,fsrm=off{own}", "-smp", "1"]


# --- the trial


def plan_trial(kernel: Path) -> list[str]:
    """QEMU's command line for a start of the bare kernel, whose serial line is standard output."""
    return [
        "qemu-system-x86_64",
        *plan_processor(Accelerator.KVM, virtualizes=True),
        "-m", "256",
        "-nodefaults",
        "-nic", "none",
        "-display", "none",
        "-no-reboot",
        "-serial", "stdio",
        "-kernel", str(kernel),
        "-append", "earlyprintk=serial console=ttyS0 panic=-1",
    ]  # fmt: skip


def try_kernel(command: Sequence[str], seconds: float = PATIENCE) -> Trial:
    """Start it and listen for the kernel's first word. What was started is gone afterwards: a guest
    that stands still would stay for ever."""
    try:
        # setpriv: QEMU ends also when this process is killed and cannot clean up.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        return Trial(Outcome.NOT_STARTED, f"{error.filename}: {error.strerror}")
    with process:
        assert process.stdout and process.stderr
        outcome = _listen(process.stdout, seconds)
        process.kill()
        said = process.stderr.read().decode(errors="replace")
    return Trial(outcome, read_complaint(said) if outcome is Outcome.ENDED else "")


def _listen(stream: IO[bytes], seconds: float) -> Outcome:
    heard = b""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while WORD not in heard:
            if not selector.select(max(0.0, end - time.monotonic())):
                return Outcome.STOOD_STILL
            if not (fresh := os.read(stream.fileno(), 4096)):
                return Outcome.ENDED
            heard += fresh
    return Outcome.SPOKE


def read_complaint(said: str) -> str:
    """QEMU's first complaint that is no mere warning, without the program's name before it."""
    lines = (line.removeprefix("qemu-system-x86_64: ") for line in said.splitlines())
    return next((line for line in lines if line.strip() and not line.startswith(WARNING)), "")
