"""The stages of GRUB legacy 0.97: stage 1 in the boot sector, stage 1.5 in the gap, stage 2 a file.

Stage 1 knows one sector. There stands either a stage 1.5, which reads the file system and opens
stage 2 by its path, or the beginning of stage 2 itself, with a list of the sectors of the rest:
that one leads nowhere as soon as the file is written anew or its file system moved. Where the menu
is, only stage 2 knows.
"""

import re
import struct
from dataclasses import dataclass

from payload.formats.boot.boot_sector import GRUB_LEGACY, BootCode, ReadDisk
from payload.model.disk import SECTOR
from payload.model.errors import LoaderError

_VERSION = b"\x03\x02"  # of what the stages hand each other
_STAGE1_VERSION = 0x3E  # in stage 1
_STAGE1_ADDRESS = 0x42  # where it loads the next stage to, then that one's sector
_STAGE1_5_ADDRESS = 0x2000
_LIST_END = SECTOR - 8  # in the next stage's first sector: (start, count, segment) downwards
_STAGE2_LIMIT = 1 << 20  # bytes; stage 2 has about 120,000
_THIS_DISK = (0x80, 0xFF)  # BIOS drives: the first one, and the one stage 1 was started from
_NO_PARTITION = 0xFF


@dataclass(frozen=True)
class Stage:
    """The head of a stage 1.5 or stage 2: the path of the file it opens, in which partition (from
    1; None: not told), and whether that is on another disk than stage 1. `named`: that stands
    with the path, else it is where stage 2 itself was installed."""

    path: str
    number: int | None
    elsewhere: bool
    named: bool


def is_stage1(sector: bytes) -> bool:
    return sector[_STAGE1_VERSION : _STAGE1_VERSION + 2] == _VERSION and b"GRUB" in sector


def read_grub_legacy(read: ReadDisk, sector: bytes, name: str) -> BootCode:
    """What stage 1 in `sector` leads to. Raises LoaderError when that is not where it says."""
    address, first = struct.unpack_from("<HI", sector, _STAGE1_ADDRESS)
    image = _read_stage(read, first, name)
    stage = parse_stage(image, is_stage1_5=address == _STAGE1_5_ADDRESS)
    if address == _STAGE1_5_ADDRESS:
        if stage is None or not stage.path.endswith("/stage2"):
            raise LoaderError(
                f"GRUB legacy on {name} expects its stage 1.5 in sector {first}, where it is not."
                " Start both machines again for a new copy."
            )
        directory = stage.path.removesuffix("/stage2")
        check = f"GRUB legacy on {name} has its stage 1.5 in the gap, which opens {stage.path}"
        return BootCode(
            GRUB_LEGACY, (check,), directory, stage.number, elsewhere=stage.elsewhere,
            stage2=stage.path,
        )  # fmt: skip
    if stage is None:
        raise LoaderError(
            f"GRUB legacy on {name} looks for its stage 2 in sector {first}, where it is not. Boot"
            " the copy from a rescue medium and install GRUB in it, or start both machines again"
            " for a new copy."
        )
    directory = stage.path.rpartition("/")[0]
    check = f"GRUB legacy on {name} finds stage 2 in sector {first}, by list of blocks"
    return BootCode(
        GRUB_LEGACY, (check,), directory, stage.number, elsewhere=stage.elsewhere, image=image
    )


def _read_stage(read: ReadDisk, first: int, name: str) -> bytes:
    head = read(first * SECTOR, SECTOR)
    image = head
    for start, count in _block_list(head):
        part = read(start * SECTOR, count * SECTOR)
        if len(part) < count * SECTOR or len(image) > _STAGE2_LIMIT:
            raise LoaderError(
                f"GRUB legacy on {name} expects a stage in sectors {start} to {start + count - 1},"
                " which are not there. Start both machines again for a new copy."
            )
        image += part
    return image


def _block_list(head: bytes) -> list[tuple[int, int]]:
    """(first sector, number of sectors) of what follows the first sector of a stage."""
    blocks = []
    for at in range(_LIST_END, 0x100, -8) if len(head) == SECTOR else ():
        start, count = struct.unpack_from("<IH", head, at)
        if count == 0:
            break
        blocks.append((start, count))
    return blocks


def parse_stage(image: bytes, *, is_stage1_5: bool) -> Stage | None:
    """What stands in the second sector of a stage; None when it is none."""
    head = image[SECTOR : 2 * SECTOR]
    found = re.compile(rb"0\.\d+[\x21-\x7e]{0,12}\0").match(head, 0x12)
    if head[6:8] != _VERSION or found is None:
        return None
    at = found.end() + 4 * is_stage1_5  # a stage 1.5 has the device before the path
    text = head[at:].split(b"\0")[0].decode("ascii", "replace")
    device, path = _split(text.split(" ")[0])
    if not path.startswith("/"):
        return None
    if device is not None:
        return Stage(path, device[1] + 1, device[0] > 0, named=True)
    (place,) = struct.unpack_from("<I", head, found.end() if is_stage1_5 else 8)
    drive, number = place >> 24, place >> 16 & 0xFF
    # The drive of stage 2 itself is not told: it is the one it was started from.
    elsewhere = is_stage1_5 and drive not in _THIS_DISK
    told = None if number == _NO_PARTITION else number + 1
    return Stage(path, told, elsewhere, named=is_stage1_5)


def _split(text: str) -> tuple[tuple[int, int] | None, str]:
    """(disk, partition), both from 0, and path of "(hd0,1)/grub/menu.lst"."""
    found = re.fullmatch(r"\(hd(\d{1,3}),(\d{1,3})[^)]*\)(.*)", text)
    return ((int(found[1]), int(found[2])), found[3]) if found else (None, text)
