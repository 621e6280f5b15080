"""Who is let in by a source, and that machines that only disturb do not."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.message import Attach, Stop
from payload.session.reception import Reception
from tests.support.paper_wires import HELLO, OTHER, OURS, Door, Wire
from tests.support.waiting import PATIENCE, wait_until


def test_in_the_middle_of_a_copy_only_its_target_may_visit() -> None:
    stranger, ours = Wire(OTHER, HELLO), Wire(OURS, HELLO)
    door = Door()
    reception = Reception(cast(Any, door))
    reception.open_session(cast(Any, object()), OURS)
    door._callers += [stranger, ours]
    assert reception.visitors.get(timeout=PATIENCE)[0] is cast(Any, ours)
    wait_until(lambda: stranger.closed)
    (word,) = stranger.sent
    assert isinstance(word, Stop) and "another machine" in word.sentence
    reception.close_session()
    again = Wire(OTHER, HELLO)
    door._callers.append(again)
    assert reception.visitors.get(timeout=PATIENCE)[0] is cast(Any, again)
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
