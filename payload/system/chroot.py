"""Run programs of a mounted system as if it had been started, and let nothing of it stay or spread.

Every program gets namespaces of its own: its mounts, whatever it leaves running and its network are
gone with it, also when it is ended for taking too long. Of this machine it sees neither disks nor
files; /dev holds only what programs in general need, so that no tool of the copy can take a disk of
this machine for one of its own: /dev takes no further node, and elsewhere nodes do not work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.model.errors import ToolError
from payload.system.command import LAST_LINES, Completed, Run
from payload.system.files import read_inside

LIMIT = 1200.0  # seconds; an initramfs takes minutes on an old machine
_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net")
_SCRIPT = """
root=$1; kernel=$2; scratch=$3; shift 3
if [ "$scratch" ]; then
  mount -o remount,bind,ro,nosuid,nodev,exec "$root"
  mount --bind "$scratch" "$root/tmp"
  mount -o remount,bind,nosuid,nodev "$root/tmp"
fi
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -d "$root/run" ]; then mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"; fi
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  name=${node%%:*}; numbers=${node#*:}
  mknod -m 666 "$root/dev/$name" c "${numbers%:*}" "${numbers#*:}"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -o remount,bind,ro "$root/dev"
exec setarch "$kernel" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \\
  chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Chroot:
    """The system mounted at `root`; what runs in it is started by `run`.

    With `scratch` the system stays as it is, also where it was mounted only to be looked at: that
    directory of this machine is its /tmp, the only place that can be written to.
    """

    run: Run
    root: Path
    scratch: Path | None = None

    def __call__(self, argv: Sequence[str], *, timeout: float = LIMIT) -> Completed:
        """Run a program of the system, found on its own usual PATH. Raises ToolError when it is
        missing, takes longer than `timeout` seconds or fails."""
        machine = "i686" if is_32_bit(self.root) else "x86_64"
        where = [str(self.root), machine, str(self.scratch or "")]
        done = self.run(
            ["unshare", *_NAMESPACES, "sh", "-ec", _SCRIPT, "sh", *where, *argv],
            timeout=timeout,
            ok=tuple(range(256)),
        )
        if done.code:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            said = "; ".join(lines[-LAST_LINES:]) or "it said nothing"
            raise ToolError(f"The copy's own {argv[0]} failed with code {done.code}: {said}")
        return done


def is_32_bit(root: Path) -> bool:
    """Whether the programs of the system at `root` are of 32 bits, whatever its kernel."""
    try:
        return (read_inside(root, "/bin/sh") or b"")[:5] == b"\x7fELF\x01"
    except OSError:
        return False
