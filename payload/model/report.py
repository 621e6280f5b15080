"""What was done, with figures: the same document on both machines."""

from dataclasses import dataclass, field
from enum import StrEnum

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
    """One partition, boot area or whole disk. Sizes are bytes, digests 64 hex digits.

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


@dataclass(frozen=True)
class BootLoaderReport:
    strategy: str  # "carried over", "grub-install in the copy", ...
    loader: str  # "GRUB 2", "GRUB legacy", ...
    checks: tuple[str, ...]  # what was looked at and found right
    warnings: tuple[str, ...] = ()


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
    verified: bool = False
    boot_loader: BootLoaderReport | None = None
    cards: tuple[CardName, ...] = ()
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    version: str = ""
