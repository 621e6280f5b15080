"""The adapters a run works through, in one value. Tests pass others; nothing asks which.

Logic never branches on "test" or "dry run": whoever wants other behaviour passes another adapter.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from payload.model.disk import Hardware
from payload.model.machine import Firmware, MachineIdentity
from payload.model.volume import Extent
from payload.system.command import Run
from payload.system.emulator import Running, VirtualMachine
from payload.system.links import Links
from payload.system.mdns import Mdns


class Blocks(Protocol):
    """Disks as block devices (`system.block`)."""

    def find(self) -> tuple[Hardware, ...]:
        """Every disk, the ineligible ones with their reason. Raises ToolError, also when the
        answer is empty: a machine without any disk is a failed tool until proven otherwise."""

    def recheck(self, hardware: Hardware) -> None:
        """Raise TargetDiskError unless `hardware.node` is still that very device, and idle."""

    def set_writable(self, node: str) -> None: ...

    def set_read_only(self, node: str) -> None: ...

    def open_to_read(self, node: str) -> int:
        """A descriptor (O_RDONLY, O_DIRECT where the device takes it)."""

    def open_to_write(self, node: str) -> int:
        """A descriptor (O_RDWR, O_EXCL, O_DIRECT where the device takes it)."""

    def drop_cache(self, node: str) -> None:
        """Flush to the medium and forget what the kernel has cached, so that reads are real."""

    def discard_step(self, node: str) -> int:
        """Bytes of the least that this disk can be told to forget, 0 when it cannot."""

    def discard(self, descriptor: int, start: int, size: int) -> None:
        """Tell the disk that nobody needs these bytes: they may read as anything afterwards.
        Raises OSError."""

    def zero(self, descriptor: int, start: int, size: int) -> None:
        """Zeros there, without sending any. Raises OSError, also when the disk cannot do that."""

    def view(
        self, node: str, start: int, size: int, *, writable: bool = False
    ) -> AbstractContextManager[str]:
        """A device that is exactly bytes `start` to `start + size` of `node`: how partitions are
        looked at and mounted, whatever the kernel thinks of the partition table."""

    def assemble(
        self, legs: Sequence[Sequence[Extent]], *, writable: bool = False
    ) -> AbstractContextManager[str]:
        """A device that holds what each of `legs` holds, piece after piece, where several mirror
        each other (`Volume.extents`). Read from the first leg, written to all."""


class Mounts(Protocol):
    """File systems (`system.mounts`)."""

    def mount(
        self,
        device: str,
        kind: str,
        *,
        writable: bool = False,
        options: Sequence[str] = (),
        at: Path | None = None,
    ) -> AbstractContextManager[Path]:
        """Mount and unmount again, at a private place or `at` a directory. Read-only means:
        without replaying any journal."""


class Board(Protocol):
    """The machine itself (`system.board`)."""

    def identity(self, macs: tuple[str, ...]) -> MachineIdentity: ...

    def firmware(self) -> Firmware: ...

    def memory(self) -> int: ...


class Emulator(Protocol):
    """A machine inside this one (`system.emulator`)."""

    def missing(self) -> str:
        """Why no machine can be started here, "" when one can."""

    def hindrance(self) -> str:
        """Why a machine started here may be too slow to show anything, "" when it is not."""

    def free_memory(self) -> int:
        """Bytes that can be used without anything being pushed out. Raises ToolError."""

    def start(self, machine: VirtualMachine) -> AbstractContextManager[Running]:
        """Switch it on, and end it with the block, whatever happens. Raises ToolError."""


class Power(Protocol):
    """How a run ends (`system.power`). Refuses unless really running from our medium."""

    def off(self) -> None: ...

    def reboot(self) -> None: ...


@dataclass(frozen=True)
class Host:
    """Everything a run may touch."""

    run: Run
    blocks: Blocks
    mounts: Mounts
    board: Board
    power: Power
    links: Links
    mdns: Mdns
    emulator: Emulator
