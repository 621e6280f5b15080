"""Start a program whose rights as root end at a user namespace. Run as a file of its own:
`python3 -I own_ids.py PROGRAM ARGUMENT...`

bubblewrap maps a single id, and unshare(1) maps more only with a helper that asks /etc/subuid; but
what makes an initramfs gives files to other owners. So the ids of a system (0 to 65535) are mapped
here, each to itself: files keep their owners, and a capability in the namespace counts for nothing
outside of it (user_namespaces(7)). No further user namespace can be made inside.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # include/uapi/linux/sched.h
MAP = "0 0 65536\n"  # first id inside, first id outside, how many


def main(argv: list[str]) -> None:
    """Enter the namespace and become the program. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours, theirs = os.pipe()
    inside = os.getpid()
    mapper = os.fork()  # stays outside: only there may more than one's own id be mapped
    if not mapper:
        os._exit(_map_ids(inside, ours, theirs))
    os.close(ours)
    if libc.unshare(CLONE_NEWUSER):
        code = ctypes.get_errno()
        raise OSError(code, f"no user namespace can be made: {os.strerror(code)}")
    os.write(theirs, b"1")
    os.close(theirs)
    if os.waitpid(mapper, 0)[1]:
        raise PermissionError(1, "the ids of the user namespace cannot be mapped")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")  # that of this namespace alone
    os.execvp(argv[0], argv)  # noqa: S606  (no shell is wanted)


def _map_ids(process: int, ours: int, theirs: int) -> int:
    os.close(theirs)
    if not os.read(ours, 1):
        return 1  # it ended before
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{process}/{name}").write_text(MAP)
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
