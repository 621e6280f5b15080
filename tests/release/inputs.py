"""What a verdict is kept for: a digest of all that could have made it another one."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from tests.release.planning import Step, selected
from tests.support.iso_build import load_iso_build
from tests.vm.images import ImageError, call


def files_of(project: Path) -> list[str]:
    """Every file of the checkout, tracked or still new. Raises ImageError."""
    listing = call("git", "-C", project, "ls-files", "-z", "--cached", "--others",
                   "--exclude-standard")  # fmt: skip
    return sorted({name for name in listing.split("\0") if name})


def iso_digest(iso: Path) -> str:
    """Of what the ISO was built from; its own bytes change with each build, by its times. Raises
    ImageError when it was not built here."""
    build = load_iso_build()
    if not build.stamp_of(iso).exists():
        raise ImageError(f"{iso} was not built in this checkout: run `make iso` first.")
    whole = hashlib.sha256(build.stamp_of(iso).read_bytes())
    # The same tree makes another live system once Debian has other packages.
    whole.update((build.WORK / "system/chroot/var/lib/dpkg/status").read_bytes())
    return whole.hexdigest()


def host_digest(project: Path) -> str:
    """Of what runs the tests: the versions of kernel, Python, QEMU and every package of
    .ci/packages, and the accelerator somebody asked for. Raises ImageError."""
    lines = (project / ".ci/packages").read_text().splitlines()
    packages = [word for line in lines for word in line.partition("#")[0].split()]
    words = (
        call("uname", "-rm"),
        call("python3", "--version"),
        call("qemu-system-x86_64", "--version"),
        call("dpkg-query", "-W", *packages),
        os.environ.get("ACCEL", ""),
    )
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def digest_of_step(step: Step, project: Path, files: Iterable[str], host: str, iso: str) -> str:
    """Of the step's command and files, and of host and ISO as far as it depends on it."""
    whole = hashlib.sha256(f"{host}\0{iso if step.with_iso else ''}\0".encode())
    for word in step.argv[1:]:  # the first is make, or Python where it is installed
        whole.update(f"{word}\0".encode())
    for name in selected(step, files):
        path = project / name
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue  # deleted, but still known to git
        mode = path.lstat().st_mode
        whole.update(f"{name}\0{mode:o}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()
