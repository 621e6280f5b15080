"""The files by which udev of a copied system is told names: persistent net rules, .link files.

Which of them a system's udev reads, and which one there is to be written, is found out here; what
goes into them is in `udev_rules` and `networkd`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from payload.finish.network.assignment import in_bus_order
from payload.formats.network.interface import Assignment, Edit, Interface, System
from payload.formats.network.networkd import render_link
from payload.formats.network.registry import LINK_DIRECTORY, RULES_DIRECTORY, SYSTEMS, files_of
from payload.formats.network.udev_rules import (
    by_number,
    is_rules_file,
    read_rules,
    rewrite_rules,
    silence_rules,
)
from payload.model.errors import AdaptError
from payload.system.files import (
    is_directory_inside,
    is_file_inside,
    link_inside,
    names_inside,
    read_inside,
    real_path,
    status_inside,
)

_UDEV_RULES = ("/lib/udev/rules.d", "/usr/lib/udev/rules.d")
_LINK_SETUP = "80-net-setup-link.rules"  # of a udev that reads .link files
_GENERATOR = "75-persistent-net-generator.rules"
_TABS = ("/etc/iftab", "/etc/mactab")


def name_edits(root: Path, assignment: Assignment) -> list[Edit]:
    """Where this system's udev is told names: rules that are there, .link files, a new file."""
    files = rules_files(root)
    if any(read_rules(read_inside(root, path) or b"") for path in files):
        return rules_edits(root, files, assignment)
    wanted = _untied(root, assignment)
    if not wanted:
        return []
    if reads_links(root) and not (is_generated(root) and all(map(_is_ordinary, wanted))):
        return _link_edits(root, wanted)
    if files:
        return [rules_edit(root, files[0], assignment)]
    if any(status_inside(root, tab) for tab in _TABS):
        return []
    return [rules_edit(root, _new_rules_file(root), assignment)]


def rules_files(root: Path) -> tuple[str, ...]:
    """Paths (from the copy's root) of its persistent net rules, links resolved, none twice.

    The one that today's and yesterday's generators write, 70-, comes first.
    """
    names = filter(is_rules_file, names_inside(root, RULES_DIRECTORY))
    ordered = sorted(names, key=lambda name: (name[:3] != "70-", name))
    paths = (f"{RULES_DIRECTORY}/{name}" for name in ordered)
    found = (real_path(root, path) for path in paths if is_file_inside(root, path))
    return tuple(dict.fromkeys(found))


def _untied(root: Path, assignment: Assignment) -> dict[str, str]:
    """The names that no file ties to its card yet: neither a rule or .link file of the system's
    own, nor an HWADDR, by which systems without a generator of rules name their cards."""
    tied: set[str] = set()
    for system in SYSTEMS:
        if system.title in ("udev rules", "systemd .link") or (
            system.title == "ifcfg" and not is_generated(root) and not reads_links(root)
        ):
            tied |= {one.name for one in _read(root, system) if one.mac or one.slot}
    ours = {path.removeprefix(f"{LINK_DIRECTORY}/10-failover-") for path in our_links(root)}
    return {
        name: mac
        for name, mac in assignment.interfaces.items()
        if name not in tied or f"{name}.link" in ours
    }


def _read(root: Path, system: System) -> Iterator[Interface]:
    for path in files_of(root, system):
        yield from system.read(read_inside(root, path) or b"", path)


def our_links(root: Path) -> list[str]:
    names = names_inside(root, LINK_DIRECTORY)
    return [f"{LINK_DIRECTORY}/{name}" for name in names if name.startswith("10-failover-")]


def _is_ordinary(name: str) -> bool:
    return re.fullmatch(r"eth\d+", name) is not None


def reads_links(root: Path) -> bool:
    """Whether the system's udev names cards by .link files, and nobody switched that off."""
    is_there = any(is_file_inside(root, f"{place}/{_LINK_SETUP}") for place in _UDEV_RULES)
    return is_there and link_inside(root, f"{RULES_DIRECTORY}/{_LINK_SETUP}") is None


def is_generated(root: Path) -> bool:
    """Whether udev of this system writes persistent net rules by itself."""
    names = (f"{directory}/{_GENERATOR}" for directory in (*_UDEV_RULES, RULES_DIRECTORY))
    return any(is_file_inside(root, name) for name in (*names, "/lib/udev/write_net_rules"))


