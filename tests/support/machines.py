"""Machines made of words, for tests about decisions: blank ones, servers, copies."""

from dataclasses import replace

from payload.model.disk import Content, Disk, FileSystem, Hardware, Partition, PartitionTable
from payload.model.disk import Unfinished as Mark
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.marker import CopyMarker, DiskMapping, MachineReference, Usage

GB = 10**9
FINISHED_AT = 1_772_359_200  # 2026-03-01 10:00 UTC
UNTOUCHED = Usage("ext4", 7, FINISHED_AT - 60)
BLANK = Content(blank=True, evidence="zeros")
DATA = Content(blank=False, evidence="ext4 on the whole disk", signatures=("ext4",))
LVM = Content(blank=False, evidence="LVM", signatures=("LVM2_member",), hidden=("LVM",))


def table(disk_id: str = "0x11111111", uuid: str = "r00t") -> PartitionTable:
    root = Partition(1, 1 << 20, 8 * GB, "83", file_system=FileSystem("ext4", uuid))
    return PartitionTable("dos", disk_id, (root,))


def with_table(disk_id: str = "0x11111111", uuid: str = "r00t") -> Content:
    return Content(False, "a dos partition table", table(disk_id, uuid), signatures=("dos",))


def disk(serial: str, content: Content | None = BLANK, **more: object) -> Disk:
    hardware = Hardware(f"sd-{serial}", f"/dev/sd-{serial}", 500 * GB, serial=serial)
    return Disk(replace(hardware, **more), content)  # type: ignore[arg-type]


def machine(name: str, *disks: Disk, systems: tuple[InstalledSystem, ...] = ()) -> Inventory:
    mac = f"00:16:3e:00:00:{sum(name.encode()) % 256:02x}"
    identity = MachineIdentity(id=name, vendor="Box", product=name, macs=(mac,))
    return Inventory(identity, Firmware.BIOS, disks=disks, systems=systems)


def system(disk_serial: str, host_name: str = "groupware") -> InstalledSystem:
    return InstalledSystem(
        f"serial:{disk_serial}", 1, "ext4", "Debian 12", host_name, usage=UNTOUCHED
    )


def marker(source: str, target: str, *mappings: DiskMapping, used: bool = False) -> CopyMarker:
    return CopyMarker(
        copy_id="c" * 32,
        source=MachineReference(source, host_name="groupware"),
        target=MachineReference(target),
        disks=mappings,
        finished_at=FINISHED_AT,
        usage=UNTOUCHED,
        used=used,
    )


def server(name: str = "A", *more: Disk) -> Inventory:
    """A machine with a system on its disk SA."""
    return machine(name, disk("S" + name, with_table()), *more, systems=(system("S" + name),))


def blank(name: str = "B", *more: Disk) -> Inventory:
    """A machine with the blank disk SB."""
    return machine(name, disk("S" + name), *more)


def copy(
    name: str = "B",
    source: str = "A",
    *,
    target: str = "",
    used: bool = False,
    now: Usage = UNTOUCHED,
) -> Inventory:
    """A machine that holds a copy: root on its disk SB, data on its disk TB."""
    content, data = with_table(), with_table("0x22222222", "data")
    serials = ("S" + name, "T" + name)
    mappings = (
        DiskMapping("serial:SA", f"serial:{serials[0]}", content.fingerprint),
        DiskMapping("serial:TA", f"serial:{serials[1]}", data.fingerprint),
    )
    made = marker(source, target or name, *mappings, used=used)
    root = replace(system(serials[0]), marker=made, usage=now)
    return machine(name, disk(serials[0], content), disk(serials[1], data), systems=(root,))


def unfinished(name: str = "B", source: str = "A", *, target: str = "") -> Inventory:
    """A machine whose disk SB holds our mark of a copy that broke."""
    mark = Mark("c" * 32, source, target or name, f"serial:S{name}", FINISHED_AT)
    return machine(name, disk("S" + name, Content(False, "mark", unfinished=mark)))
