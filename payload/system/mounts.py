"""Mount file systems for a moment, at a private place, without changing them by looking.

Mounting "read-only" replays the journal of a file system that was not cleanly unmounted, which
writes to the disk. Each kind of file system has its own word against that.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from payload.model.errors import ToolError
from payload.system.command import Run, run

_NO_REPLAY = {
    "ext3": ("noload",),
    "ext4": ("noload",),
    "xfs": ("norecovery",),
    "btrfs": ("rescue=nologreplay",),
}
# A copy has its original's uuid; both may be mounted here at the same time.
_ALWAYS = {"xfs": ("nouuid",)}
_FOREIGN = ("nodev", "nosuid")  # its device nodes would be those of this machine
_LOOKING = ("ro", *_FOREIGN, "noexec")
_TRIES = 20
_PAUSE = 0.25  # seconds between two tries


@dataclass(frozen=True)
class LinuxMounts:
    """`Mounts` by mount(8)."""

    run: Run = run

    @contextmanager
    def mount(
        self,
        device: str,
        kind: str,
        *,
        writable: bool = False,
        options: Sequence[str] = (),
        at: Path | None = None,
    ) -> Iterator[Path]:
        """Mount, and unmount again at the end. Raises ToolError, also when the file system stays
        in use: it is never left mounted in silence."""
        words = ",".join((*mount_options(kind, writable=writable), *options))
        place = at or Path(tempfile.mkdtemp(prefix="ugs-failover-"))
        try:
            self._patiently("mount", "--types", kind, "--options", words, device, str(place))
            try:
                yield place
            finally:
                self._patiently("umount", str(place))
        finally:
            if at is None and not place.is_mount():
                place.rmdir()

    def _patiently(self, *argv: str) -> None:
        """udev, a file just closed, or a mount that another process inherited, may keep a file
        system busy for a moment."""
        for _ in range(_TRIES - 1):
            try:
                self.run(argv)
            except ToolError as error:
                if "busy" not in str(error):
                    raise
                time.sleep(_PAUSE)
            else:
                return
        self.run(argv)


def mount_options(kind: str, *, writable: bool) -> tuple[str, ...]:
    """What to tell mount(8) for a file system of this kind."""
    always = _ALWAYS.get(kind, ())
    return (
        ("rw", *_FOREIGN, *always) if writable else (*_LOOKING, *_NO_REPLAY.get(kind, ()), *always)
    )
