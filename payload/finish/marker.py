"""Write the marker by which a copy is recognised, and record its file system's last use in it.

The marker says how often the root file system had been mounted when we were done. Writing that
down is itself a mount, so the figure has to be the one that holds *after* we let go. ext counts
at the mount: what stands in the superblock while we write is right. btrfs counts commits, the
last of them at our own unmount: the figure is foretold, compared after the unmount, and if wrong
foretold again by what was learned. A file system that counts nothing gets -1: its use can never
be excluded.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from payload.formats.disk.superblocks import read_usage
from payload.model.codec import to_pretty_json
from payload.model.errors import AdaptError
from payload.model.marker import MARKER_PATH, Change, CopyMarker, Usage
from payload.system.edits import make_directories, replace_file
from payload.system.host import Mounts

_TRIES = 5


def write_marker(root: Path, marker: CopyMarker, path: str = MARKER_PATH) -> Change:
    """Put the marker into the tree at `root`, readable for its owner alone. Raises AdaptError."""
    try:
        make_directories(root, str(Path(path).parent))
        replace_file(root, path, to_pretty_json(marker), 0o600)
    except OSError as error:
        raise AdaptError(
            f"The marker {path} could not be written to the copy: {error.strerror}. The data is"
            " there, but without its marker the copy would be taken for a server. See whether"
            " its root file system is full, then start again."
        ) from error
    return Change(f"/{path}", "the marker of this copy")


def record_marker(
    mounts: Mounts, device: str, kind: str, marker: CopyMarker, options: Sequence[str] = ()
) -> CopyMarker:
    """Mount the root file system on `device` with `options`, write the marker, unmount: what it
    says of the last use is then what its superblock says. Returns the marker as written.

    Raises AdaptError or ToolError.
    """
    step = 0
    for _ in range(_TRIES):
        with mounts.mount(device, kind, writable=True, options=options) as root:
            usage = read_usage(device, kind)
            foretold = replace(usage, counter=usage.counter + step) if usage.counter >= 0 else usage
            written = replace(marker, usage=foretold)
            write_marker(root, written)
        after = read_usage(device, kind)
        if after == foretold:
            return written
        step = after.counter - usage.counter
    unknown = replace(marker, usage=Usage(kind))
    with mounts.mount(device, kind, writable=True, options=options) as root:
        write_marker(root, unknown)
    return unknown
