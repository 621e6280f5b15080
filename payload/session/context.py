"""The one mutable object of a run: what was found, agreed and done so far."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from payload.model.errors import FailoverError
from payload.model.event import Level, Monitor, Note, Stage
from payload.model.inventory import Inventory
from payload.model.message import Hello
from payload.model.plan import Plan
from payload.model.report import Report
from payload.model.role import Decision
from payload.model.settings import Settings
from payload.model.survey import Survey
from payload.session.conversation import Conversation
from payload.system.host import Host
from payload.wire.tls import Site


@dataclass
class Context:
    """Filled from left to right as the states are passed; `None` means "not there yet"."""

    host: Host
    site: Site
    settings: Settings
    monitor: Monitor
    stop: threading.Event  # set when a person pressed a key
    version: str
    clock: Callable[[], float] = time.time
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: int = 0
    inventory: Inventory | None = None
    decision: Decision | None = None
    control: Conversation | None = None
    peer: Hello | None = None
    verdict: Decision | None = None  # our own decision in the light of this peer
    clock_ahead: int = 0  # seconds our clock is ahead of the peer's
    survey: Survey | None = None  # what the source found out about itself
    plan: Plan | None = None
    error: FailoverError | None = None
    report: Report | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _said: set[str] = field(default_factory=set)

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Announce a stage and add what it takes to the report, whatever its end."""
        self.monitor(Stage(name, text))
        begun = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - begun
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)

    def note(self, text: str) -> None:
        self.monitor(Note(text))

    def note_once(self, text: str) -> None:
        """What is found again in every round is said in the first."""
        if text not in self._said:
            self._said.add(text)
            self.note(text)

    def warn(self, text: str) -> None:
        """A sentence that a person must see now and again in the report."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.monitor(Note(text, Level.WARNING))

    # What earlier states left behind. Asking too early is a mistake in the program.

    @property
    def own(self) -> Inventory:
        assert self.inventory is not None
        return self.inventory

    @property
    def own_decision(self) -> Decision:
        assert self.decision is not None
        return self.decision

    @property
    def other(self) -> Hello:
        assert self.peer is not None
        return self.peer

    @property
    def link(self) -> Conversation:
        assert self.control is not None
        return self.control

    @property
    def agreed(self) -> Plan:
        assert self.plan is not None
        return self.plan
