"""Disks of a server that lost its power: arrays to resync, volume groups, journals to replay.

Whatever a system does by itself with such disks writes to them: it assembles, counts events,
resyncs, replays. The first two disks mirror each other three times over; the third stands alone.
"""

import subprocess
import tempfile
from pathlib import Path

from payload.formats.disk.superblocks import read_needs_recovery
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.image_ranges import ImageRange
from tests.support.md_arrays import MIB, SECTOR, Array, add_to_array
from tests.support.volume_groups import Extents, make_volume_group

_PARTITION = 64 * MIB  # smaller disks are not looked at at all
_MIRRORED = (
    Array(2, "1.2", name="groupware:0", id=b"a" * 16, clean=True),
    Array(2, "0.90", name="groupware:1", id=b"b" * 16, clean=False),
    Array(2, "1.2", name="groupware:2", id=b"c" * 16, clean=False),  # with a volume group in it
)
_SYSTEM = {
    "etc/fstab": "/dev/sda6 / ext4 defaults 0 1\n",
    "etc/hostname": "groupware\n",
    "etc/debian_version": "4.0\n",
}


def make_crashed_storage(directory: Path) -> tuple[Path, ...]:
    """Three images in `directory`. Needs root."""
    images = tuple(
        _make_disk(directory / f"crashed{number}.img", partitions)
        for number, partitions in enumerate((3, 3, 1))
    )
    for number, array in enumerate(_MIRRORED):
        members = [_partition(image, number) for image in images[:2]]
        first, second = (add_to_array(array, which, member) for which, member in enumerate(members))
        if number == 2:
            _make_group("mirrored", first)
        else:
            first.write(_crashed_root(32 * MIB))
        second.write(first.read())
    _make_group("alone", _partition(images[2], 0))
    return images


def _make_disk(path: Path, partitions: int) -> Path:
    path.write_bytes(b"")
    with path.open("r+b") as disk:
        disk.truncate(MIB + partitions * _PARTITION + MIB)
    size = _PARTITION // SECTOR
    lines = [f"start={2048 + number * size}, size={size}, type=fd" for number in range(partitions)]
    run(["sfdisk", "--quiet", str(path)], stdin="label: dos\n" + "\n".join(lines) + "\n")
    return path


def _partition(image: Path, number: int) -> ImageRange:
    return ImageRange(image, MIB + number * _PARTITION, _PARTITION)


def _make_group(name: str, physical: ImageRange) -> None:
    volumes = make_volume_group(name, [physical], {"root": [Extents(0, 1, 32)]})
    volumes["root"][0].write(_crashed_root(32 * MIB))


def _crashed_root(size: int) -> bytes:
    """An ext4 as it is on the disk while it is mounted and was written to."""
    with tempfile.TemporaryDirectory() as directory:
        tree, image = Path(directory, "tree"), Path(directory, "image")
        for name, text in _SYSTEM.items():
            tree.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            tree.joinpath(name).write_text(text)
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(image), f"{size // 1024}k"])
        with (
            device.view(run, str(image), 0, size, writable=True) as node,
            LinuxMounts().mount(node, "ext4", writable=True) as root,
        ):
            root.joinpath("last-words").write_text("written when the plug was pulled\n")
            subprocess.run(["sync", "--file-system", root], check=True)
            subprocess.run(["sync", node], check=True)
            crashed = image.read_bytes()
        image.write_bytes(crashed)
        assert read_needs_recovery(str(image), "ext4")
        return crashed
