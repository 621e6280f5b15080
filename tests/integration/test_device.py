"""Views, flushing and opening, on real loop devices over sparse files."""

import mmap
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from payload.model.disk import MIB
from payload.model.errors import TargetDiskError, ToolError
from payload.system import device
from payload.system.block import LinuxBlocks
from payload.system.command import run
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"".join(bytes([number]) * MIB for number in range(8)))
    return path


def _loops_on(path: Path) -> str:
    return subprocess.check_output(["losetup", "--associated", path], text=True)


def _wait_until_gone(image: Path) -> None:
    """udev may have the loop device open for a moment; the kernel frees it after the last close."""
    wait_until(lambda: not _loops_on(image))


def test_a_view_is_exactly_its_bytes_and_gone_afterwards(image: Path) -> None:
    with device.view(run, str(image), 3 * MIB, 2 * MIB) as node:
        assert Path(node).read_bytes() == bytes([3]) * MIB + bytes([4]) * MIB
        with pytest.raises(PermissionError):
            Path(node).write_bytes(b"x")
    _wait_until_gone(image)


def test_a_view_is_gone_after_an_error_and_a_killed_process(image: Path) -> None:
    with pytest.raises(ZeroDivisionError), device.view(run, str(image), 0, MIB):
        raise ZeroDivisionError
    script = (
        "import os\nfrom payload.system import device\nfrom payload.system.command import run\n"
        f"with device.view(run, {str(image)!r}, 0, {MIB}): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    _wait_until_gone(image)


def test_zeros_are_made_by_files_and_by_devices(image: Path) -> None:
    loop = run(["losetup", "--find", "--show", str(image)]).stdout.strip()
    try:
        for node, start in ((str(image), MIB), (loop, 3 * MIB)):
            descriptor = device.open_to_write(node)
            try:
                device.zero(descriptor, start, MIB)
                device.discard(descriptor, start + MIB, MIB)
            finally:
                os.close(descriptor)
        with pytest.raises(OSError, match="Bad file"):
            device.zero(descriptor, 0, MIB)
    finally:
        run(["losetup", "--detach", loop])
    content = image.read_bytes()
    assert content[:MIB] == bytes(MIB) and content[5 * MIB : 6 * MIB] == bytes([5]) * MIB
    assert content[MIB : 2 * MIB] == content[3 * MIB : 4 * MIB] == bytes(MIB)
    assert image.stat().st_blocks * 512 == 4 * MIB


def test_a_writable_view_and_direct_reads_tell_the_same(image: Path) -> None:
    with device.view(run, str(image), 2 * MIB, MIB, writable=True) as node:
        Path(node).write_bytes(b"new".ljust(4096, b"!"))
    assert _read_all(image) == b"".join(
        b"new".ljust(4096, b"!").ljust(MIB, b"\2") if number == 2 else bytes([number]) * MIB
        for number in range(8)
    )


def _read_all(image: Path) -> bytes:
    """By a descriptor of `open_to_read`: into memory aligned as O_DIRECT wants it."""
    memory = mmap.mmap(-1, image.stat().st_size)
    descriptor = device.open_to_read(str(image))
    try:
        return memory[: os.preadv(descriptor, [memory], 0)]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("name", ["disk.img", "by-another-name"])
def test_a_writable_view_that_somebody_keeps_open_is_told(
    image: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_DETACH_WAIT", 0.1)
    (image.parent / "by-another-name").symlink_to(image)
    with (
        ExitStack() as stack,
        pytest.raises(ToolError, match="still held open by another program"),
        device.view(run, str(image.parent / name), 0, MIB, writable=True) as node,
    ):
        stack.callback(os.close, os.open(node, os.O_RDONLY))
    _wait_until_gone(image)


def test_a_view_behind_the_end_of_the_disk_is_refused(image: Path) -> None:
    with (
        pytest.raises(ToolError, match=r"only 1048576 of 2097152 bytes are there"),
        device.view(run, str(image), 7 * MIB, 2 * MIB),
    ):
        pytest.fail("a view shorter than the partition must not be handed out")
    _wait_until_gone(image)


def test_dropping_the_cache_of_a_file_and_of_a_device(image: Path) -> None:
    device.drop_cache(str(image))
    with device.view(run, str(image), 0, MIB) as node:
        device.drop_cache(node)
    with pytest.raises(TargetDiskError, match="did not keep what was written"):
        device.drop_cache(str(image.parent / "gone.img"))


def test_a_device_in_use_cannot_be_opened_to_write(image: Path, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    with device.view(run, str(image), 0, 8 * MIB, writable=True) as node:
        subprocess.run(["mount", node, mountpoint], check=True)
        try:
            with pytest.raises(TargetDiskError, match="Device or resource busy"):
                device.open_to_write(node)
        finally:
            subprocess.run(["umount", mountpoint], check=True)
        os.close(device.open_to_write(node))


def test_image_disks_keep_the_write_gate(image: Path) -> None:
    blocks = ImageBlocks([ImageDisk(image, serial="S1")])
    with pytest.raises(TargetDiskError, match="read-only"):
        blocks.open_to_write(str(image))
    with pytest.raises(TargetDiskError, match="read-only"):
        blocks.view(str(image), 0, MIB, writable=True)
    blocks.set_writable(str(image))
    os.close(blocks.open_to_write(str(image)))
    blocks.set_read_only(str(image))
    with pytest.raises(TargetDiskError, match="read-only"):
        blocks.open_to_write(str(image))


def test_image_disks_notice_another_file_in_their_place(image: Path) -> None:
    blocks = ImageBlocks([ImageDisk(image, serial="S1")])
    (hardware,) = blocks.find()
    blocks.recheck(hardware)
    other = image.with_name("other.img")
    other.write_bytes(bytes(8 * MIB))
    other.rename(image)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        blocks.recheck(hardware)


def test_the_write_block_is_set_and_lifted_and_seen_to_take(image: Path) -> None:
    with device.view(run, str(image), 0, MIB, writable=True) as node:
        device.set_read_only(node, True)
        with pytest.raises(PermissionError):
            Path(node).write_bytes(b"x" * 512)
        device.set_read_only(node, False)
        Path(node).write_bytes(b"x" * 512)
    assert image.read_bytes()[:513] == b"x" * 512 + b"\0"
    with pytest.raises(TargetDiskError, match="could not be made writable"):
        device.set_read_only(str(image), False)


def test_this_machine_has_disks_and_no_loop_device_may_be_written(image: Path) -> None:
    blocks = LinuxBlocks()
    with device.view(run, str(image), 0, MIB) as node:
        found = {disk.node: disk for disk in blocks.find()}
        assert found[node].ineligible == "it is a loop device"
        assert found[node].size == MIB
        with pytest.raises(TargetDiskError, match="it is a loop device"):
            blocks.set_writable(node)
    root = Path("/").stat().st_dev
    system_disks = [disk for disk in found.values() if "mounted on /" in disk.ineligible]
    assert system_disks or os.major(root) == 0  # a root without a disk below it
