"""The adapters of the machine this program runs on, put together."""

from payload.system.block import LinuxBlocks
from payload.system.board import LinuxBoard
from payload.system.command import run
from payload.system.emulator import LinuxEmulator
from payload.system.host import Host
from payload.system.links import Links
from payload.system.mdns import Mdns
from payload.system.mounts import LinuxMounts
from payload.system.power import LinuxPower


def linux_host() -> Host:
    """Everything real. Looks at nothing yet."""
    return Host(
        run=run,
        blocks=LinuxBlocks(),
        mounts=LinuxMounts(),
        board=LinuxBoard(),
        power=LinuxPower(),
        links=Links(run),
        mdns=Mdns(),
        emulator=LinuxEmulator(),
    )
