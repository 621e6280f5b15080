"""The tools that build the ISO, and what they make of our files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.iso_build import load_iso_build

MENU = Path(__file__).resolve().parents[2] / "iso-config" / "grub.cfg"


def test_boot_menu_is_valid() -> None:
    subprocess.run(["grub-script-check", str(MENU)], check=True)


def test_a_failing_command_shows_its_log(tmp_path: Path) -> None:
    build = load_iso_build()
    log = tmp_path / "log"
    shell = shutil.which("sh")
    assert shell is not None
    with pytest.raises(build.BuildError, match=r"(?s)status 3.*the reason"):
        build.run(shell, "-c", "echo the reason >&2; exit 3", log=log)
