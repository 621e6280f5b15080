"""Getting to know every machine of our site, and choosing one only when there is no choice.

Both roles meet in the same way: newcomers are greeted with `Hello`, judged by
`identify.role.decide_pair`, and kept in sight. One that fits, alone and for a while, is the peer.
Two that fit are shown to people and waited out; guessing would one day overwrite the wrong copy.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from payload.connect.discovery import Discovery
from payload.decide.role import decide_pair
from payload.model.errors import LinkError, PeerError, StoppedError
from payload.model.event import Waiting
from payload.model.message import PROTOCOL_VERSION, Hello
from payload.model.plan import CopyMode
from payload.model.role import Decision, Role
from payload.session.context import Context
from payload.session.conversation import Conversation

ROUND = 0.2  # seconds between two looks at who is there
SETTLE = 5.0  # seconds that exactly one fitting peer must have been alone
CROWDED = 15.0  # the same after a choice that another one came to: all have to be called again
GREETING = 10.0  # seconds a newcomer has for its Hello


@dataclass(frozen=True)
class Acquaintance:
    """A machine of our site we talk to, and what we think of it."""

    conversation: Conversation
    hello: Hello
    verdict: Decision
    clock_ahead: int  # seconds our clock is ahead of theirs

    @property
    def name(self) -> str:
        reference = self.hello.inventory.reference
        return f"{reference.host_name or 'no system'} on {reference.label}"

    @property
    def line(self) -> str:
        """For people: who it is, and whether it fits or why not."""
        return f"{self.name}: {' '.join(self.verdict.reasons)}"


def own_hello(context: Context, card: str, resume: str = "") -> Hello:
    """What we say of ourselves first; `card` is the MAC of our end of this link."""
    return Hello(
        protocol=PROTOCOL_VERSION,
        inventory=context.own,
        decision=context.own_decision,
        mode=context.settings.copy,
        dry_run=context.settings.dry_run,
        countdown=context.settings.countdown,
        card=card,
        clock=int(context.clock()),
        run=context.run_id,
        resume=resume,
        verify=context.settings.verify,
    )


def check_hello(hello: Hello, peer_id: str) -> None:
    """Raise PeerError unless the Hello is of our protocol and of the machine its certificate
    names: what the certificate says is proven, what the Hello says is only said."""
    if hello.protocol != PROTOCOL_VERSION:
        raise PeerError(
            f"The other machine runs another version (protocol {hello.protocol}, ours is "
            f"{PROTOCOL_VERSION}). Boot both machines from the same medium."
        )
    if hello.inventory.machine.id != peer_id:
        raise PeerError(
            f"A machine calls itself {hello.inventory.machine.id[:8]} but its certificate says "
            f"{peer_id[:8]}. It is not believed."
        )


def check_peer(context: Context) -> None:
    """Raise PeerError unless the peer of a link that came back is the machine of the plan."""
    check_hello(context.other, context.link.peer_id)
    expected = (context.agreed.source.id, context.agreed.target.id)
    if {context.link.peer_id, context.own.machine.id} != set(expected):
        raise PeerError(
            f"Machine {context.link.peer_id[:8]} is not the one the plan was agreed with."
        )


def agreed_mode(own: Hello, other: Hello) -> CopyMode:
    """Every block if either side was asked for it."""
    return CopyMode.EXACT if CopyMode.EXACT in (own.mode, other.mode) else CopyMode.USED


def agreed_verify(own: Hello, other: Hello) -> bool:
    """All is read back unless both sides were told not to."""
    return own.verify or other.verify


def judge(context: Context, conversation: Conversation, hello: Hello) -> Acquaintance:
    """Raises PeerError when what it said cannot be believed."""
    check_hello(hello, conversation.peer_id)
    verdict = decide_pair(
        context.own, context.own_decision, hello.inventory, hello.decision, context.settings
    )
    return Acquaintance(conversation, hello, verdict, int(context.clock()) - hello.clock)


class Meeting:
    """The machines in sight. `newcomers` is asked again and again and never waits for long."""

    def __init__(
        self,
        context: Context,
        newcomers: Callable[[frozenset[str]], Iterable[Acquaintance]],
        waiting_text: Callable[[], str],
        bystanders: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`bystanders` are lines about machines that are in sight and that we do not talk to."""
        self._context = context
        self._newcomers = newcomers
        self._bystanders = bystanders
        self._waiting_text = waiting_text
        self._known: dict[str, Acquaintance] = {}
        self._alone_since = time.monotonic()
        self._shown: Waiting | None = None
        self._chosen: Acquaintance | None = None
        self._settle = SETTLE
        self.crowded = False  # another one came that fits as well as the chosen one

    def choose(self, ready: Callable[[Acquaintance], bool]) -> Acquaintance:
        """Wait, for days if need be, for exactly one fitting peer that is `ready`.

        The others stay until `let_go`: until the first write one of them may fit, too. After such a
        meeting the next choice takes longer.
        """
        self._settle, self.crowded = (CROWDED if self.crowded else SETTLE), False
        self._alone_since = time.monotonic()
        if self._chosen is not None:  # it left, with words unread perhaps, and has to call anew
            self._known.pop(self._chosen.conversation.peer_id, None)
            self._chosen.conversation.close()
            self._chosen = None
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._chosen = self._wait_for_one(ready)
            on_failure.pop_all()
        return self._chosen

    def check_alone(self) -> None:
        """Look around once more. Raises LinkError when another one fits as well as the chosen one:
        nobody is guessed, so all begin to wait anew."""
        self._look_around()
        another = next((one for one in self._fitting() if one is not self._chosen), None)
        if another is not None:
            self.crowded = True
            self.close()
            raise LinkError(
                f"{another.name} fits, too, and came while this machine had chosen another: it "
                "waits again until there is only one."
            )

    def let_go(self) -> None:
        """The choice is final: tell the others so."""
        for one in self._known.values():
            if one is not self._chosen:
                one.conversation.say_stop("this machine is now busy with another one.")
                one.conversation.close()
        self._known.clear()

    def close(self) -> None:
        """End all conversations: a peer that hears heartbeats waits for ever."""
        for one in self._known.values():
            one.conversation.close()
        self._known.clear()

    def _wait_for_one(self, ready: Callable[[Acquaintance], bool]) -> Acquaintance:
        while True:
            self._look_around()
            fitting = self._fitting()
            if len(fitting) == 1 and time.monotonic() - self._alone_since >= self._settle:
                chosen = fitting[0]
                if ready(chosen):
                    return chosen
            self._show(fitting)
            time.sleep(ROUND)

    def _look_around(self) -> None:
        before = {key for key, one in self._known.items() if one in self._fitting()}
        for key, one in list(self._known.items()):
            is_over = one.conversation.ended and not one.conversation.waiting
            if is_over and one is not self._chosen:
                self._say_goodbye(one)
                del self._known[key]
        for newcomer in self._newcomers(frozenset(self._known)):
            peer_id = newcomer.conversation.peer_id
            replaced = self._known.get(peer_id)
            if replaced is not None and replaced is self._chosen:
                newcomer.conversation.close()  # it comes again when its first conversation ended
                continue
            if replaced is not None:
                replaced.conversation.close()
            self._known[peer_id] = newcomer
        if {key for key, one in self._known.items() if one in self._fitting()} != before:
            self._alone_since = time.monotonic()

    def _say_goodbye(self, one: Acquaintance) -> None:
        try:
            one.conversation.poll(0)
        except (PeerError, StoppedError) as error:
            self._context.note_once(f"{one.name} left. {error}")
        one.conversation.close()

    def _fitting(self) -> list[Acquaintance]:
        role = self._context.own_decision.role
        return [
            one for one in self._known.values() if one.verdict.role is role is not Role.UNDECIDED
        ]

    def _show(self, fitting: list[Acquaintance]) -> None:
        text = self._waiting_text()
        if len(fitting) == 1:
            text = f"Found {fitting[0].name}. Making sure that it is the only one that fits."
        elif len(fitting) > 1:
            text = (
                f"{len(fitting)} machines would fit as the other side and this one does not guess. "
                "Switch off all but one, or name the source's address with failover.peer=."
            )
        lines = sorted(one.line for one in self._known.values())
        event = Waiting(text, (*lines, *self._bystanders()))
        if event != self._shown:
            self._shown = event
            self._context.monitor(event)


_ALIKE = {
    Role.SOURCE: "says that it is a source too. Nothing is copied from one source to another: if"
    " its disks are to be overwritten, boot it again and name each of them there by its serial"
    " with failover.overwrite=.",
    Role.TARGET: "says that it is a target too. If it holds the system to be copied, boot it again"
    " with failover.role=source.",
}


_STRANGER = (
    "A machine that belongs to another site, or somebody who poses as one, announces itself here."
    " It is not called: only media of the same site make a pair."
)


def bystanders(context: Context, discovery: Discovery) -> Iterator[str]:
    """Machines of our site in our own role, by what they say of themselves: nothing is copied
    between them, and the people in front of both wonder why. Of a stranger no word is repeated."""
    role = context.own_decision.role
    for candidate in discovery.candidates():
        if candidate.role == role.value:
            yield f"{candidate.name or candidate.machine_id[:8]} {_ALIKE[role]}"
    if discovery.hears_strangers():
        yield _STRANGER


def adopt(context: Context, chosen: Acquaintance) -> None:
    """Make the chosen machine the peer of this run."""
    context.control = chosen.conversation
    context.peer = chosen.hello
    context.verdict = chosen.verdict
    context.clock_ahead = chosen.clock_ahead
