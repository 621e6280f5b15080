"""The tools that build the ISO, and what they make of our files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.iso_build import load_iso_build, small_iso_build

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


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("site.toml", 'overwrite = ["path:pci-0-ata-1"]', r"site\.toml: overwrite: .*plugged in"),
        ("site.toml", "dry_run = true", r"site\.toml: .* Is dry-run meant"),
        ("kernel-parameters", "failover.overwrite=S1,path:pci-0-ata-1",
         r"kernel-parameters: overwrite: 'path:pci-0-ata-1' is where a disk is plugged in"),
        ("kernel-parameters", "quiet Failover.role=source",
         r"kernel-parameters: .* Write failover\.role=source"),
    ],
)  # fmt: skip
def test_no_iso_is_made_with_settings_that_its_machines_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, reason: str
) -> None:
    build = small_iso_build(tmp_path, "key", monkeypatch)
    (tmp_path / "iso-config" / file).write_text(text)
    with pytest.raises(build.BuildError, match=reason):
        build.build_iso(tmp_path / "made.iso", "", 5, boot_proof=False)
    assert not (tmp_path / "made.iso").exists()


def test_a_word_for_the_menu_is_judged_like_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = small_iso_build(tmp_path, "key", monkeypatch)
    with pytest.raises(build.BuildError, match="plugged in"):
        build.build_iso(tmp_path / "made.iso", "failover.overwrite=path:1", 5, boot_proof=False)
    build.build_iso(tmp_path / "made.iso", "failover.overwrite=SERIAL", 5, boot_proof=False)
    assert (tmp_path / "made.iso").exists()
