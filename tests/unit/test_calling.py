"""How the target reaches its source: what is left behind by a call that fails, and where it is."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.connect.discovery import Address, Candidate
from payload.model.errors import LinkError, PeerError
from payload.model.message import Alive, Message, Stop
from payload.session import calling as calling_module
from payload.session.calling import Calling
from tests.support.paper_wires import HELLO, OTHER, Wire


def a_calling(monkeypatch: pytest.MonkeyPatch, wire: Wire | None = None) -> Calling:
    """Whoever is called answers with `wire`."""
    context = SimpleNamespace(host=SimpleNamespace(links=None), control=None)
    monkeypatch.setattr(calling_module, "own_hello", lambda *_: HELLO)
    monkeypatch.setattr(calling_module, "local_card", lambda *_: "02:00:00:00:00:01")
    monkeypatch.setattr(calling_module, "own_reach", lambda *_: ())
    monkeypatch.setattr(calling_module, "call", lambda *_, **__: wire)
    monkeypatch.setattr(calling_module, "GREETING", 0.05)
    discovery = SimpleNamespace(recognise=lambda _: None)
    return Calling(cast(Any, context), cast(Any, discovery), cast(Any, None))


@pytest.mark.parametrize("said", [[], [Alive()], [Stop("I am busy.")]])
def test_a_source_that_answers_no_hello_leaves_no_connection_behind(
    said: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(OTHER, *said)
    calling = a_calling(monkeypatch, wire)
    with pytest.raises(PeerError):
        calling.greet(Candidate("", "", "", (), site_matches=True), resume="")
    assert wire.closed


def test_a_source_out_of_sight_is_where_it_answered_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is in sight on a card of ours that just got another address."""
    calling = a_calling(monkeypatch, Wire(OTHER, HELLO))
    candidate = Candidate("", "", "", (Address("192.0.2.1", 1),), site_matches=True)
    calling.greet(candidate, resume="")[0].close()
    inventory = SimpleNamespace(machine=SimpleNamespace(id=OTHER))
    calling._context = cast(Any, SimpleNamespace(other=SimpleNamespace(inventory=inventory)))
    calling._discovery = cast(Any, SimpleNamespace(candidates=lambda: ()))
    assert calling._where() == replace(candidate, machine_id=OTHER)
    moved = replace(candidate, machine_id=OTHER, addresses=(Address("192.0.2.2", 1),))
    calling._discovery = cast(Any, SimpleNamespace(candidates=lambda: (moved,)))
    assert calling._where() == moved


def test_an_address_that_another_machine_has_now_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Wire:
        raise PeerError("There is another machine.")

    calling = a_calling(monkeypatch)
    monkeypatch.setattr(calling_module, "call", refuse)
    with pytest.raises(LinkError, match="another machine"):
        calling._call(Candidate(OTHER, "", "", (), site_matches=True))


def test_a_connection_that_cannot_be_attached_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(OTHER)
    calling = a_calling(monkeypatch, wire)
    monkeypatch.setattr(wire, "send", lambda _: (_ for _ in ()).throw(LinkError("It broke.")))
    with pytest.raises(LinkError):
        calling._attach(cast(Any, wire))
    assert wire.closed


def test_only_what_may_be_a_source_is_called_and_not_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seen(machine_id: str, role: str, *hosts: str) -> Candidate:
        return Candidate(machine_id, role, "", tuple(Address(one, 1) for one in hosts), True)

    calling = a_calling(monkeypatch)
    unknown, silent = seen("", "", "192.0.2.3"), seen("b" * 32, "", "192.0.2.4")
    source, known = seen(OTHER, "source"), seen("c" * 32, "source")
    crowd = (source, seen("a" * 32, "target"), known, unknown, silent)
    calling._discovery = cast(Any, SimpleNamespace(candidates=lambda: crowd))
    assert list(calling.due(frozenset({known.machine_id}))) == [source, unknown, silent]
    assert list(calling.due(frozenset())) == [known]
    monkeypatch.setattr(calling_module, "RETRY", -1.0)
    calling._next_call.clear()
    for _ in range(2):
        assert list(calling.due(frozenset())) == [source, known, unknown, silent]
