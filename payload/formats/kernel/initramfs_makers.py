"""The programs in a system that make its initramfs anew."""

from pathlib import Path

from payload.formats.kernel.initramfs import Contents
from payload.system.files import is_file_inside, is_roots_own

INITRAMFS_TOOLS = "initramfs-tools"
DRACUT = "dracut"

# What only an image of that maker holds, and where its program lies.
_MAKERS = {
    INITRAMFS_TOOLS: ("conf/initramfs.conf", ("/usr/sbin/mkinitramfs", "/sbin/mkinitramfs")),
    DRACUT: ("lib/dracut/build-parameter.txt", ("/usr/bin/dracut", "/sbin/dracut")),
}


def find_maker(root: Path, contents: Contents) -> str:
    """Who made an image of the system at `root` and can make it anew; "" when none can. An image
    that does not tell was made by the only maker that is installed."""
    installed = [name for name, (_, programs) in _MAKERS.items() if _program(root, programs)]
    signed = [name for name in installed if _is_in(_MAKERS[name][0], contents)]
    if signed:
        return signed[0]
    return installed[0] if len(installed) == 1 else ""


def program_of(root: Path, maker: str) -> str:
    """The path of that maker's program in the system at `root`, "" when it is not there."""
    return _program(root, _MAKERS[maker][1])


def _program(root: Path, programs: tuple[str, ...]) -> str:
    """The first that is there, and that nobody but root can have put there."""
    for path in programs:
        if is_file_inside(root, path) and is_roots_own(root, path):
            return path
    return ""


def _is_in(sign: str, contents: Contents) -> bool:
    return sign in contents.paths or f"usr/{sign}" in contents.paths
