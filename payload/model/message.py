"""What the two machines say to each other.

Control messages travel as JSON, the two data messages as packed bytes (`wire/frames.py`). The
target asks, the source answers: the source keeps no state of the copy, so a link that breaks
costs nothing but the chunks in flight.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from payload.model.event import Progress, Stage
from payload.model.inventory import Inventory
from payload.model.plan import CopyMode
from payload.model.report import Hole, Report
from payload.model.role import Decision
from payload.model.survey import Survey

PROTOCOL_VERSION = 2


@dataclass(frozen=True)
class Hello:
    """First on a control connection, both ways."""

    protocol: int
    inventory: Inventory
    decision: Decision
    mode: CopyMode
    dry_run: bool
    countdown: int  # seconds
    card: str  # permanent MAC of the card this connection runs over, on the sender's side
    clock: int = 0  # seconds since the epoch, when this was said
    run: str = ""  # another one each time the payload starts
    resume: str = ""  # digest of the plan a broken link interrupted
    verify: bool = True


@dataclass(frozen=True)
class PlanOffer:
    """Both ways: what each computed, or why no plan is possible. Anything but equality ends the
    run, unwritten."""

    digest: str
    refusal: str = ""
    survey: Survey | None = None  # from the source


@dataclass(frozen=True)
class Go:
    """Both ways, when the countdown ran out: from now on the target writes."""


@dataclass(frozen=True)
class Stop:
    """Either way, at any time: the run ends, and why."""

    sentence: str
    by_person: bool = False


@dataclass(frozen=True)
class MapRequest:
    """Target to source: which chunks of this region are to be copied?"""

    region: int


@dataclass(frozen=True)
class MapAnswer:
    """Source to target, in as many parts as needed; `last` ends it.

    `chunks` is a flat list: offset, length, offset, length, ... in bytes from the start of the
    region, ascending, none crossing a multiple of CHUNK_SIZE.
    """

    region: int
    chunks: tuple[int, ...]
    last: bool
    note: str = ""  # why this region is copied in another way than planned


@dataclass(frozen=True)
class Doing:
    """Target to source: what it does, or how far it is, so that both screens show the same."""

    stage: Stage | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Attach:
    """First on a data connection: which control session it belongs to."""

    session: str


@dataclass(frozen=True)
class Welcome:
    """Source to target, after PlanOffer: the secret name of this session for data connections."""

    session: str


@dataclass(frozen=True)
class Reach:
    """One card of the sender, by its permanent MAC, and the addresses it answers at."""

    card: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Alive:
    """Either way, every few seconds: I am here, and these cards of mine have a link."""

    reach: tuple[Reach, ...] = ()


@dataclass(frozen=True)
class Final:
    """Target to source: the report. The source answers with the same message to confirm."""

    report: Report


class Encoding(IntEnum):
    """How the body of a chunk is packed."""

    RAW = 0
    ZSTD = 1
    ZERO = 2  # no body: all zeros
    SAME = 3  # no body: the target's digest was right
    LATER = 4  # no body, no digest: it could not be read at once; to be asked again, thoroughly


@dataclass(frozen=True)
class ChunkRequest:
    """Target to source. `held` is the digest of what the target has there, b"" if nothing."""

    region: int
    offset: int
    length: int
    held: bytes = b""  # 32 bytes or none
    thorough: bool = False  # sector by sector where it cannot be read, instead of LATER


@dataclass(frozen=True)
class Spent:
    """What the source needed for a chunk, and for sending the one before. Microseconds."""

    disk: int = 0
    processor: int = 0
    network: int = 0


@dataclass(frozen=True)
class Chunk:
    """Source to target. `digest` is BLAKE3 of the content, 32 bytes; of LATER, zeros."""

    region: int
    offset: int
    length: int
    digest: bytes
    encoding: Encoding
    body: bytes | memoryview = b""
    holes: tuple[Hole, ...] = field(default=())  # offsets from the start of the region
    spent: Spent = Spent()


Message = (
    Hello
    | PlanOffer
    | Go
    | Stop
    | MapRequest
    | MapAnswer
    | Doing
    | Attach
    | Welcome
    | Alive
    | Final
    | ChunkRequest
    | Chunk
)
