"""A machine in QEMU, without KVM: what is in it, what it says, and that it is gone afterwards.

Nothing here waits for time: a machine is watched on its serial line, and "QEMU ended" is never
success. `-no-shutdown` keeps a machine that powered itself off, so that one can tell a power off
from a crash of QEMU. The emulated CPU leaves out `erms` and `fsrm`: TCG runs `rep movsb` byte by
byte, and the kernel would use it for every copy. It has virtualization of its own, which only a
machine with memory enough for a boot proof comes to use.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from payload.model.errors import ToolError
from payload.model.machine import Firmware
from payload.system.qmp import Qmp

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
# Secure Boot enforced, with the keys that sign shim enrolled.
SECURE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
SECURE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
POLL_SECONDS = 0.2
KEY_MILLISECONDS = 30


class MachineError(Exception):
    """A machine did not do what was waited for; the text says which machine and its last words."""


class Bus(StrEnum):
    """The disk controller. IDE is that of the `pc` board; under UEFI firmware (q35) use AHCI."""

    IDE = "ide"
    AHCI = "ahci"
    VIRTIO = "virtio"
    SCSI = "scsi"  # an LSI MegaRAID SAS


class MediumKind(StrEnum):
    CD = "cd"
    USB = "usb"


class State(StrEnum):
    """What became of a machine."""

    RUNNING = "running"
    POWERED_OFF = "powered off"  # by itself
    RESET = "reset"  # it wanted to boot again
    STOPPED = "stopped"  # QEMU paused it: a panic, or an error of the host
    GONE = "gone"  # QEMU itself ended


@dataclass(frozen=True)
class Drive:
    """A disk: an image file as QEMU is to open it, for reading and writing."""

    image: Path
    format: str  # "raw" or "qcow2"
    serial: str


@dataclass(frozen=True)
class Medium:
    """The ISO, as CD or as USB stick; never written either way."""

    iso: Path
    kind: MediumKind


@dataclass(frozen=True)
class Wire:
    """A cable between two machines: a unix socket on which one of them (the first) listens."""

    path: Path
    listens: bool


@dataclass(frozen=True)
class BootServer:
    """What a card starts its machine from: DHCP and TFTP, by QEMU. Whatever the machine asks the
    server for besides, it asks this host's loopback interface for."""

    directory: Path
    file: str  # below it, fetched first


@dataclass(frozen=True)
class Card:
    """A network card. Without a wire the cable ends in a hub with nobody else: carrier is up.

    `network` is what it is plugged into, where machines are planned before there are wires.
    `slot` is its place on the PCI bus, which decides what newer systems call it; 0: any.
    """

    mac: str
    model: str = "e1000"
    wire: Wire | None = None
    network: str = ""
    slot: int = 0
    server: BootServer | None = None


@dataclass(frozen=True)
class Kernel:
    """Started by QEMU itself, without firmware menus or a loader."""

    image: Path
    initrd: Path
    parameters: str


@dataclass(frozen=True)
class Hardware:
    """Everything a machine is made of. `memory` in MiB; `words` are fw_cfg items (opt/...)."""

    name: str
    firmware: Firmware = Firmware.BIOS
    bus: Bus = Bus.IDE
    drives: tuple[Drive, ...] = ()
    medium: Medium | None = None
    cards: tuple[Card, ...] = ()
    memory: int = 1024
    uuid: str = "00000000-0000-0000-0000-000000000000"
    words: Mapping[str, str] = field(default_factory=dict)
    variables: Path | None = None  # UEFI variables kept over several boots; made when missing
    secure_boot: bool = False  # enforced; with UEFI firmware only
    kernel: Kernel | None = None


