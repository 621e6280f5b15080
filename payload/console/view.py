"""What the screen shows, folded together from events. Pure: same events, same view."""

from dataclasses import dataclass, field, replace

from payload.model.event import (
    Agreement,
    Countdown,
    Decided,
    Ended,
    Event,
    Level,
    Note,
    Progress,
    Stage,
    Waiting,
)
from payload.model.report import Report

STAGES = ("identify", "connect", "plan", "copy", "verify", "finish", "report")
MESSAGES_KEPT = 50


@dataclass(frozen=True)
class View:
    """The state of the screen."""

    version: str
    machine: str
    role: str = ""
    reasons: tuple[str, ...] = ()
    stage: str = ""
    doing: str = ""
    waiting: Waiting | None = None
    agreement: tuple[str, ...] = ()
    countdown: int | None = None
    progress: dict[str, Progress] = field(default_factory=dict)  # region -> latest
    latest: Progress | None = None
    messages: tuple[Note, ...] = ()
    report: Report | None = None


def observe(view: View, event: Event) -> View:
    """The view after an event."""
    match event:
        case Stage(name, text):
            fresh = View(view.version, view.machine)
            after = replace(
                fresh,
                role=view.role,
                reasons=view.reasons,
                agreement=view.agreement,
                messages=view.messages,
                stage=name,
                doing=text,
            )
        case Note():
            after = replace(view, messages=(*view.messages, event)[-MESSAGES_KEPT:])
        case Decided(decision):
            after = replace(view, role=decision.role.value, reasons=decision.reasons)
        case Waiting():
            # Before anything is copied, whoever comes may be another than the one who left.
            agreement = view.agreement if view.latest else ()
            after = replace(view, waiting=event, countdown=None, agreement=agreement)
        case Agreement(lines):
            after = replace(view, stage="plan", doing="", agreement=lines, waiting=None)
        case Countdown(seconds):
            after = replace(view, countdown=seconds, waiting=None)
        case Progress():
            after = _progressed(view, event)
        case Ended(report):
            # The report says again what the messages said.
            after = replace(view, report=report, countdown=None, waiting=None, messages=())
    return after


def _progressed(view: View, event: Progress) -> View:
    """Regions keep the order in which they were first seen; a new stage starts a new list. A
    stage may do some of an earlier one's work: that is no step back."""
    same = view.latest is not None and view.latest.stage == event.stage
    progress = {**(view.progress if same else {}), event.region: event}
    stage = max(view.stage, event.stage, key=_place)
    return replace(view, progress=progress, latest=event, stage=stage, waiting=None, countdown=None)


def _place(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else -1


def loud(view: View) -> tuple[Note, ...]:
    """The warnings and errors among the messages."""
    return tuple(note for note in view.messages if note.level is not Level.INFO)
