"""EFI programs on a copy, and the one place where a firmware looks without being told.

Boot entries live in the board's own memory and stay behind with the old board. What every
firmware tries unasked is EFI/BOOT/BOOTX64.EFI; where the server never had it, its own signed
loader is copied there. Nothing is generated anew, so Secure Boot goes on working. The live system
starts by 64-bit firmware only, so other names do not count.

shim's own fallback program (fbx64.efi) is not copied along: where a firmware forgets what that one
makes it remember, a machine with a TPM would start over and over.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from payload.model.marker import Change
from payload.system.edits import make_directories, replace_file
from payload.system.files import is_file_inside, names_inside, read_inside, size_inside

ESP_TYPES = frozenset({"ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"})
_FALLBACK = "efi/boot/bootx64.efi"
_LOADERS = (
    "shimx64.efi", "shim.efi", "grubx64.efi", "grub.efi", "elilo.efi", "systemd-bootx64.efi",
)  # fmt: skip
# What shim and GRUB look for beside them.
_BESIDE = ("grubx64.efi", "grub.efi", "mmx64.efi", "mokmanager.efi", "grub.cfg")


def efi_files(tree: Path) -> Iterator[PurePosixPath]:
    """Files in `EFI/VENDOR/`, from `tree`, as they are spelled (FAT does not mind the case), in
    order."""
    for top in names_inside(tree, "/"):
        for vendor in names_inside(tree, top) if top.lower() == "efi" else ():
            for name in names_inside(tree, f"{top}/{vendor}"):
                path = PurePosixPath(top, vendor, name)
                if is_file_inside(tree, str(path)):
                    yield path


def efi_file(tree: Path, path: str) -> PurePosixPath | None:
    """The file that is called "EFI/VENDOR/NAME" in whatever spelling."""
    wanted = path.lower()
    return next((one for one in efi_files(tree) if str(one).lower() == wanted), None)


def fallback_program(tree: Path) -> PurePosixPath | None:
    """The program any firmware finds by itself."""
    path = efi_file(tree, _FALLBACK)
    return path if path and size_inside(tree, str(path)) else None


def own_program(tree: Path) -> PurePosixPath | None:
    """The server's own loader: what its boot entry named, as far as the files tell."""
    for loader in _LOADERS:
        for path in efi_files(tree):
            own = path.parent.name.lower() != "boot"
            if own and path.name.lower() == loader and size_inside(tree, str(path)):
                return path
    return None


def plan_fallback(tree: Path) -> dict[str, str]:
    """Which files to copy (new path below `tree` -> old path) so that there is a fallback program.

    Empty when there is one, or nothing to make one of.
    """
    loader = own_program(tree)
    if loader is None or fallback_program(tree) is not None:
        return {}
    beside = {
        f"EFI/BOOT/{name}": str(loader.parent / name)
        for name in names_inside(tree, str(loader.parent))
        if name.lower() in _BESIDE and name != loader.name
    }
    return {"EFI/BOOT/BOOTX64.EFI": str(loader)} | beside


def add_fallback(tree: Path) -> tuple[Change, ...]:
    """Copy the server's own loader to the fallback place. `tree` is its EFI partition.

    Raises OSError.
    """
    changes = []
    for place, origin in plan_fallback(tree).items():
        make_directories(tree, str(PurePosixPath(place).parent))
        # FAT knows no modes: any other than the one its files show is refused.
        replace_file(tree, place, read_inside(tree, origin) or b"", 0o755)
        changes.append(Change(f"/{place}", f"on the EFI partition: a copy of its {origin}"))
    return tuple(changes)
