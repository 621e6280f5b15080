"""The live system started as its boot menu would, without firmware, loader and menu before it."""

import re
from pathlib import Path

from tests.vm.hardware import Kernel
from tests.vm.images import ImageError, extract

FILES = ("/boot/grub/grub.cfg", "/boot/grub/settings.cfg", "/live/vmlinuz", "/live/initrd.img")
# `set name="value"`, as the menu has it; a value may name what was set before.
_SET = re.compile(r'^set (\w+)="(.*)"$', re.MULTILINE)
_NAME = re.compile(r"\$(\w+)")


def live_kernel(iso: Path, directory: Path) -> Kernel:
    """Kernel, initramfs and parameters of the menu's first entry, laid into the directory. Raises
    ImageError."""
    directory.mkdir(parents=True, exist_ok=True)
    menu, settings, kernel, initrd = extract(iso, directory, *FILES)
    return Kernel(kernel, initrd, menu_parameters(settings.read_text() + menu.read_text()))


def menu_parameters(menu: str) -> str:
    """The kernel line of each entry of the ISO's boot menu, settings.cfg before grub.cfg. Raises
    ImageError for a menu that sets none."""
    variables: dict[str, str] = {}
    for name, value in _SET.findall(menu):
        variables[name] = _NAME.sub(lambda match: variables.get(match[1], ""), value)
    if "boot=live" not in variables.get("parameters", ""):
        raise ImageError("The ISO's boot menu sets no kernel parameters that start a live system.")
    return " ".join(variables["parameters"].split())
