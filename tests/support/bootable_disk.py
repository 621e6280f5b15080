"""A server that really starts, as small as can be: kernel and programs are those of the ISO.

One disk with GRUB 2 and an ext4. Its initramfs is all the system there is: it loads the driver of
one kind of disk controller, writes to the disk, and says what the copy's own unit says.
"""

import lzma
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from payload.finish.first_start import render_proof_unit
from payload.model.disk import FileSystem, Partition, PartitionTable
from payload.model.machine import Firmware
from tests.support.cpio_archives import member
from tests.support.server_image import MIB, make_ext4, make_image, tool

PROJECT = Path(__file__).resolve().parents[2]
LIVE = PROJECT / "build/live"
HOST_NAME = "groupware"
UUID = "44444444-4444-4444-8444-444444444444"
START = 2048 * 512
SIZE = 72 * MIB
ESP_SIZE = 8 * MIB
WRITTEN = 1024 * 512  # in the gap, where the system writes to its disk
DRIVERS = ("scsi_common", "scsi_mod", "libata", "libahci", "ahci", "sd_mod")
APPLETS = ("sh", "mount", "insmod", "sleep", "dd", "sync", "grep", "uname", "hostname")
LIBRARIES = "lib/x86_64-linux-gnu"
NEEDED = ("libc.so.6", "libresolv.so.2")  # by busybox
_LISTS = ("alias", "dep", "builtin", "builtin.modinfo")

MENU = """\
set timeout=0
menuentry 'server' {{
  linux /boot/vmlinuz-{version} root=UUID={uuid} ro quiet
  initrd /boot/initrd.img-{version}
}}
"""
INIT = """\
#!/bin/sh
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
hostname {name}
for driver in {drivers}; do insmod /lib/modules/*/$driver.ko; done
until test -b /dev/sda; do sleep 1; done
dd if=/dev/zero of=/dev/sda bs=512 seek={sector} count=8 && sync && echo WROTE >/dev/ttyS0
{words}
while :; do sleep 60; done
"""


@dataclass(frozen=True)
class Bootable:
    path: Path
    table: PartitionTable
    version: str  # of its kernel


def live_system() -> Path:
    """The live system's root, which building the ISO leaves behind."""
    place = LIVE / "system/chroot"
    assert place.is_dir() and (LIVE / "base/vmlinuz").exists(), "run `make iso` first"
    return place


def make_bootable(
    path: Path, firmware: Firmware, spoil: Callable[[Path], None] = lambda tree: None
) -> Bootable:
    """A disk image; `spoil` may change the tree of its file system before it is made."""
    live = live_system()
    (version,) = (one.name for one in (live / "usr/lib/modules").iterdir())
    tree = path.with_suffix(".tree")
    _fill(tree, live, version)
    spoil(tree)
    make_image(path, SIZE + 2 * MIB)
    table = _lay_out(path, firmware)
    root = table.partitions[-1]
    make_ext4(path, tree, UUID, root.start, root.size)
    shutil.rmtree(tree)
    (_install_efi if firmware is Firmware.UEFI else _install_bios)(path)
    return Bootable(path, table, version)


