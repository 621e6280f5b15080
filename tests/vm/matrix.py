"""The boot matrix: every kind of server copied onto other hardware, and its copy booted.

    python -m tests.vm.matrix --iso ISO --output build/boot-matrix [--case N ...]

Writes OUTPUT.json, a list of {"case", "result", "why", ...} that is complete after every case, so
that a broken-off run goes on where it was: a case that passed with this ISO and these tests is not
run again unless it is named. The evidence of case N (serial logs, pictures, report.json, the
target's disks) is in OUTPUT/case-N/.

A result is "passed", "refused" (the payload said no before the first write) or "failed". Exit
status: 0 all cases passed, 1 not all.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.vm import images
from tests.vm.accelerator import Accelerator, choose_accelerator
from tests.vm.case import Case
from tests.vm.cases import (
    bonded_cards,
    encrypted,
    grub_legacy,
    lvm_root,
    mirrored,
    narrow_initramfs,
    old_file_system,
    plain_mbr,
    subvolumes,
    uefi,
)
from tests.vm.live_kernel import live_kernel
from tests.vm.rehearse import CACHE, Task, rehearse
from tests.vm.verdict import Verdict

CASES: tuple[Case, ...] = (
    grub_legacy.CASE,
    plain_mbr.CASE,
    lvm_root.CASE,
    uefi.EMPTY_NVRAM,
    uefi.SECURE_BOOT,
    mirrored.CASE,
    subvolumes.CASE,
    bonded_cards.CASE,
    narrow_initramfs.CASE,
    encrypted.CASE,
    lvm_root.REFRESHED,
    old_file_system.CASE,
)
CHEAPEST = (2, 4)  # for `make test`
# Nobody needs the disks of a case that passed, but for a case that goes on with them.
HEAVY = ("*.raw", "*.qcow2")


@dataclass(frozen=True)
class Outcome:
    """One case's line in the document. `key` names the ISO and the tests it was run with."""

    case: int
    result: str  # "passed", "failed" or "refused"
    why: str
    source: str = ""
    target: str = ""
    seconds: float = 0.0
    finished: str = ""  # when, in UTC
    key: str = ""


def run_case(
    case: Case, iso: Path, output: Path, accelerator: Accelerator, cache: Path = CACHE
) -> Outcome:
    """Copy and boot; never raises for what the copy does."""
    directory = output / f"case-{case.number}"
    begin = time.monotonic()
    print(f"case {case.number}: {case.source_text} -> {case.target_text}", flush=True)
    targets = tuple(sorted((output / f"case-{case.after}").glob("target*.raw")))
    # Secure Boot is about who starts the kernel; the rehearsal goes through the menu, too.
    secure = case.source.secure_boot or case.target.secure_boot
    task = Task(iso, directory, accelerator, case,
                firmware=case.source.firmware, cache=cache, targets=targets,
                kernel=None if secure else live_kernel(iso, output / "kernel"))  # fmt: skip
    verdict = rehearse(task, lambda line: print(f"case {case.number}: {line}", flush=True))
    outcome = Outcome(
        case=case.number,
        result=result_of(verdict),
        why=verdict.sentence,
        source=case.source_text,
        target=case.target_text,
        seconds=round(time.monotonic() - begin, 1),
        finished=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        key=key_of(iso, case),
    )
    if outcome.result == "passed" and all(other.after != case.number for other in CASES):
        for pattern in HEAVY:
            for leftover in directory.glob(pattern):
                leftover.unlink()
    return outcome


def result_of(verdict: Verdict) -> str:
    """The matrix's word for a verdict. A refusal counts only if the source was left alone."""
    if verdict.result == "ok":
        return "passed"
    return "refused" if verdict.refused and verdict.source_unchanged else "failed"


def key_of(iso: Path, case: Case) -> str:
    """Changes with the ISO, with the case, and with what all cases share."""
    whole = hashlib.sha256(images.digest(iso).encode())
    here = Path(__file__).parent
    shared = [*here.glob("*.py"), *(here / "sample").iterdir(), here / "cases/parts.py"]
    for path in (*sorted(shared), module_of(case)):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def module_of(case: Case) -> Path:
    """The file that describes the case, and maybe others."""
    own = sys.modules[case.recipe.lay_out.__module__].__file__
    assert own is not None
    return Path(own)


def read_outcomes(document: Path) -> dict[int, Outcome]:
    """What was found before; nothing when there is no such document."""
    if not document.exists():
        return {}
    found = msgspec.json.decode(document.read_bytes(), type=list[Outcome])
    return {outcome.case: outcome for outcome in found}


def write_outcomes(document: Path, outcomes: Iterable[Outcome]) -> None:
    ordered = sorted(outcomes, key=lambda outcome: outcome.case)
    document.parent.mkdir(parents=True, exist_ok=True)
    unfinished = document.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")
    unfinished.replace(document)


def choose(
    cases: Iterable[Case], wanted: Iterable[int], known: dict[int, Outcome], keys: dict[int, str]
) -> list[Case]:
    """The wanted cases; without any all that did not pass yet as they are now."""
    if named := set(wanted):
        return [case for case in cases if case.number in named]
    passed = {
        number
        for number, outcome in known.items()
        if outcome.result == "passed" and outcome.key == keys.get(number)
    }
    return [case for case in cases if case.number not in passed]


def show(outcomes: Iterable[Outcome], console: Console) -> None:
    """The table for people."""
    table = Table(title="The boot matrix")
    for title in ("case", "source", "target", "result", "why"):
        table.add_column(title)
    for one in sorted(outcomes, key=lambda outcome: outcome.case):
        why = "" if one.result == "passed" else one.why
        table.add_row(str(one.case), one.source, one.target, one.result, why)
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.matrix")
    parser.add_argument("--iso", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("build/boot-matrix"))
    numbers = [case.number for case in CASES]
    parser.add_argument("--case", type=int, nargs="+", default=[], choices=numbers)
    given = parser.parse_args(arguments)
    iso, output = given.iso.resolve(), given.output.resolve()
    try:
        choice = choose_accelerator(iso)
    except (images.ImageError, ValueError) as error:
        print(f"matrix: {error}")
        return 1
    print(f"matrix: {choice}", flush=True)
    document = output.with_suffix(".json")
    known = read_outcomes(document)
    keys = {case.number: key_of(iso, case) for case in CASES}
    for case in choose(CASES, given.case, known, keys):
        known[case.number] = run_case(case, iso, output, choice.accelerator)
        write_outcomes(document, known.values())
        outcome = known[case.number]
        print(f"case {case.number}: {outcome.result}: {outcome.why}", flush=True)
    show(known.values(), Console())
    wanted = [known.get(number) for number in given.case or numbers]
    return 0 if all(one is not None and one.result == "passed" for one in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
