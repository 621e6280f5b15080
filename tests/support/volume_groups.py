"""Volume groups on image files, without a kernel that has device-mapper.

They are made by lvm2's own tools, on loop devices: a volume is restored as the text of a backup
that names it.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from payload.system import device
from payload.system.command import run
from tests.support.image_ranges import ImageRange

SECTOR = 512
EXTENT = 1 << 20  # bytes


@dataclass(frozen=True)
class Extents:
    """`count` extents of a physical volume, from its extent `first` on."""

    physical: int
    first: int
    count: int


Volumes = Mapping[str, Sequence[Extents]]  # linear logical volumes, by name


def make_volume_group(
    name: str, physical: Sequence[ImageRange], volumes: Volumes
) -> dict[str, list[ImageRange]]:
    """A volume group on those ranges. Returns where the pieces of each volume lie, in order."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        nodes = [
            stack.enter_context(
                device.view(run, str(one.image), one.start, one.size, writable=True)
            )
            for one in physical
        ]
        backup = Path(directory, "backup")
        lvm(nodes, "pvcreate", "--quiet", "--force", "--yes", *nodes)
        lvm(nodes, "vgcreate", "--physicalextentsize", f"{EXTENT}b", name, *nodes)
        lvm(nodes, "vgcfgbackup", "--file", str(backup), name)
        text = backup.read_text()
        backup.write_text(_with_volumes(text, volumes, _names(text, nodes)))
        lvm(nodes, "vgcfgrestore", "--force", "--file", str(backup), name)
        start = _number(text, "pe_start") * SECTOR
    return {
        volume: [
            physical[piece.physical].within(start + piece.first * EXTENT, piece.count * EXTENT)
            for piece in pieces
        ]
        for volume, pieces in volumes.items()
    }


def lvm(nodes: Sequence[str], *argv: str) -> str:
    """What one of lvm2's tools says of these devices alone, without device-mapper or udev."""
    accepted = ", ".join(f'"a|^{node}$|"' for node in nodes)
    settings = (
        f'devices {{ filter=[{accepted}, "r|.*|"] scan_lvs=0 use_devicesfile=0'
        ' obtain_device_list_from_udev=0 external_device_info_source="none" }'
        " activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }"
    )
    return run(["lvm", *argv, "--config", settings, "--nolocking"]).stdout


def _number(text: str, key: str) -> int:
    return int(text.partition(f"{key} = ")[2].split()[0])


def _names(backup: str, nodes: Sequence[str]) -> list[str]:
    """What the backup calls each of these physical volumes: pv0, pv1..., in an order of its own."""
    places = [backup.index(f'"{node}"') for node in nodes]
    return [re.findall(r"(pv\d+) \{", backup[:place])[-1] for place in places]


def _with_volumes(backup: str, volumes: Volumes, physical: Sequence[str]) -> str:
    """The backup of an empty group, with logical volumes in it."""
    texts = [
        _volume_text(number, name, pieces, physical)
        for number, (name, pieces) in enumerate(volumes.items())
    ]
    group, _, rest = backup.rstrip().rpartition("}")
    return f"{group}\tlogical_volumes {{\n{''.join(texts)}\t}}\n}}{rest}\n"


def _volume_text(number: int, name: str, pieces: Sequence[Extents], physical: Sequence[str]) -> str:
    segments, start = [], 0
    for count, piece in enumerate(pieces, start=1):
        segments.append(
            f"segment{count} {{\nstart_extent = {start}\nextent_count = {piece.count}\n"
            'type = "striped"\nstripe_count = 1\n'
            f'stripes = ["{physical[piece.physical]}", {piece.first}]\n}}\n'
        )
        start += piece.count
    uuid = f"LV{number:04}-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
    return (
        f'{name} {{\nid = "{uuid}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
        f"segment_count = {len(pieces)}\n{''.join(segments)}}}\n"
    )
