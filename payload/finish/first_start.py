"""Let the copy say by itself that it was started, and that it is up.

Not every file system counts its mounts, and a counter can be set back. So the copy, and it alone,
gets a few lines that run at its boot and write down the first of them, where the next look at the
disks finds it (`identify.installed`). They need nothing but a shell, change nothing else, and what
fails in them fails in silence: no boot depends on it.

The same way it tells the machine in which it is tried out (`session.boot_proof`) that it is up, on
that machine's serial line. On any other machine these lines do nothing. Where systemd is not, the
login prompt on the text screen has to do.

systemd starts a unit. An older init runs /etc/rcS.d, or rc2.d to rc5.d where there is none; where
insserv has worked out an order, only what stands in its list is run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from payload.model.marker import USED_PATH, Change
from payload.system.edits import make_directories, make_link, remove_file, replace_file
from payload.system.files import (
    is_directory_inside,
    is_file_inside,
    read_inside,
    real_path,
    status_inside,
)

NAME = "ugs-failover-used"
PROOF_NAME = "ugs-failover-up"
PROOF_PRODUCT = "ugs-failover-proof"  # what DMI calls the machine in which a copy is tried out
PROOF_WORD = "UGS-FAILOVER-UP"  # a line of the copy there: this, and its host name
_UNIT_DIRECTORY = "etc/systemd/system"
_SYSTEMD = ("lib/systemd/systemd", "usr/lib/systemd/systemd")
_BOOT = ("etc/rcS.d",)
_RUNLEVELS = ("etc/rc2.d", "etc/rc3.d", "etc/rc4.d", "etc/rc5.d")
_RECORD = f"test -e /{USED_PATH} || LC_ALL=C date -u >/{USED_PATH}"
UNKNOWN_INIT = (
    "The copied system is started by something this program does not know, so the copy does not"
    " note its first start: whether it was used is told by its file system alone."
)
_WHY = "# This system is a copy made by UGS-Failover. At its first start it writes down that it ran"


@dataclass(frozen=True)
class File:
    """A file of the copy; `path` is from its root."""

    path: str
    content: bytes
    what: str
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    path: str
    leads: str
    what: str


@dataclass(frozen=True)
class Planted:
    """What was changed in the copy, and what a person must know."""

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planting:
    """What is to be put into the copy. Empty when it can start nothing that we know."""

    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()


def render_unit() -> str:
    """The unit for systemd: as soon as the root file system can be written to."""
    return (
        f"{_WHY},\n# so that a newer copy of the server is never laid over it unasked.\n"
        "[Unit]\n"
        "Description=Write down that this copy of a server was started\n"
        "DefaultDependencies=no\n"
        "After=systemd-remount-fs.service\n"
        "Before=shutdown.target\n"
        "Conflicts=shutdown.target\n"
        f"ConditionPathExists=!/{USED_PATH}\n\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"ExecStart=-/bin/sh -c '{_RECORD}'\n\n"
        "[Install]\n"
        "WantedBy=sysinit.target\n"
    )


def render_proof_unit() -> str:
    """The unit that tells the machine in which the copy is tried out that people can log in."""
    return (
        "# This system is a copy made by UGS-Failover, which starts it once in a machine of its own"
        "\n# to see that it comes up. Nowhere else does this unit do anything.\n"
        "[Unit]\n"
        "Description=Tell the machine that tries this copy out that it is up\n"
        "After=systemd-user-sessions.service getty.target\n"
        "ConditionVirtualization=vm\n\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"ExecStart=-/bin/sh -c 'grep -qsx {PROOF_PRODUCT} /sys/class/dmi/id/product_name &&"
        f" {{ echo; echo {PROOF_WORD} `uname -n`; }} >/dev/ttyS0'\n\n"  # the line may be a prompt's
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def render_script() -> str:
    """The same for an older init: a script with the header that insserv reads."""
    return (
        "#!/bin/sh\n"
        "### BEGIN INIT INFO\n"
        f"# Provides:          {NAME}\n"
        "# Required-Start:    $local_fs\n"
        "# Required-Stop:\n"
        "# Default-Start:     S\n"
        "# Default-Stop:\n"
        "# Short-Description: Write down that this copy of a server was started\n"
        "### END INIT INFO\n"
        f"{_WHY},\n# so that a newer copy of the server is never laid over it unasked.\n"
        'if [ "$1" = start ]; then\n'
        f"    ( {_RECORD} ) 2>/dev/null || :\n"
        "fi\n"
        "exit 0\n"
    )


def with_boot_script(order: str, after: str = "") -> str:
    """insserv's list of what runs at boot (`.depend.*`) with our script in it, behind `after`
    where the list has that. Without a line of targets it is no such list, and stays as it is."""
    lines = order.split("\n")
    place = next((at for at, line in enumerate(lines) if line.startswith("TARGETS =")), None)
    if place is None or NAME in lines[place].split():
        return order
    has_before = after in lines[place].split()
    lines[place] = f"{lines[place].rstrip()} {NAME}"
    if has_before:
        lines.insert(len(lines) - (lines[-1] == ""), f"{NAME}: {after}")
    return "\n".join(lines)


def plan_record(root: Path) -> Planting:
    """What makes the system at `root` write down its first start. Raises OSError."""
    has_systemd = any(is_file_inside(root, path) for path in _SYSTEMD)
    starts = Path(real_path(root, "sbin/init")).name
    unit = _plan_unit() if has_systemd else Planting()
    if has_systemd and starts == "systemd":
        return unit
    script = _plan_script(root)
    return Planting((*unit.files, *script.files), (*unit.links, *script.links))


def _plan_unit() -> Planting:
    what = "notes the copy's first start, so that it is known to have been used"
    proof = "tells the machine in which the copy is tried out that it is up"
    used = _unit(NAME, render_unit(), "sysinit.target", what)
    up = _unit(PROOF_NAME, render_proof_unit(), "multi-user.target", proof)
    return Planting((*used.files, *up.files), (*used.links, *up.links))


def _unit(name: str, text: str, target: str, what: str) -> Planting:
    unit = f"{_UNIT_DIRECTORY}/{name}.service"
    wants = f"{_UNIT_DIRECTORY}/{target}.wants/{name}.service"
    return Planting(
        (File(unit, text.encode(), what),), (Link(wants, f"/{unit}", "starts that unit"),)
    )


def _plan_script(root: Path) -> Planting:
    directories = [path for path in _BOOT if is_directory_inside(root, path)]
    order, after = "etc/init.d/.depend.boot", "mountall.sh"
    if not directories:
        directories = [path for path in _RUNLEVELS if is_directory_inside(root, path)]
        order, after = "etc/init.d/.depend.start", ""
    if not directories or not is_directory_inside(root, "etc/init.d"):
        return Planting()
    script = f"etc/init.d/{NAME}"
    what = "notes the copy's first start, so that it is known to have been used"
    files = [File(script, render_script().encode(), what, 0o755)]
    if (known := read_inside(root, order)) is not None:
        listed = with_boot_script(known.decode("latin-1"), after).encode("latin-1")
        files.append(File(order, listed, f"{NAME} is run too"))
    links = (
        Link(f"{path}/S99{NAME}", f"../init.d/{NAME}", "starts that script") for path in directories
    )
    return Planting(tuple(files), tuple(links))


def plant_record(root: Path) -> Planted:
    """Put it into the copy at `root`, and take out what the source wrote down of its own first
    start when it was such a copy itself. A second time it finds nothing to do. Raises OSError."""
    planting = plan_record(root)
    changes = [Change(f"/{USED_PATH}", "removed: the source's own first start")]
    changes *= remove_file(root, USED_PATH)
    changes += [change for file in planting.files for change in _put(root, file)]
    changes += [change for link in planting.links for change in _lead(root, link)]
    return Planted(tuple(changes), () if planting.files else (UNKNOWN_INIT,))


def _put(root: Path, file: File) -> Iterator[Change]:
    if read_inside(root, file.path) == file.content:
        return
    directory = make_directories(root, str(Path(file.path).parent))
    place = replace_file(root, f"{directory}/{Path(file.path).name}", file.content, file.mode)
    yield Change(place, file.what)


def _lead(root: Path, link: Link) -> Iterator[Change]:
    directory = make_directories(root, str(Path(link.path).parent))
    place = f"{directory}/{Path(link.path).name}"
    if status_inside(root, place, follow=False) is not None:
        return
    make_link(root, place, link.leads)
    yield Change(place, link.what)
