"""A run before there is a peer."""

import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.connect.addressing import Addressing
from payload.decide.role import decide_role
from payload.model.inventory import Inventory
from payload.model.report import Result
from payload.model.settings import Settings
from payload.session import engine, opening
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


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (machines.server(), ["Listener", "Discovery", "SourceSession"]),
        (machines.blank(), ["Discovery", "TargetSession"]),
    ],
)
def test_only_a_source_opens_a_door_and_only_a_target_gets_to_write(
    own: Inventory, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    did = list[str]()

    def stand_in(name: str) -> Any:
        def make(*_: object) -> Any:
            did.append(name)
            return SimpleNamespace(close=lambda: did.append(f"{name} closed"))

        return make

    for name in ("Listener", "Discovery", "SourceSession", "TargetSession"):
        monkeypatch.setattr(opening, name, stand_in(name))
    context = SimpleNamespace(
        host=SimpleNamespace(links=SimpleNamespace(cards=lambda: ()), mdns=None),
        settings=Settings(),
        monitor=None,
        site=SimpleNamespace(credentials=lambda _: None, announcement_key=b""),
        own=own,
        own_decision=decide_role(own, Settings()),
    )
    with ExitStack() as resources:
        opening.open_session(cast(Any, context), resources)
        assert did == expected
    assert did[len(expected) :] == ["Discovery closed"]
