"""What the target does when a conversation breaks, and what it asks before it writes."""

import contextlib
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.finish.sequence import FinishResult
from payload.model.errors import LinkError, PeerError, StoppedError, TargetDiskError, VerifyError
from payload.model.marker import Change
from payload.model.survey import Survey
from payload.session import target as target_module
from payload.session.states import Outcome
from payload.session.target import TargetSession
from tests.support.paper_wires import ASKED, OTHER, Wire
from tests.support.waiting import PATIENCE, wait_until


def a_target(monkeypatch: pytest.MonkeyPatch) -> TargetSession:
    monkeypatch.setattr(target_module, "RETRY", 0.01)
    nothing = cast(Any, None)
    session = TargetSession(nothing, nothing, nothing)
    session._receiver = cast(Any, SimpleNamespace(interrupt=lambda: None))
    return session


def test_the_conversation_is_taken_up_again_while_the_target_works_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading back may take longer than a source waits for a target that left."""
    session, looks = a_target(monkeypatch), threading.Semaphore(0)
    over, late = threading.Event(), list[None]()

    def look() -> None:
        looks.release()
        late.extend([None] * over.is_set())
        assert len(late) < 100, "the work is over"

    def work() -> None:
        for _ in range(3):
            assert looks.acquire(timeout=PATIENCE), "nobody keeps the conversation"
        over.set()

    monkeypatch.setattr(session, "_keep_control", look)
    session._beside_control(work)


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
    monkeypatch.setattr(session._calling, "greet_again", lambda: (Wire(OTHER), said))
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
    monkeypatch.setattr(session._calling, "greet_again", lambda: (wire, answer))
    monkeypatch.setattr(session, "_listen_for_beacons", lambda: did.append("listen"))
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
    ("run", "expected"), [("1", ["recheck"]), ("2", ["listen", "recheck", "start over"])]
)
def test_all_is_compared_again_with_a_source_that_was_started_anew(
    run: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, did = a_resuming_target(monkeypatch, run)
    session._resume()
    assert (did, len(session._steps)) == (expected, int(run == "2"))


def test_a_source_that_was_started_anew_is_not_taken_up_in_the_middle_of_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, did = a_resuming_target(monkeypatch, "2")
    with pytest.raises(LinkError, match="started anew"):
        session._resume(during_copy=True)
    assert did == ["close"]


def test_a_link_that_breaks_while_all_is_asked_again_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, did = a_resuming_target(monkeypatch, "1")

    def lose(*_: object) -> None:
        raise LinkError("It broke again.")

    monkeypatch.setattr(target_module, "exchange_go", lose)
    with pytest.raises(LinkError, match="again"):
        session._resume()
    assert did == ["close"]


def test_a_conversation_that_goes_on_is_not_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    session, did = a_resuming_target(monkeypatch, "1")
    context = cast(Any, session._context)
    context.link, context.note = SimpleNamespace(ended=False), did.append
    session._keep_control()
    assert did == []


@pytest.mark.parametrize("receiver", [None, SimpleNamespace(opened=False)])
def test_disks_that_were_not_opened_yet_are_left_alone(
    receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked at right before that, by everything that is asked then."""
    session, _ = a_resuming_target(monkeypatch, "1")
    session._receiver = receiver
    session._resume()


def test_the_disks_start_only_when_the_copy_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    session, did = a_target(monkeypatch), list[str]()
    facts = dict.fromkeys(("host", "own", "agreed", "monitor", "version"))
    ends = {name: SimpleNamespace(card="", inventory=None) for name in ("other", "link")}
    session._context = cast(Any, SimpleNamespace(**facts, **ends, clock=lambda: 0.0))
    session._receiver = cast(
        Any,
        SimpleNamespace(
            recheck=lambda: did.append("recheck"),
            finishing=contextlib.nullcontext,
            seal=lambda: did.append("seal"),
        ),
    )

    def finish(*_: object) -> FinishResult:
        did.append("finish")
        return finished

    def start(*_: object) -> tuple[None, tuple[Change, ...]]:
        did.append("start")
        return None, (second,)

    first, second = (Change(name, "it was adapted") for name in ("first", "second"))
    finished = FinishResult((), (first,), (), cast(Any, None))
    monkeypatch.setattr(target_module, "finish_copy", finish)
    monkeypatch.setattr(target_module, "make_it_start", start)
    session._make_it_boot()
    assert did == ["recheck", "finish", "seal", "start"]
    assert session._finish == replace(finished, changes=(first, second))


