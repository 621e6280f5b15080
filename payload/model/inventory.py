"""Everything one machine knows of itself, as it is sent to the peer and saved for support."""

from dataclasses import dataclass

from payload.model.disk import Disk
from payload.model.machine import Card, Firmware, MachineIdentity
from payload.model.marker import CopyMarker, MachineReference, Usage
from payload.model.volume import Segment, Volume


@dataclass(frozen=True)
class InstalledSystem:
    """A root file system found on the disks, looked at without replaying its journal."""

    disk: str  # the disk's stable id; of a volume the first of its disks
    partition: int  # 0: the whole disk, or a volume
    file_system: str
    os_name: str = ""
    host_name: str = ""
    ucs_version: str = ""
    marker: CopyMarker | None = None
    usage: Usage | None = None  # as it is now, to compare with marker.usage
    started_at: int = 0  # when a copy noted its first start, seconds since the epoch; 0: it did not
    subvolume: str = ""  # where in a btrfs it is; "": as that is mounted by default
    encrypted: bool = False  # not to be read: what was found is its /boot
    volume: str = ""  # the name of the volume it lies on
    more_disks: tuple[str, ...] = ()  # the other disks of that volume

    @property
    def disks(self) -> tuple[str, ...]:
        """Every disk that holds a part of it."""
        return (self.disk, *self.more_disks)

    @property
    def place(self) -> str:
        """For people: "partition 5", "vg/root"."""
        if self.volume:
            return self.volume
        return f"partition {self.partition}" if self.partition else "the whole disk"


@dataclass(frozen=True)
class Inventory:
    """One machine: who it is, what it boots by, its cards, its disks and what lies on them."""

    machine: MachineIdentity
    firmware: Firmware
    cards: tuple[Card, ...] = ()
    disks: tuple[Disk, ...] = ()
    systems: tuple[InstalledSystem, ...] = ()
    warnings: tuple[str, ...] = ()
    memory: int = 0  # bytes
    clock: int = 0  # seconds since the epoch
    version: str = ""
    volumes: tuple[Volume, ...] = ()  # of LVM and MD, on eligible disks
    unused: tuple[Segment, ...] = ()  # what LVM calls free on its physical volumes

    @property
    def eligible_disks(self) -> tuple[Disk, ...]:
        """The disks a copy may be read from or written to at all."""
        return tuple(disk for disk in self.disks if disk.eligible)

    @property
    def counted_disks(self) -> tuple[Disk, ...]:
        """The same as a kernel counts them that probes one after the other."""
        return tuple(sorted(self.eligible_disks, key=lambda disk: disk.hardware.position))

    @property
    def host_name(self) -> str:
        """The host name of the installed system, if there is one."""
        return next((system.host_name for system in self.systems if system.host_name), "")

    @property
    def reference(self) -> MachineReference:
        return MachineReference(self.machine.id, self.machine.label, self.host_name)

    def disk(self, disk_id: str) -> Disk:
        """The disk with that stable id. Raises KeyError."""
        for disk in self.disks:
            if disk.id == disk_id:
                return disk
        raise KeyError(disk_id)

    def node_of(self, disk_id: str) -> str:
        """Where that disk is found on this boot. Raises KeyError."""
        return self.disk(disk_id).hardware.node

    def volume(self, name: str) -> Volume:
        """The volume of that name. Raises KeyError."""
        for volume in self.volumes:
            if volume.name == name:
                return volume
        raise KeyError(name)
