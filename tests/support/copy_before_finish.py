"""A server's copy on image files, all partitions in place: what is there when FINISH begins.

The disks are those of `server_image`; target, plan and host are on paper.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from payload.finish.boot.grub_parts import LIVE_MODULES
from payload.finish.boot.reinstall import make_it_start
from payload.finish.sequence import FinishResult, check_finished, finish_copy
from payload.formats.boot.boot_sector import BIOS_BOOT
from payload.formats.disk.superblocks import read_usage
from payload.model.disk import Disk, FileSystem, Hardware, Partition, PartitionTable
from payload.model.event import Event
from payload.model.inventory import Inventory
from payload.model.machine import Card, Firmware, MachineIdentity
from payload.model.marker import Change, MachineReference, Usage
from payload.model.plan import CopyMode, DiskPair, Method, Plan, PlannedDisk, Region
from payload.model.report import BootLoaderReport
from payload.system.command import Completed, run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.server_image import (
    BOOT_UUID,
    DATA_UUID,
    MIB,
    ROOT_UUID,
    SOURCE_MAC,
    ServerImages,
    tool,
)

HERE, SPARE = "02:00:00:00:00:11", "02:00:00:00:00:12"
SECTOR = 512
BOOT_START, ROOT_START = 2048 * SECTOR, 55296 * SECTOR
UNUSED: Any = None  # what a finish never asks for


class Copy:
    """Both disks on the target, all partitions in place: what is there when FINISH begins."""

    def __init__(self, directory: Path, server: ServerImages) -> None:
        self.disks = [directory / "target0.img", directory / "target1.img"]
        shutil.copyfile(server.system, self.disks[0])
        shutil.copyfile(server.data, self.disks[1])
        self.blocks = blocks = ImageBlocks(
            [ImageDisk(path, serial=path.name) for path in self.disks]
        )
        for path in self.disks:
            blocks.set_writable(str(path))
        self.host = Host(run, blocks, LinuxMounts(), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED)
        self.source = _inventory([Card("eth0", SOURCE_MAC, carrier=True)], "source", ["S0", "S1"])
        self.target = replace(
            _inventory(
                [
                    Card("eth0", SPARE, bus="0000:01:00.0"),
                    Card("eth1", HERE, "e1000", "0x8086:0x100f"),
                ],
                "target",
                [],
            ),
            disks=tuple(Disk(found) for found in blocks.find()),
        )
        self.plan = _plan(self.target)
        self.events: list[Event] = []

    def finish(self) -> FinishResult:
        wire = [(SOURCE_MAC, HERE)]
        return finish_copy(
            self.host,
            self.plan,
            self.source,
            self.target,
            "copy-1",
            wire,
            (),
            1234,
            self.events.append,
        )

    def check(self) -> tuple[str, ...]:
        report = check_finished(self.host, self.plan, self.target)
        assert (report.strategy, report.loader) == ("carried over", "GRUB 2")
        return report.checks

    def write(self, place: int, content: bytes) -> None:
        with self.disks[0].open("r+b") as disk:
            disk.seek(place)
            disk.write(content)

    def convert_to_gpt(self) -> None:
        """The same partitions in a GPT, with a BIOS boot partition where the gap was."""
        rows = [
            f"{number} : start={start}, size={size}, type={kind}"
            for number, start, size, kind in (
                (1, 2048, 32768, "linux"),
                (3, 34, 2014, BIOS_BOOT),
                (5, 36864, 16384, "swap"),
                (6, 55296, 131072, "linux"),
            )
        ]
        header = "label: gpt\nfirst-lba: 34\n"
        script = header + "\n".join(rows)
        tool("sfdisk", "-q", "--wipe-partitions", "never", str(self.disks[0]), stdin=script)
        system, data = self.plan.disks
        assert system.table is not None
        kept = tuple(part for part in system.table.partitions if not part.is_extended)
        room = Partition(3, 34 * SECTOR, 2014 * SECTOR, BIOS_BOOT)
        table = replace(system.table, label="gpt", partitions=(*kept, room))
        self.plan = replace(self.plan, disks=(replace(system, table=table), data))

    def root(self, *, writable: bool = False) -> Any:
        return _Mounted(self.host, self.disks[0], ROOT_START, 131072 * SECTOR, writable)

    def boot(self) -> Any:
        return _Mounted(self.host, self.disks[0], BOOT_START, 32768 * SECTOR, True)

    def usage(self) -> Usage:
        with self.host.blocks.view(str(self.disks[0]), ROOT_START, 131072 * SECTOR) as node:
            return read_usage(node, "ext4")


class _Mounted:
    def __init__(self, host: Host, disk: Path, start: int, size: int, writable: bool) -> None:
        self._view = host.blocks.view(str(disk), start, size, writable=writable)
        self._host, self._writable = host, writable

    def __enter__(self) -> Path:
        self._mount = self._host.mounts.mount(
            self._view.__enter__(), "ext4", writable=self._writable
        )
        return self._mount.__enter__()

    def __exit__(self, *problem: Any) -> None:
        self._mount.__exit__(*problem)
        self._view.__exit__(*problem)


def _inventory(cards: list[Card], name: str, serials: list[str]) -> Inventory:
    disks = tuple(
        Disk(Hardware(f"sd{'ab'[n]}", f"/dev/sd{'ab'[n]}", 96 * MIB, serial=serial))
        for n, serial in enumerate(serials)
    )
    return Inventory(MachineIdentity(name), Firmware.BIOS, tuple(cards), disks)


def _ext4(uuid: str) -> FileSystem:
    return FileSystem("ext4", uuid)


def _plan(target: Inventory) -> Plan:
    system = PartitionTable(
        "dos",
        "0xfa110e55",
        (
            Partition(
                1, BOOT_START, 32768 * SECTOR, "83", file_system=FileSystem("ext4", BOOT_UUID)
            ),
            Partition(2, 36862 * SECTOR, 155650 * SECTOR, "5"),
            Partition(5, 36864 * SECTOR, 16384 * SECTOR, "82", file_system=FileSystem("swap")),
            Partition(
                6, ROOT_START, 131072 * SECTOR, "83", file_system=FileSystem("ext4", ROOT_UUID)
            ),
        ),
    )
    data = PartitionTable(
        "dos",
        "0xda7a0001",
        (Partition(1, MIB, 63488 * SECTOR, "83", file_system=_ext4(DATA_UUID)),),
    )
    regions = (
        Region(0, 0, 0, 0, MIB, Method.BOOT),
        Region(1, 0, 1, BOOT_START, 32768 * SECTOR, Method.USED, "ext4"),
        Region(2, 0, 5, 36864 * SECTOR, 16384 * SECTOR, Method.HEADER, "swap"),
        Region(3, 0, 6, ROOT_START, 131072 * SECTOR, Method.USED, "ext4"),
        Region(4, 1, 1, MIB, 63488 * SECTOR, Method.USED, "ext4"),
    )
    pairs = tuple(
        DiskPair(
            PlannedDisk(f"serial:S{n}", f"S{n}", 96 * MIB, SECTOR),
            PlannedDisk(disk.id, disk.hardware.label, disk.hardware.size, SECTOR),
            "",
            table,
        )
        for n, (disk, table) in enumerate(zip(target.disks, (system, data), strict=True))
    )
    source = MachineReference("a" * 32, "Paper source", "groupware")
    here = MachineReference("b" * 32, "Paper target")
    return Plan(source, here, CopyMode.USED, pairs, regions, root=3)


class Sealed(Copy):
    """A copy whose disks are read-only again."""

    def __init__(self, directory: Path, server: ServerImages) -> None:
        super().__init__(directory, server)
        self.commands: list[tuple[str, ...]] = []
        self.host = replace(self.host, run=self._run)

    def _run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
    ) -> Completed:
        self.commands.append(tuple(argv))
        return run(argv, stdin=stdin, timeout=timeout, ok=ok)

    def start(self) -> tuple[BootLoaderReport, tuple[Change, ...]]:
        for path in self.disks:
            self.host.blocks.set_read_only(str(path))
        self.blocks.opened_for_writing.clear()
        return make_it_start(self.host, self.plan, self.target, self.events.append)

    def core(self, *options: str) -> bytes:
        """A core image as the server's own grub-install would make it."""
        path = self.disks[0].with_name("core.img")
        modules = ("biosdisk", "part_msdos", "ext2", "search_fs_uuid")
        tool("grub-mkimage", "-O", "i386-pc", *options, "-o", str(path), *modules)
        return path.read_bytes()

    def give_modules(self) -> None:
        with self.root(writable=True) as root:
            shutil.copytree(LIVE_MODULES, root / "usr/lib/grub/i386-pc")
        self.give_modules_beside_the_menu()

    def give_modules_beside_the_menu(self) -> None:
        with self.boot() as boot:
            shutil.copytree(LIVE_MODULES, boot / "grub/i386-pc", ignore=_not_a_module)


def _not_a_module(_: str, names: list[str]) -> list[str]:
    """As grub-install copies them: without kernel.img and the like."""
    return [name for name in names if not name.endswith((".mod", ".lst"))]
