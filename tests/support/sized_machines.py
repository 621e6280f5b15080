"""Machines whose disks have sizes, tables and places at the cables, for tests about plans."""

from dataclasses import replace

from payload.decide.planning import plan_copy
from payload.model.disk import MIB, Content, Disk, FileSystem, Hardware, Partition, PartitionTable
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.plan import CopyMode, Plan
from payload.model.role import Decision, Ground, Permission, Role
from tests.support.machines import machine

GB = 10**9 // 4096 * 4096
SECTOR = 512


def hardware(serial: str, size: int, place: int = 1, **more: object) -> Hardware:
    base = Hardware(
        name=f"sd{serial}",
        node=f"/dev/sd{serial}",
        size=size,
        serial=serial,
        model="ACME",
        path=f"pci-0000:00:1f.2-ata-{place}",
    )
    return replace(base, **more)  # type: ignore[arg-type]


def partition(
    number: int, start: int, size: int, kind: str = "ext4", type_id: str = "83"
) -> Partition:
    return Partition(number, start, size, type_id, file_system=FileSystem(kind) if kind else None)


def server_table() -> PartitionTable:
    """As on the sample server: /boot, swap and root in an extended partition."""
    return PartitionTable(
        "dos",
        "0xfa110e55",
        (
            partition(1, 63 * SECTOR, 100 * MIB, "ext3"),
            partition(2, 200 * MIB, 5 * GB, "", "5"),
            partition(5, 201 * MIB, 500 * MIB, "swap", "82"),
            partition(6, 800 * MIB, 4 * GB, "ext4"),
        ),
    )


def sized_disk(serial: str, size: int, table: PartitionTable | None, place: int = 1) -> Disk:
    return Disk(hardware(serial, size, place), Content(table is None, "seen", table))


def data_disk(serial: str, size: int, place: int = 2) -> Disk:
    table = PartitionTable("gpt", "GUID", (partition(1, MIB, size - 2 * MIB, "xfs", "0fc6"),), 34)
    return sized_disk(serial, size, table, place)


def sized_server(*more: Disk) -> Inventory:
    """The sample server on disk A, with these disks beside it."""
    return machine(
        "5ce",
        sized_disk("A", 6 * GB, server_table()),
        *more,
        systems=(InstalledSystem("serial:A", 6, "ext4", host_name="groupware"),),
    )


def allow(target: Inventory, ground: Ground = Ground.BLANK, source_id: str = "") -> Decision:
    permissions = tuple(
        Permission(one.id, ground, "nothing", source_id) for one in target.eligible_disks
    )
    return Decision(Role.TARGET, "blank", (), permissions)


def plan(source: Inventory, target: Inventory, mode: CopyMode = CopyMode.USED) -> Plan:
    """The plan, if each eligible disk of the target may be overwritten."""
    return plan_copy(source, target, allow(target), mode)
