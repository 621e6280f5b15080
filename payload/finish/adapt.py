"""Adapt a mounted copy to the cards of the machine it lies on, and list every change.

All that is to be written is worked out first (`plan_edits`), then done file by file: each is
replaced whole, so the copy is never half adapted, and a second run finds nothing left to do.
Names are kept, what they are tied to changes: in the files that tie names already (the table in
`systems`), and for names that no file ties in one that we add, a udev rule or a .link file as the
system's udev wants it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from payload.finish.naming import INTERFACE_NAME, Assignment, Interface, System, is_mac
from payload.finish.netnames import assign, lost_ways, plan_names, warnings_of
from payload.finish.networkd import render_link
from payload.finish.systems import LINK_DIRECTORY, RULES_DIRECTORY, SYSTEMS, UCR, files_of
from payload.finish.udev_rules import (
    by_number,
    is_rules_file,
    read_rules,
    rewrite_rules,
    silence_rules,
)
from payload.finish.ways import read_names
from payload.model.codec import DocumentError, from_json
from payload.model.errors import AdaptError, SettingsError
from payload.model.machine import Card
from payload.model.marker import Change
from payload.model.network import NamesInUse
from payload.model.report import CardName
from payload.system.files import (
    inside,
    make_directories,
    read_inside,
    replace_file,
    sync_directory,
)

_UDEV_RULES = ("/lib/udev/rules.d", "/usr/lib/udev/rules.d")
_LINK_SETUP = "80-net-setup-link.rules"  # of a udev that reads .link files
_GENERATOR = "75-persistent-net-generator.rules"
_TABS = ("/etc/iftab", "/etc/mactab")
_TEMPLATES = "/etc/univention/templates/files"
_CLOUD = "/etc/cloud/cloud.cfg.d"
_CLOUD_FILE = f"{_CLOUD}/99-failover-network.cfg"
_CLOUD_TEXT = b"""\
# This machine is a copy. cloud-init would take the other network cards for another machine and
# write the network configuration anew; it is to stay as the copied server had it.
network: {config: disabled}
"""
# These the initramfs has a copy of, as far as it is of wheezy or later.
_IN_INITRAMFS = re.compile(
    r"/etc/udev/rules\.d/(?!z25_|30-net_).*\.rules|/etc/systemd/network/.*\.link"
)


@dataclass(frozen=True)
class Adaptation:
    """What was changed in the copy (or would be), and what a person must know.

    `initramfs_stale`: the initramfs of the copy holds files as they were before.
    """

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    cards: tuple[CardName, ...] = ()
    initramfs_stale: bool = False


@dataclass(frozen=True)
class Edit:
    """New content of one file; `path` is from the copy's root, links resolved.

    With `before` the file had that path, and is renamed.
    """

    path: str
    content: bytes
    what: str
    before: str = ""


def plan_edits(root: Path, assignment: Assignment, path: str = "") -> tuple[Edit, ...]:
    """What makes the system at `root` give the names to the cards; empty when it does already.

    With `path` only that rules file is looked at, and made when missing. Raises OSError, and
    AdaptError when the system has no way to name cards that is known here.
    """
    if path:
        edits = [_rules_edit(root, path, assignment)]
    else:
        edits = [*_name_edits(root, assignment), *_tied_edits(root, assignment)]
        edits += _cloud_edits(root, edits)
    edits = [edit for edit in edits if edit.before or edit.content != read_inside(root, edit.path)]
    return (*edits, *_template_edits(root, edits, assignment))


# --- names that some file has to give


def _name_edits(root: Path, assignment: Assignment) -> list[Edit]:
    """Where this system's udev is told names: rules that are there, .link files, a new file."""
    files = rules_files(root)
    if any(read_rules(read_inside(root, path) or b"") for path in files):
        return _rules_edits(root, files, assignment)
    wanted = _untied(root, assignment)
    if not wanted:
        return []
    if _reads_links(root) and not (_is_generated(root) and _are_ordinary(wanted)):
        return _link_edits(root, wanted)
    if files:
        return [_rules_edit(root, files[0], assignment)]
    if any(inside(root, tab).exists() for tab in _TABS):
        return []
    return [_rules_edit(root, _new_rules_file(root), assignment)]


def rules_files(root: Path) -> tuple[str, ...]:
    """Paths (from the copy's root) of its persistent net rules, links resolved, none twice.

    The one that today's and yesterday's generators write, 70-, comes first.
    """
    directory = inside(root, RULES_DIRECTORY)
    names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
    names = sorted(filter(is_rules_file, names), key=lambda name: (name[:3] != "70-", name))
    places = (inside(root, f"{RULES_DIRECTORY}/{name}") for name in names)
    found = (f"/{place.relative_to(root)}" for place in places if place.is_file())
    return tuple(dict.fromkeys(found))


