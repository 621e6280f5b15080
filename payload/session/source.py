"""What the source does: listen, agree, answer. It has no code that writes to a disk."""

import time
from collections.abc import Iterable
from functools import partial
from queue import Empty

from payload.connect.beacons import Beaconing
from payload.connect.discovery import Discovery
from payload.connect.links import own_reach
from payload.connect.pairing import Listener, local_card
from payload.model.errors import DiskState, LinkError, PeerError
from payload.model.message import (
    Doing,
    Final,
    Hello,
    MapRequest,
    Message,
    Reach,
    Welcome,
)
from payload.replicate.sender import Sender
from payload.session.agreement import agree, exchange_go, exchange_plans
from payload.session.card_names import tags_of
from payload.session.context import Context
from payload.session.conversation import Conversation
from payload.session.last_look import check_role
from payload.session.meeting import (
    Acquaintance,
    Meeting,
    adopt,
    bystanders,
    check_peer,
    judge,
    own_hello,
)
from payload.session.reception import Reception, turn_away
from payload.session.states import Outcome
from payload.wire.beacon import beacon_key
from payload.wire.channel import Channel

NO_PEER = (
    "This machine is the source. No target found yet: boot the other machine from the medium. If"
    " that one serves in place of this one now, its screen says how to copy it back."
)


class SourceSession:
    """The source's handlers for the states of `session.states`."""

    def __init__(self, context: Context, discovery: Discovery, listener: Listener) -> None:
        self._context = context
        self._discovery = discovery
        self._reception = Reception(listener)
        alike = partial(bystanders, context, discovery)
        self._meeting = Meeting(context, self._newcomers, lambda: NO_PEER, alike)
        self._sender: Sender | None = None
        self._returned: Acquaintance | None = None
        self._beacons: Beaconing | None = None
        self._copy_begun = False  # in this run, be it with a target that has left since

    def connect(self) -> Outcome:
        """Wait for exactly one target that fits."""
        context = self._context
        adopt(context, self._meeting.choose(lambda _: True))
        self._send_beacons()
        return Outcome.PAIRED

    def _send_beacons(self) -> None:
        """From now on to the end, for this peer: it hears on which wires its cards are."""
        context = self._context
        self._stop_beacons()
        self._beacons = Beaconing(
            context.host.links,
            context.settings,
            beacon_key(context.run_id, context.other.run),
            lambda card: tags_of(card, context),
            context.monitor,
        )

    def _stop_beacons(self) -> None:
        if self._beacons is not None:
            self._beacons.close()

    def _newcomers(self, _known: frozenset[str]) -> Iterable[Acquaintance]:
        if self._returned is not None:
            returned, self._returned = self._returned, None
            yield returned
        while True:
            try:
                channel, hello = self._reception.visitors.get_nowait()
            except Empty:
                return
            acquaintance = self._greet(channel, hello)
            if acquaintance is not None:
                yield acquaintance

    def _greet(self, channel: Channel, hello: Hello) -> Acquaintance | None:
        """Answer a Hello with ours. A caller that cannot be believed is told so and let go."""
        conversation = Conversation(channel, own_reach=self._reach)
        try:
            conversation.card = self._card(channel)
            acquaintance = judge(self._context, conversation, hello)
            conversation.send(own_hello(self._context, conversation.card))
        except PeerError as error:
            self._context.warn(str(error))
            conversation.say_stop(str(error))
            conversation.close()
            return None
        return acquaintance

    def _card(self, channel: Channel) -> str:
        return local_card(channel, self._context.host.links)

    def _reach(self) -> tuple[Reach, ...]:
        return own_reach(self._context.host.links, self._context.settings)

    def agree(self) -> Outcome:
        outcome = agree(self._context, self._meeting.check_alone)
        if outcome is Outcome.AGREED:  # whether it stays so, the target decides now
            self._meeting.let_go()
        return outcome

    def copy(self) -> Outcome:
        """Answer until the target says that it is done."""
        context = self._context
        if self._sender is None:
            self._sender = Sender(context.host, context.agreed, context.own)
            self._copy_begun = True
            context.link.send(Welcome(self._open_session(self._sender)))
        try:
            while True:
                message = context.link.receive(None)
                if isinstance(message, Final):
                    context.report = message.report
                    context.link.send(message)
                    return Outcome.COPIED
                self._answer(message)
        except LinkError as error:
            context.warn(f"{error} Waiting for the target to come back.")
            return Outcome.LINK_LOST

    def _open_session(self, sender: Sender) -> str:
        return self._reception.open_session(sender, self._context.link.peer_id)

    def _answer(self, message: Message) -> None:
        assert self._sender is not None
        context = self._context
        if isinstance(message, MapRequest):
            for part in self._sender.answer_map(message):
                context.link.send(part)
        elif isinstance(message, Doing) and self._may_be_shown(message):
            for event in (message.stage, message.progress):
                if event is not None:
                    context.monitor(event)
        else:
            raise PeerError(f"The target said {type(message).__name__} in the middle of the copy.")

    def _may_be_shown(self, doing: Doing) -> bool:
        """The screen keeps a line for each region that it hears of."""
        names = {region.name for region in self._context.agreed.regions}
        return doing.progress is None or doing.progress.region in names

    def reconnect(self) -> Outcome:
        """Wait for the same target. One that was switched off and on again starts anew."""
        context = self._context
        context.link.close()
        end = time.monotonic() + context.settings.reconnect
        while time.monotonic() < end:
            try:
                channel, hello = self._reception.visitors.get(timeout=1.0)
            except Empty:
                continue
            if channel.peer_id != context.other.inventory.machine.id:
                turn_away(channel)  # it came before the session was opened
            elif hello.resume != context.agreed.digest:
                self._returned = self._greet(channel, hello)
                self._forget_copy()
                return Outcome.PEER_LEFT
            elif self._resume(channel, hello):
                return Outcome.LINK_BACK
        raise LinkError(
            f"The target did not come back within {context.settings.reconnect} seconds."
        )

    def _resume(self, channel: Channel, hello: Hello) -> bool:
        """The link is back: the same plan, confirmed by both, without another countdown."""
        context = self._context
        assert self._sender is not None
        conversation = Conversation(channel, own_reach=self._reach)
        context.control, context.peer = conversation, hello
        try:
            conversation.card = self._card(channel)
            check_peer(context)
            conversation.send(own_hello(context, conversation.card))
            check_role(context, context.own, context.own_decision)
            exchange_plans(context, context.agreed)
            exchange_go(context)
            conversation.send(Welcome(self._open_session(self._sender)))
        except LinkError:
            conversation.close()
            return False
        context.note("The link is back; the copy carries on where it was.")
        return True

    def _forget_copy(self) -> None:
        self._reception.close_session()
        if self._sender is not None:
            self._sender.close()
        self._sender = None
        self._context.plan = None

    def finish(self) -> Outcome:
        """The target did the work; its report is ours."""
        return Outcome.FINISHED

    def leave_disks(self) -> DiskState:
        """Ours were never written to; a target may hold a copy that this run began, or another."""
        peer = self._context.peer
        is_begun = self._copy_begun or (peer is not None and bool(peer.resume))
        return DiskState.AT_TARGET if is_begun else DiskState.UNTOUCHED

    def close(self) -> None:
        self._meeting.close()
        self._stop_beacons()
        self._reception.close()
        if self._sender is not None:
            self._sender.close()
