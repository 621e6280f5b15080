"""Switch this machine off, or start it anew: only when it really runs from our medium."""

from dataclasses import dataclass
from pathlib import Path

from payload.model.errors import ToolError
from payload.system.command import Run, run

MEDIUM_SIGN = "run/live/medium/ugs-failover"  # a directory on our ISO


@dataclass(frozen=True)
class LinuxPower:
    """`Power` by systemd. On an administrator's own machine it refuses."""

    run: Run = run
    root: Path = Path("/")

    def off(self) -> None:
        """Power off. Raises ToolError."""
        self._only_live("switched off")
        self.run(["systemctl", "poweroff"])

    def reboot(self) -> None:
        """Start anew. Raises ToolError."""
        self._only_live("restarted")
        self.run(["systemctl", "reboot"])

    def _only_live(self, done: str) -> None:
        if not (self.root / MEDIUM_SIGN).exists():
            raise ToolError(
                f"This machine is not {done}, since it does not run from the UGS-Failover"
                f" medium: /{MEDIUM_SIGN} is missing. Do that by hand if it is wanted."
            )
