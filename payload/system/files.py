"""Read a system that is mounted somewhere else, as it would see its own files.

A mounted copy is full of absolute links ("/etc/alternatives/..", "/run/..") that mean its own
root, and its users made some of them. Every path in it goes through `opened`, and there the kernel
keeps it below the copy's root (`system.openat2`): a link never leads into the live system. What is
changed in a copy goes the same way, in `system.edits`.
"""

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from payload.system.openat2 import open_in_root

_LARGEST = 16 << 20  # bytes; no configuration file is larger
_LINKS = 40  # as many as the kernel follows before it says ELOOP
_LONGEST_PATH = 4095  # PATH_MAX, include/uapi/linux/limits.h
ROOT, ROOT_GROUP = 0, 0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# What a name means that nothing can have.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class Place:
    """A file of the system mounted at `root`, by its path there."""

    root: Path
    path: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@contextlib.contextmanager
def opened(
    root: Path, path: str, flags: int, mode: int = 0, *, follow_links: bool = True
) -> Iterator[int]:
    """A descriptor of `path` of the system below `root`. Raises OSError."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_in_root(top, path, flags, mode, follow_links=follow_links)
    finally:
        os.close(top)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def status_inside(root: Path, path: str, *, follow: bool = True) -> os.stat_result | None:
    """What is at `path`, None when nothing is, or a link in a circle. Without `follow` a link at
    its end is told as such. Raises OSError."""
    flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
    try:
        with opened(root, path, flags) as descriptor:
            return os.fstat(descriptor)
    except OSError as error:
        if error.errno in (*_ABSENT, errno.ELOOP):
            return None
        raise


def is_file_inside(root: Path, path: str) -> bool:
    """Whether a regular file is at `path`, or where a link there leads. Raises OSError."""
    status = status_inside(root, path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_directory_inside(root: Path, path: str) -> bool:
    """Whether a directory is at `path`, or where a link there leads. Raises OSError."""
    status = status_inside(root, path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def size_inside(root: Path, path: str) -> int:
    """Bytes of a regular file, 0 when there is none. Raises OSError."""
    status = status_inside(root, path)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0


def names_inside(root: Path, path: str) -> list[str]:
    """The names in a directory, sorted; none when there is no such directory. Raises OSError."""
    if not is_directory_inside(root, path):
        return []
    with opened(root, path, _DIRECTORY) as descriptor:
        return sorted(os.listdir(descriptor))  # noqa: PTH208  (Path takes no descriptor)


def link_inside(root: Path, path: str) -> str | None:
    """Where the link at `path` leads, None when there is none. Raises OSError."""
    status = status_inside(root, path, follow=False)
    if status is None or not stat.S_ISLNK(status.st_mode):
        return None
    with opened(root, path, os.O_PATH | os.O_NOFOLLOW) as descriptor:
        return os.readlink("", dir_fd=descriptor)  # an empty name: the link that is open


def real_path(root: Path, path: str) -> str:
    """The path, from "/", without links in it. What is not there has the name it would have; so
    has what a link leads to that is not there. Raises OSError (ELOOP for links in a circle)."""
    links, absent = _LINKS, ""
    if len(path) > _LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path[:80])
    while (place := _existing_path(root, path)) is None:
        above, _, name = path.rstrip("/").rpartition("/")
        leads = link_inside(root, path)
        if leads is None:
            path, absent = above, f"/{name}{absent}"
        elif links:
            links -= 1
            path = leads if leads.startswith("/") else f"{above}/{leads}"
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return os.path.normpath(place.rstrip("/") + absent) if absent else place


def _existing_path(root: Path, path: str) -> str | None:
    """The same of what is there, as the kernel tells it; None when it is not."""
    try:
        with opened(root, "/", os.O_PATH) as top, opened(root, path, os.O_PATH) as descriptor:
            above, place = _name_of(top), _name_of(descriptor)
    except OSError as error:
        if error.errno in _ABSENT and path.strip("/"):
            return None
        raise
    return "/" + place.removeprefix(above.rstrip("/")).lstrip("/")


def _name_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def subtree(root: Path, path: str) -> Path | None:
    """A directory of the system as a tree of its own, or to mount something at; None when there is
    no such directory. Raises OSError."""
    return root.joinpath(real_path(root, path)[1:]) if is_directory_inside(root, path) else None


def is_roots_own(root: Path, path: str) -> bool:
    """Whether nobody but the system's own root could put there what is at `path`: the file and
    every directory above it belong to root, and others may not write to them. Raises OSError."""
    if status_inside(root, path) is None:
        return False
    real = PurePosixPath(real_path(root, path))
    statuses = [status_inside(root, str(place)) for place in (real, *real.parents)]
    return all(status is not None and _is_roots(status) for status in statuses)


def _is_roots(status: os.stat_result) -> bool:
    """Root's, and nobody else may write to it; the group of root is root's own."""
    others = stat.S_IWOTH if status.st_gid == ROOT_GROUP else stat.S_IWOTH | stat.S_IWGRP
    return status.st_uid == ROOT and not status.st_mode & others


@contextlib.contextmanager
def opened_file(root: Path, path: str) -> Iterator[io.BufferedReader | None]:
    """A regular file, None for what is none or not there. Nothing else is opened: a FIFO waits, a
    socket or a device without its mount's leave fails, and a watchdog would begin to count.
    Raises OSError."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(opened(root, path, os.O_PATH))
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            yield None
            return
        if not stat.S_ISREG(os.fstat(found).st_mode):
            yield None
            return
        # O_PATH looks at a file without opening it; this opens that very file.
        descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            yield file


def read_inside(root: Path, path: str) -> bytes | None:
    """The content of a regular file of the system below `root`, None when there is none.

    Raises OSError when it is there and cannot be read, or is larger than any file asked for here.
    """
    with opened_file(root, path) as file:
        if file is None:
            return None
        content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return content


def digest_inside(root: Path, path: str) -> str | None:
    """The SHA-256 (hex) of a regular file of any size below `root`, None when there is none.

    Raises OSError when it is there and cannot be read.
    """
    with opened_file(root, path) as file:
        return None if file is None else hashlib.file_digest(file, "sha256").hexdigest()
