"""What a disk is and what lies on it. All sizes and positions are bytes."""

import re
from dataclasses import dataclass, field

from blake3 import blake3

MIB = 1 << 20
SECTOR = 512  # bytes: what MBR, LVM, MD, GRUB and the kernel count in, whatever the disk's own are
BOOT_CODE_SIZE = 440  # bytes in the first sector, before the disk's id and the table of an MBR
_POSITION = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|\d+|\D+")  # PCI is hex
EXTENDED_TYPES = frozenset({"5", "f", "85", "c5"})
SMALLEST_SYSTEM = 1 << 30  # bytes; what boards show of their own (tools, drivers) is smaller


@dataclass(frozen=True)
class FileSystem:
    """What libblkid finds at the start of a disk or partition (`kind` is its TYPE)."""

    kind: str
    uuid: str = ""
    label: str = ""
    # Why its own map of used blocks cannot be relied on; "" when nothing is known against it. No
    # part of what it is: a copy that was finished has replayed the journal of its original.
    doubt: str = field(default="", compare=False)
    # Bytes of its partition or volume behind its own end; 0 where they are so few that they are
    # copied anyway.
    behind: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Partition:
    """One entry of a partition table. `type_id` is hex for MBR, a GUID for GPT, lower case."""

    number: int
    start: int
    size: int
    type_id: str
    uuid: str = ""  # PARTUUID
    name: str = ""
    attributes: str = ""  # GPT attributes in sfdisk's words
    bootable: bool = False
    file_system: FileSystem | None = None

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def is_extended(self) -> bool:
        """A container of logical partitions, holding no data of its own."""
        return self.type_id in EXTENDED_TYPES


@dataclass(frozen=True)
class PartitionTable:
    """A partition table as sfdisk tells it. `id` is the disk signature (0x...) or GUID."""

    label: str  # "dos" or "gpt"
    id: str
    partitions: tuple[Partition, ...]
    first_lba: int = 0  # GPT only, sectors
    last_lba: int = 0  # GPT only, sectors
    table_length: int = 0  # GPT only, entries; 0 means the default of 128

    @property
    def end(self) -> int:
        """Where the last partition ends: the size a target needs at the least."""
        return max((partition.end for partition in self.partitions), default=0)


@dataclass(frozen=True)
class Hardware:
    """A disk without its content. `name` and `node` hold for this boot only: never an identity.

    `path` is the by-path name: where the disk is plugged in, the fallback when the serial is
    empty or shared.
    """

    name: str  # "sda"
    node: str  # "/dev/sda"
    size: int
    sector_size: int = 512
    model: str = ""
    serial: str = ""
    wwn: str = ""
    path: str = ""
    transport: str = ""  # "sata", "nvme", "iscsi", "usb", ...
    rotational: bool = False
    removable: bool = False
    write_protected: bool = False  # by the hardware, not by our own write blocker
    ineligible: str = ""  # why this disk is never written to; "" when it may be considered
    bystander: bool = False  # no server runs from it: an optical drive, a memory card, our medium
    aliases: tuple[str, ...] = ()  # its names in /dev/disk/by-id, as a person may write them
    controllers: tuple[str, ...] = ()  # modaliases of what it hangs on, up to the PCI device
    sequence: int = 0  # the kernel's number of this attachment: another device gets another

    @property
    def id(self) -> str:
        """The stable name of this disk: wwn, else serial, else path. `identify.inventory`
        makes it unambiguous by clearing a serial that two disks share."""
        if self.wwn:
            return f"wwn:{self.wwn}"
        if self.serial:
            return f"serial:{self.serial}"
        return f"path:{self.path or self.name}"

    @property
    def unseen(self) -> bool:
        """A fixed disk that is not looked into, although a server may run from it: on Fibre
        Channel, on two paths, on USB."""
        if not self.ineligible or self.bystander or self.removable:
            return False
        return self.size >= SMALLEST_SYSTEM

    @property
    def position(self) -> list[tuple[int, str]]:
        """Sorts disks as the firmware counts them, and every kernel that probes one after the
        other: ata-2 before ata-10. The names of this boot do not tell: see `system.disk_names`."""
        words = _POSITION.findall(self.path)
        return [(int(word), "") if word.isdecimal() else (-1, word) for word in words]

    @property
    def label(self) -> str:
        """For people: kernel name, model, serial and size in GB (10^9 bytes)."""
        size = f"{self.size / 1e9:.1f} GB"
        return " ".join(word for word in (self.name, self.model, self.serial, size) if word)


@dataclass(frozen=True)
class Unfinished:
    """Our own mark on a disk whose copy was begun and not finished (byte 31744 of the disk)."""

    copy_id: str
    source_id: str
    target_id: str
    disk_id: str
    started_at: int  # seconds since the epoch, by the target's clock


@dataclass(frozen=True)
class Remnant:
    """What libblkid finds in a large range that no partition holds, `start` being where it begins:
    a deleted partition, a member of something."""

    start: int
    kind: str


@dataclass(frozen=True)
class Content:
    """What lies on a disk.

    `blank` is proof, not absence of knowledge: no table, no signature, and zeros wherever we
    looked. `evidence` says what was seen either way.
    """

    blank: bool
    evidence: str
    table: PartitionTable | None = None
    file_system: FileSystem | None = None  # on the whole disk
    signatures: tuple[str, ...] = ()
    unfinished: Unfinished | None = None
    hidden: tuple[str, ...] = ()  # what may hold a system and could not be looked into: "LVM"
    remnants: tuple[Remnant, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What a copy has in common with its original and no other disk: ids and places of its
        partitions and file systems. "" when there is nothing to tell it by."""
        if not self.table and not self.file_system:
            return ""
        partitions = self.table.partitions if self.table else ()
        places = sorted((part.number, part.start, part.size) for part in partitions)
        systems = [part.file_system for part in partitions] + [self.file_system]
        ids = sorted(f"{system.kind} {system.uuid}" for system in systems if system)
        table = f"{self.table.label} {self.table.id}" if self.table else ""
        return blake3("\n".join([table, str(places), *ids]).encode()).hexdigest(length=16)


@dataclass(frozen=True)
class Disk:
    """A disk and its content; `content` is None when it was not looked at (not eligible)."""

    hardware: Hardware
    content: Content | None = None

    @property
    def id(self) -> str:
        return self.hardware.id

    @property
    def eligible(self) -> bool:
        return not self.hardware.ineligible
