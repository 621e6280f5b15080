"""Connections and listeners whose far end said just what a test wants."""

import queue
import time

from payload.model.errors import LinkError
from payload.model.message import Hello, Message

OURS, OTHER = "7" * 32, "9" * 32  # the peer's machine id, and a stranger's
HELLO = Hello.__new__(Hello)
# What both ask again over a new conversation, in this order.
ASKED = ("check_peer", "check_role", "exchange_plans", "exchange_go")


class Wire:
    """A connection whose far end said this, and nothing more."""

    local_address = remote_address = "192.0.2.1"

    def __init__(self, peer_id: str, *said: Message | Exception) -> None:
        """An exception among what was said is raised when its turn comes."""
        self.peer_id = peer_id
        self.incoming: queue.SimpleQueue[Message | Exception] = queue.SimpleQueue()
        for message in said:
            self.incoming.put(message)
        self.sent: list[Message] = []
        self.closed = False

    def send(self, message: Message) -> None:
        if self.closed:
            raise LinkError("It is closed.")
        self.sent.append(message)

    def receive(self, timeout: float | None = None) -> Message:
        message = self.incoming.get()
        if isinstance(message, Exception):
            raise message
        return message

    def close(self) -> None:
        self.closed = True
        self.incoming.put(LinkError("It was closed."))


class Door:
    """A listener before which these callers stand."""

    def __init__(self, *callers: Wire) -> None:
        self._callers = list(callers)

    def accept(self, timeout: float) -> Wire | None:
        if self._callers:
            return self._callers.pop(0)
        time.sleep(0.01)
        return None

    def close(self) -> None:
        pass
