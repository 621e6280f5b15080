"""`/var/lib/ugs-failover/copy.json`: what makes a copy recognisable as ours."""

from dataclasses import dataclass

from payload.model.codec import DocumentError, from_json

MARKER_PATH = "var/lib/ugs-failover/copy.json"  # below the root of the copy
# A file that the copy makes at its first start (`finish.boot_record`), in its root file system
# whatever else is mounted, unlike /var. Its time is when that was.
USED_PATH = "etc/ugs-failover-used"
BOOT_MARKER_PATH = "ugs-failover/copy.json"  # below /boot, where the root cannot be read
MARKER_FORMAT = 1


@dataclass(frozen=True)
class MachineReference:
    """A machine as a marker, plan or report names it."""

    id: str
    label: str = ""
    host_name: str = ""


@dataclass(frozen=True)
class Usage:
    """What the root file system said of its last mount when we were done with it.

    Differs as soon as anybody mounts it for writing. `kind` is the file system; for one that
    counts nothing we can read without mounting, `counter` is -1 and use cannot be excluded.
    """

    kind: str
    counter: int = -1  # ext2/3/4: mount count; btrfs: generation; xfs: end of the log
    time: int = 0  # ext2/3/4: last mount, seconds since the epoch


@dataclass(frozen=True)
class DiskMapping:
    """Which source disk went onto which target disk, by stable id.

    `content` is the fingerprint (`Content.fingerprint`) of what was copied. Without it only the
    disk that holds the marker itself is known again as ours.
    """

    source: str
    target: str
    content: str = ""


@dataclass(frozen=True)
class Change:
    """One thing that differs from a bit copy: a file (path from the copy's root) or a byte range.

    For a file `where` begins with "/"; for bytes it reads "disk ID bytes FIRST-LAST"; for what the
    board itself keeps it begins with "firmware ".
    """

    where: str
    what: str


@dataclass(frozen=True)
class CopyMarker:
    """The document itself, kept in the copy's root file system."""

    copy_id: str
    source: MachineReference
    target: MachineReference
    disks: tuple[DiskMapping, ...]
    finished_at: int  # seconds since the epoch, by the target's clock
    usage: Usage
    changes: tuple[Change, ...] = ()
    used: bool = False
    version: str = ""
    format: int = MARKER_FORMAT


def decode_marker(document: bytes) -> CopyMarker:
    """The marker of a copy. Raises DocumentError when it is damaged or of another format: then
    nothing is known of the copy, and it must never pass for an original."""
    marker = from_json(CopyMarker, document)
    if marker.format != MARKER_FORMAT:
        raise DocumentError(
            f"the marker of the copy has format {marker.format}, known is {MARKER_FORMAT}"
        )
    return marker
