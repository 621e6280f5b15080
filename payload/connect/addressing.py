"""Every card on, every cable found, an address on each: without asking anybody.

IPv6 link-local addresses come by themselves and always do. IPv4 comes by DHCP if a server
answers, else by RFC 3927 (dhcpcd does both, in the background); `failover.ip=` sets one by hand.
A cable that is plugged in later, or a card that appears later, is used from then on.
"""

import threading
from collections.abc import Callable

from payload.model.errors import ToolError
from payload.model.event import Level, Monitor, Note
from payload.model.machine import Card
from payload.model.settings import Settings
from payload.system.links import Links

PATIENCE = 5.0  # seconds all cards together have to find a link; gigabit copper needs 3
PERIOD = 2.0  # seconds between two looks at the cards


def chosen_cards(links: Links, settings: Settings) -> tuple[Card, ...]:
    """The cards to use: all, or the one that `failover.interface=` names by name or MAC."""
    wanted = settings.interface.lower()
    return tuple(
        card for card in links.cards() if wanted in ("", card.name.lower(), card.mac.lower())
    )


def card_for_address(cards: tuple[Card, ...]) -> Card | None:
    """The card that gets `failover.ip=`: the only one, or the only one with a link. Never a
    guess: an address on the wrong wire would part the machines."""
    candidates = cards if len(cards) == 1 else [card for card in cards if card.carrier]
    return candidates[0] if len(candidates) == 1 else None


class Addressing:
    """Cares for the cards in a thread of its own, from `begin` until closed."""

    def __init__(self, links: Links, settings: Settings, monitor: Monitor) -> None:
        self._links = links
        self._settings = settings
        self._monitor = monitor
        self._closing = threading.Event()
        self._up: set[str] = set()
        self._addressed: set[str] = set()
        self._linked: set[str] = set()
        self._fixed = not settings.ip  # failover.ip= is where it belongs, or not asked for
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._care, name="addressing", daemon=True)

    def switch_on(self) -> None:
        """Let the cards look for their links, without waiting for any. Raises ToolError only when
        the kernel does not even tell which cards there are."""
        self._switch_on(chosen_cards(self._links, self._settings))

    def begin(self) -> None:
        """The first round, with time for the cards to find their links. Raises as `switch_on`."""
        cards = chosen_cards(self._links, self._settings)
        self._switch_on(cards)
        self._links.wait_carrier([card.name for card in cards], PATIENCE)
        self._look()
        if not cards:
            self._warn(_no_card_sentence(self._settings.interface))
        elif not self._linked:
            self._warn("No network card has a link. Plug in a cable: it is used at once.")
        self._thread.start()

    def close(self) -> None:
        """Stop caring, and give back the addresses that came by DHCP."""
        self._closing.set()
        self._thread.join()
        self._try(lambda _: self._links.release(), "")

    def _care(self) -> None:
        while not self._closing.wait(PERIOD):
            self._try(lambda _: self._look(), "")

    def _look(self) -> None:
        cards = chosen_cards(self._links, self._settings)
        self._switch_on(cards)
        self._tell_links(cards)
        self._fix_address(cards)
        for card in cards:
            if self._fixed and card.name not in self._addressed:
                self._addressed.add(card.name)
                self._try(self._links.lease, card.name)

    def _switch_on(self, cards: tuple[Card, ...]) -> None:
        for card in cards:
            if card.name not in self._up:
                self._up.add(card.name)
                self._try(self._links.up, card.name)

    def _fix_address(self, cards: tuple[Card, ...]) -> None:
        """Set `failover.ip=` as soon as it is clear on which card."""
        if self._fixed:
            return
        card = card_for_address(cards)
        if card is None:
            self._warn(_unclear_sentence(self._settings.ip))
            return
        self._fixed = True
        self._addressed.add(card.name)
        self._try(self._set_address, card.name)

    def _set_address(self, name: str) -> None:
        self._links.add_address(name, self._settings.ip)
        if self._settings.gateway:
            self._links.add_gateway(name, self._settings.gateway)

    def _tell_links(self, cards: tuple[Card, ...]) -> None:
        linked = {card.name: card for card in cards if card.carrier}
        for name in sorted(linked.keys() - self._linked):
            self._monitor(Note(f"{_describe(linked[name])} has a link."))
        for name in sorted(self._linked - linked.keys()):
            self._monitor(Note(f"Network card {name} lost its link.", Level.WARNING))
        self._linked = set(linked)

    def _try(self, act: Callable[[str], None], name: str) -> None:
        """One card that does not work, or that vanished, is no reason to leave the others."""
        try:
            act(name)
        except ToolError as error:
            self._warn(str(error))

    def _warn(self, sentence: str) -> None:
        """Once: the same is found again in every round."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._monitor(Note(sentence, Level.WARNING))


def _describe(card: Card) -> str:
    facts = [card.driver, f"{card.speed} Mbit/s" if card.speed else ""]
    words = ", ".join(fact for fact in facts if fact)
    return f"Network card {card.name} ({words})" if words else f"Network card {card.name}"


def _no_card_sentence(interface: str) -> str:
    if interface:
        return (
            f"There is no network card {interface}, which failover.interface= names. Correct it, "
            "or leave it out to use all cards."
        )
    return "No network card was found. One that appears later is used at once."


def _unclear_sentence(address: str) -> str:
    return (
        f"failover.ip={address} is set, but it is not clear for which card: not exactly one has "
        "a link. Plug in one cable only, or name the card with failover.interface=."
    )
