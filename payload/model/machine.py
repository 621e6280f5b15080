"""What a machine is: identity, firmware and network cards."""

from dataclasses import dataclass
from enum import StrEnum


class Firmware(StrEnum):
    """How this machine was booted, and so how a copy on it must boot."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True)
class Card:
    """A network card with hardware behind it. `mac` is the permanent one, lower case."""

    name: str
    mac: str
    driver: str = ""
    pci_id: str = ""  # "0x8086:0x100f", as in the comments of persistent net rules
    bus: str = ""  # "0000:02:01.0"
    modalias: str = ""
    carrier: bool = False
    speed: int = 0  # Mbit/s, 0 when unknown
    alternatives: tuple[str, ...] = ()  # other names udev would have chosen, as "enp2s1"


@dataclass(frozen=True)
class MachineIdentity:
    """Which machine this is, whatever its disks say.

    `id` is derived from the DMI uuid where that is believable, and from the permanent MACs:
    cloned VMs share the uuid, and blank boards all say 00 or FF.
    """

    id: str  # 32 hex digits
    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""  # lower case, "" when the board tells none worth believing
    macs: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """A name a person can match with a sticker on the case."""
        words = " ".join(word for word in (self.vendor, self.product) if word)
        return f"{words or 'machine'} {self.id[:8]}"
