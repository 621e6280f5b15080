"""What a boot sector tells its reader: which loader, and where that looks for its next stage."""

from collections.abc import Callable
from dataclasses import dataclass

ReadDisk = Callable[[int, int], bytes]  # offset, length -> bytes, fewer at the end of the disk

BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"

GRUB_2 = "GRUB 2"
GRUB_LEGACY = "GRUB legacy"
LILO = "LILO"
EXTLINUX = "extlinux"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class BootCode:
    """`directory` is where the loader looks for its menu ("" when it does not tell), on the file
    system with `uuid` or the logical volume or array `device` ("lvm/vg-root", "mduuid/.."), else in
    partition `number` (None: it searches or does not tell) of the disk it is on, or of another
    one (`elsewhere`).
    """

    loader: str
    checks: tuple[str, ...]
    directory: str = ""
    number: int | None = None
    uuid: str = ""
    device: str = ""
    elsewhere: bool = False
    stage2: str = ""  # GRUB legacy: the file its stage 1.5 opens
    image: bytes = b""  # GRUB legacy: stage 2 as its list of blocks reads it
