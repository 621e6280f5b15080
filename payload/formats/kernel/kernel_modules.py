"""The kernels of a system that is mounted somewhere, and what hardware they drive.

depmod's lists are read: modules.alias (which devices a module claims), modules.pcimap (the same, of
before), modules.dep (what it needs). Of what is built in, modules.builtin tells the names and,
since Linux 5.2, modules.builtin.modinfo the devices.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from payload.formats.kernel.initramfs import MODULE, module_name
from payload.system.files import names_inside, read_inside

MODULES = "lib/modules"
_WILDCARDS = "*?["
_ANY = 0xFFFFFFFF
_PCIMAP_CLASSES = {
    0: "bc*sc*i*",
    0xFF0000: "bc{0:02X}sc*i*",
    0xFFFF00: "bc{0:02X}sc{1:02X}i*",
    0xFFFFFF: "bc{0:02X}sc{1:02X}i{2:02X}*",
}


@dataclass(frozen=True)
class Kernel:
    """One kernel of the system: (pattern, module) for all it drives. Modules are named with _."""

    version: str
    aliases: tuple[tuple[str, str], ...]
    tells_built_in: bool  # which devices the drivers built into it claim
    places: Mapping[str, str] = field(default_factory=dict)  # module -> file, "kernel/drivers/.."
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # all that go before it
    built_in: frozenset[str] = frozenset()  # modules
    options: frozenset[str] | None = None  # CONFIG_..., those built in; None: not told

    def claiming(self, modalias: str) -> tuple[str, ...]:
        """The modules that claim a device, built-in ones too."""
        found = (
            module
            for pattern, module in self.aliases
            if modalias.startswith(_literal(pattern)) and fnmatchcase(modalias, pattern)
        )
        return tuple(dict.fromkeys(found))

    def held(self, module: str, inside_image: frozenset[str]) -> bool:
        """Whether a module can be used with what an initramfs holds."""
        wanted = {module, *self.needs.get(module, ())}
        return module in self.built_in or wanted <= inside_image | self.built_in


def _literal(pattern: str) -> str:
    """What stands before the first wildcard: rules out most patterns at once."""
    ends = [place for sign in _WILDCARDS if (place := pattern.find(sign)) >= 0]
    return pattern[: min(ends, default=len(pattern))]


def read_kernels(trees: Sequence[Path]) -> tuple[Kernel, ...]:
    """The kernels whose modules lie in a system; `trees` are its root and, where it is a file
    system of its own, its /boot. Raises OSError."""
    found = (_read_kernel(trees, version) for version in names_inside(trees[0], MODULES))
    return tuple(kernel for kernel in found if kernel is not None)


def _read_kernel(trees: Sequence[Path], version: str) -> Kernel | None:
    def read(name: str) -> bytes | None:
        return read_inside(trees[0], f"{MODULES}/{version}/{name}")

    modules, of_pci = read("modules.alias"), read("modules.pcimap")
    if modules is None and of_pci is None:
        return None
    told = read("modules.builtin.modinfo")
    aliases = [*parse_modules_alias(modules or b""), *parse_built_in(told or b"")]
    if not any(pattern.startswith("pci:") for pattern, _ in aliases):
        aliases += parse_pcimap(of_pci or b"")
    needs = dict(parse_modules_dep(read("modules.dep") or b""))
    built_in = {_module_of(line): line for line in _lines(read("modules.builtin") or b"")}
    return Kernel(
        version,
        tuple(aliases),
        told is not None,
        places=built_in | {name: place for name, (place, _) in needs.items()},
        needs={name: names for name, (_, names) in needs.items()},
        built_in=frozenset(built_in),
        options=_read_options(trees, version),
    )


def _read_options(trees: Sequence[Path], version: str) -> frozenset[str] | None:
    for tree in trees:
        for place in (f"/boot/config-{version}", f"/config-{version}"):
            document = read_inside(tree, place)
            if document is not None:
                return parse_config(document)
    return None


def _lines(document: bytes) -> list[str]:
    return [line for line in document.decode("utf-8", "replace").splitlines() if line.strip()]


def _module_of(place: str) -> str:
    match = MODULE.fullmatch(place.strip())
    return module_name(match[1]) if match else ""


def parse_modules_alias(document: bytes) -> Iterator[tuple[str, str]]:
    """Lines "alias PATTERN MODULE", as depmod writes them."""
    for line in _lines(document):
        words = line.split()
        if len(words) == 3 and words[0] == "alias":
            yield words[1], module_name(words[2])


def parse_built_in(document: bytes) -> Iterator[tuple[str, str]]:
    """Words "MODULE.alias=PATTERN" that end with a zero byte, as the kernel's build writes them."""
    for word in document.decode("utf-8", "replace").split("\0"):
        name, _, value = word.partition("=")
        module, _, key = name.partition(".")
        if key == "alias":
            yield value, module_name(module)


def parse_pcimap(document: bytes) -> Iterator[tuple[str, str]]:
    """Lines "MODULE VENDOR DEVICE SUBVENDOR SUBDEVICE CLASS MASK ...", as patterns. Those that
    take a part of the class that no pattern can say are left out."""
    for line in _lines(document):
        words = line.split()
        if len(words) < 7 or not all(re.fullmatch(r"0x[0-9a-fA-F]{1,8}", w) for w in words[1:7]):
            continue
        *ids, code, mask = (int(word, 16) for word in words[1:7])
        if mask in _PCIMAP_CLASSES:
            signs = zip(("v", "d", "sv", "sd"), ids, strict=True)
            numbers = "".join(f"{sign}{'*' if n == _ANY else f'{n:08X}'}" for sign, n in signs)
            of_class = _PCIMAP_CLASSES[mask].format(*code.to_bytes(4, "big")[1:])
            yield f"pci:{numbers}{of_class}", module_name(words[0])


def parse_modules_dep(document: bytes) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    """Lines "FILE: FILE ...": (module, (its file, the modules it needs, all of them))."""
    for line in _lines(document):
        place, colon, others = line.partition(":")
        name = _module_of(place)
        if colon and name:
            yield name, (place, tuple(_module_of(other) for other in others.split()))


def parse_config(document: bytes) -> frozenset[str]:
    """The options of a kernel's configuration that are built in: lines "CONFIG_X=y"."""
    return frozenset(line[:-2] for line in _lines(document) if re.fullmatch(r"CONFIG_\w+=y", line))
