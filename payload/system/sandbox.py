"""Run programs of a mounted system, which may be anybody's by now, where they can do no harm.

The sandbox is made by bubblewrap. The program is root of a user namespace and of nothing else, with
the few capabilities that making an initramfs takes. It sees the copied system, read-only, and the
devices null, zero, full, random and urandom: no other device, file system, process or network of
this machine. System calls that it does without are refused. It can write to one directory, its /tmp
and /var/tmp. Its memory, its processes, the size of each file, its output and its time are bounded,
and what it leaves running ends with it.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.model.errors import ToolError
from payload.system import own_ids
from payload.system.command import LAST_LINES, Run
from payload.system.control_groups import limited
from payload.system.files import is_directory_inside, read_inside, real_path
from payload.system.system_calls import filter_file

LIMIT = 1200.0  # seconds; an initramfs takes minutes on an old machine
PROCESSES = 1024
LARGEST_FILE = 1 << 30  # bytes
OUTPUT = 16 << 10  # bytes of what it says that are kept, the last ones
_SMALL = 16 << 20  # bytes of a file system in memory
_DEVICES = ("null", "zero", "full", "random", "urandom")
# To give files away, to pass over modes as root does, and for ldconfig -r.
_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETGID", "CAP_SETUID",
    "CAP_SYS_CHROOT",
)  # fmt: skip
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C",
    "DRACUT_NO_MKNOD": "1",  # it has no right to make nodes; kernels bring devtmpfs since 2.6.32
}
_FILTER = 9  # the descriptor by which it gets the filter of system calls; see _ENTER
_NAMESPACES = ("ipc", "pid", "net", "uts", "cgroup")  # the mounts are always apart
# Only the last of what it says is kept, however much that is.
_KEEP = """
keep=$1; shift
exec 3>&1
code=$({ { "$@" 3>&- 4>&- || code=$?; echo "${code:-0}" >&4; } 2>&1 | tail -c "$keep" >&3; } 4>&1)
exit "$code"
"""
# A system that is only looked at is mounted without programs.
_ENTER = """
root=$1; groups=$2; exec 9<"$3"; shift 3
for group in $groups; do echo $$ > "$group/cgroup.procs"; done
mount --rbind "$root" "$root"
mount -o remount,bind,rw,exec,nosuid,nodev "$root"
exec "$@"
"""


@dataclass(frozen=True)
class Sandbox:
    """The system mounted at `root`, whose programs may write to the directory `work` alone: their
    /tmp. What they leave there is theirs too: look with `system.files` only."""

    run: Run
    root: Path
    work: Path

    def __call__(self, argv: Sequence[str], *, timeout: float = LIMIT) -> str:
        """Run a program of the system, found on its own usual PATH, and return the last of what it
        said. Raises ToolError when it is missing, takes longer than `timeout` seconds or fails."""
        with limited(_memory(), PROCESSES) as groups, filter_file() as calls:
            done = self.run(
                [
                    "sh", "-ec", _KEEP, "sh", str(OUTPUT),
                    "unshare", "--mount", "--propagation", "private",
                    "sh", "-ec", _ENTER, "sh", str(self.root), " ".join(map(str, groups)),
                    str(calls), *self._limits(), sys.executable, "-I", own_ids.__file__,
                    *render_sandbox(self.root, self.work), "--", *argv,
                ],
                timeout=timeout,
                ok=tuple(range(256)),
            )  # fmt: skip
        if done.code:
            lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            said = "; ".join(lines[-LAST_LINES:]) or "it said nothing"
            raise ToolError(f"The copy's own {argv[0]} failed with code {done.code}: {said}")
        return done.stdout

    def _limits(self) -> tuple[str, ...]:
        machine = "i686" if is_32_bit(self.root) else "x86_64"
        return (
            "setarch", machine, "choom", "--adjust", "1000", "--",
            "prlimit", f"--fsize={LARGEST_FILE}", "--core=0",
        )  # fmt: skip


def _memory() -> int:
    """Bytes for all processes in it: half of this machine's."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def render_sandbox(root: Path, work: Path) -> list[str]:
    """The command of bubblewrap, up to the program. Raises OSError."""
    argv = ["bwrap", "--die-with-parent", "--new-session", "--clearenv", "--chdir", "/"]
    argv += [f"--unshare-{name}" for name in _NAMESPACES]
    argv += ["--seccomp", str(_FILTER), "--cap-drop", "ALL"]
    for capability in _CAPABILITIES:
        argv += ["--cap-add", capability]
    for name, value in _ENVIRONMENT.items():
        argv += ["--setenv", name, value]
    return [*argv, "--ro-bind", str(root), "/", *_mounts(root, work)]


def _mounts(root: Path, work: Path) -> Iterator[str]:
    """Only over directories that are there, and never through a link: the mounts are made before
    the root is that of the sandbox."""
    for path in ("/tmp", "/var/tmp"):  # noqa: S108  (the copy's)
        if place := _directory(root, path):
            yield from ("--bind", str(work), place)
    if place := _directory(root, "/run"):
        yield from ("--size", str(_SMALL), "--tmpfs", place)
    if place := _directory(root, "/proc"):
        # Files of /proc that belong to root are written by anybody with the id 0, without any
        # capability (fs/proc/proc_sysctl.c, test_perm).
        yield from ("--proc", place, "--remount-ro", place)
    if place := _directory(root, "/dev"):
        yield from ("--size", str(_SMALL), "--tmpfs", place)
        for name in _DEVICES:
            yield from ("--dev-bind", f"/dev/{name}", f"{place}/{name}")
        for name, leads in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            yield from ("--symlink", f"/proc/self/fd{leads}", f"{place}/{name}")
        yield from ("--perms", "1777", "--size", str(_SMALL), "--tmpfs", f"{place}/shm")
        yield from ("--remount-ro", place)


def _directory(root: Path, path: str) -> str:
    """Its path without links, "" when it is none."""
    return real_path(root, path) if is_directory_inside(root, path) else ""


def is_32_bit(root: Path) -> bool:
    """Whether the programs of the system at `root` are of 32 bits, whatever its kernel."""
    try:
        return (read_inside(root, "/bin/sh") or b"")[:5] == b"\x7fELF\x01"
    except OSError:
        return False
