"""What source and target do when a conversation breaks, and about machines that only disturb."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.connect.discovery import Address, Candidate
from payload.model.errors import LinkError, PeerError, StoppedError, TargetDiskError, VerifyError
from payload.model.event import Progress
from payload.model.message import Alive, Attach, Doing, Hello, Message, Stop, Welcome
from payload.model.report import Result
from payload.model.role import Role
from payload.model.settings import Settings
from payload.session import engine
from payload.session import source as source_module
from payload.session import target as target_module
from payload.session.meeting import Meeting
from payload.session.source import Reception, SourceSession
from payload.session.states import Outcome
from payload.session.target import TargetSession
from tests.unit import machines

OURS, OTHER = "7" * 32, "9" * 32


class Wire:
    """A connection whose far end said this, and nothing more."""

    local_address = remote_address = "192.0.2.1"

    def __init__(self, peer_id: str, *said: Message) -> None:
        self.peer_id = peer_id
        self.incoming: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        for message in said:
            self.incoming.put(message)
        self.sent: list[Message] = []
        self.closed = False

    def send(self, message: Message) -> None:
        if self.closed:
            raise LinkError("It is closed.")
        self.sent.append(message)

    def receive(self, timeout: float | None = None) -> Message:
        message = self.incoming.get()
        if message is None:
            raise LinkError("It was closed.")
        return message

    def close(self) -> None:
        self.closed = True
        self.incoming.put(None)


class Door:
    """A listener before which these callers stand."""

    def __init__(self, *callers: Wire) -> None:
        self._callers = list(callers)

    def accept(self, timeout: float) -> Wire | None:
        if self._callers:
            return self._callers.pop(0)
        time.sleep(0.01)
        return None

    def close(self) -> None:
        pass


def wait_until(holds: Any) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


HELLO = cast(Hello, Hello.__new__(Hello))


def test_a_machine_that_is_undecided_opens_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def bring_up(*_: object) -> None:
        raise AssertionError("it would be seen by others")

    monkeypatch.setattr(engine, "take_inventory", lambda *_: machines.copy(used=True))
    monkeypatch.setattr(engine, "bring_up", bring_up)
    nothing = cast(Any, None)
    stop = threading.Event()
    report = engine.run(nothing, nothing, Settings(), lambda _: None, stop, "test")
    assert (report.exit_code, report.result) == (3, Result.FAILED)
    assert "was in service" in report.sentence


def test_in_the_middle_of_a_copy_only_its_target_may_visit() -> None:
    stranger, ours = Wire(OTHER, HELLO), Wire(OURS, HELLO)
    door = Door()
    reception = Reception(cast(Any, door))
    reception.open_session(cast(Any, object()), OURS)
    door._callers += [stranger, ours]
    assert reception.visitors.get(timeout=10)[0] is cast(Any, ours)
    wait_until(lambda: stranger.closed)
    (word,) = stranger.sent
    assert isinstance(word, Stop) and "another machine" in word.sentence
    reception.close_session()
    again = Wire(OTHER, HELLO)
    door._callers.append(again)
    assert reception.visitors.get(timeout=10)[0] is cast(Any, again)
    reception.close()


def test_a_mistake_in_serving_does_not_let_the_target_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    door = Door()
    reception = Reception(cast(Any, door))
    sender = SimpleNamespace(serve=lambda _: 1 // 0)
    wire = Wire(OURS, Attach(reception.open_session(cast(Any, sender), OURS)))
    door._callers.append(wire)
    wait_until(lambda: told)
    assert wire.closed
    reception.close()


def a_target(monkeypatch: pytest.MonkeyPatch, wire: Wire | None = None) -> TargetSession:
    context = SimpleNamespace(host=SimpleNamespace(links=None), control=None)
    monkeypatch.setattr(target_module, "own_hello", lambda *_: HELLO)
    monkeypatch.setattr(target_module, "local_card", lambda *_: "02:00:00:00:00:01")
    monkeypatch.setattr(target_module, "own_reach", lambda *_: ())
    monkeypatch.setattr(target_module, "call", lambda *_, **__: wire)
    monkeypatch.setattr(target_module, "GREETING", 0.05)
    monkeypatch.setattr(target_module, "RETRY", 0.01)
    discovery = SimpleNamespace(recognise=lambda _: None)
    session = TargetSession(cast(Any, context), cast(Any, discovery), cast(Any, None))
    session._receiver = cast(Any, SimpleNamespace(interrupt=lambda: None))
    return session


@pytest.mark.parametrize("said", [[], [Alive()], [Stop("I am busy.")]])
def test_a_source_that_answers_no_hello_leaves_no_connection_behind(
    said: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(OTHER, *said)
    session = a_target(monkeypatch, wire)
    with pytest.raises(PeerError):
        session._greet(Candidate("", "", "", (), site_matches=True), resume="")
    assert wire.closed


def test_a_source_out_of_sight_is_where_it_answered_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is in sight on a card of ours that just got another address."""
    session = a_target(monkeypatch, Wire(OTHER, HELLO))
    candidate = Candidate("", "", "", (Address("192.0.2.1", 1),), site_matches=True)
    session._greet(candidate, resume="")[0].close()
    inventory = SimpleNamespace(machine=SimpleNamespace(id=OTHER))
    session._context = cast(Any, SimpleNamespace(other=SimpleNamespace(inventory=inventory)))
    session._discovery = cast(Any, SimpleNamespace(candidates=lambda: ()))
    assert session._candidate() == replace(candidate, machine_id=OTHER)
    moved = replace(candidate, machine_id=OTHER, addresses=(Address("192.0.2.2", 1),))
    session._discovery = cast(Any, SimpleNamespace(candidates=lambda: (moved,)))
    assert session._candidate() == moved