def _link_edits(root: Path, names: Mapping[str, str]) -> list[Edit]:
    """Predictable names (enp3s0), and ethN where several cards could come in any order."""
    if set(names) == {"eth0"} and keeps_kernel_names(root):
        return []
    version = systemd_version(root)
    return [
        Edit(
            f"{LINK_DIRECTORY}/10-failover-{name}.link",
            render_link(name, names[name], version),
            f"{name} is {names[name]}",
        )
        for name in sorted(names, key=by_number)
    ]


def keeps_kernel_names(root: Path) -> bool:
    """Whether the only card of a machine is called eth0 whatever it is: `net.ifnames=0`, or the
    file masked that gives predictable names."""
    grub = read_inside(root, "/etc/default/grub") or b""
    if re.search(rb"^[^#\n]*\bnet\.ifnames=0\b", grub, re.MULTILINE):
        return True
    return link_inside(root, f"{LINK_DIRECTORY}/99-default.link") == "/dev/null"


def systemd_version(root: Path) -> int:
    """By the name of its own library, which every one since 231 has; 0 for older ones."""
    found = [0]
    for directory in ("/lib/systemd", "/usr/lib/systemd", "/usr/lib/x86_64-linux-gnu/systemd"):
        for name in names_inside(root, directory):
            if version := re.match(r"libsystemd-(?:shared|core)-(\d+)", name):
                found.append(int(version[1]))
    return max(found)


def rules_edits(root: Path, files: Sequence[str], assignment: Assignment) -> list[Edit]:
    """One file names the cards, the others must not contradict it: that with rules in it."""
    contents = {path: read_inside(root, path) or b"" for path in files}
    first = next((path for path in files if read_rules(contents[path])), files[0])
    others = [
        Edit(
            path,
            silence_rules(content, assignment.replacements),
            f"its rules commented out: {first} names the cards",
        )
        for path, content in contents.items()
        if path != first
    ]
    return [rules_edit(root, first, assignment), *others]


def rules_edit(root: Path, path: str, assignment: Assignment) -> Edit:
    resolved = real_path(root, path)
    content = read_inside(root, path) or b""
    names = assignment.interfaces
    meaning = ", ".join(f"{name} is {names[name]}" for name in sorted(names, key=by_number))
    what = f"{meaning or 'no card has a name'}; rules for other cards commented out"
    macs = assignment.replacements
    return Edit(resolved, rewrite_rules(content, path, assignment.cards, names, macs), what)


def _new_rules_file(root: Path) -> str:
    """The file this system's own generator would write. Raises AdaptError without udev."""
    if not is_directory_inside(root, "/etc/udev"):
        raise AdaptError(
            "The copied system has no /etc/udev, so its network cards could not be named. Name"
            " them in its own way (for example /etc/iftab) before it is used."
        )
    generator = read_inside(root, "/lib/udev/write_net_rules") or b""
    if b"z25_persistent-net" in generator or (
        status_inside(root, f"{RULES_DIRECTORY}/z45_persistent-net-generator.rules")
    ):
        return f"{RULES_DIRECTORY}/z25_persistent-net.rules"
    if status_inside(root, "/lib/udev/rename_netiface"):
        return f"{RULES_DIRECTORY}/30-net_persistent_names.rules"
    return f"{RULES_DIRECTORY}/70-persistent-net.rules"


def unswappable(root: Path, assignment: Assignment) -> str:
    """A sentence when names of the kernel's own would have to change places, which the udev of
    newer systems refuses: it meets a name that another card still has, and leaves it."""
    names = {name: mac for name, mac in assignment.interfaces.items() if _is_ordinary(name)}
    if len(assignment.cards) < 2 or not names or not reads_links(root) or is_generated(root):
        return ""
    kernel = {f"eth{n}": card.mac for n, card in enumerate(in_bus_order(assignment.cards))}
    if all(kernel.get(name, mac) == mac for name, mac in names.items()):
        return ""
    told = ", ".join(f"{name} ({names[name]})" for name in sorted(names, key=by_number))
    return (
        f"This machine's kernel may find its cards in another order than {told}, and the udev of"
        " the copied system may not be able to exchange such names: look at them at the first"
        " start, and exchange the cables, or the networks in the settings of the virtual machine,"
        " if they are crossed."
    )
