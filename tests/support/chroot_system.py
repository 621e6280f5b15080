"""The smallest system whose programs run in a chroot: a shell and a few tools of this machine."""

import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("sh", "cp", "cat", "dd", "env", "ls", "mkdir", "mknod", "rm", "sleep")
DIRECTORIES = (
    "bin", "boot", "dev", "etc", "proc", "sys", "run", "tmp", "usr/sbin", "var/tmp",
)  # fmt: skip


def make_small_system(root: Path) -> None:
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    add_programs(root, *PROGRAMS)


def add_programs(root: Path, *names: str) -> None:
    """Programs of this machine, with their libraries."""
    for name in names:
        program = shutil.which(name)
        assert program
        shutil.copy(Path(program).resolve(), root / "bin" / name)
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in (word for word in told.split() if word.startswith("/")):
            place = root / library.lstrip("/")
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(library).resolve(), place)


def install(root: Path, path: str, script: str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{script}")
    place.chmod(0o755)
