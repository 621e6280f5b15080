"""EFI programs on a copy, and the one place where a firmware looks without being told.

Boot entries live in the board's own memory and stay behind with the old board. What every
firmware tries unasked is EFI/BOOT/BOOTX64.EFI; where the server never had it, its own signed
loader is copied there. Nothing is generated anew, so Secure Boot goes on working. The live system
starts by 64-bit firmware only, so other names do not count.

shim's own fallback program (fbx64.efi) is not copied along: where a firmware forgets what that one
makes it remember, a machine with a TPM would start over and over.
"""

from collections.abc import Iterator
from pathlib import Path

from payload.model.marker import Change
from payload.system.files import make_directories, replace_file

ESP_TYPES = frozenset({"ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"})
_FALLBACK = "efi/boot/bootx64.efi"
_LOADERS = (
    "shimx64.efi", "shim.efi", "grubx64.efi", "grub.efi", "elilo.efi", "systemd-bootx64.efi",
)  # fmt: skip
# What shim and GRUB look for beside them.
_BESIDE = ("grubx64.efi", "grub.efi", "mmx64.efi", "mokmanager.efi", "grub.cfg")


def efi_files(tree: Path) -> Iterator[Path]:
    """Files in `EFI/VENDOR/` as they are spelled (FAT does not mind the case), in order."""
    for top in sorted(tree.iterdir()):
        if top.name.lower() == "efi" and top.is_dir():
            yield from (path for path in sorted(top.glob("*/*")) if path.is_file())


def efi_file(tree: Path, path: str) -> Path | None:
    """The file that is called "EFI/VENDOR/NAME" in whatever spelling."""
    wanted = path.lower()
    return next(
        (one for one in efi_files(tree) if str(one.relative_to(tree)).lower() == wanted), None
    )


def fallback_program(tree: Path) -> Path | None:
    """The program any firmware finds by itself."""
    found = efi_file(tree, _FALLBACK)
    return found if found and found.stat().st_size else None


def own_program(tree: Path) -> Path | None:
    """The server's own loader: what its boot entry named, as far as the files tell."""
    for loader in _LOADERS:
        for path in efi_files(tree):
            own = path.parent.name.lower() != "boot"
            if own and path.name.lower() == loader and path.stat().st_size:
                return path
    return None


def plan_fallback(tree: Path) -> dict[str, Path]:
    """Which files to copy (new path below `tree` -> file) so that there is a fallback program.

    Empty when there is one, or nothing to make one of.
    """
    loader = own_program(tree)
    if loader is None or fallback_program(tree) is not None:
        return {}
    beside = {
        f"EFI/BOOT/{each.name}": each
        for each in sorted(loader.parent.iterdir())
        if each.name.lower() in _BESIDE and each != loader
    }
    return {"EFI/BOOT/BOOTX64.EFI": loader} | beside


def add_fallback(tree: Path) -> tuple[Change, ...]:
    """Copy the server's own loader to the fallback place. `tree` is its EFI partition.

    Raises OSError.
    """
    changes = []
    for place, loader in plan_fallback(tree).items():
        directory = make_directories(tree, str(Path(place).parent))
        # FAT knows no modes: any other than the one its files show is refused.
        replace_file(directory / Path(place).name, loader.read_bytes(), 0o755)
        origin = loader.relative_to(tree)
        changes.append(Change(f"/{place}", f"on the EFI partition: a copy of its {origin}"))
    return tuple(changes)
