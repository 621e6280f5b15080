"""A server with a second disk, whose whole content is what a test is about."""

from pathlib import Path

from payload.model.message import MapRequest
from payload.model.plan import CopyMode
from tests.support.server_image import MIB, make_image, tool
from tests.support.stream_disks import BusyBlocks, make_host, place_ext
from tests.support.streamed_copy import Copy, fill

SERVER = "label: dos\n\n1 : start=2048, size=40960, type=83, bootable\n"


class KeepingBlocks(BusyBlocks):
    """Disks that know no discard: what is not written stays what it was."""

    def discard_step(self, node: str) -> int:
        del node
        return 0


def make_server(directory: Path) -> Path:
    """The disk with the root, so that there is something to boot."""
    path = make_image(directory / "server.img", 22 * MIB)
    tool("sfdisk", "-q", str(path), stdin=SERVER)
    place_ext(directory, path, 2048, 40960)
    return path


def copy_of(
    directory: Path, data: Path, mode: CopyMode = CopyMode.USED, *, filled: bool = False
) -> tuple[Copy, Path]:
    """A whole copy of a server with that second disk, and where the copy of that disk is; with
    `filled` onto disks full of something else, which stays wherever nothing is written."""
    mine = [make_server(directory), data]
    its = [
        make_image(directory / f"target{number}.img", path.stat().st_size + MIB)
        for number, path in enumerate(mine)
    ]
    for path in its if filled else ():
        fill(path)
    target = make_host(its, "T", blocks=KeepingBlocks if filled else BusyBlocks)
    copy = Copy(make_host(mine, "S"), target, mode)
    copy.run()
    return copy, copy.places(copy.plan.regions[-1].index)[1]


def used(copy: Copy) -> int:
    """Bytes of the second disk that are copied."""
    return sum(length for _, length in copy.chunks(copy.plan.regions[-1].index))


def notes(copy: Copy) -> list[str]:
    """What of it was copied in another way than planned."""
    answers = copy.sender.answer_map(MapRequest(copy.plan.regions[-1].index))
    return [answer.note for answer in answers if answer.note]
