"""Open, flush and look into one device or image file: what is the same for both.

All positions and sizes are bytes.
"""

import ctypes
import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from payload.model.errors import TargetDiskError, ToolError
from payload.system.command import Run

_BLKROSET, _BLKROGET, _BLKFLSBUF = 0x125D, 0x125E, 0x1261
_BLKDISCARD = 0x1277
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
_DETACH_WAIT = 10.0  # seconds; udev may have a loop device open for a moment


def open_to_read(node: str) -> int:
    """A descriptor past the page cache where the device allows it. Raises OSError."""
    return _open(node, os.O_RDONLY)


def open_to_write(node: str) -> int:
    """The same for reading and writing, alone: O_EXCL makes the kernel refuse a device that
    anything mounts, swaps on or holds. Raises TargetDiskError."""
    try:
        return _open(node, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise TargetDiskError(
            f"{node} could not be opened for writing: {error.strerror}. See what uses the disk."
        ) from error


def _open(node: str, flags: int) -> int:
    flags |= os.O_CLOEXEC
    try:
        return os.open(node, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:  # tmpfs before Linux 6.6, overlays, FUSE
            raise
    return os.open(node, flags)


def set_read_only(node: str, wanted: bool) -> None:
    """Set or lift the kernel's write block, and see that it took. Raises TargetDiskError."""
    word = "read-only" if wanted else "writable"
    try:
        descriptor = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _BLKROSET, struct.pack("i", wanted))
            answer = fcntl.ioctl(descriptor, _BLKROGET, struct.pack("i", not wanted))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TargetDiskError(f"{node} could not be made {word}: {error.strerror}.") from error
    if bool(struct.unpack("i", answer)[0]) is not wanted:
        raise TargetDiskError(f"{node} could not be made {word}: the kernel did not obey.")


def drop_cache(node: str) -> None:
    """Flush to the medium and forget what the kernel has cached. Raises TargetDiskError."""
    try:
        descriptor = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        try:
            flush(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TargetDiskError(
            f"{node} did not keep what was written to it: {error.strerror}. Replace the disk."
        ) from error


def discard(descriptor: int, start: int, size: int) -> None:
    """Tell the device that nobody needs these bytes. They may read as anything afterwards.
    Raises OSError."""
    if stat.S_ISBLK(os.fstat(descriptor).st_mode):
        fcntl.ioctl(descriptor, _BLKDISCARD, struct.pack("QQ", start, size))
    else:
        zero(descriptor, start, size)


def zero(descriptor: int, start: int, size: int) -> None:
    """Make these bytes zeros without sending any, and give back their blocks where the device
    can. Raises OSError, also when it knows no such way: nothing is said of the bytes then."""
    # Of a device the kernel asks for "write zeroes" here, which unlike a discard is a promise.
    place = (ctypes.c_int64(start), ctypes.c_int64(size))
    if _LIBC.fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, *place):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_LIBC = ctypes.CDLL(None, use_errno=True)


def flush(descriptor: int) -> None:
    """Write what is cached to the medium, and forget it. Raises OSError."""
    os.fsync(descriptor)
    if stat.S_ISBLK(os.fstat(descriptor).st_mode):
        fcntl.ioctl(descriptor, _BLKFLSBUF, 0)
    else:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def view(run: Run, node: str, start: int, size: int, *, writable: bool = False) -> Iterator[str]:
    """A loop device that is exactly these bytes of `node`, gone again at the end.

    Raises ToolError when it cannot be made, or reaches behind the end of the disk.
    """
    mode = [] if writable else ["--read-only"]
    place = ["--offset", str(start), "--sizelimit", str(size)]
    device = run(["losetup", "--find", "--show", *mode, *place, node]).stdout.strip()
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        run(["losetup", "--detach", device])
        raise ToolError(f"The view {device} of {node} vanished: {error.strerror}.") from error
    try:
        # From now on it is ours: the kernel frees it when the last who has it open lets go, be
        # it that this process was killed.
        run(["losetup", "--detach", device])
        _check_size(descriptor, node, start, size)
        loop = Path("/sys/block", Path(device).name, "loop")
        ours = _backing(loop)
        yield device
        if writable:
            flush(descriptor)
    finally:
        os.close(descriptor)
    if writable:
        _wait_for_end(device, node, loop, ours)
        drop_cache(node)


def _check_size(descriptor: int, node: str, start: int, size: int) -> None:
    seen = os.lseek(descriptor, 0, os.SEEK_END)
    if seen != size:
        raise ToolError(
            f"Bytes {start} to {start + size} of {node} could not be looked at: only {seen} of"
            f" {size} bytes are there. Does the partition table reach behind the end of the disk?"
        )


def _wait_for_end(device: str, node: str, loop: Path, ours: tuple[str, str]) -> None:
    """A writable view that somebody keeps open could still write behind our back, as a file system
    does that is mounted in another namespace. Another view may have the same device by now."""
    deadline = time.monotonic() + _DETACH_WAIT
    while _backing(loop) == ours:
        if time.monotonic() > deadline:
            raise ToolError(
                f"The view {device} of {node} is still held open by another program after"
                f" {_DETACH_WAIT:g} seconds. See `fuser {device}`."
            )
        time.sleep(0.02)


def _backing(loop: Path) -> tuple[str, str]:
    try:
        file = loop.joinpath("backing_file").read_text().rstrip("\n")
        return file, loop.joinpath("offset").read_text().strip()
    except OSError:
        return "", ""
