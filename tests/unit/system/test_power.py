"""Only a machine that runs from our medium is switched off."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from payload.model.errors import ToolError
from payload.system.command import Completed
from payload.system.power import MEDIUM_SIGN, LinuxPower


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str], **_: Any) -> Completed:
        self.calls.append(tuple(argv))
        return Completed(tuple(argv), 0, "", "")


def test_an_administrators_own_machine_stays_on(tmp_path: Path) -> None:
    tools = Recorder()
    power = LinuxPower(tools, tmp_path)
    with pytest.raises(ToolError, match="not switched off, since it does not run from"):
        power.off()
    with pytest.raises(ToolError, match="not restarted"):
        power.reboot()
    assert tools.calls == []


def test_the_live_system_goes_down(tmp_path: Path) -> None:
    (tmp_path / MEDIUM_SIGN).mkdir(parents=True)
    tools = Recorder()
    power = LinuxPower(tools, tmp_path)
    power.off()
    power.reboot()
    assert tools.calls == [("systemctl", "poweroff"), ("systemctl", "reboot")]
