"""What the initramfs of a machine that starts from the network makes of the ISO it fetched.

The functions that replace live-boot's are run as they are; what they call of live-boot, of the
kernel and of the network is told by shell functions.
"""

import hashlib
import subprocess
from pathlib import Path

import pytest

INCLUDED = "live-build/config/includes.chroot_before_packages"
PROJECT = Path(__file__).resolve().parents[2]
FUNCTIONS = PROJECT / INCLUDED / "usr/lib/live/boot/9999-ugs-failover.sh"
URL = "http://192.0.2.1/ugs-failover/ugs-failover.iso"
ISO = b"the ISO of this site\n"
DIGEST = hashlib.sha256(ISO).hexdigest()
CHANGED = ISO.replace(b"this", b"that")
SCRIPT = """
alt_mountpoint=$PWD/media mountpoint=/run/live/medium
wget() { cp served "$3"; }
setup_loop() { echo "/dev/loop of ${1##*/}"; }
mount() { echo "mounted: $*"; }
. "$FUNCTIONS"
do_httpmount
echo "status: $?"
explain "Unable to find a live file system on the network"
"""


class Initramfs:
    """A machine that was given this file by its web server, and these words on its kernel line."""

    def __init__(
        self, directory: Path, served: bytes | None, *words: str, script: str = SCRIPT
    ) -> None:
        self._directory = directory
        if served is not None:
            (directory / "served").write_bytes(served)
        environment = {
            "PATH": "/usr/bin:/bin",
            "FUNCTIONS": str(FUNCTIONS),
            "FETCH": URL,
            "LIVE_BOOT_CMDLINE": " ".join(("boot=live", f"fetch={URL}", *words, "quiet")),
        }
        done = subprocess.run(
            ["sh", "-c", script], cwd=directory, env=environment,
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        self.lines = done.stdout.splitlines()

    @property
    def mounted(self) -> list[str]:
        return [line for line in self.lines if line.startswith("mounted:")]

    @property
    def kept(self) -> list[str]:
        return [path.name for path in (self._directory / "media").iterdir()]


def test_the_iso_that_the_menu_names_is_mounted(tmp_path: Path) -> None:
    machine = Initramfs(tmp_path, ISO, f"fetch.sha256={DIGEST}")
    assert machine.mounted == ["mounted: -t iso9660 /dev/loop of ugs-failover.iso /run/live/medium"]
    assert "status: 0" in machine.lines
    assert machine.kept == ["ugs-failover.iso"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([f"fetch.sha256={DIGEST}"], DIGEST),
        (["fetch.sha256="], "missing"),
        ([], "missing"),
    ],
)
def test_another_iso_or_an_unnamed_one_is_never_mounted(
    tmp_path: Path, words: list[str], named: str
) -> None:
    machine = Initramfs(tmp_path, CHANGED, *words)
    assert machine.mounted == machine.kept == []
    assert "status: 1" in machine.lines
    assert (
        f"UGS-Failover did not start: {URL} is not the ISO that the boot menu names."
        in machine.lines
    )
    seen = hashlib.sha256(CHANGED).hexdigest()
    assert f"Its SHA-256 is {seen}, the menu's (fetch.sha256=) is {named}." in machine.lines


@pytest.mark.parametrize("words", [[f"fetch.sha256={DIGEST}"], []])
def test_a_digest_that_cannot_be_made_is_nobodys(tmp_path: Path, words: list[str]) -> None:
    script = SCRIPT.replace("do_httpmount\n", "sha256sum() { return 127; }\ndo_httpmount\n")
    machine = Initramfs(tmp_path, ISO, *words, script=script)
    assert machine.mounted == machine.kept == []
    assert "status: 1" in machine.lines


def test_a_web_server_that_gives_nothing_is_asked_after(tmp_path: Path) -> None:
    machine = Initramfs(tmp_path, None, f"fetch.sha256={DIGEST}")
    assert machine.mounted == []
    assert (
        "UGS-Failover did not start: Unable to find a live file system on the network."
        in machine.lines
    )
    assert any(line.startswith("Is that web server on") for line in machine.lines)