def plan_drives(hardware: Hardware) -> list[str]:
    """QEMU's arguments for controller and disks."""
    on_q35 = hardware.firmware is Firmware.UEFI
    arguments: list[str] = []
    if hardware.bus is Bus.AHCI and not on_q35:
        arguments += ["-device", "ahci,id=ahci"]
    if hardware.bus is Bus.SCSI:
        arguments += ["-device", "megasas,id=scsi"]
    for number, drive in enumerate(hardware.drives):
        backend = f"if=none,id=disk{number},file={drive.image},format={drive.format}"
        place = _place(hardware.bus, number, on_q35)
        device = f"{place},drive=disk{number},serial={drive.serial},bootindex={number + 1}"
        arguments += ["-drive", f"{backend},discard=unmap,detect-zeroes=unmap,cache=unsafe"]
        arguments += ["-device", device]
    return arguments


def _place(bus: Bus, number: int, on_q35: bool) -> str:
    if bus is Bus.VIRTIO:
        return "virtio-blk-pci"
    if bus is Bus.SCSI:
        return f"scsi-hd,bus=scsi.0,scsi-id={number}"
    if bus is Bus.AHCI:
        return f"ide-hd,bus={'ide' if on_q35 else 'ahci'}.{number}"
    if on_q35:
        raise ValueError("the q35 board has no IDE controller: use AHCI with UEFI firmware")
    # ide.1 unit 0 is the CD drive's place.
    places = ("ide.0,unit=0", "ide.0,unit=1", "ide.1,unit=1")
    if number >= len(places):
        raise ValueError("IDE has room for three disks beside the CD drive: use AHCI")
    return f"ide-hd,bus={places[number]}"


def plan_medium(hardware: Hardware) -> list[str]:
    """QEMU's arguments for the CD or USB stick, first in the boot order."""
    if hardware.medium is None:
        return []
    drive = f"if=none,id=medium,file={hardware.medium.iso},format=raw,readonly=on"
    if hardware.medium.kind is MediumKind.USB:
        return [
            "-drive",
            drive,
            "-device",
            "qemu-xhci",
            "-device",
            "usb-storage,drive=medium,removable=on,bootindex=0",
        ]
    bus = "ide.5" if hardware.firmware is Firmware.UEFI else "ide.1,unit=0"
    return [
        "-drive",
        f"{drive},media=cdrom",
        "-device",
        f"ide-cd,bus={bus},drive=medium,bootindex=0",
    ]


def plan_kernel(kernel: Kernel | None) -> list[str]:
    """QEMU's arguments for a kernel of its own."""
    if kernel is None:
        return []
    files = ["-kernel", str(kernel.image), "-initrd", str(kernel.initrd)]
    return [*files, "-append", kernel.parameters]


def plan_cards(cards: Sequence[Card]) -> list[str]:
    """QEMU's arguments for the network cards."""
    if not cards:
        return ["-nic", "none"]
    return [word for number, card in enumerate(cards) for word in _plan_card(number, card)]


def _plan_card(number: int, card: Card) -> list[str]:
    first = ""
    if card.server is not None:
        netdev = f"user,id=net{number},tftp={card.server.directory},bootfile={card.server.file}"
        first = ",bootindex=0"
    elif card.wire is None:
        netdev = f"hubport,id=net{number},hubid={number}"
    else:
        listens = "on" if card.wire.listens else "off"
        netdev = f"stream,id=net{number},server={listens},addr.type=unix,addr.path={card.wire.path}"
    device = f"{card.model},netdev=net{number},mac={card.mac}{first}"
    return ["-netdev", netdev, "-device", device + (f",addr={card.slot:#x}" if card.slot else "")]


def plan_firmware(hardware: Hardware, variables: Path) -> list[str]:
    """QEMU's arguments for the board and its firmware."""
    if hardware.firmware is Firmware.BIOS:
        return ["-machine", "pc"]
    code = SECURE_CODE if hardware.secure_boot else OVMF_CODE
    # Only system management mode keeps a system from writing the firmware's keys by itself.
    guarded = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return [
        "-machine",
        "q35,smm=on" if hardware.secure_boot else "q35",
        *(guarded if hardware.secure_boot else []),
        "-drive",
        f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
        "-drive",
        f"if=pflash,unit=1,format=raw,file={variables}",
    ]


