"""Members of MD arrays on image files, without a kernel that assembles them."""

import uuid
from dataclasses import dataclass

from tests.support.image_ranges import ImageRange
from tests.support.md_superblocks import new_superblock, old_place, old_superblock

MIB = 1 << 20
SECTOR = 512


@dataclass(frozen=True)
class Array:
    """What every member's superblock says alike. `version` is 0.90, 1.0, 1.1 or 1.2; `name` is
    "HOST:NUMBER", of which 0.90 keeps the number."""

    members: int
    version: str = "1.2"
    level: int = 1
    name: str = "groupware:0"
    id: bytes = uuid.UUID("0f0e0d0c-1111-4222-8333-444455556666").bytes
    clean: bool = True

    def superblock_at(self, size: int) -> int:
        """Byte of a member of that many bytes at which its superblock begins."""
        if self.version == "0.90":
            return old_place(size)
        at_end = (size // SECTOR - 16) // 8 * 8 * SECTOR
        return {"1.0": at_end, "1.1": 0, "1.2": 4096}[self.version]

    def data(self, member: ImageRange) -> ImageRange:
        """The range of a member that holds the array's content."""
        if self.version in ("0.90", "1.0"):
            return member.within(0, self.superblock_at(member.size) // 65536 * 65536)
        return member.within(MIB, (member.size - MIB) // 65536 * 65536)


def add_to_array(array: Array, number: int, member: ImageRange, events: int = 40) -> ImageRange:
    """Make the range member `number` of the array. Returns where the array's content lies."""
    data = array.data(member)
    if array.version == "0.90":
        block = old_superblock(
            device=number,
            size=data.size,
            level=array.level,
            minor=int(array.name.rpartition(":")[2]),
            events=events,
            disks=array.members,
            uuid=array.id,
            clean=array.clean,
        )
    else:
        block = new_superblock(
            device=number,
            size=data.size,
            place=array.superblock_at(member.size),
            level=array.level,
            disks=array.members,
            name=array.name,
            data_start=data.start - member.start,
            events=events,
            roles=range(array.members),
            uuid=array.id,
            clean=array.clean,
        )
    member.write(block, array.superblock_at(member.size))
    return data
