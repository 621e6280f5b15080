"""The controllers and network cards that virtual machines can be given.

When a system cannot start on a target, the cure is another device, told by the name that the
settings of that virtual machine have for it. Each device is asked for by its modalias; the option
of the kernel's configuration tells of drivers built into kernels of before Linux 5.2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payload.formats.kernel.disk_names import driver_of
from payload.formats.kernel.kernel_modules import Kernel
from payload.model.survey import Offer, OfferKind

_DISK, _CARD = OfferKind.CONTROLLER, OfferKind.CARD


@dataclass(frozen=True)
class Device:
    """What `makers` of virtual machines (as DMI calls them) offer under `name`."""

    kind: OfferKind
    name: str
    modaliases: tuple[str, ...]  # all of them need a driver
    option: str  # of the kernel's configuration
    makers: tuple[str, ...]


def _pci(vendor: str, device: str, code: str) -> str:
    of_class = f"bc{code[:2]}sc{code[2:4]}i{code[4:]}"
    return f"pci:v0000{vendor}d0000{device}sv0000{vendor}sd0000{device}{of_class}"


VMWARE, QEMU, BOX, HYPER_V, XEN = ("VMware",), ("QEMU", "Red Hat", "oVirt"), ("innotek",), (
    "Microsoft",), ("Xen",)  # fmt: skip

# The best first; what the oldest kernels know comes last, it is the slowest.
DEVICES = (
    Device(_DISK, "a virtio block controller",
           (_pci("1AF4", "1001", "010000"), "virtio:d00000002v00001AF4"),
           "CONFIG_VIRTIO_BLK", QEMU),
    Device(_DISK, "a virtio SCSI controller",
           (_pci("1AF4", "1004", "010000"), "virtio:d00000008v00001AF4"),
           "CONFIG_SCSI_VIRTIO", QEMU),
    Device(_DISK, "a Paravirtual SCSI controller", (_pci("15AD", "07C0", "010700"),),
           "CONFIG_VMWARE_PVSCSI", VMWARE),
    Device(_DISK, "a Hyper-V SCSI controller",
           ("vmbus:d96361baa104294db60572e2ffb1dc7f",), "CONFIG_HYPERV_STORAGE", HYPER_V),
    Device(_DISK, "a Xen block device", ("xen:vbd",), "CONFIG_XEN_BLKDEV_FRONTEND", XEN),
    Device(_DISK, "an LSI Logic SAS controller", (_pci("1000", "0054", "010000"),),
           "CONFIG_FUSION_SAS", VMWARE + BOX),
    Device(_DISK, "an LSI Logic controller", (_pci("1000", "0030", "010000"),),
           "CONFIG_FUSION_SPI", VMWARE + BOX),
    Device(_DISK, "a SATA (AHCI) controller", (_pci("8086", "2922", "010601"),),
           "CONFIG_SATA_AHCI", VMWARE + QEMU + BOX),
    Device(_DISK, "an LSI 53C895A controller", (_pci("1000", "0012", "010000"),),
           "CONFIG_SCSI_SYM53C8XX_2", QEMU),
    Device(_DISK, "an IDE controller", (_pci("8086", "7111", "01018A"),),
           "CONFIG_BLK_DEV_PIIX", VMWARE + BOX + HYPER_V),
    Device(_DISK, "an IDE controller", (_pci("8086", "7010", "010180"),),
           "CONFIG_BLK_DEV_PIIX", QEMU + XEN),
    Device(_CARD, "a virtio card",
           (_pci("1AF4", "1000", "020000"), "virtio:d00000001v00001AF4"),
           "CONFIG_VIRTIO_NET", QEMU + BOX),
    Device(_CARD, "a VMXNET 3 card", (_pci("15AD", "07B0", "020000"),),
           "CONFIG_VMXNET3", VMWARE),
    Device(_CARD, "a Hyper-V network card",
           ("vmbus:635161f83edfc546913ff2d2f965ed0e",), "CONFIG_HYPERV_NET", HYPER_V),
    Device(_CARD, "a Xen network card", ("xen:vif",), "CONFIG_XEN_NETDEV_FRONTEND", XEN),
    Device(_CARD, "an E1000E card", (_pci("8086", "10D3", "020000"),),
           "CONFIG_E1000E", VMWARE + QEMU),
    Device(_CARD, "an E1000 card", (_pci("8086", "100F", "020000"),),
           "CONFIG_E1000", VMWARE + BOX),
    Device(_CARD, "an E1000 card", (_pci("8086", "100E", "020000"),),
           "CONFIG_E1000", QEMU),
    Device(_CARD, "an RTL8139 card", (_pci("10EC", "8139", "020000"),),
           "CONFIG_8139CP", QEMU + XEN),
    Device(_CARD, "a PCnet (flexible, AMD) card", (_pci("1022", "2000", "020000"),),
           "CONFIG_PCNET32", VMWARE + BOX),
    Device(_CARD, "a legacy network card", (_pci("1011", "0009", "020000"),),
           "CONFIG_TULIP", HYPER_V),
)  # fmt: skip


def find_offers(
    maker: str, kernel: Kernel, held: frozenset[str] | None, family: str = ""
) -> tuple[Offer, ...]:
    """What the virtual machines of that maker offer and this kernel drives. `held` are the modules
    in its initramfs: controllers it starts with as it is come first, None: not known. With a
    `family` ("hd") only controllers whose disks have such names. Empty when the target is no
    virtual machine."""
    found = [device for device in _of_maker(maker) if _driven(device, kernel)]
    if family:
        found = [device for device in found if _names_by(device, kernel) in ("", family)]
    found.sort(key=lambda device: held is not None and not _ready(device, kernel, held))
    return tuple(dict.fromkeys(Offer(device.kind, device.name) for device in found))


def starts_on(name: str, kernel: Kernel, held: frozenset[str] | None) -> bool:
    """Whether the kernel finds its root file system behind QEMU's controller of that name, with
    the modules that its initramfs holds; None: not known, so whether it has a driver at all."""
    return any(
        (kernel.options is not None and device.option in kernel.options)
        or (_driven(device, kernel) and (held is None or _ready(device, kernel, held)))
        for device in _of_maker("QEMU")
        if device.name == name and device.kind is OfferKind.CONTROLLER
    )


def _of_maker(maker: str) -> Iterator[Device]:
    return (one for one in DEVICES if any(maker.startswith(name) for name in one.makers))


def _driven(device: Device, kernel: Kernel) -> bool:
    if kernel.options is not None and device.option in kernel.options:
        return True
    return all(kernel.claiming(modalias) for modalias in device.modaliases)


def _names_by(device: Device, kernel: Kernel) -> str:
    return "" if device.kind is OfferKind.CARD else driver_of(kernel, device.modaliases)[0]


def _ready(device: Device, kernel: Kernel, held: frozenset[str]) -> bool:
    if device.kind is OfferKind.CARD:
        return True  # a card is driven after the start, too
    claims: Sequence[tuple[str, ...]] = [kernel.claiming(one) for one in device.modaliases]
    return all(any(kernel.held(module, held) for module in claim) for claim in claims)


def option_of(modalias: str) -> str:
    """The option of the kernel's configuration for a device of a virtual machine, "" for others."""
    identity = modalias.split("sv", maxsplit=1)[0]
    return next(
        (
            device.option
            for device in DEVICES
            if any(one.split("sv")[0] == identity for one in device.modaliases)
        ),
        "",
    )