def _untied(root: Path, assignment: Assignment) -> dict[str, str]:
    """The names that no file ties to its card yet: neither a rule or .link file of the system's
    own, nor an HWADDR, by which systems without a generator of rules name their cards."""
    tied: set[str] = set()
    for system in SYSTEMS:
        if system.title in ("udev rules", "systemd .link") or (
            system.title == "ifcfg" and not _is_generated(root) and not _reads_links(root)
        ):
            tied |= {one.name for one in _read(root, system) if one.mac or one.slot}
    ours = {path.removeprefix(f"{LINK_DIRECTORY}/10-failover-") for path in _our_links(root)}
    return {
        name: mac
        for name, mac in assignment.interfaces.items()
        if name not in tied or f"{name}.link" in ours
    }


def _read(root: Path, system: System) -> Iterator[Interface]:
    for path in files_of(root, system):
        yield from system.read(read_inside(root, path) or b"", path)


def _our_links(root: Path) -> list[str]:
    directory = inside(root, LINK_DIRECTORY)
    names = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else ()
    return [f"{LINK_DIRECTORY}/{name}" for name in names if name.startswith("10-failover-")]


def _are_ordinary(names: Iterable[str]) -> bool:
    return all(re.fullmatch(r"eth\d+", name) for name in names)


def _reads_links(root: Path) -> bool:
    """Whether the system's udev names cards by .link files, and nobody switched that off."""
    places = (inside(root, f"{directory}/{_LINK_SETUP}") for directory in _UDEV_RULES)
    own = root / RULES_DIRECTORY[1:] / _LINK_SETUP
    return any(place.is_file() for place in places) and not own.is_symlink()


def _is_generated(root: Path) -> bool:
    """Whether udev of this system writes persistent net rules by itself."""
    names = (f"{directory}/{_GENERATOR}" for directory in (*_UDEV_RULES, RULES_DIRECTORY))
    return any(inside(root, name).is_file() for name in (*names, "/lib/udev/write_net_rules"))


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
    mask = root / LINK_DIRECTORY[1:] / "99-default.link"
    return mask.is_symlink() and str(mask.readlink()) == "/dev/null"


def systemd_version(root: Path) -> int:
    """By the name of its own library, which every one since 231 has; 0 for older ones."""
    found = [0]
    for directory in ("/lib/systemd", "/usr/lib/systemd", "/usr/lib/x86_64-linux-gnu/systemd"):
        place = inside(root, directory)
        for entry in place.iterdir() if place.is_dir() else ():
            if version := re.match(r"libsystemd-(?:shared|core)-(\d+)", entry.name):
                found.append(int(version[1]))
    return max(found)


# --- files that tie names already


def _tied_edits(root: Path, assignment: Assignment) -> Iterator[Edit]:
    done = {*_our_links(root), *rules_files(root)}
    for system in SYSTEMS:
        for path in files_of(root, system):
            resolved = f"/{inside(root, path).relative_to(root)}"
            content = read_inside(root, path) or b""
            after, place = (
                system.rewrite(content, path, assignment),
                system.rename(path, assignment),
            )
            what = f"{system.title}: {_meaning(system.read(after, place), assignment)}"
            if resolved not in done and place != path:
                yield Edit(place, after, what, before=path)
            elif resolved not in done and after != content:
                yield Edit(resolved, after, what)


def _meaning(told: Iterable[Interface], assignment: Assignment) -> str:
    ties = [f"{one.name or 'the interface'} is {one.mac}" for one in told if one.mac]
    return ", ".join(dict.fromkeys(ties)) or "the cards of this machine"


def _cloud_edits(root: Path, edits: Sequence[Edit]) -> list[Edit]:
    """cloud-init renders the network anew for cards it has not seen, over what was adapted."""
    directory = inside(root, _CLOUD)
    if not directory.is_dir() or inside(root, "/etc/cloud/cloud-init.disabled").exists():
        return []
    for entry in sorted(directory.iterdir()):
        text = read_inside(root, f"{_CLOUD}/{entry.name}") or b""
        if entry.name != Path(_CLOUD_FILE).name and re.search(
            rb"^network:\s*(\{\s*|\n\s+)config:\s*disabled", text, re.MULTILINE
        ):
            return []
    return [Edit(_CLOUD_FILE, _CLOUD_TEXT, "cloud-init leaves the network configuration alone")]


