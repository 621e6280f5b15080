"""A connection without a wire: two ends in one process that hand messages over."""

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import replace

from payload.model.errors import FailoverError, LinkError
from payload.model.message import Chunk, Message
from tests.support.waiting import PATIENCE


class MemoryLine:
    """As `wire.channel.Channel`: send, receive, close; closing ends both directions."""

    network_time = 0.0  # there is no network that could hold anything up

    def __init__(
        self,
        outgoing: "queue.Queue[Message | None]",
        incoming: "queue.Queue[Message | None]",
        closed: threading.Event,
    ) -> None:
        self._outgoing, self._incoming, self._closed = outgoing, incoming, closed

    def send(self, message: Message) -> None:
        if self._closed.is_set():
            raise LinkError("The line is closed.")
        if isinstance(message, Chunk):  # its body is the sender's buffer, used again at once
            message = replace(message, body=bytes(message.body))
        self._outgoing.put(message)

    def receive(self, timeout: float | None = None) -> Message:
        try:
            message = self._incoming.get(timeout=PATIENCE if timeout is None else timeout)
        except queue.Empty:
            raise LinkError("Nothing came in time.") from None
        if message is None:
            raise LinkError("The line was closed.")
        return message

    def close(self) -> None:
        self._closed.set()
        self._outgoing.put(None)
        self._incoming.put(None)


def line_pair() -> tuple[MemoryLine, MemoryLine]:
    one: queue.Queue[Message | None] = queue.Queue()
    two: queue.Queue[Message | None] = queue.Queue()
    closed = threading.Event()
    return MemoryLine(one, two, closed), MemoryLine(two, one, closed)


def serve_in_thread(serve: Callable[[MemoryLine], None]) -> MemoryLine:
    """The near end of a line whose far end a thread serves until the line breaks."""
    near, far = line_pair()

    def work() -> None:
        with contextlib.suppress(FailoverError), contextlib.closing(far):
            serve(far)

    threading.Thread(target=work, daemon=True).start()
    return near
