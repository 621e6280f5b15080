"""What the source alone can find out about a copy of itself on this target."""

from dataclasses import dataclass
from enum import StrEnum

from payload.model.network import NamesInUse


@dataclass(frozen=True)
class Drivers:
    """What the kernels of the system to be copied have for one device of the target."""

    modalias: str
    modules: tuple[str, ...] = ()  # that claim the device, in whichever kernel
    without: tuple[str, ...] = ()  # kernels in which none does
    certain: bool = True  # False: some kernel does not tell what is built into it

    @property
    def missing(self) -> bool:
        """No kernel has a driver, and all of them told what they have."""
        return not self.modules and self.certain


@dataclass(frozen=True)
class Initramfs:
    """The initramfs of the kernel that the boot menu starts by itself."""

    kernel: str  # its version
    path: str = ""  # from the system's root; "" when the kernel is started without
    unknown: str = ""  # why it is not known what it holds
    maker: str = ""  # what can make it anew there: "initramfs-tools", "dracut"; "" nothing


@dataclass(frozen=True)
class LateDisk:
    """A disk of the target that the initramfs, as it is, would wait for in vain."""

    disk: str  # stable id
    modules: tuple[str, ...]  # what it does not hold


@dataclass(frozen=True)
class FixedRoot:
    """A root file system that nothing in the copy can name anew: LILO's map holds its number."""

    name: str  # as lilo.conf has it, "/dev/hda2"
    renamed: tuple[str, ...]  # disks of the target (stable ids) with names of another kind


class OfferKind(StrEnum):
    CONTROLLER = "controller"
    CARD = "card"


@dataclass(frozen=True)
class Offer:
    """A device that a virtual machine can be given and that the system would start with."""

    kind: OfferKind
    name: str  # as the settings of the virtual machine call it


@dataclass(frozen=True)
class Survey:
    """The source's answers. An empty `kernels` means that none were found to ask. `asked` is
    False where there is no source to ask, only its saved inventory."""

    kernels: tuple[str, ...] = ()  # their versions
    drivers: tuple[Drivers, ...] = ()
    used: int = 0  # bytes in use on the disks to be copied
    clock_ahead: int = 0  # seconds the source's clock is ahead of the target's
    asked: bool = True
    initramfs: Initramfs | None = None  # None: it is not known which kernel starts
    late: tuple[LateDisk, ...] = ()  # known where `initramfs` is
    fixed_root: FixedRoot | None = None
    offers: tuple[Offer, ...] = ()  # for the kind of machine the target is
    network: NamesInUse | None = None  # None: the system's configuration could not be read

    def of(self, modalias: str) -> Drivers | None:
        """What is known about that device."""
        return next((one for one in self.drivers if one.modalias == modalias), None)
