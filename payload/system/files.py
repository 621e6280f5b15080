"""Files of a system that is mounted somewhere else.

A mounted copy is full of absolute links ("/etc/alternatives/..", "/run/..") that mean its own
root. Followed by this machine's kernel they would lead into the live system; `inside` follows
them as the copy itself would. Files are replaced whole: a copy that loses power in the middle has
the old file or the new one, never half of one.
"""

import contextlib
import errno
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

_LINKS = 40  # as many as the kernel follows before it says ELOOP
_LARGEST = 16 << 20  # bytes; no configuration file is larger


def inside(root: Path, path: str) -> Path:
    """Where `path` of the system below `root` really lies; never outside of `root`.

    What does not exist is taken literally, so the place of a new file can be asked for. Raises
    OSError (ELOOP) when links go round in a circle.
    """
    waiting = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while waiting:
        word = waiting.pop()
        if word in ("", "."):
            continue
        if word == "..":
            del done[-1:]  # above the root is the root
            continue
        place = root.joinpath(*done, word)
        if not place.is_symlink():
            done.append(word)
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        leads = str(place.readlink())
        if leads.startswith("/"):
            done.clear()
        waiting += leads.split("/")[::-1]
    return root.joinpath(*done)


def read_inside(root: Path, path: str) -> bytes | None:
    """The content of a regular file of the system below `root`, None when there is none.

    Raises OSError when it is there and cannot be read, or is larger than any file asked for here.
    """
    with _opened_inside(root, path) as file:
        if file is None:
            return None
        if os.fstat(file.fileno()).st_size > _LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return file.read()


def digest_inside(root: Path, path: str) -> str | None:
    """The SHA-256 (hex) of a regular file of any size below `root`, None when there is none.

    Raises OSError when it is there and cannot be read.
    """
    with _opened_inside(root, path) as file:
        return None if file is None else hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _opened_inside(root: Path, path: str) -> Iterator[io.BufferedReader | None]:
    """A regular file, None for what is none or not there. Nothing else is opened: a FIFO waits, a
    socket or a device without its mount's leave fails, and a watchdog would begin to count."""
    place = inside(root, path)
    if not _is_regular(place):
        yield None
        return
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _is_regular(place: Path) -> bool:
    try:
        return stat.S_ISREG(place.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def replace_file(place: Path, content: bytes, mode: int = 0o644) -> None:
    """Put `content` at `place` by a temporary file, fsync and rename.

    A file that is there hands down its owner, mode, times and extended attributes; a new one gets
    `mode`. Raises OSError; the old file is then untouched.
    """
    temporary = place.with_name(f".{place.name}.failover~")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # left over by a run that lost power
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _inherit(place, temporary, mode)
            os.fsync(file.fileno())
        temporary.replace(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(place.parent)


def _inherit(place: Path, temporary: Path, mode: int) -> None:
    try:
        before = place.stat()
    except FileNotFoundError:
        temporary.chmod(mode)  # whatever the umask
        return
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(temporary, before.st_uid, before.st_gid)
    shutil.copystat(place, temporary)


def make_directories(root: Path, path: str, mode: int = 0o755) -> Path:
    """Create the directories of `path` below `root`, following the copy's own links."""
    place = root
    done = ""
    for word in path.strip("/").split("/"):
        done = f"{done}/{word}"
        place = inside(root, done)
        if not place.is_dir():
            place.mkdir(mode)
            place.chmod(mode)
            sync_directory(place.parent)
    return place


def sync_directory(place: Path) -> None:
    """Make names created or renamed in a directory durable."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
