"""Volume groups and arrays on image files, without a kernel that has device-mapper or md.

LVM's own tools make the groups, on loop devices; the logical volumes come from a text, as they do
when metadata is restored. The superblocks of MD are those of `tests.support.md_superblocks`.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from payload.system.command import run
from payload.system.device import view
from tests.integration.volumes_image import lvm

EXTENT = 1 << 20  # bytes

Range = tuple[Path, int, int]  # image, start, size: bytes


@dataclass(frozen=True)
class Stripes:
    """One segment: `count` extents that begin at extent `first` of member number `member`."""

    member: int
    first: int
    count: int


def make_group(
    name: str, members: Sequence[Range], volumes: Mapping[str, Sequence[Stripes]]
) -> None:
    """A volume group on these ranges with these volumes. Each is as large as its segments."""
    with ExitStack() as stack:
        loops = [
            stack.enter_context(view(run, str(one), *at, writable=True)) for one, *at in members
        ]
        lvm(loops, "pvcreate", "-q", "-y", *loops)
        lvm(loops, "vgcreate", "-q", "-s", f"{EXTENT}b", name, *loops)
        backup = members[0][0].with_name(f"{name}.backup")
        lvm(loops, "vgcfgbackup", "-q", "-f", str(backup), name)
        text = backup.read_text()
        order = [text.index(f'"{loop}"') for loop in loops]
        names = [re.findall(r"(pv\d+) \{", text[:place])[-1] for place in order]
        end = text.rindex("}")
        sections = "".join(
            _section(number, one, segments, names)
            for number, (one, segments) in enumerate(volumes.items())
        )
        backup.write_text(f"{text[:end]}logical_volumes {{\n{sections}}}\n}}\n")
        lvm(loops, "vgcfgrestore", "-q", "-f", str(backup), name)


def _section(number: int, name: str, segments: Sequence[Stripes], members: Sequence[str]) -> str:
    position, text = 0, ""
    for count, one in enumerate(segments, 1):
        text += (
            f"segment{count} {{\nstart_extent = {position}\nextent_count = {one.count}\n"
            'type = "striped"\nstripe_count = 1\n'
            f'stripes = ["{members[one.member]}", {one.first}]\n}}\n'
        )
        position += one.count
    head = f'id = "{volume_uuid(number)}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
    return f"{name} {{\n{head}segment_count = {len(segments)}\n{text}}}\n"


def volume_uuid(number: int) -> str:
    return f"LV{number:04}-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"


def put(image: Path, place: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(place)
        file.write(content)
