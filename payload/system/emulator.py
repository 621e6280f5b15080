"""A machine inside this one, by QEMU: to start the finished copy once without touching it.

Its disks are the real ones, opened for reading only; what the system in it writes goes into an
overlay in memory, of bounded size, that is gone with the machine. It has no network card. What runs
in there is nobody's but the server's, so QEMU itself is a user that nothing belongs to, without a
capability or a network, behind its own seccomp filter: the disks are handed to it open, and what it
leaves is read as the copied system's files are.
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from payload.model.errors import ToolError
from payload.model.machine import Firmware
from payload.system.command import Run, run
from payload.system.files import opened_file, read_inside
from payload.system.qmp import Qmp

PROGRAM = "qemu-system-x86_64"
OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
# Where a text screen lies in memory, all of it: a kernel scrolls by moving the begin.
TEXT_SCREEN, TEXT_SIZE, TEXT_WIDTH = 0xB8000, 0x8000, 80
SERIAL_LIMIT = 1 << 20  # bytes of the serial line that are looked at, the last ones
END = 10.0  # seconds QEMU may take to be gone
USER = 65533  # and group: reserved in Debian (policy, 9.2.2), so nothing on the medium has it
_AHCI_PORTS = 6


class Controller(StrEnum):
    """What the disks hang on. The values are QEMU's names of the devices."""

    AHCI = "ahci"
    IDE = "ide-hd"
    VIRTIO_BLOCK = "virtio-blk-pci"
    VIRTIO_SCSI = "virtio-scsi-pci"
    LSI = "lsi53c895a"


@dataclass(frozen=True)
class VirtualDisk:
    """A disk node (or image file) and its logical sector size in bytes."""

    node: str
    sector_size: int = 512


@dataclass(frozen=True)
class OpenDisk:
    """A disk as QEMU gets it."""

    descriptor: int
    is_block: bool  # a device, not an image file


@dataclass(frozen=True)
class VirtualMachine:
    """What is emulated. The first disk is tried first. `memory` and `overlay` are bytes; the
    overlay holds what the system in it writes. `product` is what its DMI calls it."""

    firmware: Firmware
    disks: tuple[VirtualDisk, ...]
    controller: Controller
    memory: int
    overlay: int
    product: str


@dataclass(frozen=True)
class Sight:
    """What is to be seen of a machine at one moment.

    `screen` is the text on its screen, with what scrolled away; empty while it shows graphics.
    `read` counts the bytes read from its disks. `in_kernel`: its processor was in the kernel of a
    system, or in a program under one. `running` is False once it stopped by itself, `state` is
    QEMU's word for what it does, or why it stopped.
    """

    serial: str = ""
    screen: str = ""
    read: int = 0
    in_kernel: bool = False
    running: bool = True
    state: str = "running"


class Running(Protocol):
    """A machine that was switched on."""

    def look(self) -> Sight:
        """Raises ToolError."""

    def picture(self) -> bytes:
        """Its screen as PNG. Raises ToolError."""


