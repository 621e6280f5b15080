"""Which machine this is, by what its board says, and how it was booted.

A machine is told apart by its DMI uuid and its network cards together. The uuid alone will not
do: cloned virtual machines share it, and boards whose maker never set it all say the same. So a
card that is added or removed makes another machine of it; a copy made for it before is then a
copy for another machine, and a person has to say that it may be overwritten. That is the safe
side.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from payload.model.errors import ToolError
from payload.model.machine import Firmware, MachineIdentity

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Set by makers on every board of a series.
_SHARED_UUIDS = {
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "03020100-0504-0706-0809-0a0b0c0d0e0f",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "8e275844-178f-44a8-abda-8a6a8c6a8f8a",
}
_FILLERS = re.compile(
    r"(to be filled.*|default.*|not (specified|available|applicable|present|defined)|none|n/?a"
    r"|unknown|invalid|system (manufacturer|product name|serial number|version)|o\.?e\.?m\.?"
    r"|(chassis )?serial( number)?|0*|0?123456789\d*|x+|f+|\.+|\W*)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LinuxBoard:
    """`Board` on the running kernel. Tests pass another root for /sys and /proc."""

    root: Path = Path("/")

    def identity(self, macs: tuple[str, ...]) -> MachineIdentity:
        """Who this machine is, given the permanent MACs of its cards."""
        uuid = believable_uuid(self._dmi("product_uuid"))
        known = tuple(sorted({mac.lower() for mac in macs}))
        return MachineIdentity(
            id=machine_id(uuid, known),
            vendor=believable_text(self._dmi("sys_vendor")),
            product=believable_text(self._dmi("product_name")),
            serial=believable_text(self._dmi("product_serial")),
            uuid=uuid,
            macs=known,
        )

    def firmware(self) -> Firmware:
        """By which firmware this system was started, and so how a copy here has to start."""
        efi = self.root / "sys/firmware/efi"
        return Firmware.UEFI if efi.is_dir() else Firmware.BIOS

    def memory(self) -> int:
        """Bytes of memory the kernel has. Raises ToolError."""
        try:
            text = self.root.joinpath("proc/meminfo").read_text()
        except OSError as error:
            raise ToolError(f"/proc/meminfo could not be read: {error.strerror}.") from error
        found = re.search(r"^MemTotal:\s+(\d+) kB$", text, re.MULTILINE)
        if not found:
            raise ToolError("/proc/meminfo does not tell how much memory this machine has.")
        return int(found[1]) * 1024

    def _dmi(self, name: str) -> str:
        try:
            return self.root.joinpath("sys/class/dmi/id", name).read_text(errors="replace").strip()
        except OSError:
            return ""  # no DMI at all, or a field this board does not have


def machine_id(uuid: str, macs: tuple[str, ...]) -> str:
    """32 hex digits. Cards with a MAC of the local kind, as a service processor's USB network
    has, come and go; they count only where there are no others, as in virtual machines."""
    universal = [mac for mac in macs if not int(mac[:2], 16) & 2]
    words = "\n".join([uuid, *sorted(universal or macs)])
    return blake3(words.encode()).hexdigest(length=16)


def believable_uuid(text: str) -> str:
    """The uuid in lower case, "" when the board says what many boards say."""
    uuid = text.lower()
    digits = set(uuid) - {"-"}
    if not _UUID.fullmatch(uuid) or uuid in _SHARED_UUIDS or len(digits) <= 2:
        return ""
    return uuid


def believable_text(text: str) -> str:
    """What the maker really wrote, "" for what the firmware's author left there."""
    return "" if _FILLERS.fullmatch(text) else " ".join(text.split())
