"""The site's key on its way into the ISO and to a boot server's files: nobody else may read it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.iso_build import BOOT_IMAGES, small_iso_build

SECRET = "-----BEGIN THE KEY OF THIS SITE-----"
NOBODY = "65534"


class Stranger:
    """Another user of the build machine, who looks for the key in all that is made."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._control = directory / "readable"
        self._control.write_text(SECRET)
        self._control.chmod(0o644)
        self.looks = 0
        self.found: set[str] = set()

    def look(self) -> None:
        argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                "grep", "-rlsF", "--", SECRET, str(self._directory)]  # fmt: skip
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
        seen = set(done.stdout.splitlines())
        assert str(self._control) in seen, "nothing was looked at"
        self.looks += 1
        self.found |= seen - {str(self._control)}


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def build(directory: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return small_iso_build(directory, SECRET, monkeypatch)


@pytest.fixture
def stranger(build: ModuleType, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """Who looks when a file was written and has not its mode yet, and when a tool has ended and the
    build has not gone on: what is readable then was so while the tool wrote, and stays so when the
    build is killed."""
    stranger = Stranger(directory)
    run, copymode = build.run, shutil.copymode

    def run_and_look(*argv: Any, **options: Any) -> None:
        run(*argv, **options)
        stranger.look()

    def look_and_copy_mode(*arguments: Any, **options: Any) -> None:
        stranger.look()
        copymode(*arguments, **options)

    monkeypatch.setattr(build, "run", run_and_look)
    monkeypatch.setattr(shutil, "copymode", look_and_copy_mode)
    return stranger


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_nobody_else_can_read_the_key_while_the_iso_is_made(
    build: ModuleType, stranger: Stranger, directory: Path
) -> None:
    iso, network = directory / "made.iso", directory / "pxe"
    build.build_iso(iso, "", 5, boot_proof=False)
    build.build_network(network, iso, "", 5)
    stranger.look()
    assert stranger.looks > len(BOOT_IMAGES)
    assert stranger.found == set()
    assert SECRET.encode() in iso.read_bytes()
    assert iso.stat().st_mode & 0o777 == 0o600
    assert (network / "ugs-failover/ugs-failover.iso").samefile(iso)


def test_the_medium_has_the_modes_of_a_file_system_that_is_used(
    build: ModuleType, directory: Path
) -> None:
    build.build_iso(directory / "made.iso", "", 5, boot_proof=False)
    argv = ["xorriso", "-indev", str(directory / "made.iso"), "-find", "/", "-exec", "lsdl"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    modes = {line.split()[-1].strip("'"): line.split()[0] for line in listed.splitlines()}
    assert modes["/"] == modes["/live"] == "drwxr-xr-x"
    assert modes["/ugs-failover"] == "drwx------"
    assert modes["/ugs-failover/site.key"] == "-rw-------"


def test_what_a_killed_build_left_is_gone(
    build: ModuleType, stranger: Stranger, directory: Path
) -> None:
    left = directory / ".made.iso.unfinished"
    left.write_text(SECRET)
    left.chmod(0o644)
    build.build_iso(directory / "made.iso", "", 5, boot_proof=False)
    build.build_iso(directory / "made.iso", "failover.countdown=60", 5, boot_proof=False)
    assert not left.exists()
    assert not (directory / "work/medium").exists()