def _lay_out(path: Path, firmware: Firmware) -> PartitionTable:
    whole = SIZE - MIB
    if firmware is Firmware.BIOS:
        tool("sfdisk", "-q", str(path), stdin=f"label: dos\nstart=2048, size={whole // 512}\n")
        return PartitionTable("dos", "0x1", (_root(1, START, whole),))
    sizes = (ESP_SIZE // 512, (whole - ESP_SIZE) // 512)
    script = f"label: gpt\nsize={sizes[0]}, type=uefi\nsize={sizes[1]}, type=linux\n"
    tool("sfdisk", "-q", str(path), stdin=script)
    esp = Partition(1, START, ESP_SIZE, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
                    file_system=FileSystem("vfat", ""))  # fmt: skip
    return PartitionTable("gpt", "1", (esp, _root(2, START + ESP_SIZE, whole - ESP_SIZE)))


def _root(number: int, start: int, size: int) -> Partition:
    return Partition(number, start, size, "83", file_system=FileSystem("ext4", UUID))


def _fill(tree: Path, live: Path, version: str) -> None:
    for place in ("boot/grub", "etc", "sbin", f"lib/modules/{version}"):
        (tree / place).mkdir(parents=True)
    shutil.copy(LIVE / "base/vmlinuz", tree / f"boot/vmlinuz-{version}")
    image = _initramfs(live, live / "usr/lib/modules" / version)
    (tree / f"boot/initrd.img-{version}").write_bytes(image)
    (tree / "boot/grub/grub.cfg").write_text(MENU.format(version=version, uuid=UUID))
    (tree / "etc/fstab").write_text(f"UUID={UUID} / ext4 defaults 0 1\n")
    (tree / "etc/hostname").write_text(f"{HOST_NAME}\n")
    (tree / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    (tree / "lib/systemd").mkdir()
    (tree / "lib/systemd/systemd").write_text("#!/bin/sh\n")
    (tree / "sbin/init").symlink_to("/lib/systemd/systemd")
    for name in _LISTS:
        source = live / f"usr/lib/modules/{version}/modules.{name}"
        shutil.copy(source, tree / f"lib/modules/{version}/modules.{name}")


def _initramfs(live: Path, modules: Path) -> bytes:
    (line,) = [line for line in render_proof_unit().splitlines() if line.startswith("ExecStart=")]
    words = line.removeprefix("ExecStart=-/bin/sh -c ").strip("'")
    drivers = " ".join(DRIVERS)
    init = INIT.format(name=HOST_NAME, drivers=drivers, sector=WRITTEN // 512, words=words)
    place = f"lib/modules/{modules.name}"
    directories = ("bin", "lib", LIBRARIES, "lib/modules", place, "lib64", "proc", "sys", "dev")
    parts = [member(name, b"", 0o40755) for name in directories]
    parts.append(member("init", init.encode(), 0o100755))
    parts.append(member("bin/busybox", (live / "usr/bin/busybox").read_bytes(), 0o100755))
    parts += [member(f"bin/{name}", b"busybox", 0o120777) for name in APPLETS]
    libraries = live / "usr" / LIBRARIES
    loader = "ld-linux-x86-64.so.2"
    parts.append(member(f"lib64/{loader}", (libraries / loader).read_bytes(), 0o100755))
    parts += [
        member(f"{LIBRARIES}/{name}", (libraries / name).read_bytes(), 0o100755) for name in NEEDED
    ]
    found = {path.name.removesuffix(".ko.xz"): path for path in modules.rglob("*.ko.xz")}
    parts += [
        member(f"{place}/{name}.ko", lzma.decompress(found[name].read_bytes())) for name in DRIVERS
    ]
    return b"".join(parts) + member("TRAILER!!!", b"", 0)


def _install_bios(path: Path) -> None:
    core = path.with_suffix(".core")
    modules = ("biosdisk", "part_msdos", "ext2", "normal", "linux")
    prefix = "(hd0,msdos1)/boot/grub"
    tool("grub-mkimage", "-O", "i386-pc", "-p", prefix, "-o", str(core), *modules)
    with path.open("r+b") as disk:
        disk.write(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
        disk.seek(512)
        disk.write(core.read_bytes())


def _install_efi(path: Path) -> None:
    program, esp = path.with_suffix(".efi"), path.with_suffix(".esp")
    modules = ("part_gpt", "ext2", "normal", "linux")
    prefix = "(hd0,gpt2)/boot/grub"
    tool("grub-mkimage", "-O", "x86_64-efi", "-p", prefix, "-o", str(program), *modules)
    tool("mkfs.vfat", "-C", str(esp), str(ESP_SIZE // 1024))
    tool("mmd", "-i", str(esp), "::EFI", "::EFI/BOOT")
    tool("mcopy", "-i", str(esp), str(program), "::EFI/BOOT/BOOTX64.EFI")
    copy = ["dd", f"if={esp}", f"of={path}", "bs=1M", f"seek={START // MIB}", "conv=notrunc"]
    subprocess.run([*copy, "status=none"], check=True)
