"""GRUB 2's boot.img and core.img for a copy: the pair it keeps, or one made of modules.

A core loads further modules from beside the menu, and only modules of its own version go with it.
So the pair that the server's own grub-install left there comes first, then a core of the copy's
modules, made by the copy's own tool, then by ours. A core whose modules are not those beside the
menu brings along all that a menu asks for.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from payload.finish.boot.grub_layout import Recipe, plan_recipe
from payload.finish.boot.menus import Menu, Trees
from payload.model.disk import PartitionTable
from payload.model.errors import ToolError
from payload.system.command import Run
from payload.system.files import is_file_inside, is_roots_own, read_inside, subtree
from payload.system.sandbox import Sandbox

LIVE_MODULES = Path("/usr/lib/grub/i386-pc")
OWN_PAIR = "reinstalled from the copy's own GRUB"
OWN_MODULES = "reinstalled from the copy's own GRUB modules"
LIVE_GRUB = "reinstalled from the live system's GRUB"
_PLATFORMS = ("/i386-pc", "")  # below the menu's directory; GRUB before 2.00 had no platforms
_MODULE_PLACES = ("/usr/lib/grub/i386-pc", "/lib/grub/i386-pc")  # the second when /usr is apart
_TOOLS = ("/usr/bin/grub-mkimage", "/usr/bin/grub2-mkimage")
_FILES = ("boot.img", "kernel.img", "diskboot.img", "lzma_decompress.img", "moddep.lst")
_PATIENCE = 60.0  # seconds; it takes less than one


@dataclass(frozen=True)
class Pair:
    """boot.img and core.img that belong together."""

    boot: bytes
    core: bytes


@dataclass(frozen=True)
class Kit:
    """Modules, and the grub-mkimage to join them. `root`: the modules lie in that tree, where
    `modules` is named from; None: they are the live system's. `tool` is the program of that tree,
    "" for the live system's. `strategy` is for the report."""

    modules: str
    tool: str
    root: Path | None
    strategy: str

    def read(self, name: str) -> bytes:
        """One of its files, empty when it has none of that name. Raises OSError."""
        return read_inside(self.root or Path("/"), f"{self.modules}/{name}") or b""

    def has(self, name: str) -> bool:
        return is_file_inside(self.root or Path("/"), f"{self.modules}/{name}")


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
    """Complete sets of modules, the best first. `trees` are the copied system's own: its root file
    system, and its /usr and /boot where they are apart. What anybody else than its root may have
    put there does not count."""
    for volume, tree in trees.items():
        beside = (f"{menu.directory}/i386-pc",) if volume == menu.place else ()
        for place in (*_MODULE_PLACES, *beside):
            kit = Kit(place, "", tree, OWN_MODULES)
            if _is_complete(kit) and all(is_roots_own(tree, f"{place}/{one}") for one in _FILES):
                for tool in _TOOLS:
                    if is_file_inside(tree, tool) and is_roots_own(tree, tool):
                        yield replace(kit, tool=tool)
                yield kit
    if _is_complete(kit := Kit(str(live), "", None, LIVE_GRUB)):
        yield kit


def _is_complete(kit: Kit) -> bool:
    return all(kit.has(name) for name in _FILES)


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
    return there == kit.read("normal.mod")


def make_pair(run: Run, kit: Kit, recipe: Recipe) -> Pair:
    """Let the kit's tool make a core. Raises ToolError, OSError."""
    with tempfile.TemporaryDirectory(prefix="ugs-failover-") as name:
        work = Path(name)
        (work / "grub.cfg").write_text(recipe.config)
        wanted = [one for one in recipe.wanted if kit.has(f"{one}.mod")]
        own = kit.tool and kit.root
        seen = "/tmp" if own else name  # noqa: S108  (the copy's)
        argv = [
            kit.tool or "grub-mkimage", "-O", "i386-pc",
            "-d", kit.modules if own else _directory(kit), "-p", recipe.directory,
            "-c", f"{seen}/grub.cfg", "-o", f"{seen}/core.img", *recipe.needed, *wanted,
        ]  # fmt: skip
        if kit.tool and kit.root:
            Sandbox(run, kit.root, work)(argv, timeout=_PATIENCE)
        else:
            run(argv, timeout=_PATIENCE)
        core = read_inside(work, "core.img")
        if core is None:
            raise ToolError(f"{argv[0]} left no core.img that is a regular file.")
        return Pair(kit.read("boot.img"), core)


def _directory(kit: Kit) -> str:
    """The modules as the live system's own grub-mkimage reaches them."""
    return str(subtree(kit.root, kit.modules) if kit.root else kit.modules)
