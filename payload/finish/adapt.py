"""Adapt a mounted copy to the cards of the machine it lies on, and list every change.

All that is to be written is worked out first (`plan_edits`), then done file by file: each is
replaced whole, so the copy is never half adapted, and a second run finds nothing left to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from payload.finish.netnames import (
    INTERFACE_NAME,
    RULES_DIRECTORY,
    plan_names,
    read_names,
    rules_files,
    warnings_of,
)
from payload.finish.udev_rules import by_number, read_rules, rewrite_rules, silence_rules
from payload.model.codec import DocumentError, from_json
from payload.model.errors import AdaptError, SettingsError
from payload.model.machine import Card
from payload.model.marker import Change
from payload.model.report import CardName
from payload.system.files import inside, make_directories, read_inside, replace_file

_LINK_DIRECTORY = "/etc/systemd/network"
_SYSTEMD = ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")


@dataclass(frozen=True)
class Adaptation:
    """What was changed in the copy (or would be), and what a person must know."""

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    cards: tuple[CardName, ...] = ()


@dataclass(frozen=True)
class Edit:
    """New content of one file; `path` is from the copy's root, links resolved."""

    path: str
    content: bytes
    what: str


def plan_edits(
    root: Path, cards: Sequence[Card], names: Mapping[str, str], path: str = ""
) -> tuple[Edit, ...]:
    """What ties `names` (name -> MAC) to `cards` in the system at `root`; empty when all is so.

    With `path` only that rules file is looked at, and made when missing. Raises OSError.
    """
    wanted = {name: mac for name, mac in names.items() if mac}
    if path:
        edits = [_rules_edit(root, path, cards, wanted)]
    elif files := rules_files(root):
        edits = _rules_edits(root, files, cards, wanted)
    elif not wanted:
        edits = []
    elif _uses_link_files(root, wanted):
        edits = [_link_edit(name, mac) for name, mac in sorted(wanted.items())]
    else:
        edits = [_rules_edit(root, _new_rules_file(root), cards, wanted)]
    return tuple(edit for edit in edits if edit.content != read_inside(root, edit.path))


def _rules_edits(
    root: Path, files: Sequence[str], cards: Sequence[Card], names: Mapping[str, str]
) -> list[Edit]:
    """One file names the cards, the others must not contradict it: that with rules in it."""
    contents = {path: read_inside(root, path) or b"" for path in files}
    first = next((path for path in files if read_rules(contents[path])), files[0])
    others = [
        Edit(path, silence_rules(content), f"its rules commented out: {first} names the cards")
        for path, content in contents.items()
        if path != first
    ]
    return [_rules_edit(root, first, cards, names), *others]


def _rules_edit(root: Path, path: str, cards: Sequence[Card], names: Mapping[str, str]) -> Edit:
    resolved = f"/{inside(root, path).relative_to(root)}"
    content = read_inside(root, path) or b""
    meaning = ", ".join(f"{name} is {names[name]}" for name in sorted(names, key=by_number))
    what = f"{meaning or 'no card has a name'}; rules for other cards commented out"
    return Edit(resolved, rewrite_rules(content, path, cards, names), what)


def _uses_link_files(root: Path, names: Mapping[str, str]) -> bool:
    """Predictable names (enp3s0) on systemd: .link files give them; ethN is a matter of rules."""
    ordinary = all(name.startswith("eth") and name[3:].isdigit() for name in names)
    return not ordinary and any(inside(root, path).exists() for path in _SYSTEMD)


def _link_edit(name: str, mac: str) -> Edit:
    text = (
        "# The card of this machine that has the name of the copied server's card.\n"
        f"[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n"
    )
    return Edit(f"{_LINK_DIRECTORY}/10-failover-{name}.link", text.encode(), f"{name} is {mac}")


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


def _write(root: Path, edit: Edit) -> None:
    place = inside(root, edit.path)
    make_directories(root, str(place.parent.relative_to(root)))
    replace_file(place, edit.content)


