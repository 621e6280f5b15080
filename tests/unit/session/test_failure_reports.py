"""The end of a failed run's report: what is on the disks, whatever words its error has."""

import ast
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import payload
from payload.model.disk import MIB
from payload.model.errors import (
    DiskState,
    FailoverError,
    SettingsError,
    StoppedError,
    TargetDiskError,
    UnforeseenError,
    VerifyError,
)
from payload.model.message import Chunk, Encoding, MapAnswer
from payload.model.plan import Method, Region
from payload.model.report import Report, Result
from payload.model.settings import Settings
from payload.replicate.fetching import Asked, _expected
from payload.replicate.ledger import Item, Ledger
from payload.replicate.receiver import Receiver
from payload.session.closing import AFTERMATH
from payload.session.context import Context
from payload.session.engine import Engine
from payload.session.source import SourceSession
from payload.session.states import Outcome, State
from payload.session.target import TargetSession
from payload.system.mapper import check_status

NOTHING = cast(Any, None)
REGION = Region(0, 0, 1, MIB, MIB, Method.USED, "ext4")
UNFINISHED = AFTERMATH[DiskState.UNFINISHED]
# What only `session.closing` may say, and a run that goes on or that only looked.
ABOUT_DISKS = re.compile(
    r"othing (more )?(of it )?was written|[Nn]o disk was written|is unfinished|does not boot\b"
    r"|unharmed"
)


def kinds_of(kind: type[FailoverError]) -> Iterator[type[FailoverError]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from kinds_of(derived)


def report_of(error: Exception, left: DiskState) -> Report:
    """Of a run that ended with an error in the middle of the copy."""
    context = Context(NOTHING, NOTHING, Settings(), lambda _: None, threading.Event(), "test")
    session = SimpleNamespace(leave_disks=lambda: left)
    engine = Engine(context, ExitStack(), lambda mistake: f"A mistake: {mistake!r}.")
    engine._session = cast(Any, session)

    def fail() -> Outcome:
        raise error

    engine._handlers[State.IDENTIFY] = fail
    return engine.run()


def wrong_chunk() -> None:
    item = Item(Ledger(REGION, 512), 0, 0, 512)
    _expected(Chunk(7, 0, 512, b"", Encoding.RAW), Asked(item))


def wrong_map() -> None:
    Ledger(REGION, 512).add(MapAnswer(3, (), last=True))


def failed_mirror() -> None:
    check_status("0 8 mirror 2 7:0 7:1 8/8 1 AD 1 core\n")


@pytest.mark.parametrize("fail", [wrong_chunk, wrong_map, failed_mirror])
def test_no_word_of_an_error_hides_that_the_copy_is_unfinished(fail: Callable[[], None]) -> None:
    with pytest.raises(FailoverError) as caught:
        fail()
    sentence = report_of(caught.value, DiskState.UNFINISHED).sentence
    assert sentence == f"{caught.value} {UNFINISHED}"
    assert "was written" not in str(caught.value).replace("what was written", "")


@pytest.mark.parametrize("left", [state for state in DiskState if state in AFTERMATH])
@pytest.mark.parametrize("kind", [*kinds_of(FailoverError)])
def test_every_error_ends_with_the_state_of_the_disks(
    kind: type[FailoverError], left: DiskState
) -> None:
    report = report_of(kind("It is written here that it does not boot."), left)
    spoiled = left is DiskState.SEALED and issubclass(kind, TargetDiskError | VerifyError)
    disks = DiskState.DOUBTFUL if spoiled else left
    assert report.disks is disks
    assert report.sentence == f"It is written here that it does not boot. {AFTERMATH[disks]}"
    assert report.exit_code == kind.exit_code
    assert (report.result is Result.STOPPED) is (kind is StoppedError)


def test_a_mistake_of_ours_tells_of_the_disks_too() -> None:
    report = report_of(ZeroDivisionError("oops"), DiskState.UNFINISHED)
    assert report.sentence == f"A mistake: ZeroDivisionError('oops'). {UNFINISHED}"
    assert (report.exit_code, report.disks) == (1, DiskState.UNFINISHED)
    assert UnforeseenError.exit_code == FailoverError.exit_code


def test_every_state_after_a_failure_is_two_sentences() -> None:
    assert set(DiskState) - set(AFTERMATH) == {DiskState.FINISHED}
    for text in AFTERMATH.values():
        assert len(re.findall(r"\.(?= |$)", text)) == 2, text


def test_no_other_sentence_of_the_program_says_what_is_on_the_disks() -> None:
    root = Path(payload.__file__).parent
    texts = [
        (path, text)
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root).parts[0] not in ("session", "console")
        for text in texts_of(path)
    ]
    assert len(texts) > 1000
    assert [(path.name, text) for path, text in texts if ABOUT_DISKS.search(text)] == []


def texts_of(path: Path) -> Iterator[str]:
    """The string literals of a module, those in f-strings joined, without docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


# --- who knows it


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
