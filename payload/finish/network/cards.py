"""The list of a machine's network cards as a document, for `python3 -m payload adapt`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from payload.formats.network.interface import INTERFACE_NAME, is_mac
from payload.model.codec import DocumentError, from_json
from payload.model.errors import SettingsError
from payload.model.machine import Card

_Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}\Z")]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]*\Z", max_length=256)]


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
