"""Which card a connection runs over, and a call to nobody; calls themselves need sockets."""

from types import SimpleNamespace
from typing import Any

import pytest

from payload.connect.pairing import call, local_card
from payload.model.errors import LinkError, ToolError
from payload.model.machine import Card

FIRST, SECOND = "52:54:00:00:00:0a", "52:54:00:00:00:0b"


class PaperLinks:
    """Two cards on paper and their addresses; `gone` ones vanish between two questions."""

    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone

    def cards(self) -> tuple[Card, ...]:
        return Card("eth0", FIRST), Card("eth1", SECOND)

    def addresses(self, name: str) -> tuple[str, ...]:
        if self.gone:
            raise ToolError("The kernel refused to list addresses.")
        return {
            "eth0": ("fe80::1", "192.0.2.10"),
            "eth1": ("fe80::1", "192.0.2.1", "2001:db8::1"),
        }[name]


def card_of(address: str, *, gone: bool = False) -> str:
    channel: Any = SimpleNamespace(local_address=address)
    links: Any = PaperLinks(gone=gone)
    return local_card(channel, links)


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        ("192.0.2.10", FIRST),
        ("192.0.2.1", SECOND),  # no part of another one
        ("2001:db8::1", SECOND),
        # Both cards have it: the scope says which is meant.
        ("fe80::1%eth1", SECOND),
        ("fe80::1%eth0", FIRST),
    ],
)
def test_a_connection_runs_over_the_card_of_its_address(address: str, mac: str) -> None:
    assert card_of(address) == mac


@pytest.mark.parametrize("address", ["198.51.100.1", "fe80::1%eth7", "192.0.2.1%eth7", ""])
def test_an_address_that_no_card_has_any_more_is_told(address: str) -> None:
    with pytest.raises(LinkError, match=f"No network card has the address {address} any more"):
        card_of(address)


def test_a_card_that_vanishes_while_it_is_asked_is_a_broken_link() -> None:
    with pytest.raises(LinkError, match=r"No network card has the address 192\.0\.2\.1"):
        card_of("192.0.2.1", gone=True)


def test_a_call_to_no_address_may_be_tried_again() -> None:
    nobody: Any = None
    with pytest.raises(LinkError, match="no address to call"):
        call((), nobody)
