"""The list of disks where a tool is missing."""

from pathlib import Path

import pytest

from payload.model.errors import ToolError
from payload.system import block


def test_a_missing_lsblk_is_a_tool_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="could not be listed"):
        block.list_disks()
