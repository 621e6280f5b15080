"""Mount file systems for a moment, at a private place, without changing them by looking.

Mounting "read-only" replays the journal of a file system that was not cleanly unmounted, which
writes to the disk. Each kind of file system has its own word against that.
"""

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from payload.formats.disk.superblocks import read_has_pending_journal
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
_MOUNT_FAILURE = 32  # mount(8) and umount(8): mount(2) or umount(2) failed, whatever the errno


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
        in use, or was written and is not closed: it is never left mounted in silence."""
        words = ",".join((*mount_options(kind, writable=writable), *options))
        place = at or Path(tempfile.mkdtemp(prefix="ugs-failover-"))
        try:
            argv = ["mount", "--types", kind, "--options", words, device, str(place)]
            self._patiently(argv, lambda: is_held(device))
            try:
                yield place
            finally:
                self._patiently(["umount", str(place)], place.is_mount)
            if writable:
                _wait_until_closed(device, kind)
        finally:
            if at is None and not place.is_mount():
                place.rmdir()

    def _patiently(self, argv: Sequence[str], is_busy: Callable[[], bool]) -> None:
        """udev, a file just closed, or a mount that another process inherited, may keep a file
        system busy for a moment. One that is not busy any more when it is asked gets one more try:
        it may have been let go of right after the failure."""
        last_try = False
        for _ in range(_TRIES - 1):
            try:
                self.run(argv)
            except ToolError as error:
                if error.code != _MOUNT_FAILURE or last_try:
                    raise
                if is_busy():
                    time.sleep(_PAUSE)
                else:
                    last_try = True
            else:
                return
        self.run(argv)


def _wait_until_closed(device: str, kind: str) -> None:
    """umount(8) succeeds also where the file system lives on in another namespace of mounts, and
    where its journal was aborted, since a disk failed (fs/ext4/super.c, ext4_put_super). Raises
    ToolError."""
    for _ in range(_TRIES - 1):
        if not read_has_pending_journal(device, kind):
            return
        time.sleep(_PAUSE)
    if read_has_pending_journal(device, kind):
        raise ToolError(
            f"{device} was unmounted, and its journal still holds what is not in its place: the"
            " file system is mounted by another program, too, or its disk did not take all that"
            f" was written. See `grep {device} /proc/*/mountinfo`, and replace a failing disk."
        )


def is_held(device: str) -> bool:
    """Has somebody mounted a block device, or opened it for himself alone? The kernel refuses
    O_EXCL without O_CREAT to anybody else then (block/bdev.c, bd_prepare_to_claim)."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def mount_options(kind: str, *, writable: bool) -> tuple[str, ...]:
    """What to tell mount(8) for a file system of this kind."""
    always = _ALWAYS.get(kind, ())
    return (
        ("rw", *_FOREIGN, *always) if writable else (*_LOOKING, *_NO_REPLAY.get(kind, ()), *always)
    )
