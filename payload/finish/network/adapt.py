"""Adapt a mounted copy to the cards of the machine it lies on, and list every change.

All that is to be written is worked out first (`plan_edits`), then done file by file: each is
replaced whole, so the copy is never half adapted, and a second run finds nothing left to do.
Names are kept, what they are tied to changes: in the files that tie names already (the table in
`systems`), and for names that no file ties in one that we add, a udev rule or a .link file as the
system's udev wants it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from payload.finish.network.assignment import assign, lost_ways, plan_names, warnings_of
from payload.finish.network.cards import read_cards
from payload.finish.network.destinations import read_names
from payload.finish.network.name_files import name_edits, our_links, rules_edit, unswappable
from payload.formats.network.interface import Assignment, Edit, Interface, lines_of
from payload.formats.network.mentions import macs_in, mentions_left, told_lines
from payload.formats.network.registry import RULES_DIRECTORY, SYSTEMS, UCR, files_of
from payload.formats.network.udev_rules import is_rules_file, rewrite_rules
from payload.model.errors import AdaptError, SettingsError
from payload.model.marker import Change
from payload.model.network import NamesInUse
from payload.model.report import CardName
from payload.system.edits import make_directories, remove_file, replace_file
from payload.system.files import (
    is_directory_inside,
    names_inside,
    read_inside,
    real_path,
    status_inside,
)

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


def plan_edits(root: Path, assignment: Assignment, path: str = "") -> tuple[Edit, ...]:
    """What makes the system at `root` give the names to the cards; empty when it does already.

    With `path` only that rules file is looked at, and made when missing. Raises OSError, and
    AdaptError when the system has no way to name cards that is known here.
    """
    if path:
        edits = [rules_edit(root, path, assignment)]
    else:
        edits = name_edits(root, assignment)
        edits += _tied_edits(root, assignment, {edit.path for edit in edits})
        edits += _cloud_edits(root, edits)
    edits = [edit for edit in edits if edit.before or edit.content != read_inside(root, edit.path)]
    return (*edits, *_template_edits(root, edits, assignment))


# --- files that tie names already


def _tied_edits(root: Path, assignment: Assignment, named: Set[str]) -> Iterator[Edit]:
    """But for `named`: the files that are edited already, since names are told there."""
    done = {*our_links(root), *named}
    for system in SYSTEMS:
        for path in files_of(root, system):
            resolved = real_path(root, path)
            content = read_inside(root, path) or b""
            after, place = (
                system.rewrite(content, path, assignment),
                system.rename(path, assignment),
            )
            ties = _ties(system.read(after, place)) or _changed_macs(content, after, assignment)
            what = f"{system.title}: {ties}"
            if resolved not in done and place != path:
                yield Edit(place, after, what, before=path)
            elif resolved not in done and after != content:
                yield Edit(resolved, after, what)


def _ties(told: Iterable[Interface]) -> str:
    ties = [f"{one.name or 'the interface'} is {one.mac}" for one in told if one.mac]
    return ", ".join(dict.fromkeys(ties))


def _changed_macs(before: bytes, after: bytes, assignment: Assignment) -> str:
    """Which MAC became which, and in which lines."""
    pairs = zip(lines_of(before), lines_of(after), strict=False)
    lines = {number: old for number, (old, new) in enumerate(pairs, 1) if old != new}
    gone = set().union(*map(macs_in, lines.values()))
    became = [f"{old} became {new}" for old, new in assignment.replacements.items() if old in gone]
    if not became:
        return "the cards of this machine"
    return f"{', '.join(became)} ({told_lines(list(lines))})"


def _cloud_edits(root: Path, edits: Sequence[Edit]) -> list[Edit]:
    """cloud-init renders the network anew for cards it has not seen, over what was adapted."""
    disabled = status_inside(root, "/etc/cloud/cloud-init.disabled") is not None
    if disabled or not is_directory_inside(root, _CLOUD):
        return []
    for name in names_inside(root, _CLOUD):
        text = read_inside(root, f"{_CLOUD}/{name}") or b""
        if name != Path(_CLOUD_FILE).name and re.search(
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
            names, macs = assignment.interfaces, assignment.replacements
            after = rewrite_rules(content, path, assignment.cards, names, macs)
        else:
            after = _rewriter_of(edit.path)(content, edit.path, assignment)
        if after != content:
            yield Edit(path, after, f"template of {edit.path}: {edit.what}")


def _rewriter_of(path: str) -> Callable[[bytes, str, Assignment], bytes]:
    for system in SYSTEMS:
        if any(Path(path).match(pattern) for pattern in system.patterns):
            return system.rewrite
    return lambda content, path, assignment: content


# --- doing it


def _write(root: Path, edits: Sequence[Edit]) -> None:
    """The new files first: a power cut in the middle leaves one too many, never one too few."""
    for edit in edits:
        make_directories(root, str(Path(real_path(root, edit.path)).parent))
        before = status_inside(root, edit.before) if edit.before else None
        mode = before.st_mode & 0o7777 if before else 0o644
        replace_file(root, edit.path, edit.content, mode)
    for gone in {edit.before for edit in edits} - {edit.path for edit in edits} - {""}:
        remove_file(root, gone)


def adapt_tree(
    root: Path, assignment: Assignment, *, path: str = "", check: bool = False
) -> Adaptation:
    """Make the system mounted at `root` give the assigned names to the cards of this machine.

    With `check` nothing is written, only listed. Raises AdaptError.
    """
    try:
        edits = plan_edits(root, assignment, path)
        _write(root, () if check else edits)
        warnings = tuple(_warnings(root, edits, assignment))
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


def _warnings(root: Path, edits: Sequence[Edit], assignment: Assignment) -> Iterator[str]:
    registry = (read_inside(root, UCR) or b"").decode("latin-1")
    for key in (line.partition(":")[0] for line in registry.split("\n")):
        if key.startswith("interfaces/") and key.endswith("/mac"):
            yield f"Univention's registry sets {key}: UCS 4 gives the card that address at boot."
    if any(edit.path == _CLOUD_FILE for edit in edits):
        yield (
            "The copied system has cloud-init, which may take this machine for a new one at its"
            " first start and make new SSH host keys: look at them before they are trusted."
        )
    if sentence := unswappable(root, assignment):
        yield sentence
    yield from mentions_left(root, edits, assignment)


# --- the command


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
