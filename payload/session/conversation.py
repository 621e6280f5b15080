"""A control connection with a heartbeat: what is said is queued, silence is noticed.

A reader thread empties the channel, so a peer is never blocked by our being busy with disks, and
a heartbeat thread says `Alive`, with where this machine can be reached. The peer's is kept apart
from what is said: it may change at any time and is nobody's turn.
"""

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from payload.model.errors import LinkError, PeerError, StoppedError
from payload.model.message import Alive, Final, Hello, Message, PlanOffer, Reach, Stop

HEARTBEAT = 5.0  # seconds
LAST_WORD = 1.0  # seconds for what a peer said before it hung up
SILENCE = 30.0  # seconds without a word after which the peer counts as gone


class Line(Protocol):
    """What a conversation needs of `wire.channel.Channel`."""

    peer_id: str

    def send(self, message: Message) -> None: ...

    def receive(self, timeout: float | None) -> Message: ...

    def close(self) -> None: ...


class Conversation:
    """Owns the channel: close the conversation, never the channel."""

    def __init__(
        self,
        channel: Line,
        card: str = "",
        own_reach: Callable[[], tuple[Reach, ...]] = tuple,
    ) -> None:
        """`card` is the permanent MAC of our end of the wire; `own_reach` is told to the peer."""
        self.channel = channel
        self.card = card
        self.reach: tuple[Reach, ...] = ()  # the peer's, as it said last
        self._own_reach = own_reach
        self.peer_id = channel.peer_id
        self._inbox: queue.Queue[Message | PeerError] = queue.Queue(maxsize=256)
        self._closed = threading.Event()
        self._end: PeerError | None = None
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=f"control {work.__name__}", daemon=True).start()

    def _listen(self) -> None:
        said: set[type[Message]] = set()
        while True:  # until the channel ends; it also does when we close it
            try:
                message = self.channel.receive(SILENCE)
                _check_once(message, said)
            except PeerError as error:
                self._inbox.put(error)
                return
            if isinstance(message, Alive):
                self.reach = message.reach
            else:
                self._inbox.put(message)

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            try:
                self.channel.send(Alive(self._own_reach()))
            except PeerError:
                return  # the reader tells the same, with the cause

    def send(self, message: Message) -> None:
        """Raises LinkError, or what the peer said as its last word before it hung up."""
        try:
            self.channel.send(message)
        except LinkError:
            stop = self._last_word()
            if stop is not None:
                raise _stopped(stop) from None
            raise

    def _last_word(self) -> Stop | None:
        """The Stop that explains a closed connection: the reader may be about to read it."""
        end = time.monotonic() + LAST_WORD
        while not self.ended and time.monotonic() < end:
            time.sleep(0.02)
        with self._inbox.mutex:
            return next((item for item in self._inbox.queue if isinstance(item, Stop)), None)

    def poll(self, timeout: float) -> Message | None:
        """The next message, or None after `timeout` seconds.

        Raises LinkError or PeerError once everything said before the end was delivered, and
        StoppedError or PeerError when the peer said Stop.
        """
        if self._end is not None:
            raise self._end
        try:
            item = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(item, PeerError):
            self._end = item
            raise item
        if isinstance(item, Stop):
            raise _stopped(item)
        return item

    def receive(self, timeout: float | None = None) -> Message:
        """As `poll`, but silence of `timeout` seconds is a LinkError."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            message = self.poll(min(1.0, left))
            if message is not None:
                return message
        raise LinkError(f"The other machine gave no answer for {timeout:.0f} seconds.")

    @property
    def waiting(self) -> bool:
        """True when a message waits to be read, whatever came after it."""
        with self._inbox.mutex:
            return bool(self._inbox.queue) and not _is_end(self._inbox.queue[0])

    @property
    def ended(self) -> bool:
        """True when the peer is gone or said Stop, even if that was not read yet."""
        with self._inbox.mutex:
            return self._end is not None or any(map(_is_end, self._inbox.queue))

    def say_stop(self, sentence: str, *, by_person: bool = False) -> None:
        """Tell the peer why we end; that it cannot hear any more is no further error."""
        with contextlib.suppress(PeerError):
            self.channel.send(Stop(sentence, by_person))

    def close(self) -> None:
        self._closed.set()
        self.channel.close()


def _check_once(message: Message, said: set[type[Message]]) -> None:
    """The large messages are said once. Whoever repeats them would only fill our memory while we
    are busy. Raises PeerError."""
    kind = type(message)
    if kind in said:
        raise PeerError(
            f"The other machine broke the protocol: it said {kind.__name__} twice. The connection "
            "was closed."
        )
    if isinstance(message, Hello | PlanOffer | Final):
        said.add(kind)


def _stopped(stop: Stop) -> StoppedError | PeerError:
    kind = StoppedError if stop.by_person else PeerError
    return kind(f"The other machine stopped: {stop.sentence}")


def _is_end(item: Message | PeerError) -> bool:
    return isinstance(item, PeerError | Stop)
