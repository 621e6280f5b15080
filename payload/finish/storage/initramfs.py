"""Make the initramfs of the copy anew where it would not start on this machine.

It is made by the copy's own program, for every controller instead of the source's alone, and put in
place only when reading it shows that it holds all that is needed. The one before stays beside it,
under a name that no boot menu takes for an initramfs. The system's configuration stays as it is:
when it makes its next one, it does so as it always did, for the machine it then runs on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from payload.formats.kernel.disk_names import missing_modules
from payload.formats.kernel.initramfs import Contents, InitramfsError, read_initramfs
from payload.formats.kernel.initramfs_makers import DRACUT, program_of
from payload.formats.kernel.kernel_modules import Kernel
from payload.formats.kernel.startup import Startup
from payload.model.errors import AdaptError, ToolError
from payload.model.marker import Change
from payload.system.command import Run
from payload.system.edits import (
    copy_file,
    copy_tree,
    make_directories,
    private_directory,
    remove_file,
    remove_link,
    rename,
    replace_file,
)
from payload.system.files import Place, read_inside, status_inside
from payload.system.sandbox import LARGEST_FILE, Sandbox

OLD = ".ugs-failover-old"
_NEW = ".ugs-failover-new"
_MADE = "made"  # what the program is told to make
_SEEN = "/tmp"  # noqa: S108  (where it sees its directory)
_CONFIGURATION = "/etc/initramfs-tools"
_STATES = "/var/lib/initramfs-tools"  # digests of images as update-initramfs made them
# What no image may lose: without one of these a root file system is not found any more.
_TOOLS = frozenset({"lvm", "mdadm", "cryptsetup", "multipath", "dmraid", "iscsistart"})


@dataclass(frozen=True)
class Rebuild:
    """What to make anew and why. `modules` are needed by the kernel before its root file system;
    without `vital` the copy starts with the old one, too."""

    kernel: Kernel
    image: str  # its path in the system, without links
    contents: Contents
    maker: str
    modules: tuple[str, ...]
    vital: bool
    why: str


def plan_rebuild(
    startup: Startup, root_disk: Sequence[str], disks: Iterable[Sequence[str]], stale: bool
) -> Rebuild | None:
    """Whether the initramfs has to be made anew, None when it does as it is or is not known.

    A disk is told by the modaliases of what it hangs on. `stale`: files that it holds were changed.
    Raises AdaptError when the copy would not start and nothing can make an initramfs.
    """
    kernel, start, contents = startup.kernel, startup.start, startup.contents
    if kernel is None or start is None or startup.held is None:
        return None
    missing = missing_modules(kernel, startup.held, root_disk)
    if missing and (start.image is None or contents is None or not startup.maker):
        raise AdaptError(
            f"The copy would not start: {start.path or 'its kernel, which has no initramfs,'} does"
            f" not hold {', '.join(missing)} for the controller of this machine's disk, and the"
            " copied system has no program that makes another. Its data was copied. Give the"
            " machine a controller that the server has, then start it from its disk, or add the"
            " modules to the initramfs of the server and copy again."
        )
    if start.image is None or contents is None or not startup.maker or not (missing or stale):
        return None
    others = (missing_modules(kernel, startup.held, disk) for disk in disks)
    modules = dict.fromkeys((*missing, *(name for names in others for name in names)))
    why = (
        f"it lacked {', '.join(missing)}" if missing else "it held files as they were at the server"
    )
    return Rebuild(
        kernel, start.image.path, contents, startup.maker, tuple(modules), bool(missing), why
    )


def rebuild_initramfs(run: Run, root: Path, rebuild: Rebuild) -> tuple[Change, ...]:
    """Make it, look into it, and put it in place, in the system mounted at `root` with all its
    file systems. Returns what was changed. Raises AdaptError; the old one is then where it was."""
    try:
        with private_directory(root) as work:
            made = f"{work}/{_MADE}"
            _make(Sandbox(run, root, root.joinpath(work[1:])), root, rebuild, work)
            refuse_worse(rebuild, read_initramfs(Place(root, made)))
            changes = tuple(_put_in_place(root, rebuild, made))
    except (ToolError, InitramfsError, OSError) as error:
        raise AdaptError(
            f"The initramfs of the copy, {rebuild.image}, could not be made anew,"
            f" although {rebuild.why}: {error}. The old one is unchanged. See whether the file"
            " system is full, and whether the server itself can make one; then copy again."
        ) from error
    return changes


def _make(sandbox: Sandbox, root: Path, rebuild: Rebuild, work: str) -> None:
    version, made = rebuild.kernel.version, f"{_SEEN}/{_MADE}"
    program = program_of(root, rebuild.maker)
    if rebuild.maker == DRACUT:
        # It is a script. Before it could be made for one machine only, it had no word against that.
        words = ["--no-hostonly"] if b"no-hostonly" in (read_inside(root, program) or b"") else []
        drivers = ["--add-drivers", " ".join(rebuild.modules)] if rebuild.modules else []
        sandbox([program, "--force", *words, *drivers, made, version])
        return
    write_configuration(root, f"{work}/initramfs-tools", rebuild.modules)
    sandbox([program, "-d", f"{_SEEN}/initramfs-tools", "-o", made, version])


def write_configuration(root: Path, path: str, modules: Sequence[str]) -> None:
    """The system's configuration of initramfs-tools at a new `path`, but for all machines and
    these modules. The installer of Debian writes MODULES=dep into conf.d, of which the last file
    counts. Raises OSError."""
    copy_tree(root, _CONFIGURATION, path)
    conf_d = f"{path}/conf.d"
    if remove_link(root, conf_d):
        copy_tree(root, f"{_CONFIGURATION}/conf.d", conf_d)  # from here that led elsewhere
    make_directories(root, conf_d)
    for name in (f"{conf_d}/zz-failover", f"{path}/modules"):
        remove_link(root, name)  # it leads into the system's own configuration
    replace_file(root, f"{conf_d}/zz-failover", b"MODULES=most\n")
    wanted = read_inside(root, f"{_CONFIGURATION}/modules") or b""
    lines = [wanted, *(module.encode() for module in modules), b""]
    replace_file(root, f"{path}/modules", b"\n".join(lines))


def refuse_worse(rebuild: Rebuild, made: Contents) -> None:
    """Raise InitramfsError unless the new one holds what is needed, and all that the old one
    needs to find a root file system."""
    held = made.modules
    lacking = [name for name in rebuild.modules if not rebuild.kernel.held(name, held)]
    lacking += sorted(_vital(rebuild.kernel, rebuild.contents) - _vital(rebuild.kernel, made))
    if lacking:
        raise InitramfsError(f"the new one does not hold {', '.join(lacking)}")


def _vital(kernel: Kernel, contents: Contents) -> set[str]:
    tools = {path.rpartition("/")[2] for path in contents.paths} & _TOOLS
    systems = {name for name in contents.modules if "/fs/" in kernel.places.get(name, "")}
    keys = {path for path in contents.kept if path.endswith(("cryptroot/crypttab", "/cryptroot"))}
    return tools | systems | keys


def _put_in_place(root: Path, rebuild: Rebuild, made: str) -> Iterator[Change]:
    image = rebuild.image
    old, new = image + OLD, image + _NEW
    remove_file(root, new)  # left over by a run that lost power
    try:
        digest = copy_file(root, made, new, like=image, limit=LARGEST_FILE)
        if status_inside(root, old, follow=False) is None:
            rename(root, image, old)
            yield Change(old, "the initramfs as it was copied")
        rename(root, new, image)
    finally:
        remove_file(root, new)
    yield Change(image, f"made anew by {rebuild.maker} for all machines: {rebuild.why}")
    state = f"{_STATES}/{rebuild.kernel.version}"
    if read_inside(root, state):
        # Without this, an old update-initramfs takes the image for somebody else's and leaves it.
        name = PurePosixPath(image).name
        replace_file(root, state, f"{digest}  /boot/{name}\n".encode())
        yield Change(state, f"the digest of {image}")
