"""What the work tells whoever watches. The work never asks back."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from payload.model.report import Report
from payload.model.role import Decision


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Stage:
    """A new stage began: "identify", "connect", "plan", "copy", "verify", "finish", "report"."""

    name: str
    text: str


@dataclass(frozen=True)
class Note:
    """A sentence for people."""

    text: str
    level: Level = Level.INFO


@dataclass(frozen=True)
class Decided:
    """What this machine is in this run, and why."""

    decision: Decision


@dataclass(frozen=True)
class Waiting:
    """Nothing to do until somebody comes; `peers` are those seen and why they do not count."""

    text: str
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """The plan both machines agreed on, as lines for people."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Countdown:
    """Seconds until the first write; a key stops it."""

    seconds: int


class Limiter(StrEnum):
    """What holds the work up."""

    WIRE = "wire"
    SOURCE_DISK = "source disk"
    TARGET_DISK = "target disk"
    PROCESSOR = "processor"


@dataclass(frozen=True)
class Progress:
    """How far one region is. Bytes, bytes per second."""

    stage: str  # "copy" or "verify"
    region: str
    done: int
    total: int
    all_done: int
    all_total: int
    sent: int  # on the wire, all regions
    rate: float  # bytes of content per second, over the last seconds
    remaining: float  # seconds
    region_sent: int = 0  # on the wire, this region
    average: float = 0.0  # bytes of content per second, since the stage began
    limiter: Limiter | None = None  # over the last seconds


@dataclass(frozen=True)
class Ended:
    report: Report


Event = Stage | Note | Decided | Waiting | Agreement | Countdown | Progress | Ended
Monitor = Callable[[Event], None]
