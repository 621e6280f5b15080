"""A paper copy whose server starts by GRUB legacy, put there by GRUB legacy's own shell."""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from payload.finish.boot.grub_legacy_shell import is_there
from tests.support.copy_before_finish import Sealed
from tests.support.server_image import ROOT_UUID

PROJECT = Path(__file__).resolve().parents[2]
HOOK = PROJECT / "live-build/config/hooks/normal/9250-grub-legacy.hook.chroot"
STAGES = ("stage1", "stage2", "e2fs_stage1_5")
MENU = f"""\
default 0
timeout 5
title server
root (hd0,0)
kernel /vmlinuz-6.1 root=UUID={ROOT_UUID} ro
initrd /initrd.img-6.1
"""


def unpacked_shell() -> Path:
    """The shell as the live system has it, unpacked by the very script that does it there. It
    appears as a whole: tests beside this one may want it at the same moment."""
    place = PROJECT / "build/cache/grub-legacy"
    if not is_there(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as name:
            subprocess.run([HOOK, Path(name, "shell")], check=True)
            with contextlib.suppress(OSError):  # another test was faster
                Path(name, "shell").rename(place)
    return place


def run_shell(shell: Path, disk: Path, *commands: str) -> str:
    """What GRUB legacy's shell says to these commands; `disk` is its hd0."""
    devices = disk.with_suffix(".devices")
    devices.write_text(f"(hd0) {disk}\n")
    script = "".join(f"{command}\n" for command in (*commands, "quit"))
    loader = [f"{shell}/ld-linux.so.2", "--library-path", str(shell), f"{shell}/grub"]
    options = ["--batch", "--no-floppy", f"--device-map={devices}"]
    done = subprocess.run(
        [*loader, *options], input=script, text=True, capture_output=True, check=True
    )
    assert "Error" not in done.stdout, done.stdout
    return done.stdout


def make_legacy(copy: Sealed, shell: Path, *commands: str, directory: str = "grub") -> None:
    """Take GRUB 2 away, and let the shell install what lies in that directory of /boot."""
    copy.write(0, bytes(440))
    copy.write(512, bytes(2047 * 512))
    with copy.boot() as boot:
        shutil.rmtree(boot / "grub")
        (boot / directory).mkdir(parents=True)
        for name in STAGES:
            shutil.copy(shell / name, boot / directory)
        (boot / directory / "menu.lst").write_text(MENU)
    run_shell(shell, copy.disks[0], "root (hd0,0)", *commands)
