"""How the target reaches its source: what is left behind by a call that fails, and where it is."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.connect.discovery import Address, Candidate
from payload.model.errors import LinkError, PeerError
from payload.model.message import Alive, Message, Stop
from payload.session import calling as calling_module
from payload.session.calling import CALLS_LIMIT, Answer, Calling
from tests.support.paper_wires import HELLO, OTHER, Wire
from tests.support.waiting import PATIENCE, wait_until


def a_calling(
    monkeypatch: pytest.MonkeyPatch, wire: Wire | None = None, greeting: float = PATIENCE
) -> Calling:
    """Whoever is called answers with `wire`, and has so many seconds for its Hello."""
    context = SimpleNamespace(host=SimpleNamespace(links=None), control=None)
    monkeypatch.setattr(calling_module, "own_hello", lambda *_: HELLO)
    monkeypatch.setattr(calling_module, "local_card", lambda *_: "02:00:00:00:00:01")
    monkeypatch.setattr(calling_module, "own_reach", lambda *_: ())
    monkeypatch.setattr(calling_module, "call", lambda *_, **__: wire)
    monkeypatch.setattr(calling_module, "GREETING", greeting)
    discovery = SimpleNamespace(recognise=lambda _: None)
    return Calling(cast(Any, context), cast(Any, discovery), cast(Any, None))


@pytest.mark.parametrize("said", [[], [Alive()], [Stop("I am busy.")]])
def test_a_source_that_answers_no_hello_leaves_no_connection_behind(
    said: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(OTHER, *said)
    calling = a_calling(monkeypatch, wire, greeting=0.05)
    with pytest.raises(PeerError):
        calling.greet(Candidate("", "", "", ()), resume="")
    assert wire.closed


def test_a_source_out_of_sight_is_where_it_answered_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is in sight on a card of ours that just got another address."""
    calling = a_calling(monkeypatch, Wire(OTHER, HELLO))
    candidate = Candidate("", "", "", (Address("192.0.2.1", 1),))
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
        calling._call(Candidate(OTHER, "", "", ()))


def test_a_connection_that_cannot_be_attached_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(OTHER)
    calling = a_calling(monkeypatch, wire)
    monkeypatch.setattr(wire, "send", lambda _: (_ for _ in ()).throw(LinkError("It broke.")))
    with pytest.raises(LinkError):
        calling._attach(cast(Any, wire))
    assert wire.closed


def seen(machine_id: str, role: str, *hosts: str) -> Candidate:
    return Candidate(machine_id, role, "", tuple(Address(one, 1) for one in hosts))


def called_by(calling: Calling, known: frozenset[str], crowd: Sequence[Candidate]) -> list[Any]:
    calling._discovery = cast(Any, SimpleNamespace(candidates=lambda: crowd))
    return list(calling._due(known))


def test_whoever_is_in_sight_is_called_but_not_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The role a machine announces counts for nothing: it may be old, or said by another."""
    calling = a_calling(monkeypatch)
    unknown, silent = seen("", "", "192.0.2.3"), seen("b" * 32, "", "192.0.2.4")
    source, target, known = seen(OTHER, "source"), seen("a" * 32, "target"), seen("c" * 32, "")
    crowd = (source, target, known, unknown, silent)
    assert called_by(calling, frozenset({known.machine_id}), crowd) == [
        source, target, unknown, silent
    ]  # fmt: skip
    assert called_by(calling, frozenset(), crowd) == [known]
    assert called_by(calling, frozenset(), crowd) == []  # they are being called
    for candidate in crowd:
        calling._let_go(Answer(candidate))
    calling._calls.clear()
    assert called_by(calling, frozenset(), crowd) == list(crowd)


def test_only_so_many_are_called_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calling = a_calling(monkeypatch)
    crowd = [seen(f"{number:032x}", "source") for number in range(2 * CALLS_LIMIT)]
    assert called_by(calling, frozenset(), crowd) == crowd[:CALLS_LIMIT]
    calling._calls.discard(crowd[3].machine_id)
    assert len(called_by(calling, frozenset(), crowd)) == 1


def test_who_keeps_silent_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Called side by side: the one that answers is known while the others are waited for."""
    calling, release = a_calling(monkeypatch), threading.Event()
    crowd = [seen(f"{number:032x}", "source") for number in range(4)]

    def greet(candidate: Candidate, resume: str) -> tuple[Any, Any]:
        if candidate is not crowd[-1]:
            release.wait(PATIENCE)
            raise LinkError("Nobody answers.")
        return SimpleNamespace(peer_id=candidate.machine_id, close=lambda: None), HELLO

    monkeypatch.setattr(calling, "greet", greet)
    calling._discovery = cast(
        Any, SimpleNamespace(candidates=lambda: crowd, recognise=lambda _: None)
    )
    answers: list[Answer] = []

    def has_answered() -> bool:
        answers.extend(calling.look_for_sources(frozenset()))
        return bool(answers)

    wait_until(has_answered)
    assert [answer.candidate for answer in answers] == [crowd[-1]]
    assert not release.is_set()
    release.set()


def test_who_answers_when_the_choice_is_made_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    calling = a_calling(monkeypatch)
    early, late = (Wire(OTHER, HELLO) for _ in range(2))
    monkeypatch.setattr(calling_module, "call", lambda *_, **__: early)
    calling._try_to_greet(seen(OTHER, "source"))
    calling.look_no_further()
    monkeypatch.setattr(calling_module, "call", lambda *_, **__: late)
    calling._try_to_greet(seen(OTHER, "source"))
    assert early.closed and late.closed
    for wire in (early, late):
        assert isinstance(wire.sent[-1], Stop) and "another one" in wire.sent[-1].sentence