def test_an_address_that_another_machine_has_now_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Wire:
        raise PeerError("There is another machine.")

    session = a_target(monkeypatch)
    monkeypatch.setattr(target_module, "call", refuse)
    with pytest.raises(LinkError, match="another machine"):
        session._call(Candidate(OTHER, "", "", (), site_matches=True))


def test_a_connection_that_cannot_be_attached_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(OTHER)
    session = a_target(monkeypatch, wire)
    monkeypatch.setattr(wire, "send", lambda _: (_ for _ in ()).throw(LinkError("It broke.")))
    with pytest.raises(LinkError):
        session._attach(cast(Any, wire))
    assert wire.closed


def test_the_conversation_is_taken_up_again_while_the_target_works_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading back may take longer than a source waits for a target that left."""
    session, looks = a_target(monkeypatch), threading.Semaphore(0)
    monkeypatch.setattr(session, "_keep_control", looks.release)
    session._beside_control(lambda: [looks.acquire(timeout=10) for _ in range(3)] and None)


ASKED = ("check_peer", "check_role", "exchange_plans", "exchange_go")  # in this order


@pytest.mark.parametrize("refused", [*ASKED, ""])
def test_nothing_goes_on_over_a_new_conversation_before_all_was_asked_again(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machine, roles, plan, Go, and then the disks: the same as at the first time."""
    session, asked = a_target(monkeypatch), list[str]()
    said = SimpleNamespace(run="1", inventory=None)

    def ask(name: str) -> None:
        asked.append(name)
        if name == refused:
            raise PeerError(name)

    for name in ASKED:
        monkeypatch.setattr(target_module, name, lambda *_, name=name: ask(name))
    monkeypatch.setattr(target_module, "expect", lambda *_: SimpleNamespace(session="s"))
    monkeypatch.setattr(session, "_greet", lambda *_, **__: (Wire(OTHER), said))
    monkeypatch.setattr(session, "_candidate", lambda: None)
    plan = SimpleNamespace(digest="")
    facts = {"other": said, "own": None, "own_decision": None, "agreed": plan}
    session._context = cast(Any, SimpleNamespace(**facts, control=None, peer=None))
    session._receiver = cast(
        Any, SimpleNamespace(opened=True, recheck=lambda: asked.append("disks"))
    )
    if refused:
        with pytest.raises(PeerError, match=refused):
            session._resume()
        assert asked == list(ASKED[: ASKED.index(refused) + 1])
    else:
        session._resume()
        assert asked == [*ASKED, "disks"]