def plan_arguments(hardware: Hardware, sockets: Path, log: Path, variables: Path) -> list[str]:
    """The whole command line: a pure function, so that a person can be shown it."""
    words = [f"name={name},string={value}" for name, value in hardware.words.items()]
    return [
        "qemu-system-x86_64",
        "-name", hardware.name,
        *plan_firmware(hardware, variables),
        "-accel", "tcg,thread=multi",
        "-cpu", "max,erms=off,fsrm=off",
        "-smp", "1",
        "-m", str(hardware.memory),
        "-uuid", hardware.uuid,
        "-smbios", f"type=1,manufacturer=QEMU,product={hardware.name},uuid={hardware.uuid}",
        "-nodefaults",
        "-vga", "std",
        "-display", "none",
        "-no-reboot",
        "-no-shutdown",
        "-chardev", f"socket,id=serial0,path={sockets}/serial,server=on,wait=off,logfile={log}",
        "-serial", "chardev:serial0",
        "-qmp", f"unix:{sockets}/qmp,server=on,wait=off",
        *plan_drives(hardware),
        *plan_medium(hardware),
        *plan_cards(hardware.cards),
        *plan_kernel(hardware.kernel),
        *(argument for word in words for argument in ("-fw_cfg", word)),
    ]  # fmt: skip


_KEYS = {
    " ": ("spc",), "\n": ("ret",), "/": ("slash",), ".": ("dot",), "-": ("minus",),
    ";": ("semicolon",), "(": ("shift", "9"), ")": ("shift", "0"), "*": ("shift", "8"),
    ">": ("shift", "dot"),
}  # fmt: skip


def plan_keys(text: str) -> list[tuple[str, ...]]:
    """The keys of a US keyboard to press together, one after the other. Raises KeyError for what
    is neither a letter, a digit nor one of the few signs that commands here are made of."""
    keys: list[tuple[str, ...]] = []
    for letter in text:
        if letter.isascii() and letter.isalnum():
            held = ("shift",) if letter.isupper() else ()
            keys.append((*held, letter.lower()))
        else:
            keys.append(_KEYS[letter])
    return keys


