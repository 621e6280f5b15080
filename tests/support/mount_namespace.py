"""Mounts that no other test run sees, and that end when they are taken away."""

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from payload.system.command import run

_CLONE_NEWNS = 0x00020000


def leave_common_mounts() -> None:
    """Give this thread, and all it starts, mounts of their own. Root only.

    A machine in a network namespace begins with a copy of all mounts. Where mounts are private, a
    file system that a test has mounted for a moment lives on in that copy when the test unmounts
    it, is not written out, and keeps its disk busy. Here such copies follow what happens.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    run(["mount", "--make-rprivate", "/"])
    run(["mount", "--make-rshared", "/"])
    # What another run had mounted at this moment would otherwise live on here.
    script = r"""awk '$2 ~ "/ugs-(failover|look)-" { print $2 }' /proc/self/mounts |
        xargs -r -n1 umount 2>/dev/null || :"""
    run(["sh", "-c", script])


@contextmanager
def other_mounts() -> Iterator[subprocess.Popen[str]]:
    """A process that has all of today's mounts for itself: unmounting here leaves them there."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 600"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "\n"
        try:
            yield holder
        finally:
            holder.kill()
