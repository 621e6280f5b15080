"""Who knows what a run left on the disks: each machine says it of what it did."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.errors import DiskState, SettingsError, TargetDiskError
from payload.replicate.receiver import Receiver
from payload.session.source import SourceSession
from payload.session.target import TargetSession

NOTHING = cast(Any, None)


class PaperDisk:
    """A disk that can be marked, and perhaps not be put back."""

    pair = SimpleNamespace(table=None)
    hardware = SimpleNamespace(id="serial:S", label="sda")

    def __init__(self, *, breaks_at: str = "") -> None:
        self._breaks_at = breaks_at

    def __getattr__(self, name: str) -> Any:
        def act(*_: object) -> None:
            if name == self._breaks_at:
                raise TargetDiskError(f"sda broke at {name}.")

        return act


def a_target(*disks: PaperDisk) -> TargetSession:
    end = SimpleNamespace(id="m")
    plan = SimpleNamespace(disks=(), regions=(), source=end, target=end, verify=True)
    receiver = Receiver(
        NOTHING, cast(Any, plan), NOTHING, copy_id="c", connections=1, monitor=lambda _: None
    )
    receiver._disks = [cast(Any, disk) for disk in disks]
    session = TargetSession(NOTHING, NOTHING, NOTHING)
    session._receiver = receiver
    warnings: list[str] = []
    session._context = cast(Any, SimpleNamespace(warn=warnings.append, warnings=warnings))
    return session


def test_a_target_without_a_plan_wrote_nothing() -> None:
    assert TargetSession(NOTHING, NOTHING, NOTHING).leave_disks() is DiskState.UNTOUCHED


def test_a_mark_that_was_taken_back_is_nothing_written() -> None:
    session = a_target(PaperDisk(), PaperDisk())
    assert session._receiver
    session._receiver.begin()
    assert session.leave_disks() is DiskState.UNTOUCHED
    assert session.leave_disks() is DiskState.UNTOUCHED, "asked again when all is closed"


@pytest.mark.parametrize("breaks_at", ["restore", "put_mark", "zero_first_sector"])
def test_a_disk_that_breaks_is_known_by_what_is_on_it(breaks_at: str) -> None:
    """Put back is what was marked, and a mark that cannot be taken back stays."""
    session = a_target(PaperDisk(), PaperDisk(breaks_at=breaks_at))
    assert session._receiver
    try:
        session._receiver.begin()
    except TargetDiskError:
        assert breaks_at != "restore"
    left = session.leave_disks()
    assert left is (DiskState.UNFINISHED if breaks_at == "restore" else DiskState.UNTOUCHED)
    warned = [f"sda broke at {breaks_at}."] if breaks_at == "restore" else []
    assert session._context.warnings == warned


def a_source(resume: str) -> SourceSession:
    context = SimpleNamespace(peer=SimpleNamespace(resume=resume))
    door = SimpleNamespace(accept=time.sleep)  # nobody comes
    return SourceSession(cast(Any, context), NOTHING, cast(Any, door))


def test_a_source_leaves_it_to_the_target_once_a_copy_was_begun() -> None:
    session = a_source(resume="")
    assert session.leave_disks() is DiskState.UNTOUCHED
    session._copy_begun = True
    assert session.leave_disks() is DiskState.AT_TARGET
    begun_before = a_source(resume="digest")
    assert begun_before.leave_disks() is DiskState.AT_TARGET


def test_a_source_has_begun_with_its_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    session = a_source(resume="")
    session._sender = None
    monkeypatch.setattr("payload.session.source.Sender", lambda *_: None)
    monkeypatch.setattr(session, "_open_session", lambda _: "s")

    def send(message: object) -> None:
        said.append(type(message).__name__)
        raise SettingsError("stop here")

    context = cast(Any, session._context)
    context.host = context.agreed = context.own = None
    context.link = SimpleNamespace(send=send)
    with pytest.raises(SettingsError):
        session.copy()
    assert said == ["Welcome"]
    assert session.leave_disks() is DiskState.AT_TARGET
