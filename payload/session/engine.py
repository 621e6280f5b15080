"""Runs the table of `states.py`: one handler a state, one report at the end, whatever happens."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol

from payload.connect.addressing import Addressing
from payload.decide.role import decide_role
from payload.identify.inventory import take_inventory
from payload.model.errors import DiskState, FailoverError, UndecidedError, UnforeseenError
from payload.model.event import Decided, Ended, Monitor
from payload.model.report import Report, Result
from payload.model.role import Role
from payload.model.settings import Settings
from payload.session.closing import failure_report
from payload.session.context import Context
from payload.session.states import Outcome, State, next_state
from payload.system.host import Host
from payload.wire.tls import Site


class RoleSession(Protocol):
    """What a role does in the states that differ between source and target."""

    def connect(self) -> Outcome: ...

    def agree(self) -> Outcome: ...

    def copy(self) -> Outcome: ...

    def reconnect(self) -> Outcome: ...

    def finish(self) -> Outcome: ...

    def leave_disks(self) -> DiskState:
        """Change nothing more on the disks: what this run leaves on those of the target."""

    def close(self) -> None: ...


def run(
    host: Host,
    site: Site,
    settings: Settings,
    monitor: Monitor,
    stop: threading.Event,
    version: str,
    explain: Callable[[Exception], str] = repr,
) -> Report:
    """One whole run on this machine, to the report. Raises nothing that is a FailoverError.

    `stop` is set by whoever watches the keyboard; it counts during the countdown only. `explain`
    keeps the trace of an exception nobody foresaw, and says so in whole sentences.
    """
    context = Context(host, site, settings, monitor, stop, version)
    context.started_at = int(context.clock())
    with ExitStack() as resources:
        return Engine(context, resources, explain).run()


class Engine:
    """Steps through the table and owns what must be closed at the end."""

    def __init__(
        self,
        context: Context,
        resources: ExitStack,
        explain: Callable[[Exception], str] = repr,
    ) -> None:
        self._context = context
        self._resources = resources
        self._explain = explain
        self._session: RoleSession | None = None
        self._handlers: dict[State, Callable[[], Outcome]] = {
            State.IDENTIFY: self._identify,
            State.CONNECT: lambda: self._role().connect(),
            State.AGREE: lambda: self._role().agree(),
            State.COPY: lambda: self._role().copy(),
            State.RECONNECT: lambda: self._role().reconnect(),
            State.FINISH: lambda: self._role().finish(),
            State.REPORT: self._report,
        }

    def run(self) -> Report:
        state = State.IDENTIFY
        while state is not State.END:
            try:
                outcome = self._handlers[state]()
            except FailoverError as error:
                self._context.error = error
                outcome = Outcome.FAILED
            except Exception as error:  # the disks and the peer wait for an end
                if state is State.REPORT:
                    raise
                self._context.error = UnforeseenError(self._explain(error))
                outcome = Outcome.FAILED
            state = next_state(state, outcome)
        assert self._context.report is not None
        return self._context.report

    def _identify(self) -> Outcome:
        context = self._context
        with context.stage("identify", "looking at this machine"):
            context.inventory = take_inventory(context.host, context.version, int(context.clock()))
            context.decision = decide_role(context.inventory, context.settings)
        for warning in context.inventory.warnings:
            context.warn(warning)
        context.monitor(Decided(context.decision))
        if context.decision.role is Role.UNDECIDED:
            raise UndecidedError(" ".join(context.decision.reasons))
        return Outcome.DECIDED

    def _role(self) -> RoleSession:
        if self._session is None:
            with self._context.stage("connect", "bringing the network up"):
                self._session = self._open_network()
                self._resources.callback(self._session.close)
                self._resources.callback(self._hang_up)
        return self._session

    def _hang_up(self) -> None:
        """Also after a mistake of ours: a peer that hears heartbeats waits for ever."""
        if self._context.control is not None:
            self._context.control.close()

    def _open_network(self) -> RoleSession:
        """Cards up, our name on the wire, and the door open (source) or eyes open (target)."""
        context, links = self._context, self._context.host.links
        addressing = Addressing(links, context.settings, context.monitor)
        addressing.switch_on()
        open_session = load_roles()
        addressing.begin()
        self._resources.callback(addressing.close)
        context.inventory = replace(context.own, cards=links.cards())  # carriers are known now
        return open_session(context, self._resources)

    def _report(self) -> Outcome:
        """Give the run its report, tell the peer if it went wrong, and everybody who watches."""
        context = self._context
        if context.error is not None:
            if context.control is not None:
                context.control.say_stop(str(context.error))
            left = self._session.leave_disks() if self._session else DiskState.UNTOUCHED
            context.report = failure_report(context, context.error, left)
        elif context.report is None:
            context.report = dry_run_report(context)
        self._hang_up()
        context.monitor(Ended(context.report))
        return Outcome.REPORTED


def load_roles() -> Callable[[Context, ExitStack], RoleSession]:
    """Import what a machine with a role needs, all the rest of the program, while its cards look
    for their links. Nothing of ours is imported later: what cannot be imported ends the run before
    a peer is met."""
    from payload.session.opening import open_session  # noqa: PLC0415

    return open_session


def dry_run_report(context: Context) -> Report:
    """A look ends where the writing would begin."""
    return Report(
        result=Result.DRY_RUN,
        sentence="This was only a look: the plan stands, nothing was written.",
        exit_code=0,
        plan_digest=context.agreed.digest,
        source=context.agreed.source,
        target=context.agreed.target,
        started_at=context.started_at,
        seconds=dict(context.seconds),
        warnings=tuple(context.warnings),
        version=context.version,
    )
