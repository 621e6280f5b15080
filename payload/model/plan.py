"""What will be done, computed on both machines from the same two inventories."""

from dataclasses import dataclass
from enum import StrEnum

from blake3 import blake3

from payload.model.account import Account
from payload.model.codec import to_json
from payload.model.disk import PartitionTable
from payload.model.inventory import Inventory
from payload.model.marker import MachineReference
from payload.model.volume import Volume

CHUNK_SIZE = 1 << 20  # bytes; a chunk never crosses a multiple of this within its region

# Bytes at each end of a swap area: the largest page, at whose end its signature stands.
SWAP_HEADER = 64 * 1024


class CopyMode(StrEnum):
    """`failover.copy=`: blocks in use, or every block."""

    USED = "used"
    EXACT = "exact"


class Method(StrEnum):
    """Which bytes of a region are copied."""

    USED = "used"  # blocks in use, by the file system's own map
    ALL = "all"  # every block
    HEADER = "header"  # swap: the header with its UUID, nothing else
    BOOT = "boot"  # boot code and the gap behind it, an MBR's table too; never a GPT
    GAP = "gap"  # every block of a range that no partition holds


@dataclass(frozen=True)
class Region:
    """A range of one disk, at the same place on source and target.

    `pair` is the index into Plan.disks, `index` the region's own number on the wire.
    `number` is the partition number, 0 for the boot area or a whole disk; gaps are counted.
    """

    index: int
    pair: int
    number: int
    start: int
    size: int
    method: Method
    file_system: str = ""
    why: str = ""  # every block of that file system is copied although it has a map
    behind: int = 0  # bytes at its end of which the map does not tell: the file system ends before

    @property
    def name(self) -> str:
        """For people: "disk 1 partition 5"."""
        words = {Method.BOOT: "boot area", Method.GAP: f"gap {self.number}"}
        part = f"partition {self.number}" if self.number else "whole disk"
        return f"disk {self.pair + 1} {words.get(self.method, part)}"

    @property
    def is_volume(self) -> bool:
        """Whether it is a partition or a whole disk, which may hold a file system."""
        return self.method not in (Method.BOOT, Method.GAP)


@dataclass(frozen=True)
class PlannedDisk:
    """One disk as the plan names it: by stable id, with what a person recognises it by."""

    id: str
    label: str
    size: int
    sector_size: int


@dataclass(frozen=True)
class DiskPair:
    """Which disk goes onto which. `content` is what is on the target now."""

    source: PlannedDisk
    target: PlannedDisk
    content: str
    table: PartitionTable | None = None


@dataclass(frozen=True)
class Plan:
    """Two machines that computed equal digests mean the same thing."""

    source: MachineReference
    target: MachineReference
    mode: CopyMode
    disks: tuple[DiskPair, ...]
    regions: tuple[Region, ...]
    root: int  # index of the region that holds the root file system, or its volume's first byte
    warnings: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()  # of the source's disks, in the order of `disks`
    volumes: tuple[Volume, ...] = ()  # of LVM and MD, in the source's disks; all are on `disks`
    root_volume: str = ""  # the name of the volume that holds the root file system
    root_subvolume: str = ""  # where in a btrfs the root is; "": as it is mounted by default
    encrypted: bool = False  # the root cannot be read: `root` is the region of /boot
    verify: bool = True  # read back from the medium all that was written, not only the heads

    def node_of(self, source_id: str, target: Inventory) -> str:
        """Where the target has what is on that disk of the source. Raises KeyError."""
        for pair in self.disks:
            if pair.source.id == source_id:
                return target.node_of(pair.target.id)
        raise KeyError(source_id)

    @property
    def digest(self) -> str:
        """BLAKE3 of the plan's JSON, 64 hex digits."""
        return blake3(to_json(self)).hexdigest()
