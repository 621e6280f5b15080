"""The end of a failed run's report: what is on the disks, whatever words its error has."""

import ast
import re
import threading
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
    StoppedError,
    TargetDiskError,
    UnforeseenError,
    VerifyError,
)
from payload.model.message import Chunk, Encoding, MapAnswer
from payload.model.plan import Method, Region
from payload.model.report import Report, Result
from payload.model.role import Role
from payload.model.settings import Settings
from payload.replicate.fetching import Asked, _expected
from payload.replicate.ledger import Item, Ledger
from payload.session.agreement import compute_plan
from payload.session.closing import AFTERMATH, failure_report
from payload.session.context import Context
from payload.session.engine import Engine
from payload.session.states import Outcome, State
from payload.system.mapper import check_status
from tests.support.meetings import meeting

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


def test_what_was_known_of_the_run_is_in_the_report() -> None:
    with meeting(Role.TARGET, ()) as context:
        context.plan = compute_plan(context)
        context.started_at = 1_794_000_000
        context.seconds["copy"] = 12.5
        context.warn("The battery is low.")
        report = failure_report(context, TargetDiskError("sda broke."), DiskState.SEALED)
        context.warn("This came later.")
        context.seconds["copy"] = 99.0
        plan = context.agreed
    assert (report.plan_digest, report.source, report.target) == (
        plan.digest,
        plan.source,
        plan.target,
    )
    assert (report.started_at, report.version) == (1_794_000_000, "test")
    assert report.seconds == {"copy": 12.5} and report.warnings == ("The battery is low.",)
    assert report.disks is DiskState.DOUBTFUL and report.result is Result.FAILED


def test_a_run_that_failed_before_there_was_a_plan_names_no_machine() -> None:
    with meeting(Role.TARGET, ()) as context:
        report = failure_report(context, StoppedError("A key."), DiskState.UNTOUCHED)
    assert (report.plan_digest, report.source, report.target) == ("", None, None)
    assert (report.result, report.exit_code) == (Result.STOPPED, StoppedError.exit_code)
    assert report.sentence == f"A key. {AFTERMATH[DiskState.UNTOUCHED]}"
