"""How a mounted system starts: its kernels, the one that its menu chooses, and its initramfs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.formats.boot.menu_files import Start, find_start
from payload.formats.kernel.initramfs import Contents, InitramfsError, read_initramfs
from payload.formats.kernel.initramfs_makers import find_maker
from payload.formats.kernel.kernel_modules import Kernel, read_kernels

_KEPT = ("etc/udev/rules.d/", "etc/systemd/network/", "cryptroot/", "conf/")


@dataclass(frozen=True)
class Startup:
    """`kernel` is the one that starts by itself, by `start`; `contents` is what its initramfs
    holds, None when it has none or, as `unknown` tells, it cannot be read."""

    kernels: tuple[Kernel, ...] = ()
    start: Start | None = None
    contents: Contents | None = None
    unknown: str = ""
    maker: str = ""  # who can make the initramfs anew (`initramfs_makers`)

    @property
    def kernel(self) -> Kernel | None:
        wanted = self.start.version if self.start else ""
        return next((kernel for kernel in self.kernels if kernel.version == wanted), None)

    @property
    def held(self) -> frozenset[str] | None:
        """The modules at hand before the root file system is: None when that is not known."""
        if self.start is None or self.unknown:
            return None
        return self.contents.modules if self.contents else frozenset()


def read_startup(trees: Sequence[Path]) -> Startup:
    """How the system starts whose root is mounted at the first of `trees`; a /boot that is a file
    system of its own may be the second. Raises OSError."""
    kernels = read_kernels(trees)
    start = find_start(trees, [kernel.version for kernel in kernels])
    if start is None or start.image is None:
        return Startup(kernels, start)
    try:
        contents = read_initramfs(start.image, lambda path: path.startswith(_KEPT))
    except (InitramfsError, OSError) as error:
        return Startup(kernels, start, unknown=str(error))
    return Startup(kernels, start, contents, maker=find_maker(trees[0], contents))
