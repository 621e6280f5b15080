"""Disks of servers, made on image files: tables, file systems at their offsets, boot loaders.

Loop devices are never scanned for partitions here, so everything is done by offset.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.vm.images import call

SECTOR = 512
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BIOS_BOOT_TYPE = "21686148-6449-6E6F-744E-656564454649"
LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
LVM_TYPE = "E6D6D379-F507-44C2-A23C-238F2A3DF928"


@dataclass(frozen=True)
class Range:
    """A partition or another place on a disk, in sectors."""

    start: int
    size: int


@dataclass(frozen=True)
class Partition:
    """An entry of a table. `kind` is a type as sfdisk takes it, `uuid` a GPT entry's own."""

    number: int
    place: Range
    kind: str
    active: bool = False
    uuid: str = ""

    def line(self) -> str:
        """The entry as sfdisk reads it."""
        words = [f"start={self.place.start}", f"size={self.place.size}", f"type={self.kind}"]
        words += [f"uuid={self.uuid}"] if self.uuid else []
        words += ["bootable"] if self.active else []
        return f"{self.number} : {', '.join(words)}"


def make_disk(
    image: Path, size: int, label_id: str, partitions: Iterable[Partition], label: str = "dos"
) -> None:
    """An image of `size` bytes with this table. Raises ImageError."""
    make_hole(image, size)
    lines = [f"label: {label}", f"label-id: {label_id}", "unit: sectors"]
    lines += [partition.line() for partition in partitions]
    subprocess.run(["sfdisk", "--quiet", str(image)], input="\n".join(lines), text=True, check=True)


def make_hole(file: Path, size: int) -> None:
    """A file of zeros that takes no room."""
    file.write_bytes(b"")
    os.truncate(file, size)


def put(image: Path, offset: int, part: Path) -> None:
    """Lay a file into the image at a byte offset."""
    call("dd", f"if={part}", f"of={image}", f"seek={offset}", "oflag=seek_bytes",
         "bs=1M", "conv=notrunc,sparse", "status=none")  # fmt: skip


def make_ext(image: Path, place: Range, content: Path, options: Iterable[str]) -> None:
    """An ext2, ext3 or ext4 with this content, by mke2fs alone."""
    call("mke2fs", "-q", "-F", *options, "-E", f"offset={place.start * SECTOR}",
         "-d", content, image, f"{place.size * SECTOR // 1024}k")  # fmt: skip


def make_swap(image: Path, place: Range, uuid: str) -> None:
    """A swap area."""
    with TemporaryDirectory(prefix="ugs-swap-") as directory:
        swap = Path(directory, "swap")
        make_hole(swap, place.size * SECTOR)
        call("mkswap", "-U", uuid, swap)
        put(image, place.start * SECTOR, swap)


def make_esp(image: Path, place: Range, volume_id: str, content: Path) -> None:
    """A FAT file system with this content, by mtools."""
    with TemporaryDirectory(prefix="ugs-esp-") as directory:
        esp = Path(directory, "esp")
        make_hole(esp, place.size * SECTOR)
        call("mkfs.vfat", "-F", "32", "-i", volume_id.replace("-", ""), "-h", str(place.start), esp)
        call("mcopy", "-s", "-Q", "-m", "-i", esp, *sorted(content.iterdir()), "::")
        put(image, place.start * SECTOR, esp)


@contextmanager
def loop_device(image: Path, place: Range) -> Iterator[str]:
    """A loop device over a place of the image."""
    window = (f"--offset={place.start * SECTOR}", f"--sizelimit={place.size * SECTOR}")
    loop = call("losetup", "--find", "--show", *window, image).strip()
    try:
        yield loop
    finally:
        call("losetup", "--detach", loop)


@contextmanager
def mounted(image: Path, place: Range, kind: str, options: str = "rw") -> Iterator[Path]:
    """The file system at this place, mounted."""
    with loop_device(image, place) as loop, TemporaryDirectory(prefix="ugs-fill-") as point:
        call("mount", "-t", kind, "-o", options, loop, point)
        try:
            yield Path(point)
        finally:
            call("umount", point)


def fill(image: Path, place: Range, kind: str, make: Iterable[str], content: Path) -> None:
    """A file system made by the command `make` (its device is added), with this content."""
    with loop_device(image, place) as loop:
        call(*make, loop)
    with mounted(image, place, kind) as point:
        call("cp", "-a", f"{content}/.", point)


# -- GRUB 2 -------------------------------------------------------------------------------------


def make_grub_core(root: Path, work: Path, form: str, setup: str, modules: Iterable[str]) -> Path:
    """A core image by the server's own GRUB: `setup` finds its files, `modules` can read them."""
    for name, text in (("tmp/grub-setup", setup), ("tmp/grub-core", "")):
        (root / name).write_text(text)
    call("chroot", root, "grub-mkimage", "-O", form, "-o", "/tmp/grub-core",
         "-c", "/tmp/grub-setup", "-p", "/grub", *modules)  # fmt: skip
    core = work / f"core-{form}"
    shutil.move(root / "tmp/grub-core", core)
    (root / "tmp/grub-setup").unlink()
    return core


def install_grub(image: Path, boot_image: Path, core: Path, place: Range) -> None:
    """What grub-bios-setup does on a live disk: boot.img to sector 0, the core to its place (the
    gap, or a BIOS boot partition). Raises RuntimeError when it has no room there."""
    code = core.read_bytes()
    if len(code) > place.size * SECTOR:
        raise RuntimeError(f"GRUB's {len(code)} bytes do not fit into {place}.")
    patched = bytearray(code)
    # The first sector of the core loads the others: from the sector behind its own.
    struct.pack_into("<Q", patched, 0x1F4, place.start + 1)
    boot = bytearray(boot_image.read_bytes())
    # Some firmware hands over a wrong drive number: the jump over the check of it is taken out.
    struct.pack_into("<Q", boot, 0x5C, place.start)
    boot[0x66:0x68] = b"\x90\x90"
    with image.open("r+b") as stream:
        stream.write(boot[:440])
        stream.seek(place.start * SECTOR)
        stream.write(patched)