def _template_edits(root: Path, edits: Iterable[Edit], assignment: Assignment) -> Iterator[Edit]:
    """A file that Univention makes from a template: the template says the same from now on."""
    for edit in edits:
        path = f"{_TEMPLATES}{edit.path}"
        content = read_inside(root, path)
        if content is None:
            continue
        if edit.path.startswith(RULES_DIRECTORY) and is_rules_file(Path(edit.path).name):
            after = rewrite_rules(content, path, assignment.cards, assignment.interfaces)
        else:
            after = _rewriter_of(edit.path)(content, edit.path, assignment)
        if after != content:
            yield Edit(path, after, f"template of {edit.path}: {edit.what}")


def _rewriter_of(path: str) -> Callable[[bytes, str, Assignment], bytes]:
    for system in SYSTEMS:
        if any(Path(path).match(pattern) for pattern in system.patterns):
            return system.rewrite
    return lambda content, path, assignment: content


# --- persistent net rules


def _rules_edits(root: Path, files: Sequence[str], assignment: Assignment) -> list[Edit]:
    """One file names the cards, the others must not contradict it: that with rules in it."""
    contents = {path: read_inside(root, path) or b"" for path in files}
    first = next((path for path in files if read_rules(contents[path])), files[0])
    others = [
        Edit(path, silence_rules(content), f"its rules commented out: {first} names the cards")
        for path, content in contents.items()
        if path != first
    ]
    return [_rules_edit(root, first, assignment), *others]


def _rules_edit(root: Path, path: str, assignment: Assignment) -> Edit:
    resolved = f"/{inside(root, path).relative_to(root)}"
    content = read_inside(root, path) or b""
    names = assignment.interfaces
    meaning = ", ".join(f"{name} is {names[name]}" for name in sorted(names, key=by_number))
    what = f"{meaning or 'no card has a name'}; rules for other cards commented out"
    return Edit(resolved, rewrite_rules(content, path, assignment.cards, names), what)


def _new_rules_file(root: Path) -> str:
    """The file this system's own generator would write. Raises AdaptError without udev."""
    if not inside(root, "/etc/udev").is_dir():
        raise AdaptError(
            "The copied system has no /etc/udev, so its network cards could not be named. Name"
            " them in its own way (for example /etc/iftab) before it is used."
        )
    generator = read_inside(root, "/lib/udev/write_net_rules") or b""
    if b"z25_persistent-net" in generator or (
        inside(root, f"{RULES_DIRECTORY}/z45_persistent-net-generator.rules").exists()
    ):
        return f"{RULES_DIRECTORY}/z25_persistent-net.rules"
    if inside(root, "/lib/udev/rename_netiface").exists():
        return f"{RULES_DIRECTORY}/30-net_persistent_names.rules"
    return f"{RULES_DIRECTORY}/70-persistent-net.rules"


# --- doing it


def _write(root: Path, edits: Sequence[Edit]) -> None:
    """The new files first: a power cut in the middle leaves one too many, never one too few."""
    for edit in edits:
        place = inside(root, edit.path)
        make_directories(root, str(place.parent.relative_to(root)))
        mode = inside(root, edit.before).stat().st_mode & 0o7777 if edit.before else 0o644
        replace_file(place, edit.content, mode)
    for gone in {edit.before for edit in edits} - {edit.path for edit in edits} - {""}:
        place = inside(root, gone)
        place.unlink()
        sync_directory(place.parent)


def adapt_tree(
    root: Path, assignment: Assignment, *, path: str = "", check: bool = False
) -> Adaptation:
    """Make the system mounted at `root` give the assigned names to the cards of this machine.

    With `check` nothing is written, only listed. Raises AdaptError.
    """
    try:
        edits = plan_edits(root, assignment, path)
        _write(root, () if check else edits)
        warnings = _warnings(root, edits)
    except OSError as error:
        raise AdaptError(
            f"The network names of the system at {root} could not be adapted:"
            f" {error.filename or ''} {error.strerror or error}. Files are replaced whole, so none"
            " is half written. See whether the file system is full or damaged, then run again."
        ) from error
    return Adaptation(
        changes=tuple(Change(edit.path, _told(edit)) for edit in edits),
        warnings=warnings,
        initramfs_stale=any(_IN_INITRAMFS.fullmatch(edit.path) for edit in edits),
    )


def _told(edit: Edit) -> str:
    return f"{edit.what} (renamed from {edit.before})" if edit.before else edit.what