def adapt_tree(
    root: Path,
    cards: Sequence[Card],
    names: Mapping[str, str],
    *,
    path: str = "",
    check: bool = False,
) -> Adaptation:
    """Make the system mounted at `root` give `names` (name -> MAC) to `cards`.

    With `check` nothing is written, only listed. Raises AdaptError.
    """
    try:
        edits = plan_edits(root, cards, names, path)
        for edit in () if check else edits:
            _write(root, edit)
        warnings = _warnings(root, edits, names)
    except OSError as error:
        raise AdaptError(
            f"The network names of the system at {root} could not be adapted:"
            f" {error.filename or ''} {error.strerror or error}. Files are replaced whole, so none"
            " is half written. See whether the file system is full or damaged, then run again."
        ) from error
    return Adaptation(tuple(Change(edit.path, edit.what) for edit in edits), warnings)


def _warnings(root: Path, edits: Sequence[Edit], names: Mapping[str, str]) -> tuple[str, ...]:
    found = []
    registry = (read_inside(root, "/etc/univention/base.conf") or b"").decode("latin-1")
    keys = [line.partition(":")[0] for line in registry.split("\n")]
    for key in keys:
        if key.startswith("interfaces/") and key.endswith("/mac"):
            found.append(
                f"Univention's registry sets {key}: UCS 4 gives the card that old address at boot."
            )
    if edits and len(names) > 1 and inside(root, "/etc/initramfs-tools").is_dir():
        found.append(
            "The initramfs of the copy still holds the old rules for network names. They are"
            " applied again after it; run update-initramfs in the copy if names come out swapped."
        )
    return tuple(found)


_Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]*$", max_length=256)]


class _Nic(msgspec.Struct):
    mac: _Mac
    driver: _Word = ""
    pci: _Word = ""
    bus: _Word = ""


class _CardsDocument(msgspec.Struct):
    nics: list[_Nic]
    assign: dict[str, _Mac] | None = None
    path: _Word = ""


@dataclass(frozen=True)
class Cards:
    """The cards of a machine as a document tells them; `assign` is name -> MAC, None: decide."""

    cards: tuple[Card, ...]
    assign: dict[str, str] | None = field(default=None)
    path: str = ""


def read_cards(document: bytes) -> Cards:
    """`{"nics": [{"mac", "driver", "pci", "bus"}], "assign": {name: mac}, "path": file}`.

    `assign` and `path` may be missing. Raises SettingsError.
    """
    try:
        told = from_json(_CardsDocument, document)
    except DocumentError as error:
        raise SettingsError(f"The list of cards is {error}. Nothing was changed.") from error
    cards = tuple(Card(nic.bus, nic.mac.lower(), nic.driver, nic.pci, nic.bus) for nic in told.nics)
    known = {card.mac for card in cards}
    if len(known) != len(cards):
        raise SettingsError("The list of cards names one MAC address twice. Nothing was changed.")
    if told.assign is None:
        return Cards(cards, None, told.path)
    assign = {name: mac.lower() for name, mac in told.assign.items()}
    for name, mac in assign.items():
        if not INTERFACE_NAME.fullmatch(name):
            raise SettingsError(f"{name!r} is no name for a network card. Nothing was changed.")
        if mac not in known:
            raise SettingsError(f"{name} is assigned to {mac}, which no listed card has.")
    if len(set(assign.values())) != len(assign):
        raise SettingsError("Two names are assigned to one card. Nothing was changed.")
    return Cards(cards, assign, told.path)


def run_adapt(root: Path, cards_document: bytes, check: bool = False) -> Adaptation:
    """Adapt a mounted system to the cards of a document. Raises SettingsError or AdaptError."""
    told = read_cards(cards_document)
    if not root.is_dir():
        raise SettingsError(f"{root} is no directory: name the place where the copy is mounted.")
    root = root.resolve()
    if told.assign is not None:
        plan = tuple(CardName(name, mac, "as assigned") for name, mac in told.assign.items())
        warnings: tuple[str, ...] = ()
    else:
        try:
            in_use = read_names(root)
        except OSError as error:
            raise AdaptError(f"The network names at {root} could not be read: {error}.") from error
        plan = plan_names(in_use, (), (), told.cards)
        warnings = warnings_of(plan, in_use)
    names = {entry.name: entry.mac for entry in plan if entry.mac}
    done = adapt_tree(root, told.cards, names, path=told.path, check=check)
    return Adaptation(done.changes, (*warnings, *done.warnings), plan)
