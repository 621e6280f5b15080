"""What a machine is in this run, and what may be overwritten on it."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Source is only read. Target is written to where a permission says so. Else nothing."""

    SOURCE = "source"
    TARGET = "target"
    UNDECIDED = "undecided"


class Ground(StrEnum):
    """Why a disk may be overwritten. There is no fourth reason."""

    BLANK = "blank"
    OUR_COPY = "our unused copy"
    NAMED = "named by a person"


@dataclass(frozen=True)
class Permission:
    """A disk of the target that may be overwritten, why, and what is on it now (for people)."""

    disk: str
    ground: Ground
    content: str
    source_id: str = ""  # for our own copy: the machine it is a copy of; no other may refresh it


@dataclass(frozen=True)
class Decision:
    """A role with its reasons: sentences a person can check. `rule` names the row that matched."""

    role: Role
    rule: str
    reasons: tuple[str, ...]
    permissions: tuple[Permission, ...] = ()
    ready_since: int = 0  # an unused copy: when it was finished, seconds since the epoch