def test_a_disk_that_is_another_one_ends_the_copying_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, halted = a_target(monkeypatch), threading.Event()
    session._receiver = cast(Any, SimpleNamespace(interrupt=halted.set))

    def refuse() -> None:
        raise TargetDiskError("It is another disk by now.")

    monkeypatch.setattr(session, "_keep_control", refuse)
    with pytest.raises(TargetDiskError):
        session._beside_control(lambda: wait_until(halted.is_set))
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
    session, did = a_target(monkeypatch), list[Any]()
    monkeypatch.setattr(session, "_resume", lambda **how: did.append(how))

    def poll(_: float) -> None:
        raise LinkError("It broke.")

    link = SimpleNamespace(ended=True, poll=poll, close=lambda: did.append("closed"))
    session._context = cast(Any, SimpleNamespace(link=link, warn=did.append, note=did.append))
    session._keep_control()
    lost = "It broke. The copy goes on meanwhile; calling the source again."
    assert did == [lost, "closed", {"during_copy": True}, "The source answers again."]


@pytest.mark.parametrize("survey", [None, Survey(kernels=("6.1",))])
@pytest.mark.parametrize("refused", ["look_again", "check_names", "check_alone", ""])
def test_the_last_look_comes_before_the_first_write(
    refused: str, survey: Survey | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the search for others ends in between, with what was found by it."""
    session, did = a_target(monkeypatch), list[str]()

    def look(name: str, *given: object) -> None:
        did.append(name)
        if name == "check_names":
            assert given[1] == (survey or Survey())
        if name == refused:
            raise PeerError(name)

    for name in ("look_again", "check_names"):
        monkeypatch.setattr(target_module, name, lambda *given, name=name: look(name, *given))
    session._context = cast(
        Any, SimpleNamespace(stage=lambda *_: contextlib.nullcontext(), survey=survey)
    )
    monkeypatch.setattr(session._meeting, "check_alone", lambda: look("check_alone"))
    monkeypatch.setattr(session._meeting, "let_go", lambda: did.append("let_go"))
    monkeypatch.setattr(session._calling, "look_no_further", lambda: did.append("look_no_further"))
    session._receiver = cast(Any, SimpleNamespace(begin=lambda: did.append("begin")))
    with contextlib.suppress(PeerError):
        session._open_disks()
    whole = ["look_again", "check_names", "check_alone", "let_go", "look_no_further", "begin"]
    assert did == (whole[: whole.index(refused) + 1] if refused else whole)


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


def test_a_source_that_was_lost_at_the_very_end_is_called_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would wait for an hour for a target that is done."""
    session, warnings, calls = a_target(monkeypatch), list[str](), list[Any]()
    faults = [LinkError("It broke."), LinkError("It broke again."), None]

    def tell(report: Any) -> PeerError | None:
        calls.append(report)
        return faults[len(calls) - 1]

    link = SimpleNamespace(close=lambda: None)
    session._context = cast(Any, SimpleNamespace(link=link, warn=warnings.append))
    monkeypatch.setattr(session, "_tell_source", tell)
    report = cast(Any, object())
    session._say_farewell(report)
    assert calls == [report] * 3 and warnings == []


@pytest.mark.parametrize("fault", [LinkError("It is off."), PeerError("It said nonsense.")])
def test_a_source_that_cannot_be_told_holds_no_finished_copy_up(
    fault: PeerError, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, warnings = a_target(monkeypatch), list[str]()
    monkeypatch.setattr(target_module, "LAST_CALLS", 0.05)
    monkeypatch.setattr(session, "_tell_source", lambda _: fault)
    link = SimpleNamespace(close=lambda: None)
    session._context = cast(Any, SimpleNamespace(link=link, warn=warnings.append))
    session._say_farewell(cast(Any, None))
    assert warnings == [f"The copy is finished, but the source could not be told: {fault}"]


def test_a_second_source_right_before_the_first_write_ends_the_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have said Go by then. The source hears that the link ended and is called again."""
    notes, begun = list[str](), list[str]()
    for name in ("look_again", "check_names"):
        monkeypatch.setattr(target_module, name, lambda *_: None)
    session = a_target(monkeypatch)
    wire = Wire(OTHER)
    session._context = cast(
        Any,
        SimpleNamespace(
            link=wire, note=notes.append, survey=None, stage=lambda *_: contextlib.nullcontext()
        ),
    )

    def check_alone() -> None:
        session._meeting.crowded = True
        raise LinkError("Another one fits, too.")

    monkeypatch.setattr(session._meeting, "check_alone", check_alone)
    session._receiver = cast(Any, SimpleNamespace(begin=lambda: begun.append("written")))
    session._steps.append(session._open_disks)
    assert session.copy() is Outcome.PEER_LEFT
    assert wire.closed and begun == [] and session._receiver is None
    assert notes == ["Another one fits, too. Nothing was written."]
