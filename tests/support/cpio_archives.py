"""Small cpio archives as an initramfs is made of them."""

from collections.abc import Mapping


def member(path: str, content: bytes, mode: int = 0o100644) -> bytes:
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    head += bytes(-len(head) % 4)
    return head + content + bytes(-len(content) % 4)


def archive(files: Mapping[str, bytes]) -> bytes:
    whole = b"".join(member(path, content) for path, content in files.items())
    return whole + member("TRAILER!!!", b"", 0)


MODULES = "usr/lib/modules/6.1.0/kernel/drivers"
INITRAMFS = archive(
    {
        "init": b"#!/bin/sh\n",
        "etc/udev/rules.d/70-persistent-net.rules": b"# rules\n",
        f"{MODULES}/ata/ahci.ko": b"\x7fELF",
        f"{MODULES}/net/virtio-net.ko.xz": b"\xfd7",
        "lib/modules/2.4.27/kernel/drivers/scsi/sym53c8xx.o": b"\x7fELF",
    }
)
MICROCODE = archive({"kernel/x86/microcode/GenuineIntel.bin": bytes(5001)})
