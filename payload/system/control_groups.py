"""Bound the memory and the processes of what is started, by the kernel's control groups.

Limits of a process (setrlimit) do not do: the kernel exempts root from that on processes
(kernel/fork.c, copy_process), and each process has a memory limit of its own.
"""

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from payload.model.errors import ToolError

ROOT = Path("/sys/fs/cgroup")
_PATIENCE = 10.0  # seconds until the last process of a group that was ended is gone
_PAUSE = 0.05  # seconds


@contextlib.contextmanager
def limited(memory: int, processes: int) -> Iterator[tuple[Path, ...]]:
    """Directories of a new control group: what is written into their `cgroup.procs` has at most so
    many bytes and processes together. At the end all of them are ended. Raises ToolError."""
    name = f"ugs-failover-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        try:
            groups = tuple(_make(name, memory, processes, stack))
        except OSError as error:
            raise ToolError(
                "The programs of the copied system can only be run within limits, and this system"
                f" has no control groups for that: {error}."
            ) from error
        yield groups


def _make(name: str, memory: int, processes: int, stack: contextlib.ExitStack) -> Iterator[Path]:
    # Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst and pids.rst
    if (ROOT / "cgroup.controllers").exists():
        (ROOT / "cgroup.subtree_control").write_text("+memory +pids")
        limits = {"memory.max": memory, "pids.max": processes, "memory.swap.max": 0}
        yield _group(ROOT / name, limits, stack)
        return
    yield _group(ROOT / "memory" / name, {"memory.limit_in_bytes": memory}, stack)
    yield _group(ROOT / "pids" / name, {"pids.max": processes}, stack)


def _group(place: Path, limits: dict[str, int], stack: contextlib.ExitStack) -> Path:
    place.mkdir()
    stack.callback(_remove, place)
    for name, value in limits.items():
        # A kernel without swap has no limit for it.
        if name != "memory.swap.max" or (place / name).exists():
            (place / name).write_text(str(value))
    return place


def _remove(place: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        for process in (place / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        try:
            place.rmdir()
        except OSError as error:
            if time.monotonic() > end:
                raise ToolError(
                    f"What the copy's own programs left running does not end ({place}: {error})."
                ) from error
            time.sleep(_PAUSE)
        else:
            return
