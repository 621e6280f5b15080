"""What the target does: call, agree, fetch, prove, finish. The only role that writes to disks."""

import contextlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from payload.connect.beacons import Listening
from payload.connect.discovery import Discovery
from payload.finish.boot.proof import prove_boot, warning_of
from payload.finish.boot.reinstall import make_it_start
from payload.finish.sequence import FinishResult, finish_copy
from payload.model.errors import DiskState, FailoverError, LinkError, PeerError, StoppedError
from payload.model.event import Event, Progress, Stage
from payload.model.message import Doing, Final, Welcome
from payload.model.network import Arrival
from payload.model.report import BootLoaderReport, BootProof, Report
from payload.model.role import Role
from payload.model.survey import Survey
from payload.replicate.crew import work_together
from payload.replicate.receiver import Receiver
from payload.session.agreement import agree, exchange_go, exchange_plans, expect
from payload.session.calling import RETRY, Answer, Calling
from payload.session.card_names import check_names
from payload.session.context import Context
from payload.session.copy_report import make_report
from payload.session.last_look import check_role, look_again
from payload.session.meeting import (
    GREETING,
    Acquaintance,
    Meeting,
    adopt,
    bystanders,
    check_peer,
    judge,
)
from payload.session.states import Outcome
from payload.wire.beacon import beacon_key
from payload.wire.tls import Credentials

NO_PEER = "This machine is the target. No source found yet: boot the server from the medium."
FAREWELL = 20.0  # seconds the source has to confirm the report
LAST_CALLS = 60.0  # seconds in which a source that cannot be told is called again


