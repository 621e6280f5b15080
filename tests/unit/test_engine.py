"""A run before there is a peer."""

import threading
from typing import Any, cast

import pytest

from payload.connect.addressing import Addressing
from payload.model.report import Result
from payload.model.settings import Settings
from payload.session import engine
from tests.support import machines


def test_a_machine_that_is_undecided_opens_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def switch_on(_: object) -> None:
        raise AssertionError("it would be seen by others")

    monkeypatch.setattr(engine, "take_inventory", lambda *_: machines.copy(used=True))
    monkeypatch.setattr(Addressing, "switch_on", switch_on)
    nothing = cast(Any, None)
    stop = threading.Event()
    report = engine.run(nothing, nothing, Settings(), lambda _: None, stop, "test")
    assert (report.exit_code, report.result) == (3, Result.FAILED)
    assert "was in service" in report.sentence