@dataclass(frozen=True)
class LinuxEmulator:
    """`Emulator` by QEMU. Not `accelerated` is many times slower, and needs no help of the
    processor."""

    run: Run = run
    accelerated: bool = True
    kvm: Path = Path("/dev/kvm")
    processors: Path = Path("/proc/cpuinfo")

    def missing(self) -> str:
        """Why no machine can be started here, "" when one can."""
        if shutil.which(PROGRAM) is None:
            return "this medium was built without QEMU"
        if self.accelerated and not _opens(self.kvm):
            return (
                "this machine's processor offers no virtualization (it is switched off in the"
                " firmware setup, or this is a virtual machine), and without it that takes too long"
            )
        return ""

    def hindrance(self) -> str:
        """Why a machine started here may be too slow to show anything, "" when it is not."""
        if not self.accelerated:
            return "its processor is emulated"
        if is_virtual(self.processors.read_text()):
            return "this machine is a virtual one itself"
        return ""

    def free_memory(self) -> int:
        """Bytes that can be used without anything being pushed out. Raises ToolError."""
        text = Path("/proc/meminfo").read_text()
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
        if not found:
            raise ToolError("/proc/meminfo does not tell how much memory is available.")
        return int(found[1]) * 1024

    @contextmanager
    def start(self, machine: VirtualMachine) -> Iterator[Running]:
        """Switch it on, and end it with the block, whatever happens. Raises ToolError."""
        with ExitStack() as stack:
            place = stack.enter_context(self._overlay(machine.overlay))
            if machine.firmware is Firmware.UEFI:
                shutil.copyfile(OVMF_VARIABLES, place / "variables")
                os.chown(place / "variables", USER, USER)
            disks = [stack.enter_context(_opened(disk.node)) for disk in machine.disks]
            command = plan_command(machine, place, disks, accelerated=self.accelerated)
            groups = _groups_of(self.kvm) if self.accelerated else ()
            descriptors = [disk.descriptor for disk in disks]
            process = _start([*plan_rights(groups), *command], place, descriptors)
            stack.callback(_end, process)
            _sacrifice(process)
            qmp = stack.enter_context(_converse(process, place))
            yield _Machine(qmp, place)

    @contextmanager
    def _overlay(self, size: int) -> Iterator[Path]:
        """A directory in memory that holds at most `size` bytes."""
        place = Path(tempfile.mkdtemp(prefix="ugs-proof-"))
        try:
            options = f"size={size},mode=700,uid={USER},gid={USER},nodev,nosuid,noexec"
            self.run(["mount", "-t", "tmpfs", "-o", options, "boot-proof", str(place)])
            try:
                yield place
            finally:
                self.run(["umount", str(place)])
        finally:
            if not place.is_mount():
                place.rmdir()


def _opens(path: Path) -> bool:
    """A node alone proves nothing: it may be there without a driver behind it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def is_virtual(processors: str) -> bool:
    """Whether the processors of /proc/cpuinfo are those of a virtual machine."""
    # Bit 31 of CPUID leaf 1, ECX: 0 in every processor, set by hypervisors and emulators.
    return re.search(r"^flags\s*:.*\bhypervisor\b", processors, re.MULTILINE) is not None


@contextmanager
def _opened(node: str) -> Iterator[OpenDisk]:
    """For reading. Raises ToolError."""
    try:
        descriptor = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ToolError(f"{node} cannot be opened for QEMU: {error.strerror}.") from error
    try:
        yield OpenDisk(descriptor, stat.S_ISBLK(os.fstat(descriptor).st_mode))
    finally:
        os.close(descriptor)


def _groups_of(kvm: Path) -> tuple[int, ...]:
    """The group that may use KVM; where that is root's alone, QEMU may not, and says so."""
    group = kvm.stat().st_gid
    return (group,) if group else ()


def plan_rights(groups: Sequence[int]) -> list[str]:
    """What a program is started by that is nobody, but for these groups: setpriv(1)."""
    rights = [
        f"--reuid={USER}", f"--regid={USER}", "--no-new-privs",
        "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all",
    ]  # fmt: skip
    listed = ",".join(map(str, groups))
    rights.append(f"--groups={listed}" if listed else "--clear-groups")
    return ["unshare", "--net", "--ipc", "setpriv", *rights, "--"]


