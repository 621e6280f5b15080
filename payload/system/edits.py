"""Change files of a system that is mounted somewhere else.

A path is followed as that system itself would follow it, and never out of it. Nothing is removed
through a link: of a link at the end of a path the link goes, not what it leads to. Files are
replaced whole: a copy that loses power in the middle has the old file or the new one, never half
of one.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from errno import EFBIG, ENOENT, EPERM
from pathlib import Path, PurePosixPath

from payload.system.files import (
    is_directory_inside,
    is_roots_own,
    link_inside,
    opened,
    opened_file,
    real_path,
    status_inside,
    subtree,
)

_STEP = 1 << 20  # bytes at a time
_PLACES = ("/var/lib", "/etc", "/")  # for what is wanted for a while; the first has most room


@contextlib.contextmanager
def _directory(root: Path, path: str) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY
    with opened(root, path, flags) as descriptor:
        yield descriptor


def _split(path: str) -> tuple[str, str]:
    place = PurePosixPath("/", path)
    return str(place.parent), place.name


def replace_file(root: Path, path: str, content: bytes, mode: int = 0o644) -> str:
    """Put `content` at `path`, or where a link there leads, by a temporary file, fsync and rename.

    A file that is there hands down its owner, mode, times and extended attributes; a new one gets
    `mode`, and takes the place of a link that leads to nothing. Returns its path without links.
    Raises OSError; the old file is then untouched.
    """
    real = real_path(root, path)
    above, name = _split(real)
    temporary = f".{name}.failover~"
    with _directory(root, above) as directory:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)  # left over by a run that lost power
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                _inherit(root, real, file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        os.fsync(directory)
    return real


def _inherit(root: Path, before: str, descriptor: int, mode: int) -> None:
    if status_inside(root, before) is None:
        os.fchmod(descriptor, mode)  # whatever the umask
        return
    with opened(root, before, os.O_PATH, follow_links=False) as old:
        status = os.fstat(old)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        shutil.copystat(f"/proc/self/fd/{old}", f"/proc/self/fd/{descriptor}")


def make_directories(root: Path, path: str, mode: int = 0o755) -> str:
    """Create the directories of `path`, also where links lead that so far lead to nothing. Returns
    the path without links. Raises OSError."""
    real = PurePosixPath(real_path(root, path))
    for place in (*reversed(real.parents), real):
        if not is_directory_inside(root, str(place)):
            with _directory(root, str(place.parent)) as directory:
                os.mkdir(place.name, mode, dir_fd=directory)
                os.chmod(place.name, mode, dir_fd=directory)  # whatever the umask
                os.fsync(directory)
    return str(real)


def remove_file(root: Path, path: str) -> bool:
    """Remove a file or a link, not what it leads to. False when there was none. Raises OSError."""
    above, name = _split(path)
    if status_inside(root, path, follow=False) is None:
        return False
    with _directory(root, above) as directory:
        os.unlink(name, dir_fd=directory)
        os.fsync(directory)
    return True


def remove_link(root: Path, path: str) -> bool:
    """The same if it is a link; False when it is none."""
    return link_inside(root, path) is not None and remove_file(root, path)


def make_link(root: Path, path: str, leads: str) -> None:
    """A link in a directory that is there. Raises OSError."""
    above, name = _split(path)
    with _directory(root, above) as directory:
        os.symlink(leads, name, dir_fd=directory)
        os.fsync(directory)


@contextlib.contextmanager
def private_directory(root: Path) -> Iterator[str]:
    """An empty directory for root alone, under a name that nobody could foresee, in a directory to
    which nobody else may write. Gone afterwards. Raises OSError."""
    above = next((place for place in _PLACES if is_roots_own(root, place)), None)
    if above is None:
        reason = "Its root directory belongs to somebody else than root, or others may write to it"
        raise PermissionError(EPERM, reason, "/")
    name = f"ugs-failover-{secrets.token_hex(8)}"
    with _directory(root, above) as directory:
        os.mkdir(name, 0o700, dir_fd=directory)
        try:
            yield str(PurePosixPath(above, name))
        finally:
            shutil.rmtree(name, dir_fd=directory)  # opens each directory without following links


def rename(root: Path, path: str, new: str) -> None:
    """Move a file over another one, both without links in their paths. Raises OSError."""
    (above, name), (new_above, new_name) = _split(path), _split(new)
    with _directory(root, above) as old_place, _directory(root, new_above) as new_place:
        os.rename(name, new_name, src_dir_fd=old_place, dst_dir_fd=new_place)
        os.fsync(new_place)


def copy_tree(root: Path, path: str, new: str) -> None:
    """A directory with all that is in it, links as links; nothing where there is no directory.
    `new` must not exist. Raises OSError."""
    source = subtree(root, path)
    if source is not None:
        above = make_directories(root, str(PurePosixPath(new).parent))
        place = root.joinpath(above[1:], PurePosixPath(new).name)
        shutil.copytree(source, place, symlinks=True)  # both paths are without links


def copy_file(root: Path, path: str, new: str, *, like: str, limit: int) -> str:
    """Copy a regular file of at most `limit` bytes to a new one, give that the mode of the file
    `like`, and see it on its disk. Returns its SHA-1 (hex). Raises OSError."""
    above, name = _split(new)
    digest = hashlib.sha1(usedforsecurity=False)
    with opened_file(root, path) as source, _directory(root, above) as directory:
        if source is None:
            raise FileNotFoundError(ENOENT, "Not a regular file", path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
            while piece := source.read(_STEP):
                limit -= len(piece)
                if limit < 0:
                    raise OSError(EFBIG, os.strerror(EFBIG), path)
                digest.update(piece)
                file.write(piece)
            file.flush()
            status = status_inside(root, like)
            if status is not None:
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
            os.fsync(file.fileno())
    return digest.hexdigest()