def _warnings(root: Path, edits: Sequence[Edit]) -> tuple[str, ...]:
    found = []
    registry = (read_inside(root, UCR) or b"").decode("latin-1")
    for key in (line.partition(":")[0] for line in registry.split("\n")):
        if key.startswith("interfaces/") and key.endswith("/mac"):
            found.append(
                f"Univention's registry sets {key}: UCS 4 gives the card that old address at boot."
            )
    if any(edit.path == _CLOUD_FILE for edit in edits):
        found.append(
            "The copied system has cloud-init, which may take this machine for a new one at its"
            " first start and make new SSH host keys: look at them before they are trusted."
        )
    return tuple(found)


# --- the command


_Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]*$", max_length=256)]


class _Nic(msgspec.Struct):
    mac: _Mac
    driver: _Word = ""
    pci: _Word = ""
    bus: _Word = ""
    name: _Word = ""


class _CardsDocument(msgspec.Struct):
    nics: list[_Nic]
    assign: dict[str, _Mac] | None = None
    path: _Word = ""
    source: list[_Nic] = []
    pairs: list[tuple[_Mac, _Mac]] = []


@dataclass(frozen=True)
class Cards:
    """The cards of a machine as a document tells them; `assign` is name -> MAC, None: decide.

    `source` are the cards of the machine that the system came from, `pairs` the MACs of those and
    of the cards here that are on the same wire.
    """

    cards: tuple[Card, ...]
    assign: dict[str, str] | None = None
    path: str = ""
    source: tuple[Card, ...] = ()
    pairs: tuple[tuple[str, str], ...] = field(default=())


def read_cards(document: bytes) -> Cards:
    """`{"nics": [{"mac", "driver", "pci", "bus", "name"}], "assign": {name: mac}, "path": file,
    "source": [as nics], "pairs": [[mac there, mac here]]}`.

    All but `nics` may be missing. Raises SettingsError.
    """
    try:
        told = from_json(_CardsDocument, document)
    except DocumentError as error:
        raise SettingsError(f"The list of cards is {error}. Nothing was changed.") from error
    cards, source = _cards(told.nics), _cards(told.source)
    known = {card.mac for card in cards}
    pairs = tuple((there.lower(), here.lower()) for there, here in told.pairs)
    if told.assign is None:
        return Cards(cards, None, told.path, source, pairs)
    assigned = {name: mac.lower() for name, mac in told.assign.items()}
    for name, mac in assigned.items():
        if not INTERFACE_NAME.fullmatch(name) and not is_mac(name):
            raise SettingsError(f"{name!r} is no name for a network card. Nothing was changed.")
        if mac not in known:
            raise SettingsError(f"{name} is assigned to {mac}, which no listed card has.")
    if len(set(assigned.values())) != len(assigned):
        raise SettingsError("Two names are assigned to one card. Nothing was changed.")
    return Cards(cards, assigned, told.path, source, pairs)


def _cards(nics: Sequence[_Nic]) -> tuple[Card, ...]:
    cards = tuple(
        Card(nic.name or nic.bus, nic.mac.lower(), nic.driver, nic.pci, nic.bus) for nic in nics
    )
    if len({card.mac for card in cards}) != len(cards):
        raise SettingsError("The list of cards names one MAC address twice. Nothing was changed.")
    return cards


def run_adapt(root: Path, cards_document: bytes, check: bool = False) -> Adaptation:
    """Adapt a mounted system to the cards of a document. Raises SettingsError, and AdaptError
    also when a name that the server is useless without has no card."""
    told = read_cards(cards_document)
    if not root.is_dir():
        raise SettingsError(f"{root} is no directory: name the place where the copy is mounted.")
    root = root.resolve()
    try:
        in_use = read_names(root)
    except OSError as error:
        raise AdaptError(f"The network names at {root} could not be read: {error}.") from error
    if told.assign is not None:
        plan = tuple(CardName(name, mac, "as assigned") for name, mac in told.assign.items())
    else:
        plan = plan_names(in_use, told.source, told.pairs, told.cards)
        refuse_lost_ways(plan, in_use)
    assignment = assign(plan, in_use, told.source, told.cards)
    done = adapt_tree(root, assignment, path=told.path, check=check)
    warnings = warnings_of(plan, in_use) if told.assign is None else ()
    return Adaptation(done.changes, (*warnings, *done.warnings), plan, done.initramfs_stale)


def refuse_lost_ways(plan: Sequence[CardName], in_use: NamesInUse) -> None:
    """Raise AdaptError when the copy would start and not reach what it cannot serve without."""
    lost = lost_ways(plan, in_use)
    if lost:
        raise AdaptError(
            f"This machine has no card for {', nor for '.join(lost)}: the copy would start and not"
            " serve. Put in another network card, or connect one to that wire, and start again."
        )