def test_the_disks_are_asked_again_before_the_copy_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Finishing writes into its file systems, which may be hours after the copy began."""

    def refuse() -> None:
        raise TargetDiskError("It is another disk by now.")

    session, changed = a_target(monkeypatch), list[str]()
    session._receiver = cast(Any, SimpleNamespace(recheck=refuse))
    monkeypatch.setattr(target_module, "finish_copy", lambda *_: changed.append("copy"))
    with pytest.raises(TargetDiskError):
        session._make_it_boot()
    assert changed == []


def a_resuming_target(monkeypatch: pytest.MonkeyPatch, run: str) -> tuple[TargetSession, list[str]]:
    """A target in the middle of a copy, whose source answers again, now in this run of its own."""
    session, did = a_target(monkeypatch), list[str]()
    for name in ASKED:
        monkeypatch.setattr(target_module, name, lambda *_: None)
    monkeypatch.setattr(target_module, "expect", lambda *_: SimpleNamespace(session="s"))
    answer = SimpleNamespace(run=run, inventory=None)
    wire = SimpleNamespace(close=lambda: did.append("close"))
    monkeypatch.setattr(session, "_greet", lambda *_, **__: (wire, answer))
    monkeypatch.setattr(session, "_candidate", lambda: None)
    monkeypatch.setattr(session, "_listen_for_beacons", lambda: None)
    monkeypatch.setattr(session, "_copying", lambda _: [lambda: None])
    facts = {"own": None, "own_decision": None, "agreed": SimpleNamespace(digest="")}
    other = SimpleNamespace(run="1", inventory=None)
    context = SimpleNamespace(**facts, other=other, control=None, peer=None, note=lambda _: None)
    session._context = cast(Any, context)
    receiver = SimpleNamespace(
        opened=True,
        recheck=lambda: did.append("recheck"),
        start_over=lambda: did.append("start over"),
    )
    session._receiver = cast(Any, receiver)
    return session, did


@pytest.mark.parametrize(
    ("run", "expected"), [("1", ["recheck"]), ("2", ["recheck", "start over"])]
)
def test_all_is_compared_again_with_a_source_that_was_started_anew(
    run: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, did = a_resuming_target(monkeypatch, run)
    session._resume()
    assert (did, len(session._steps)) == (expected, len(expected) - 1)


def test_a_source_that_was_started_anew_is_not_taken_up_in_the_middle_of_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, did = a_resuming_target(monkeypatch, "2")
    with pytest.raises(LinkError, match="started anew"):
        session._resume(during_copy=True)
    assert did == ["close"]


def test_a_disk_that_is_another_one_ends_the_copying_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, halted = a_target(monkeypatch), threading.Event()
    session._receiver = cast(Any, SimpleNamespace(interrupt=halted.set))

    def refuse() -> None:
        raise TargetDiskError("It is another disk by now.")

    monkeypatch.setattr(session, "_keep_control", refuse)
    with pytest.raises(TargetDiskError):
        session._beside_control(lambda: halted.wait(10) and None)
    assert halted.is_set()


def test_a_link_that_breaks_interrupts_nothing_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same receiver carries on when it is back."""
    session, halted = a_target(monkeypatch), threading.Event()
    session._receiver = cast(Any, SimpleNamespace(interrupt=halted.set))

    def lose() -> None:
        raise LinkError("It broke.")

    with pytest.raises(LinkError):
        session._beside_control(lose)
    assert not halted.is_set()


