"""Servers to be copied: an installation, its settings, its disks, and what it says of itself.

A server is made once, cached by everything that goes into it, and never written again.
"""

import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.once import made_once
from tests.vm import debian, disks, images, kept
from tests.vm.images import call

SAMPLE = Path(__file__).parent / "sample"
_DIGITS = 16  # of a recipe's digest
EVIDENCE_DIGESTS = "etc/server-evidence/digests"

# Written at every boot, or rightly different in a copy: not in the list of digests.
VOLATILE = (
    "etc/.updated", "etc/adjtime", "etc/motd", "etc/network/interfaces.d/", "etc/network/run",
    "etc/resolv.conf", "etc/server-evidence/", "etc/udev/rules.d/", "run/", "tmp/", "var/.updated",
    "var/cache/", "var/lib/dbus/", "var/lib/initscripts/", "var/lib/systemd/", "var/lib/urandom/",
    "var/log/",
)  # fmt: skip


@dataclass(frozen=True)
class Server:
    """The finished disks in their order."""

    disks: tuple[Path, ...]
    files: int  # with a digest inside


@dataclass(frozen=True)
class Recipe:
    """How to make a server.

    `files` are its settings, path to text; "@KERNEL@" in a text becomes its kernel's version.
    `prepare` changes the installed tree, `lay_out` makes the disks of it: it is given the tree
    and an empty directory, and returns the images in their order.
    """

    host_name: str
    release: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    lay_out: Callable[[Path, Path], tuple[Path, ...]]
    prepare: Callable[[Path], None] = field(default=lambda root: None)
    init: str = "systemd-sysv"
    name: str = ""  # in the cache, where it is not the host's


def build(recipe: Recipe, cache: Path) -> Server:
    """The server, from `cache` when it was built from this very recipe before. Needs root."""
    name = recipe.name or recipe.host_name
    finished = cache / f"server-{name}-{_recipe_digest(recipe)}"
    cache.mkdir(parents=True, exist_ok=True)
    made_once(finished, lambda work: _make(recipe, cache, finished, work))
    names = (finished / "disks").read_text().split()
    return Server(
        disks=tuple(finished / name for name in names),
        files=int((finished / "files").read_text()),
    )


def _make(recipe: Recipe, cache: Path, finished: Path, work: Path) -> None:
    """Fill the empty directory `work`, that `finished` is to be; what it replaces goes."""
    name = finished.name[:-_DIGITS]
    older = (*cache.glob(name + "[0-9a-f]" * _DIGITS), *cache.glob(f"{finished.name}-*"))
    for old in older:
        if old != work:
            shutil.rmtree(old)
    if not kept.fetch(finished.name, work):
        _build(recipe, cache, work)
        kept.keep(finished.name, work)


def _recipe_digest(recipe: Recipe) -> str:
    whole = hashlib.sha256()
    module = sys.modules[recipe.lay_out.__module__].__file__
    assert module is not None
    makers = (module, debian.__file__, disks.__file__, images.__file__, __file__)
    for path in (*map(Path, makers), *sorted(SAMPLE.iterdir())):
        whole.update(path.read_bytes())
    whole.update(f"{recipe.host_name} {recipe.name}".encode())
    return whole.hexdigest()[:_DIGITS]


def _build(recipe: Recipe, cache: Path, work: Path) -> None:
    root = work / "root"
    root.mkdir()
    archive = debian.base_system(cache, recipe.release, recipe.packages, recipe.init)
    call("tar", "-C", root, "--numeric-owner", "-xpf", archive)
    configure(root, recipe.host_name, recipe.files)
    recipe.prepare(root)
    files = write_digests(root)
    made = recipe.lay_out(root, work)
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry not in made:
            entry.unlink()
    (work / "disks").write_text("".join(f"{disk.name}\n" for disk in made))
    (work / "files").write_text(f"{files}\n")


# -- the installation ---------------------------------------------------------------------------


def configure(root: Path, host_name: str, files: Mapping[str, str]) -> None:
    """Make an unpacked Debian this server, which says on its serial line what it is."""
    kernel = kernel_version(root)
    common = {"etc/hostname": f"{host_name}\n", "etc/hosts": f"127.0.0.1 localhost {host_name}\n"}
    for path, text in {**common, **files}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("@KERNEL@", kernel))
    identity = hashlib.sha256(host_name.encode()).hexdigest()[:32]
    (root / "etc/machine-id").write_text(f"{identity}\n")
    for place in ("etc/.updated", "var/.updated"):
        (root / place).touch()  # this server has been running: no first boot's work is due
    _install_evidence(root)
    # The room's own password, so that a person can look around in a rehearsal.
    call("chroot", root, "sh", "-c", f"echo root:{host_name} | chpasswd")


def _install_evidence(root: Path) -> None:
    _install(SAMPLE / "server-evidence", root / "usr/local/sbin/server-evidence", 0o755)
    if (root / "usr/lib/systemd/system").is_dir() and (root / "usr/bin/systemctl").exists():
        unit = "etc/systemd/system/server-evidence.service"
        _install(SAMPLE / "server-evidence.service", root / unit, 0o644)
        wanted = root / "etc/systemd/system/multi-user.target.wants"
        link(wanted / "server-evidence.service", f"/{unit}")
        for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
            link(root / "etc/systemd/system" / timer, "/dev/null")
    else:
        _install(SAMPLE / "server-evidence.init", root / "etc/init.d/server-evidence", 0o755)
        # A link alone is not enough: scripts are run side by side by a list of who needs whom.
        call("chroot", root, "update-rc.d", "server-evidence", "defaults")


def kernel_version(root: Path) -> str:
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    return kernels[-1].name.removeprefix("vmlinuz-")


def _install(source: Path, target: Path, mode: int) -> None:
    shutil.copyfile(source, target)
    target.chmod(mode)


def link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def split(root: Path, work: Path, *names: str) -> tuple[Path, ...]:
    """Take directories out of the tree, to lie on file systems of their own; empty mount points
    stay behind."""
    parts = []
    for name in names:
        part = work / name.replace("/", "-")
        (root / name).rename(part)
        (root / name).mkdir()
        parts.append(part)
    return tuple(parts)


# -- the digests --------------------------------------------------------------------------------


def write_digests(root: Path) -> int:
    """Write the list of all files, in sha256sum's own form; returns how many they are."""
    lines = [_digest_line(file, name) for file, name in _regular_files(root)]
    target = root / EVIDENCE_DIGESTS
    target.parent.mkdir(exist_ok=True)
    target.write_text("".join(lines))
    return len(lines)


def _regular_files(top: Path) -> Iterator[tuple[Path, str]]:
    for directory, _, names in sorted(os.walk(top)):
        for name in sorted(names):
            file = Path(directory, name)
            path = str(file.relative_to(top))
            if stat.S_ISREG(file.lstat().st_mode) and not path.startswith(VOLATILE):
                yield file, path


def _digest_line(file: Path, name: str) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if "\\" in name:  # systemd escapes unit names so; sha256sum then marks the line
        return f"\\{digest}  {name.replace(chr(92), 2 * chr(92))}\n"
    return f"{digest}  {name}\n"