def plan_command(
    machine: VirtualMachine, place: Path, disks: Sequence[OpenDisk], *, accelerated: bool
) -> list[str]:
    """QEMU's command line; `place` is a directory for its sockets and files, `disks` are those of
    the machine."""
    return [
        PROGRAM,
        "-name", machine.product,
        *_plan_board(machine.firmware, place),
        *(("-accel", "kvm", "-cpu", "host") if accelerated else ("-accel", "tcg", "-cpu", "max")),
        "-smp", "1",
        "-m", f"size={machine.memory >> 20}M",
        "-smbios", f"type=1,manufacturer=UGS-Failover,product={machine.product}",
        "-nodefaults",
        "-nic", "none",
        "-display", "none",
        "-boot", "strict=on",
        "-no-reboot",
        "-no-shutdown",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-chardev", f"file,id=serial0,path={place}/serial",
        "-serial", "chardev:serial0",
        "-qmp", f"unix:{place}/qmp,server=on,wait=off",
        *_plan_disks(machine, disks),
    ]  # fmt: skip


def _plan_board(firmware: Firmware, place: Path) -> list[str]:
    """A BIOS board gets a graphics card without PCI: no kernel has a driver for that which would
    take the text screen away, where it can be read from memory. UEFI knows none but PCI cards."""
    if firmware is Firmware.BIOS:
        return ["-machine", "pc", "-device", "isa-vga"]
    flash = "if=pflash,format=raw"
    return [
        "-machine", "q35",
        "-device", "VGA",
        "-drive", f"{flash},unit=0,readonly=on,file={OVMF_CODE}",
        "-drive", f"{flash},unit=1,file={place}/variables",
    ]  # fmt: skip


def _plan_disks(machine: VirtualMachine, files: Sequence[OpenDisk]) -> Iterator[str]:
    """`snapshot=on` opens the disk for reading only, and lays an overlay in TMPDIR over it."""
    yield from _plan_controllers(machine)
    for number, (disk, file) in enumerate(zip(machine.disks, files, strict=True)):
        yield from ("-add-fd", f"fd={file.descriptor},set={number}")
        # By its name QEMU would take /dev/fdset/0 for an image file (block/file-posix.c).
        driver = "host_device" if file.is_block else "file"
        opened = f"file.driver={driver},file.filename=/dev/fdset/{number}"
        yield from ("-drive", f"if=none,id=disk{number},format=raw,snapshot=on,{opened}")
        size = disk.sector_size
        sectors = f",logical_block_size={size},physical_block_size={size}" if size != 512 else ""
        place = _place(machine.controller, number)
        yield from ("-device", f"{place},drive=disk{number},bootindex={number + 1}{sectors}")