class Machine:
    """A running machine: a context manager that kills the QEMU it started on every path.

    Its serial log is `directory/NAME.log`, complete from power-on; pictures are NAME-*.png.
    """

    def __init__(self, hardware: Hardware, directory: Path) -> None:
        self.hardware = hardware
        self.directory = directory.resolve()
        self.log = self.directory / f"{hardware.name}.log"
        self.started = 0.0
        self._seen = 0
        self._pictures = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        # Unix socket paths are short by nature (108 bytes); a checkout's path may not be.
        self._sockets = Path(tempfile.mkdtemp(prefix="ugs-vm-"))
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self._sockets)
            raise
        return self

    def _start(self) -> None:
        self.log.write_bytes(b"")
        arguments = plan_arguments(self.hardware, self._sockets, self.log, self._variables())
        self.started = time.monotonic()
        # setpriv: the machine ends also when this process is killed and cannot clean up.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            self._qmp = Qmp(self._sockets / "qmp", lambda: self._process.poll() is None)
        except ToolError as error:
            raise MachineError(f"{self.name}: {error} QEMU says: {self._end()}") from error
        except BaseException:
            self._end()
            raise

    def _variables(self) -> Path:
        variables = self.hardware.variables or self._sockets / "variables.fd"
        if self.hardware.firmware is Firmware.UEFI and not variables.exists():
            fresh = SECURE_VARIABLES if self.hardware.secure_boot else OVMF_VARIABLES
            shutil.copyfile(fresh, variables)
        return variables

    def __exit__(self, *_: object) -> None:
        self._qmp.close()
        self._end()
        shutil.rmtree(self._sockets)

    def _end(self) -> str:
        """Kill QEMU and return what it said on its error output."""
        self._process.kill()
        _, words = self._process.communicate()
        return words.decode(errors="replace").strip()

    @property
    def name(self) -> str:
        return self.hardware.name

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self.started

    @property
    def state(self) -> State:
        """What the machine does now."""
        try:
            status = self._qmp.execute("query-status")["status"]
        except ToolError:
            return State.GONE
        if status in ("running", "prelaunch", "inmigrate"):
            return State.RUNNING
        if status != "shutdown":
            return State.STOPPED
        return State.POWERED_OFF if self._qmp.end == "guest-shutdown" else State.RESET

    @property
    def text(self) -> str:
        """Everything the serial line said so far, without colours and carriage returns."""
        return clean(self.log.read_bytes().decode("utf-8", errors="replace"))

    @property
    def last_line(self) -> str:
        """The last line with anything on it."""
        return next((line for line in reversed(self.text.splitlines()) if line.strip()), "")

    def new_lines(self) -> list[str]:
        """The complete lines that came since the last call."""
        with self.log.open("rb") as stream:
            stream.seek(self._seen)
            fresh = stream.read()
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._seen += len(complete)
        return clean(complete.decode("utf-8", errors="replace")).splitlines()

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until the serial line says it. Raises MachineError when it does not in time, or
        when the machine ended without having said it."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state  # before the text: the last words come before the end
            if match := re.search(pattern, self.text, re.MULTILINE):
                return match
            if state is not State.RUNNING:
                raise MachineError(self._complaint(f"{state} before it said {pattern!r}"))
            if time.monotonic() > deadline:
                raise MachineError(self._complaint(f"did not say {pattern!r} in {seconds:.0f} s"))
            time.sleep(POLL_SECONDS)

    def wait_for_power_off(self, seconds: float) -> None:
        """Wait until the machine switched itself off. Raises MachineError for any other end."""
        deadline = time.monotonic() + seconds
        while (state := self.state) is State.RUNNING:
            if time.monotonic() > deadline:
                raise MachineError(self._complaint(f"did not power off in {seconds:.0f} s"))
            time.sleep(POLL_SECONDS)
        if state is not State.POWERED_OFF:
            raise MachineError(self._complaint(f"{state} instead of powering off"))

    def _complaint(self, what: str) -> str:
        lines = [line for line in self.text.splitlines() if line.strip()][-5:]
        return f"machine {self.name} {what}; its last words: " + " / ".join(lines)

    def type_line(self, line: str) -> None:
        """Type on the serial line, as a person at a terminal does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._sockets / "serial"))
            connection.sendall(line.encode() + b"\r")
            # QEMU writes to whoever is connected: take what comes, so that nothing stalls.
            connection.settimeout(0.5)
            try:
                while connection.recv(4096):
                    pass
            except TimeoutError:
                pass

    def type_keys(self, text: str) -> None:
        """Type on the keyboard. What it can type: `plan_keys`."""
        for keys in plan_keys(text):
            codes = [{"type": "qcode", "data": key} for key in keys]
            self._qmp.execute("send-key", **{"keys": codes, "hold-time": KEY_MILLISECONDS})
            time.sleep(2 * KEY_MILLISECONDS / 1000)

    def turn_to_console(self, number: int) -> None:
        """As a person does with Alt and a function key."""
        codes = [{"type": "qcode", "data": key} for key in ("alt", f"f{number}")]
        self._qmp.execute("send-key", keys=codes)

    def take_picture(self, what: str = "") -> Path | None:
        """The screen as PNG, or None when QEMU cannot (the machine just went)."""
        self._pictures += 1
        picture = self.directory / f"{self.name}-{self._pictures}{'-' if what else ''}{what}.png"
        try:
            self._qmp.execute("screendump", filename=str(picture), format="png")
        except ToolError:
            return None
        return picture


_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>cM78]|[\r\x00\x07]")


def clean(text: str) -> str:
    """Terminal output as plain text."""
    return _ESCAPES.sub("", text)
