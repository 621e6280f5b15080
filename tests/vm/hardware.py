"""What a virtual machine is made of, and QEMU's command line for it: pure, so that a person can be
shown it.

Only the processor differs between a machine that runs by KVM and an emulated one: drives and cards
are the same in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from payload.model.machine import Firmware
from tests.vm.accelerator import Accelerator, plan_processor

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
# Secure Boot enforced, with the keys that sign shim enrolled.
SECURE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
SECURE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")


class Bus(StrEnum):
    """The disk controller. IDE is that of the `pc` board; under UEFI firmware (q35) use AHCI."""

    IDE = "ide"
    AHCI = "ahci"
    VIRTIO = "virtio"
    SCSI = "scsi"  # an LSI MegaRAID SAS


class MediumKind(StrEnum):
    CD = "cd"
    USB = "usb"


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
    """Everything a machine is made of. `memory` in MiB; `words` are fw_cfg items (opt/...).

    `virtualizes`: its processor has virtualization of its own, so that it can start machines.
    """

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
    virtualizes: bool = False


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
    """QEMU's arguments for the CD or USB stick, first in the boot order.

    A kernel of its own is what QEMU starts first: it takes the first place for itself.
    """
    if hardware.medium is None:
        return []
    first = "" if hardware.kernel else ",bootindex=0"
    drive = f"if=none,id=medium,file={hardware.medium.iso},format=raw,readonly=on"
    if hardware.medium.kind is MediumKind.USB:
        return [
            "-drive",
            drive,
            "-device",
            "qemu-xhci",
            "-device",
            f"usb-storage,drive=medium,removable=on{first}",
        ]
    bus = "ide.5" if hardware.firmware is Firmware.UEFI else "ide.1,unit=0"
    return [
        "-drive",
        f"{drive},media=cdrom",
        "-device",
        f"ide-cd,bus={bus},drive=medium{first}",
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


def plan_arguments(
    hardware: Hardware, accelerator: Accelerator, sockets: Path, log: Path, variables: Path
) -> list[str]:
    """The whole command line."""
    words = [f"name={name},string={value}" for name, value in hardware.words.items()]
    return [
        "qemu-system-x86_64",
        "-name", hardware.name,
        *plan_firmware(hardware, variables),
        *plan_processor(accelerator, virtualizes=hardware.virtualizes),
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