def _plan_controllers(machine: VirtualMachine) -> Iterator[str]:
    match machine.controller:
        case Controller.AHCI:
            for number in range(-(-len(machine.disks) // _AHCI_PORTS)):
                yield from ("-device", f"ahci,id=ahci{number}")
        case Controller.VIRTIO_SCSI | Controller.LSI:
            yield from ("-device", f"{machine.controller},id=scsi")


def _place(controller: Controller, number: int) -> str:
    match controller:
        case Controller.AHCI:
            return f"ide-hd,bus=ahci{number // _AHCI_PORTS}.{number % _AHCI_PORTS}"
        case Controller.IDE:
            return f"ide-hd,bus=ide.{number // 2},unit={number % 2}"
        case Controller.VIRTIO_SCSI | Controller.LSI:
            return f"scsi-hd,bus=scsi.0,scsi-id={number}"
    return controller


def room_for(controller: Controller, firmware: Firmware, disks: Sequence[VirtualDisk]) -> bool:
    """Whether such a controller takes these disks, on the board with that firmware."""
    large = any(disk.sector_size != 512 for disk in disks)
    match controller:
        case Controller.AHCI:
            return not large
        case Controller.IDE:
            return not large and len(disks) <= 4 and firmware is Firmware.BIOS
        case Controller.LSI:
            return len(disks) <= 7 and firmware is Firmware.BIOS
    return len(disks) <= 16


# --- the process


def _start(
    command: Sequence[str], place: Path, descriptors: Sequence[int]
) -> "subprocess.Popen[bytes]":
    try:
        with (place / "said").open("wb") as said:
            return subprocess.Popen(  # noqa: S603  (argv is a list, no shell)
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={"PATH": os.defpath, "TMPDIR": str(place), "LC_ALL": "C"},
                start_new_session=True,
                pass_fds=descriptors,
            )
    except OSError as error:
        raise ToolError(f"QEMU could not be started: {error.strerror}.") from error


def _sacrifice(process: "subprocess.Popen[bytes]") -> None:
    """When memory is short after all, it goes first: the payload keeps the copy's report."""
    with suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")


@contextmanager
def _converse(process: "subprocess.Popen[bytes]", place: Path) -> Iterator[Qmp]:
    """Raises ToolError with what QEMU said when it ended at once."""
    try:
        qmp = Qmp(place / "qmp", lambda: process.poll() is None)
    except ToolError as error:
        said = _tail(place, "said").strip()
        raise ToolError(f"{error} QEMU says: {said or 'nothing'}.") from error
    with qmp:
        yield qmp


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)  # there is nothing in it that anybody needs
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        raise ToolError(f"QEMU was not gone {END:g} seconds after it was ended.") from None


@dataclass(frozen=True)
class _Machine:
    """`Running` by QMP."""

    qmp: Qmp
    place: Path

    def look(self) -> Sight:
        status = self.qmp.execute("query-status")
        stats = self.qmp.execute("query-blockstats")
        return Sight(
            serial=_tail(self.place, "serial"),
            screen=self._screen(),
            read=sum(int(one["stats"]["rd_bytes"]) for one in stats),
            in_kernel=is_in_kernel(self.qmp.monitor("info registers")),
            running=bool(status["running"]),
            state=self.qmp.end or str(status["status"]),
        )

    def _screen(self) -> str:
        file = self.place / "screen"
        self.qmp.execute("pmemsave", val=TEXT_SCREEN, size=TEXT_SIZE, filename=str(file))
        return read_text_screen(self._take(file.name))

    def picture(self) -> bytes:
        file = self.place / "picture"
        self.qmp.execute("screendump", filename=str(file), format="png")
        end = time.monotonic() + END
        while not file.exists() and time.monotonic() < end:  # older versions answer too early
            time.sleep(0.1)
        return self._take(file.name)

    def _take(self, name: str) -> bytes:
        content = read_inside(self.place, name)
        if content is None:
            raise ToolError(f"QEMU left no file {name}.")
        return content


def _tail(place: Path, name: str) -> str:
    with opened_file(place, name) as file:
        if file is None:
            raise ToolError(f"QEMU left no file {name}.")
        file.seek(max(0, file.seek(0, os.SEEK_END) - SERIAL_LIMIT))
        return file.read(SERIAL_LIMIT).decode("latin-1")


def read_text_screen(memory: bytes) -> str:
    """The lines of a VGA text screen: characters at even bytes, colours at odd ones. Whatever is
    no printable ASCII counts as a space, and empty lines are left out."""
    letters = "".join(chr(code) if 0x20 <= code < 0x7F else " " for code in memory[::2])
    lines = (letters[at : at + TEXT_WIDTH].rstrip() for at in range(0, len(letters), TEXT_WIDTH))
    return "\n".join(line for line in lines if line)


def is_in_kernel(registers: str) -> bool:
    """Whether the processor runs a system, by QEMU's "info registers": paging is on, and it is in
    a program (ring 3) or where kernels for x86 live, the upper half (64 bit) or the last quarter
    (32 bit) of the addresses. Firmware and boot loaders do neither."""
    found = dict(re.findall(r"\b(RIP|EIP|CR0|CPL)=([0-9a-fA-F]+)", registers))
    if not int(found.get("CR0", "0"), 16) & 1 << 31:
        return False
    if found.get("CPL") == "3":
        return True
    if "RIP" in found:
        return int(found["RIP"], 16) >> 63 == 1
    return int(found.get("EIP", "0"), 16) >= 0xC000_0000
