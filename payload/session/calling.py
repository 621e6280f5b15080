"""How the target reaches its source: it calls, over whichever address and link answers.

The conversation comes first; data connections follow it, attached to the session that the source
opened for them. When either breaks, the source may be at another address, or on another card.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue

from payload.connect.discovery import Candidate, Discovery
from payload.connect.links import Pair, Ways, own_reach
from payload.connect.pairing import call, local_card
from payload.model.errors import LinkError, PeerError
from payload.model.message import Attach, Hello, Reach
from payload.session.context import Context
from payload.session.conversation import Conversation
from payload.session.meeting import GREETING, own_hello
from payload.wire.channel import Channel
from payload.wire.tls import Credentials

RETRY = 3.0  # seconds between two calls to a candidate that did not answer
CALLS_LIMIT = 16  # candidates called at a time


@dataclass(frozen=True)
class Answer:
    """What came of calling a candidate: a conversation and its Hello, or why there is none."""

    candidate: Candidate
    conversation: Conversation | None = None
    hello: Hello | None = None
    fault: PeerError | None = None


def _key(candidate: Candidate) -> str:
    return candidate.machine_id or str(candidate.addresses)


class Calling:
    """The target's end of all connections of a run. `session` is the secret by which the source
    knows its data connections, "" before it was told."""

    def __init__(self, context: Context, discovery: Discovery, credentials: Credentials) -> None:
        self._context = context
        self._discovery = discovery
        self._credentials = credentials
        self._next_call: dict[str, float] = {}
        self._calls: set[str] = set()  # keys of candidates that are being called
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._lock = threading.Lock()
        self._is_looking = True
        self._reached: dict[str, Candidate] = {}  # machine id -> where it answered last
        self._ways: Ways | None = None
        self._reach: tuple[Reach, ...] = ()  # the source's, as it said last
        self.session = ""

    # --- the conversation

    def look_for_sources(self, known: frozenset[str]) -> Iterator[Answer]:
        """Call whoever is in sight and not `known`, side by side, and tell what came of calls
        since the last look. Never waits for an answer."""
        with self._lock:
            self._is_looking = True
        for candidate in self._due(known):
            thread = threading.Thread(target=self._try_to_greet, args=(candidate,), daemon=True)
            thread.start()
        with contextlib.suppress(Empty):
            while True:
                answer = self._answers.get_nowait()
                if answer.conversation is not None:
                    self._discovery.recognise(answer.conversation.peer_id)
                yield answer

    def look_no_further(self) -> None:
        """Whoever answers from now on is let go, until somebody looks again."""
        with self._lock:
            self._is_looking = False
        with contextlib.suppress(Empty):
            while True:
                self._let_go(self._answers.get_nowait())

    def _try_to_greet(self, candidate: Candidate) -> None:
        try:
            answer = Answer(candidate, *self.greet(candidate, resume=""))
        except PeerError as error:
            answer = Answer(candidate, fault=error)
        with self._lock:
            self._calls.discard(_key(candidate))
            self._next_call[_key(candidate)] = time.monotonic() + RETRY
            if self._is_looking:
                self._answers.put(answer)
                return
        self._let_go(answer)

    def _let_go(self, answer: Answer) -> None:
        if answer.conversation is not None:
            answer.conversation.say_stop("this machine is now busy with another one.")
            answer.conversation.close()

    def _due(self, known: frozenset[str]) -> Iterator[Candidate]:
        """Machines in sight without the `known`, each again only after a while. Whatever role one
        announces, it is called: a source is who answers as one."""
        for candidate in self._discovery.candidates():
            if candidate.machine_id not in known and self._is_due(candidate):
                yield candidate

    def _is_due(self, candidate: Candidate) -> bool:
        now, key = time.monotonic(), _key(candidate)
        with self._lock:
            if key in self._calls or self._next_call.get(key, 0.0) > now:
                return False
            if len(self._calls) >= CALLS_LIMIT:
                return False
            self._calls.add(key)
        return True

    def greet(self, candidate: Candidate, resume: str) -> tuple[Conversation, Hello]:
        """Call and exchange Hello; `resume` is the digest of the plan to carry on with, "" for the
        first time. Raises PeerError, LinkError; no connection is left then."""
        channel = self._call(candidate)
        with ExitStack() as on_failure:
            on_failure.callback(channel.close)
            card = local_card(channel, self._context.host.links)
            channel.send(own_hello(self._context, card, resume))
            conversation = Conversation(channel, card, self._own_reach)
            on_failure.callback(conversation.close)
            answer = conversation.receive(GREETING)
            if not isinstance(answer, Hello):
                raise PeerError(f"The source answered {type(answer).__name__} to our Hello.")
            on_failure.pop_all()
        self._reached[channel.peer_id] = replace(candidate, machine_id=channel.peer_id)
        return conversation, answer

    def greet_again(self) -> tuple[Conversation, Hello]:
        """The same with the agreed source, wherever it is now."""
        return self.greet(self._where(), resume=self._context.agreed.digest)

    def _own_reach(self) -> tuple[Reach, ...]:
        return own_reach(self._context.host.links, self._context.settings)

    def _call(self, candidate: Candidate) -> Channel:
        """Raises LinkError, also when somebody else answers: addresses go from hand to hand, and
        the machine that was meant may be at another one at the next call."""
        try:
            return call(
                candidate.addresses,
                self._credentials,
                expected_id=candidate.machine_id or None,
            )
        except PeerError as error:
            raise LinkError(str(error)) from error

    def _where(self) -> Candidate:
        """Where the peer is now: its address may have changed with the link. While a card takes
        a new address of its own nobody is in sight on it; then it is where it answered last."""
        wanted = self._context.other.inventory.machine.id
        seen = (one for one in self._discovery.candidates() if one.machine_id == wanted)
        candidate = next(seen, self._reached[wanted])
        told = self._ways.addresses() if self._ways is not None else ()
        addresses = dict.fromkeys((*candidate.addresses, *told))
        return replace(candidate, addresses=tuple(addresses))

    # --- data

    def use_all_links(self) -> None:
        """From now on `further` finds links beside the one of the conversation."""
        context = self._context
        peer_id = context.other.inventory.machine.id
        self._ways = Ways(context.host.links, context.settings, self._credentials, peer_id)

    def open_data(self) -> Channel:
        """Another connection to the same source, attached to this session. Raises LinkError."""
        channel = self._call(self._where())
        if self._ways is not None:
            self._ways.took(channel, self._reach)
        return self._attach(channel)

    def further(self) -> Iterator[Callable[[], Channel]]:
        """What opens data connections over links that are not used yet."""
        assert self._ways is not None
        self._reach = self._context.link.reach or self._reach
        for pair in self._ways.look(self._reach):
            self._context.note(f"The copy also runs over network card {pair.own} now.")
            yield partial(self._open_over, self._ways, pair)

    def _open_over(self, ways: Ways, pair: Pair) -> Channel:
        return self._attach(ways.open(pair))

    def _attach(self, channel: Channel) -> Channel:
        try:
            channel.send(Attach(self.session))
        except LinkError:
            channel.close()
            raise
        return channel
