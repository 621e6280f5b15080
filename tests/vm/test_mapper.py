"""Volumes in several pieces, with the live system's own kernel: the one place that has a device
mapper to try them with. No unit of the live system runs, only a script of this test."""

import subprocess
from pathlib import Path

import pytest

from tests.vm.accelerator import Accelerator
from tests.vm.conftest import PROJECT
from tests.vm.hardware import Bus, Drive, Hardware, Kernel
from tests.vm.images import MIB, extract, make_blank
from tests.vm.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.root]

SECONDS = 400.0
FILES = ("vmlinuz", "initrd.img", "filesystem.squashfs", "zz-payload.squashfs")
START = (
    'console=ttyS0 quiet root=/dev/vda rootfstype=squashfs ro init=/bin/sh -- -c "'
    "mount -t tmpfs none /mnt; mkdir /mnt/payload /mnt/script;"
    " mount -t squashfs -o ro /dev/vdb /mnt/payload; mount -t squashfs -o ro /dev/vdc /mnt/script;"
    ' exec sh /mnt/script/run"'
)
RUN = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mount -t tmpfs none /tmp
modprobe -a loop dm-mod
/usr/lib/systemd/systemd-udevd --daemon
export PYTHONPATH=/mnt/payload/usr/lib/ugs-failover:/mnt/payload/usr/lib/ugs-failover/site-packages
python3 /mnt/script/try.py >/dev/console 2>&1
echo "ended with $?" >/dev/console
sleep 600
"""
TRY = """\
import os, signal, subprocess, sys, time
from pathlib import Path
from payload.model.errors import ToolError
from payload.system import device
from payload.system.block import LinuxBlocks
from payload.system.mounts import LinuxMounts

MIB = 1 << 20
blocks, mounts = LinuxBlocks(), LinuxMounts()
ONE = (("/dev/vdd", 4 * MIB, 20 * MIB), ("/dev/vdd", 40 * MIB, 24 * MIB))
TWO = (("/dev/vde", 60 * MIB, 30 * MIB), ("/dev/vde", 8 * MIB, 14 * MIB))


def leg(extents):
    content = b""
    for node, start, size in extents:
        with open(node, "rb") as disk:
            disk.seek(start)
            content += disk.read(size)
    return content


def volumes():
    return subprocess.run(["dmsetup", "ls"], capture_output=True, text=True).stdout.strip()


def gone():
    end = time.monotonic() + 10
    while volumes() != "No devices found" and time.monotonic() < end:
        time.sleep(0.1)
    assert volumes() == "No devices found", volumes()
    assert os.listdir("/dev/mapper") == ["control"], os.listdir("/dev/mapper")


def say(word):
    print(f"passed: {word}", flush=True)


try:
    with blocks.assemble((ONE, TWO), writable=True) as node:
        subprocess.run(["mkfs.ext4", "-q", node], check=True)
except (ToolError, subprocess.CalledProcessError) as error:
    assert not any(leg(ONE)) and not any(leg(TWO)), error
    say("the write block holds")
gone()
for node in ("/dev/vdd", "/dev/vde"):
    device.set_read_only(node, False)
with blocks.assemble((ONE, TWO), writable=True) as node:
    subprocess.run(["mkfs.ext4", "-q", node], check=True)
    with mounts.mount(node, "ext4", writable=True) as tree:
        (tree / "mail").write_bytes(os.urandom(5 * MIB))
        content = (tree / "mail").read_bytes()
gone()
assert leg(ONE) == leg(TWO)
say("both legs hold the same")
with blocks.assemble((TWO, ONE)) as node:
    with mounts.mount(node, "ext4") as tree:
        assert (tree / "mail").read_bytes() == content
    try:
        with open(node, "wb", buffering=0) as file:
            file.write(bytes(4096))
    except OSError:
        say("what is only read cannot be written")
gone()
before = leg(ONE)
child = os.fork()
if not child:
    with blocks.assemble((ONE, TWO), writable=True) as node:
        os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
gone()
assert leg(ONE) == before
say("a killed process leaves nothing")
try:
    with blocks.assemble((ONE, TWO), writable=True) as node:
        held = os.open(node, os.O_RDONLY)
except ToolError as error:
    assert "still held open" in str(error), error
    say("what somebody holds is noticed")
os.close(held)
gone()
with mounts.mount("none", "tmpfs", writable=True) as tree:
    for kind in ("reiserfs",):
        image = tree / kind
        image.write_bytes(bytes(64 * MIB))
        subprocess.run([f"mkfs.{kind}", "-qf", image], check=True, stdout=subprocess.DEVNULL)
        with blocks.assemble((((str(image), 0, 64 * MIB),),)) as node:
            with mounts.mount(node, kind):
                say(f"{kind} can be looked into")
say("everything")
"""


def test_volumes_in_pieces_on_the_live_kernel(
    iso: Path, tmp_path: Path, accelerator: Accelerator
) -> None:
    extract(iso, tmp_path, *(f"/live/{name}" for name in FILES))
    script = tmp_path / "script"
    script.mkdir()
    (script / "run").write_text(RUN)
    (script / "try.py").write_text(TRY)
    squashfs = tmp_path / "script.squashfs"
    subprocess.run(["mksquashfs", script, squashfs, "-quiet", "-no-progress"], check=True)
    systems = (tmp_path / "filesystem.squashfs", tmp_path / "zz-payload.squashfs", squashfs)
    disks = [make_blank(tmp_path / f"disk{number}.img", 96 * MIB).path for number in range(2)]
    drives = tuple(
        Drive(path, "raw", f"VD{number}") for number, path in enumerate((*systems, *disks))
    )
    kernel = Kernel(tmp_path / "vmlinuz", tmp_path / "initrd.img", START)
    hardware = Hardware("mapper", bus=Bus.VIRTIO, drives=drives, kernel=kernel)
    with Machine(hardware, PROJECT / "build" / "mapper", accelerator) as machine:
        machine.wait_for(r"^passed: everything|^ended with", SECONDS)
        for word in (
            "the write block holds",
            "both legs hold the same",
            "what is only read cannot be written",
            "a killed process leaves nothing",
            "what somebody holds is noticed",
            "reiserfs can be looked into",
            "everything",
        ):
            assert f"passed: {word}" in machine.text, machine.text
