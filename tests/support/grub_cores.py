"""GRUB 2's core.img as grub-mkimage joins it, without its code."""

import lzma
import struct

from payload.formats.boot.grub_core import CONFIG, PREFIX

SECTOR = 512
FILTERS = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}]


def diskboot(*blocks: tuple[int, int]) -> bytes:
    """The first sector of core.img: lists what follows from its end downwards."""
    head = bytearray(b"\x52".ljust(SECTOR, b"\0"))
    for number, (start, count) in enumerate(blocks):
        struct.pack_into("<QHH", head, SECTOR - 12 * (number + 1), start, count, 0x820)
    return bytes(head)


def objects(*texts: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<II", kind, 8 + len(text)) + text for kind, text in texts)


def rest_of_core(prefix: str, config: str = "", decompressor: int = 0x240) -> bytes:
    """What follows diskboot.img: sizes, the decompressor, kernel and objects as raw LZMA."""
    area = objects((0, b"\x7fELF" * 9), (CONFIG, config.encode() + b"\0\0"))
    area += objects((PREFIX, prefix.encode() + b"\0"))
    kernel = b"kernel" * 50 + b"mimg" + struct.pack("<II", 12, 12 + len(area)) + area
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=FILTERS)
    packed = compressor.compress(kernel) + compressor.flush()
    head = bytes(8) + struct.pack("<II", len(packed), len(kernel))
    whole = head.ljust(decompressor, b"\xcc") + packed
    return whole + bytes(-len(whole) % SECTOR)


def core(rest: bytes, first: int = 1) -> tuple[int, bytes]:
    return first * SECTOR, diskboot((first + 1, len(rest) // SECTOR)) + rest
