"""GRUB 2's boot.img and core.img for a copy: the pair it keeps, or one made of modules.

A core loads further modules from beside the menu, and only modules of its own version go with it.
So the pair that the server's own grub-install left there comes first, then a core of the copy's
modules, made by the copy's own tool, then by ours. A core whose modules are not those beside the
menu brings along all that a menu asks for.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from payload.finish.grub_layout import Recipe, plan_recipe
from payload.finish.menus import Menu, Trees
from payload.model.disk import PartitionTable
from payload.system.chroot import Chroot
from payload.system.command import Run
from payload.system.files import inside, read_inside

LIVE_MODULES = Path("/usr/lib/grub/i386-pc")
OWN_PAIR = "reinstalled from the copy's own GRUB"
OWN_MODULES = "reinstalled from the copy's own GRUB modules"
LIVE_GRUB = "reinstalled from the live system's GRUB"
_PLATFORMS = ("/i386-pc", "")  # below the menu's directory; GRUB before 2.00 had no platforms
_MODULE_PLACES = ("/usr/lib/grub/i386-pc", "/lib/grub/i386-pc")  # the second when /usr is apart
_TOOLS = ("/usr/bin/grub-mkimage", "/usr/bin/grub2-mkimage")
_NEEDED_FILES = ("boot.img", "kernel.img", "diskboot.img", "lzma_decompress.img", "moddep.lst")
_PATIENCE = 60.0  # seconds; it takes less than one


@dataclass(frozen=True)
class Pair:
    """boot.img and core.img that belong together."""

    boot: bytes
    core: bytes


@dataclass(frozen=True)
class Kit:
    """Modules, and the grub-mkimage to join them. `root`: the tool runs in that tree, where
    `modules` is named from; None: it is the live system's. `strategy` is for the report."""

    modules: str
    tool: str
    root: Path | None
    strategy: str

    @property
    def directory(self) -> Path:
        """The modules as they are reached from here."""
        return inside(self.root, self.modules) if self.root else Path(self.modules)


def kept_pair(menu: Menu, trees: Trees) -> Pair | None:
    """What grub-install left beside the menu, as it was before it was written to the disk."""
    for platform in _PLATFORMS:
        files = [
            read_inside(trees[menu.place], f"{menu.directory}{platform}/{name}.img")
            for name in ("boot", "core")
        ]
        if files[0] and files[1]:
            return Pair(files[0], files[1])
    return None


def find_kits(menu: Menu, trees: Trees, live: Path = LIVE_MODULES) -> Iterator[Kit]:
    """Complete sets of modules, the best first."""
    for volume, tree in trees.items():
        beside = (f"{menu.directory}/i386-pc",) if volume == menu.place else ()
        for place in (*_MODULE_PLACES, *beside):
            modules = inside(tree, place)
            if _is_complete(modules):
                for tool in _TOOLS:
                    if inside(tree, tool).is_file() and _has_work_place(tree):
                        yield Kit(place, tool, tree, OWN_MODULES)
                yield Kit(str(modules), "grub-mkimage", None, OWN_MODULES)
    if _is_complete(live):
        yield Kit(str(live), "grub-mkimage", None, LIVE_GRUB)


def _is_complete(modules: Path) -> bool:
    return all((modules / name).is_file() for name in _NEEDED_FILES)


def _has_work_place(tree: Path) -> bool:
    """A /tmp of its own: one that leads elsewhere would lead this machine's mount there."""
    place = tree / "tmp"
    return place.is_dir() and not place.is_symlink()


def recipe_for(menu: Menu, table: PartitionTable | None, kit: Kit, trees: Trees) -> Recipe:
    """What to make of a kit for a menu within that table. Raises AdaptError."""
    label = table.label if table else ""
    whole = not _goes_with(kit, menu, trees)
    place = menu.place
    layer = place.layered.layer if place.layered else None
    return plan_recipe(menu.directory, place.uuid, place.kind, label, layer, whole=whole)


def _goes_with(kit: Kit, menu: Menu, trees: Trees) -> bool:
    """Whether the modules beside the menu are of the kit's version: then they are the same."""
    there = read_inside(trees[menu.place], f"{menu.directory}/i386-pc/normal.mod")
    return there == (kit.directory / "normal.mod").read_bytes()


def make_pair(run: Run, kit: Kit, recipe: Recipe) -> Pair:
    """Let the kit's tool make a core. Raises ToolError, OSError."""
    with tempfile.TemporaryDirectory(prefix="ugs-failover-") as name:
        work = Path(name)
        (work / "grub.cfg").write_text(recipe.config)
        wanted = [one for one in recipe.wanted if (kit.directory / f"{one}.mod").is_file()]
        seen = "/tmp" if kit.root else name  # noqa: S108  (the copy's)
        argv = [
            kit.tool, "-O", "i386-pc", "-d", kit.modules, "-p", recipe.directory,
            "-c", f"{seen}/grub.cfg", "-o", f"{seen}/core.img", *recipe.needed, *wanted,
        ]  # fmt: skip
        if kit.root:
            Chroot(run, kit.root, scratch=work)(argv, timeout=_PATIENCE)
        else:
            run(argv, timeout=_PATIENCE)
        return Pair((kit.directory / "boot.img").read_bytes(), (work / "core.img").read_bytes())