@pytest.mark.parametrize(("left", "expected"), [(1, ["recheck"]), (0, [])])
def test_the_disks_are_asked_when_only_the_conversation_broke(
    left: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not while the copy is finished: its disks are in use then, by ourselves."""
    session, did = a_resuming_target(monkeypatch, "1")
    session._steps.extend([lambda: None] * left)
    session._resume(during_copy=True)
    assert did == expected


def test_a_lost_conversation_is_closed_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heartbeat would else go on for as long as the copy does."""
    session, did = a_resuming_target(monkeypatch, "1")

    def poll(_: float) -> None:
        raise LinkError("It broke.")

    context = cast(Any, session._context)
    context.link = SimpleNamespace(ended=True, poll=poll, close=lambda: did.append("closed"))
    context.warn = context.note = did.append
    session._keep_control()
    lost = "It broke. The copy goes on meanwhile; calling the source again."
    assert did == [lost, "closed", "The source answers again."]


@pytest.mark.parametrize("refused", ["look_again", "check_names", ""])
def test_the_last_look_comes_before_the_first_write(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, did = a_target(monkeypatch), list[str]()

    def look(name: str) -> None:
        did.append(name)
        if name == refused:
            raise PeerError(name)

    for name in ("look_again", "check_names"):
        monkeypatch.setattr(target_module, name, lambda *_, name=name: look(name))
    session._context = cast(
        Any, SimpleNamespace(stage=lambda *_: contextlib.nullcontext(), survey=None, wrote=False)
    )
    session._receiver = cast(Any, SimpleNamespace(begin=lambda: did.append("begin"), opened=True))
    with contextlib.suppress(PeerError):
        session._open_disks()
    whole = ["look_again", "check_names", "begin"]
    assert did == (whole[: whole.index(refused) + 1] if refused else whole)
    assert session._context.wrote is not bool(refused)


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
    session._context.link.close()
    session.close()


def test_only_the_target_of_the_copy_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    session, asked = a_source(monkeypatch)
    stranger, ours = Wire(OTHER), Wire(OURS)
    resuming = SimpleNamespace(resume="the plan")
    for caller in (stranger, ours):
        session._reception.visitors.put((cast(Any, caller), cast(Any, resuming)))
    assert session.reconnect() is Outcome.LINK_BACK
    assert stranger.closed and not ours.closed and asked == list(ASKED)
    session._context.link.close()
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


def test_a_data_connection_has_to_know_the_secret_of_the_session() -> None:
    served: list[object] = []
    reception = Reception(cast(Any, Door()))
    secret = reception.open_session(cast(Any, SimpleNamespace(serve=served.append)), OURS)
    stranger, ours = Wire(OURS), Wire(OURS)
    reception._serve(cast(Any, stranger), Attach("0" * len(secret)))
    assert served == [] and isinstance(stranger.sent[0], Stop)
    reception._serve(cast(Any, ours), Attach(secret))
    assert served == [ours]
    reception.close()


@pytest.mark.parametrize("said", [PeerError("Go away."), StoppedError("A person said so.")])
def test_what_the_peer_says_hides_no_fault_of_the_work(
    said: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, heard = a_target(monkeypatch), threading.Event()

    def keep_control() -> None:
        heard.set()
        raise said

    def wait() -> None:
        assert heard.wait(10)

    def work() -> None:
        wait()
        raise VerifyError("It reads back other than it was written.")

    monkeypatch.setattr(session, "_keep_control", keep_control)
    with pytest.raises(VerifyError):
        session._beside_control(work)
    heard.clear()
    with pytest.raises(type(said)):
        session._beside_control(wait)


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


def test_the_source_shows_progress_of_the_plan_s_regions_only() -> None:
    seen: list[object] = []
    plan = SimpleNamespace(regions=[SimpleNamespace(name="partition 1")])
    context = SimpleNamespace(agreed=plan, monitor=seen.append)
    session = source_module.SourceSession(cast(Any, context), cast(Any, None), cast(Any, Door()))
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
    session = source_module.SourceSession(cast(Any, context), cast(Any, None), cast(Any, Door()))
    wire = Wire(OTHER)
    assert session._greet(cast(Any, wire), HELLO) is None
    assert wire.closed and "any more" in warnings[0]
    session.close()
