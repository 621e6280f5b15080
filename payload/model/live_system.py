"""Where the live system keeps things."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Paths of the live system. Tests pass others."""

    medium: Path = Path("/run/live/medium/ugs-failover")  # site.toml, site.key, site.crt
    kernel_line: Path = Path("/proc/cmdline")
    devices: Path = Path("/dev")
    state: Path = Path("/run/ugs-failover")  # report.json, report.txt, console.log
