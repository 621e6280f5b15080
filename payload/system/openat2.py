"""openat2(2), by which the kernel itself keeps a path below a directory.

Python 3.11 has no function for it, and the C library has none either (glibc 2.36).
"""

import ctypes
import errno
import os

_NUMBER = 437  # __NR_openat2, on every architecture (include/uapi/asm-generic/unistd.h)
# include/uapi/linux/openat2.h
_NO_MAGICLINKS = 0x02  # links of /proc, which lead to what a process has open
_NO_SYMLINKS = 0x04
_IN_ROOT = 0x10  # "/" and ".." mean the directory and go no further, in links too
_TRIES = 64  # the kernel says EAGAIN when something was renamed or mounted under ".." meanwhile

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_in_root(
    root: int, path: str, flags: int, mode: int = 0, *, follow_links: bool = True
) -> int:
    """Open `path` as a process would whose root is the directory `root` (a descriptor).

    Without `follow_links` a link anywhere in the path is an error (ELOOP). Returns a descriptor,
    which programs started from here do not inherit. Raises OSError.
    """
    name = os.fsencode(path.lstrip("/") or ".")
    if b"\0" in name:  # where C would end the path
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    resolve = _NO_MAGICLINKS | _IN_ROOT | (0 if follow_links else _NO_SYMLINKS)
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_TRIES):
        descriptor = int(
            _libc.syscall(
                ctypes.c_long(_NUMBER),
                ctypes.c_int(root),
                ctypes.c_char_p(name),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        )
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), path)
