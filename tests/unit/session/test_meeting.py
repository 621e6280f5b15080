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
        Meeting(cast(Any, context), newcomers, str).choose(lambda _: True)
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
        Meeting(cast(Any, context), newcomers, str).choose(lambda _: True)


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
        Meeting(cast(Any, context), newcomers, str).choose(lambda _: True)
    assert "this one does not guess" in shown[0].text


class Visitor:
    """A machine that fits, and its conversation."""

    def __init__(self, peer_id: str) -> None:
        self.peer_id, self.name, self.line = peer_id, f"machine {peer_id[0]}", ""
        self.conversation = self
        self.verdict = SimpleNamespace(role=Role.TARGET)
        self.ended = self.waiting = self.closed = False
        self.stops: list[str] = []

    def say_stop(self, sentence: str) -> None:
        self.stops.append(sentence)

    def close(self) -> None:
        self.closed = self.ended = True


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> list[Visitor]:
    """Who comes at the next look."""
    for name in ("SETTLE", "CROWDED", "ROUND"):
        monkeypatch.setattr(f"payload.session.meeting.{name}", 0.0)
    return [Visitor(OURS)]


def target_of(crowd: list[Visitor]) -> Meeting:
    def newcomers(_known: frozenset[str]) -> Iterator[Any]:
        while crowd:
            yield crowd.pop()

    decision = SimpleNamespace(role=Role.TARGET)
    context = SimpleNamespace(own_decision=decision, monitor=lambda _: None)
    return Meeting(cast(Any, context), newcomers, str)


def test_who_comes_after_the_choice_and_fits_ends_it(crowd: list[Visitor]) -> None:
    meeting = target_of(crowd)
    chosen: Any = meeting.choose(lambda _: True)
    meeting.check_alone()
    another = Visitor(OTHER)
    crowd.append(another)
    with pytest.raises(LinkError, match=r"machine 9 fits, too.*waits again"):
        meeting.check_alone()
    assert meeting.crowded and chosen.closed and another.closed
    assert another.stops == []  # it comes again, and is waited for
    crowd.append(Visitor(OTHER))
    meeting.choose(lambda _: True)
    assert not meeting.crowded
    meeting.check_alone()


def test_who_comes_after_the_choice_and_does_not_fit_stays_until_it_is_final(
    crowd: list[Visitor],
) -> None:
    meeting = target_of(crowd)
    chosen: Any = meeting.choose(lambda _: True)
    another = Visitor(OTHER)
    another.verdict.role = Role.UNDECIDED
    crowd.append(another)
    meeting.check_alone()
    assert not another.closed
    meeting.let_go()
    assert another.closed and len(another.stops) == 1
    assert not chosen.closed and chosen.stops == []


def test_the_chosen_one_that_calls_twice_keeps_its_conversation(crowd: list[Visitor]) -> None:
    """Its second call may be as old as the first. When the first ended, it comes again."""
    meeting = target_of(crowd)
    chosen: Any = meeting.choose(lambda _: True)
    again = Visitor(OURS)
    crowd.append(again)
    meeting.check_alone()
    assert again.closed and not chosen.closed


def test_a_chosen_one_that_left_is_not_chosen_again_by_what_it_said_last(
    crowd: list[Visitor],
) -> None:
    meeting = target_of(crowd)
    gone: Any = meeting.choose(lambda _: True)
    gone.ended = gone.waiting = True
    crowd.append(Visitor(OTHER))
    assert meeting.choose(lambda one: one.conversation.waiting or one is not gone) is not gone
    assert gone.closed


def test_after_a_choice_that_fell_through_all_are_waited_for(
    crowd: list[Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One may be called again sooner than the other, and must not be taken for the only one."""
    meeting = target_of(crowd)
    meeting.choose(lambda _: True)
    crowd.append(Visitor(OTHER))
    with pytest.raises(LinkError):
        meeting.check_alone()
    now = 0.0

    def sleep(_: float) -> None:
        nonlocal now
        now += 1.0

    clock = SimpleNamespace(monotonic=lambda: now, sleep=sleep)
    monkeypatch.setattr("payload.session.meeting.time", clock)
    monkeypatch.setattr("payload.session.meeting.CROWDED", 15.0)
    crowd.append(Visitor(OURS))
    meeting.choose(lambda _: True)
    assert now == 15.0