class TargetSession:
    """The target's handlers for the states of `session.states`."""

    def __init__(self, context: Context, discovery: Discovery, credentials: Credentials) -> None:
        self._context = context
        self._discovery = discovery
        self._calling = Calling(context, discovery, credentials)
        alike = partial(bystanders, context, discovery)
        self._meeting = Meeting(context, self._newcomers, self._waiting_text, alike)
        self._receiver: Receiver | None = None
        self._steps: deque[Callable[[], None]] = deque()
        self._finish: FinishResult | None = None
        self._boot_loader: BootLoaderReport | None = None
        self._boot_proof: BootProof | None = None
        self._copy_id = uuid.uuid4().hex
        self._listening: Listening | None = None
        self._speaking = threading.Lock()  # who holds it has the control conversation to itself

    # --- connect

    def connect(self) -> Outcome:
        """Call every source in sight; one that fits, alone, and offers a plan is the peer."""
        context = self._context
        adopt(context, self._meeting.choose(lambda one: one.conversation.waiting))
        self._listen_for_beacons()
        return Outcome.PAIRED

    def _listen_for_beacons(self) -> None:
        """From now on to the end, for those of this peer."""
        context = self._context
        if self._listening is not None:
            self._listening.close()
        key = beacon_key(context.other.run, context.run_id)
        self._listening = Listening(context.host.links, context.settings, key, context.monitor)

    def _arrivals(self) -> tuple[Arrival, ...]:
        return self._listening.arrivals() if self._listening is not None else ()

    def _waiting_text(self) -> str:
        since = self._context.own_decision.ready_since
        if not since:
            return NO_PEER
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since))
        return (
            f"This machine is a copy, ready and unused since {day}. It starts as the server once "
            "the medium is removed. To refresh it, boot the source from the medium too."
        )

    def _newcomers(self, known: frozenset[str]) -> Iterable[Acquaintance]:
        for answer in self._calling.look_for_sources(known):
            acquaintance = self._judge(answer)
            if acquaintance is not None:
                yield acquaintance

    def _judge(self, answer: Answer) -> Acquaintance | None:
        """Whoever cannot be reached or believed is tried again later."""
        context, conversation = self._context, answer.conversation
        if conversation is None or answer.hello is None:
            if answer.candidate.role != Role.TARGET.value:  # no door is where no source is
                context.note_once(str(answer.fault))
            return None
        try:
            return judge(context, conversation, answer.hello)
        except PeerError as error:
            context.warn(str(error))
            conversation.say_stop(str(error))
            conversation.close()
            return None

    # --- agree

    def agree(self) -> Outcome:
        return agree(self._context, self._meeting.check_alone)

    # --- copy

    def copy(self) -> Outcome:
        """Do what is left of the copy. A broken link ends the step, not the copy."""
        context = self._context
        try:
            if self._receiver is None:
                self._begin()
            while self._steps:
                self._steps[0]()
                self._steps.popleft()
                self._check_control()
        except LinkError as error:
            if self._meeting.crowded:
                context.note(f"{error} Nothing was written.")
                context.link.close()
                self._receiver, self._calling.session = None, ""
                return Outcome.PEER_LEFT
            context.warn(f"{error} What is on the target's disks stays; calling the source again.")
            return Outcome.LINK_LOST
        return Outcome.COPIED

    def _check_control(self) -> None:
        """Raise what ended the conversation: the next step, or the end, needs it."""
        while self._context.link.ended:
            self._context.link.poll(0)

    def _begin(self) -> None:
        context = self._context
        if not self._calling.session:  # else the link broke before we could begin, and is back
            self._calling.session = expect(context, Welcome, GREETING).session
        self._receiver = receiver = Receiver(
            context.host,
            context.agreed,
            context.own,
            copy_id=self._copy_id,
            connections=context.settings.connections,
            monitor=self._tell_both,
        )
        self._steps = deque((self._open_disks, *self._copying(receiver)))

    def _copying(self, receiver: Receiver) -> Iterable[Callable[[], None]]:
        """What is done again from the start when the source was started anew."""
        return (
            lambda: receiver.fetch_maps(self._context.link),
            lambda: self._timed("copy", "giving back what is free", receiver.discard_free),
            lambda: self._timed("copy", "copying what is in use", self._fetch),
            *(self._verifying(receiver) if self._context.agreed.verify else ()),
            lambda: self._timed("verify", "writing the held back heads", self._fetch_heads),
        )

    def _verifying(self, receiver: Receiver) -> Iterable[Callable[[], None]]:
        yield lambda: self._timed("verify", "re-reading the target", receiver.verify)

    def _open_disks(self) -> None:
        """The last moment at which nothing was written yet."""
        assert self._receiver is not None
        context = self._context
        with context.stage("plan", "looking at the target's disks once more"):
            look_again(context)
            check_names(context, context.survey or Survey(), self._arrivals())
        self._meeting.check_alone()
        self._meeting.let_go()
        self._calling.look_no_further()
        self._receiver.begin()

    def _fetch(self) -> None:
        assert self._receiver is not None
        self._calling.use_all_links()
        self._receiver.fetch(self._calling.open_data, self._calling.further)

    def _fetch_heads(self) -> None:
        assert self._receiver is not None
        self._receiver.write_heads(self._calling.open_data)

    def _timed(self, name: str, text: str, work: Callable[[], None]) -> None:
        with self._context.stage(name, text):
            self._say(Doing(Stage(name, text)))
            self._beside_control(work)

    def _beside_control(self, work: Callable[[], None]) -> None:
        """Do what may take hours, and meanwhile take the conversation up again whenever it breaks:
        a source that is left alone gives up. Raises what `work` does, else what the peer said. A
        peer or a disk that is not the one agreed on ends the copying at once."""
        assert self._receiver is not None
        receiver, done = self._receiver, threading.Event()

        def do() -> None:
            try:
                work()
            finally:
                done.set()

        def keep() -> None:
            with ExitStack() as on_failure:
                on_failure.callback(receiver.interrupt)
                while not done.wait(RETRY):
                    self._keep_control()
                on_failure.pop_all()

        work_together([do, keep], lambda: None)

    def _keep_control(self) -> None:
        """The conversation may have run over a link that is lost, while others carry the copy, or
        while the target alone works. It is taken up again over whichever link answers."""
        context = self._context
        if not context.link.ended:
            return
        try:
            self._check_control()
        except LinkError as error:
            context.warn(f"{error} The copy goes on meanwhile; calling the source again.")
            context.link.close()
        with self._speaking, contextlib.suppress(LinkError):  # tried again at the next look
            self._resume(during_copy=True)
            context.note("The source answers again.")

    def _tell_both(self, event: Event) -> None:
        """Our own screen, and the source's: its administrator may stand there."""
        self._context.monitor(event)
        if isinstance(event, Progress):
            self._say(Doing(progress=event))

    def _say(self, doing: Doing) -> None:
        if not self._speaking.acquire(blocking=False):  # what is said now is not for in between
            return
        try:
            with contextlib.suppress(PeerError):  # a lost link is noticed where it is needed
                self._context.link.send(doing)
        finally:
            self._speaking.release()

    # --- reconnect

    def reconnect(self) -> Outcome:
        """Call the same source until it answers, or for as long as the settings say."""
        context = self._context
        context.link.close()
        end = time.monotonic() + context.settings.reconnect
        while time.monotonic() < end:
            try:
                self._resume()
            except LinkError:
                time.sleep(RETRY)
                continue
            context.note("The link is back; the copy carries on where it was.")
            return Outcome.LINK_BACK
        raise LinkError(f"The source did not answer for {context.settings.reconnect} seconds.")

    def _resume(self, *, during_copy: bool = False) -> None:
        """The same machine with the same plan, confirmed by both, and the very disks that it is
        for. A source that was started anew counts down anew, and may hold other content."""
        context = self._context
        conversation, hello = self._calling.greet_again()
        is_another_run = hello.run != context.other.run
        if during_copy and is_another_run:  # the data connections end too, and all begins anew
            conversation.close()
            raise LinkError("The source was started anew.")
        context.control, context.peer = conversation, hello
        try:
            check_peer(context)
            check_role(context, context.own, context.own_decision)
            exchange_plans(context, context.agreed, None)
            exchange_go(context)
            self._calling.session = expect(context, Welcome, GREETING).session
        except LinkError:
            conversation.close()
            raise
        if is_another_run:
            self._listen_for_beacons()  # their key is made of both runs
        if self._steps or not during_copy:  # else it is being finished: we mount its disks
            self._check_receiver(start_over=is_another_run)

    def _check_receiver(self, *, start_over: bool) -> None:
        receiver = self._receiver
        if receiver is None or not receiver.opened:
            return
        receiver.recheck()
        if start_over:
            self._context.note("The source was started anew: everything is compared with it again.")
            receiver.start_over()
            self._steps = deque(self._copying(receiver))

    # --- finish

    def finish(self) -> Outcome:
        """Make the proven content a machine that boots, tables and boot code last of all."""
        context = self._context
        with contextlib.suppress(PeerError, StoppedError):  # the source is not needed any more
            self._timed("finish", "making the copy boot as the server", self._make_it_boot)
        with contextlib.suppress(PeerError, StoppedError):
            self._timed("finish", "starting the copy once, to see that it boots", self._try_it_out)
        assert self._receiver and self._finish and self._boot_loader
        context.report = make_report(
            context,
            self._receiver.reports(),
            self._finish,
            self._boot_loader,
            self._boot_proof,
        )
        self._say_farewell(context.report)
        return Outcome.FINISHED

    def _make_it_boot(self) -> None:
        context = self._context
        assert self._receiver is not None
        self._receiver.recheck()
        with self._receiver.finishing() as host:
            finish = finish_copy(
                host,
                context.agreed,
                context.other.inventory,
                context.own,
                self._copy_id,
                ((context.other.card, context.link.card),),
                self._arrivals(),
                int(context.clock()),
                context.monitor,
                context.version,
            )
        self._receiver.seal()
        self._boot_loader, changes = make_it_start(
            context.host, context.agreed, context.own, context.monitor
        )
        self._finish = replace(finish, changes=(*finish.changes, *changes))

    def _try_it_out(self) -> None:
        context = self._context
        self._boot_proof = proof = prove_boot(
            context.host, context.agreed, context.own, context.settings.boot_proof
        )
        context.note(f"Boot proof: {proof.verdict.value}. {proof.why}")
        if warning := warning_of(proof, context.agreed):
            context.warn(warning)

    def _say_farewell(self, report: Report) -> None:
        """Give the source the report, over another link if this one ends: else it would wait for a
        target that is done. The copy is done whether or not it can be told."""
        context, end = self._context, time.monotonic() + LAST_CALLS
        while (fault := self._tell_source(report)) is not None:
            if not isinstance(fault, LinkError) or time.monotonic() >= end:
                context.warn(f"The copy is finished, but the source could not be told: {fault}")
                return
            context.link.close()
            time.sleep(RETRY)

    def _tell_source(self, report: Report) -> PeerError | None:
        """Why it did not confirm, None if it did."""
        try:
            self._keep_control()
            self._context.link.send(Final(report))
            expect(self._context, Final, FAREWELL)
        except PeerError as error:
            return error
        return None

    def close(self) -> None:
        self._meeting.close()
        self._calling.look_no_further()
        if self._listening is not None:
            self._listening.close()
        self.leave_disks()

    def leave_disks(self) -> DiskState:
        """Leave the disks read-only, and as they were if nothing but our mark was written yet."""
        if self._receiver is None:
            return DiskState.UNTOUCHED
        try:
            self._receiver.abandon()
        except FailoverError as error:  # what is on them is known in spite of it
            self._context.warn(str(error))
        return self._receiver.left
