"""Which of the machines in sight is the peer: one that fits, alone, and nobody is guessed."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.errors import LinkError
from payload.model.role import Role
from payload.session.meeting import Meeting
from tests.support.paper_wires import OTHER, OURS


def test_who_waits_for_a_choice_that_failed_is_let_go() -> None:
    closed: list[str] = []

    def newcomers(known: frozenset[str]) -> Iterator[Any]:
        if known:
            raise LinkError("The network is gone.")
        conversation = SimpleNamespace(
            peer_id=OTHER, ended=False, close=lambda: closed.append(OTHER)
        )
        verdict = SimpleNamespace(role=Role.UNDECIDED)
        yield SimpleNamespace(conversation=conversation, verdict=verdict, line="")

    decision = SimpleNamespace(role=Role.SOURCE)
    context = SimpleNamespace(own_decision=decision, monitor=lambda _: None)
    with pytest.raises(LinkError):
        Meeting(cast(Any, context), newcomers, "").choose(lambda _: True)
    assert closed == [OTHER]


@pytest.mark.parametrize("own", [Role.SOURCE, Role.UNDECIDED])
def test_nobody_fits_who_is_undecided(own: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even beside a machine that is undecided too."""
    monkeypatch.setattr("payload.session.meeting.SETTLE", 0.0)
    monkeypatch.setattr("payload.session.meeting.ROUND", 0.0)
    rounds = iter(range(3))

    def newcomers(known: frozenset[str]) -> Iterator[Any]:
        if next(rounds, None) is None:
            raise LinkError("It was waited for in vain.")
        if not known:
            conversation = SimpleNamespace(peer_id=OTHER, ended=False, close=lambda: None)
            verdict = SimpleNamespace(role=Role.UNDECIDED)
            yield SimpleNamespace(conversation=conversation, verdict=verdict, line="", name="")

    decision = SimpleNamespace(role=own)
    context = SimpleNamespace(own_decision=decision, monitor=lambda _: None)
    with pytest.raises(LinkError, match="in vain"):
        Meeting(cast(Any, context), newcomers, "").choose(lambda _: True)


def test_of_two_that_fit_none_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payload.session.meeting.SETTLE", 0.0)
    monkeypatch.setattr("payload.session.meeting.ROUND", 0.0)
    rounds, shown = iter(range(3)), list[Any]()

    def newcomers(known: frozenset[str]) -> Iterator[Any]:
        if next(rounds, None) is None:
            raise LinkError("It was waited for in vain.")
        for peer_id in {OURS, OTHER} - known:
            conversation = SimpleNamespace(peer_id=peer_id, ended=False, close=lambda: None)
            verdict = SimpleNamespace(role=Role.SOURCE)
            yield SimpleNamespace(conversation=conversation, verdict=verdict, line="", name="")

    decision = SimpleNamespace(role=Role.SOURCE)
    context = SimpleNamespace(own_decision=decision, monitor=shown.append)
    with pytest.raises(LinkError, match="in vain"):
        Meeting(cast(Any, context), newcomers, "").choose(lambda _: True)
    assert "this one does not guess" in shown[0].text
