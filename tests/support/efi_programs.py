"""EFI programs without their code: what a reader goes by."""

import struct


def shim(second_stage: str = "grubx64.efi") -> bytes:
    names = ("\\EFI\\BOOT\\fbx64.efi", "\\mmx64.efi", f"\\\\{second_stage}")
    return b"MZ" + bytes(6) + b"".join(name.encode("utf-16-le") + b"\0\0" for name in names)


def grub(prefix: str, config: str = "") -> bytes:
    """As grub-mkimage joins it: a head with offset and size, objects with kind and length."""
    area = b"".join(
        struct.pack("<II", kind, 8 + len(text)) + text
        for kind, text in ((0, b"\x7fELF" + bytes(60)), (2, _text(config)), (3, _text(prefix)))
        if text.strip(b"\0")
    )
    head = b"mimg" + struct.pack("<4xQQ", 24, 24 + len(area))
    return b"MZ mimg" + bytes(64) + head + area + bytes(512)


def _text(text: str) -> bytes:
    return text.encode() + bytes(4 - len(text) % 4)


def listing(*names: str) -> bytes:
    """A BOOTX64.CSV as Debian has it."""
    return "".join(f"{name},debian,,This is the boot entry for debian\n" for name in names).encode(
        "utf-16"
    )
