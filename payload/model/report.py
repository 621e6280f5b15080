"""What was done, with figures: the same document on both machines."""

from dataclasses import dataclass, field
from enum import StrEnum

from payload.model.account import SettledAccount
from payload.model.errors import DiskState
from payload.model.marker import Change, MachineReference


class Result(StrEnum):
    OK = "ok"
    HOLES = "holes"  # finished, but sectors of the source could not be read
    DRY_RUN = "dry-run"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Hole:
    """A range of the source that could not be read; zeros stand in the copy. Bytes."""

    offset: int  # from the start of the region
    length: int


@dataclass(frozen=True)
class RegionReport:
    """One partition, boot area, gap or whole disk. Sizes are bytes, digests 64 hex digits.

    `digest` is the BLAKE3 of all chunk digests in order: the source's, and the target's as
    re-read from the medium.
    """

    name: str
    disk: str  # the target disk's label
    file_system: str
    total: int
    used: int  # bytes in the chunks of the copy
    sent: int  # bytes on the wire, chunk bodies only
    held: int  # bytes the target already had
    seconds: float
    source_digest: str
    target_digest: str
    verified: bool
    holes: tuple[Hole, ...] = ()
    is_gap: bool = False  # no partition holds it


@dataclass(frozen=True)
class BootLoaderReport:
    strategy: str  # "carried over", "grub-install in the copy", ...
    loader: str  # "GRUB 2", "GRUB legacy", ...
    checks: tuple[str, ...]  # what was looked at and found right
    warnings: tuple[str, ...] = ()


class BootVerdict(StrEnum):
    """How far the finished copy came when it was started once in a machine inside the target."""

    LOGIN = "login"  # it is up: who has a password can log in
    KERNEL = "kernel"
    LOADER = "loader"
    NOTHING = "nothing"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class BootProof:
    """What that start showed. `why` is a sentence, or the reason why there was none."""

    verdict: BootVerdict
    why: str
    seconds: float = 0.0
    controller: str = ""  # what its disks hung on
    serial: str = ""  # the last of what came over its serial line
    picture: str = ""  # its screen at the end: PNG as base64, "" when there is none


@dataclass(frozen=True)
class CardName:
    """A name of the copied system and the card of the target it now means ("" when none)."""

    name: str
    mac: str
    why: str


@dataclass(frozen=True)
class Report:
    result: Result
    sentence: str  # what happened, for people; on failure: what is on the disk, what to do next
    exit_code: int
    plan_digest: str = ""
    source: MachineReference | None = None
    target: MachineReference | None = None
    started_at: int = 0
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> seconds
    regions: tuple[RegionReport, ...] = ()
    accounts: tuple[SettledAccount, ...] = ()  # of the source's disks, in the order of the plan
    verified: bool = False
    boot_loader: BootLoaderReport | None = None
    boot_proof: BootProof | None = None
    cards: tuple[CardName, ...] = ()
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    version: str = ""
    disks: DiskState = DiskState.UNTOUCHED  # the target's, after the run
