"""What the source does when a conversation breaks, or says what it must not."""

from dataclasses import replace
from queue import Empty
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.errors import LinkError, PeerError
from payload.model.event import Progress
from payload.model.message import Doing, Welcome
from payload.session import source as source_module
from payload.session.source import SourceSession
from payload.session.states import Outcome
from tests.support.paper_wires import ASKED, HELLO, OTHER, OURS, Door, Wire


class Linked(SimpleNamespace):
    """A context: its link is the last conversation."""

    @property
    def link(self) -> Any:
        return self.control


def a_source(monkeypatch: pytest.MonkeyPatch) -> tuple[SourceSession, list[str]]:
    """A source in the middle of a copy to OURS."""
    asked = list[str]()
    for name in ASKED:
        monkeypatch.setattr(source_module, name, lambda *_, name=name: asked.append(name))
    monkeypatch.setattr(source_module, "local_card", lambda *_: "02:00:00:00:00:01")
    monkeypatch.setattr(source_module, "own_hello", lambda *_: HELLO)
    monkeypatch.setattr(source_module, "own_reach", lambda *_: ())
    plan = SimpleNamespace(digest="the plan")
    other = SimpleNamespace(inventory=SimpleNamespace(machine=SimpleNamespace(id=OURS)))
    context = Linked(
        control=Wire(OURS),
        agreed=plan,
        plan=plan,
        other=other,
        own=None,
        own_decision=None,
        peer=None,
        note=lambda _: None,
        host=SimpleNamespace(links=None),
        settings=SimpleNamespace(reconnect=5),
    )
    session = SourceSession(cast(Any, context), cast(Any, None), cast(Any, Door()))
    session._sender = cast(Any, SimpleNamespace(close=lambda: asked.append("forgotten")))
    return session, asked


@pytest.mark.parametrize("refused", [*ASKED, ""])
def test_a_source_serves_nobody_again_before_all_was_asked_again(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, asked = a_source(monkeypatch)
    wire = Wire(OURS)

    def refuse(*_: object) -> None:
        raise PeerError(refused)

    if refused:
        monkeypatch.setattr(source_module, refused, refuse)
        with pytest.raises(PeerError, match=refused):
            session._resume(cast(Any, wire), HELLO)
        assert asked == list(ASKED[: ASKED.index(refused)])
    else:
        assert session._resume(cast(Any, wire), HELLO)
        assert asked == list(ASKED)
    assert any(isinstance(message, Welcome) for message in wire.sent) is not bool(refused)
    assert (HELLO in wire.sent) is (refused != "check_peer")
    session._context.link.close()
    session.close()


def test_only_the_target_of_the_copy_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    session, asked = a_source(monkeypatch)
    lost = cast(Wire, session._context.link)
    stranger, ours = Wire(OTHER), Wire(OURS)
    resuming = SimpleNamespace(resume="the plan")
    for caller in (stranger, ours):
        session._reception.visitors.put((cast(Any, caller), cast(Any, resuming)))
    assert session.reconnect() is Outcome.LINK_BACK
    assert lost.closed and stranger.closed and not ours.closed and asked == list(ASKED)
    session._context.link.close()
    session.close()


def test_a_link_that_breaks_again_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = a_source(monkeypatch)
    first, second = Wire(OURS), Wire(OURS)
    callers: list[Wire | None] = [None, first, None, second]

    def get(timeout: float) -> Any:
        caller = callers.pop(0)
        if caller is None:
            raise Empty
        return caller, SimpleNamespace(resume="the plan")

    def break_once(*_: object) -> None:
        if not first.closed:
            raise LinkError("It broke.")

    monkeypatch.setattr(session._reception, "visitors", SimpleNamespace(get=get))
    monkeypatch.setattr(source_module, "exchange_go", break_once)
    assert session.reconnect() is Outcome.LINK_BACK
    assert callers == [] and first.closed and not second.closed
    assert [any(isinstance(one, Welcome) for one in wire.sent) for wire in (first, second)] == [
        False,
        True,
    ]
    session._context.link.close()


def test_a_target_that_stays_away_is_not_waited_for_longer_than_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, _ = a_source(monkeypatch)
    cast(Any, session._context).settings.reconnect = 0
    with pytest.raises(LinkError, match="did not come back within 0 seconds"):
        session.reconnect()
    session.close()


def test_a_target_that_comes_back_with_another_plan_begins_from_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, asked = a_source(monkeypatch)
    monkeypatch.setattr(session, "_greet", lambda *_: None)
    hello = SimpleNamespace(resume="another plan")
    session._reception.visitors.put((cast(Any, Wire(OURS)), cast(Any, hello)))
    assert session.reconnect() is Outcome.PEER_LEFT
    assert asked == ["forgotten"] and session._context.plan is None
    session.close()


def test_the_source_shows_progress_of_the_plan_s_regions_only() -> None:
    seen: list[object] = []
    plan = SimpleNamespace(regions=[SimpleNamespace(name="partition 1")])
    context = SimpleNamespace(agreed=plan, monitor=seen.append)
    session = SourceSession(cast(Any, context), cast(Any, None), cast(Any, Door()))
    session._sender = cast(Any, SimpleNamespace(close=lambda: None))
    known = Progress("copy", "partition 1", 1, 2, 1, 2, 0, 1.0, 1.0)
    session._answer(Doing(progress=known))
    with pytest.raises(PeerError, match="Doing"):
        session._answer(Doing(progress=replace(known, region="partition 99")))
    assert seen == [known]
    session.close()


def test_a_caller_whose_address_is_gone_does_not_end_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_card(*_: object) -> str:
        raise LinkError("No network card has the address any more.")

    warnings: list[str] = []
    context = SimpleNamespace(warn=warnings.append, host=SimpleNamespace(links=None))
    monkeypatch.setattr(source_module, "local_card", no_card)
    session = SourceSession(cast(Any, context), cast(Any, None), cast(Any, Door()))
    wire = Wire(OTHER)
    assert session._greet(cast(Any, wire), HELLO) is None
    assert wire.closed and "any more" in warnings[0]
    session.close()
