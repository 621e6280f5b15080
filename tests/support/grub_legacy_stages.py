"""The stages of GRUB legacy 0.97, as its shell leaves them, without their code."""

import struct

SECTOR = 512
EMBEDDED, LOADED = 0x2000, 0x8000  # where stage 1 puts a stage 1.5, a stage 2


def stage1(first: int, address: int = EMBEDDED) -> tuple[tuple[int, bytes], ...]:
    """Stage 1 in sector 0, whose next stage is in sector `first`."""
    return (
        (0, b"\xeb\x48\x90"),
        (0x3E, b"\x03\x02\xff\x00" + struct.pack("<HI", address, first)),
        (0x17F, b"GRUB \0Geom\0Hard Disk\0Floppy\0 Error\0"),
    )


def stage1_5(directory: bytes, partition: int = 1, drive: int = 0xFF) -> tuple[int, bytes]:
    """A stage 1.5 of three sectors in the gap."""
    device = struct.pack("<I", drive << 24 | partition - 1 << 16 | 0xFFFF)
    paths = directory + b"/stage2 " + directory + b"/menu.lst\0"
    return SECTOR, _stage(2, 2, 0x00FFFFFF, device + paths)


def stage2(menu: bytes, first: int = 0, partition: int = 0) -> bytes:
    """A stage 2 of three sectors; with a list of blocks if it is installed from `first` on."""
    place = partition - 1 << 16 | 0xFFFF if partition else 0x00FFFFFF
    return _stage(first + 1 if first else 0, 2, place, menu + b"\0")


def _stage(second: int, count: int, place: int, told: bytes) -> bytes:
    blocks = struct.pack("<IHH", second, count if second else 0, 0x220)
    head = bytes(SECTOR - 8) + blocks
    body = b"\xeap\x22\0\0\0\x03\x02" + struct.pack("<I", place) + bytes(6) + b"0.97\0" + told
    return head + body.ljust(SECTOR, b"\0") + b"\xf4" * SECTOR
