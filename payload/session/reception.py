"""Who stands before the source's door: conversations, data connections, and strangers."""

import contextlib
import secrets
import threading
from contextlib import ExitStack
from queue import SimpleQueue

from payload.connect.pairing import Listener
from payload.model.errors import FailoverError, PeerError
from payload.model.message import Attach, Hello, Stop
from payload.replicate.sender import Sender
from payload.session.meeting import GREETING
from payload.wire.channel import Channel


class Reception:
    """Sorts whoever calls by the first word: control conversations wait in `visitors`, data
    channels go to the session that they name, all else is shown the door. So are, during a
    session, all machines but its target."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._session = self._target = ""
        self._sender: Sender | None = None
        self.visitors: SimpleQueue[tuple[Channel, Hello]] = SimpleQueue()
        threading.Thread(target=self._receive, name="reception", daemon=True).start()

    def open_session(self, sender: Sender, target: str) -> str:
        """From now on data channels that know the returned secret are served. It stays the same
        as long as the sender does: the copy may go on while its conversation is lost. `target` is
        the id of the machine it is for."""
        with self._lock:
            if self._sender is not sender:
                self._session, self._sender = secrets.token_hex(16), sender
                self._target = target
            return self._session

    def close_session(self) -> None:
        """Nobody is served any more, and everybody may visit."""
        with self._lock:
            self._session, self._sender, self._target = "", None, ""

    def _receive(self) -> None:
        while not self._closed.is_set():
            channel = self._listener.accept(1.0)
            if channel is not None:
                threading.Thread(
                    target=self._greet, args=(channel,), name="greeting", daemon=True
                ).start()

    def _greet(self, channel: Channel) -> None:
        with ExitStack() as end:
            end.callback(channel.close)
            # A caller that breaks the rules, or leaves, ends its own connection only.
            with contextlib.suppress(FailoverError):
                first = channel.receive(GREETING)
                if isinstance(first, Attach):
                    self._serve(channel, first)
                elif not isinstance(first, Hello):
                    channel.send(Stop("a connection begins with Hello or Attach."))
                elif self._target in ("", channel.peer_id):
                    end.pop_all()
                    self.visitors.put((channel, first))
                else:
                    turn_away(channel)

    def _serve(self, channel: Channel, attach: Attach) -> None:
        with self._lock:
            known = self._session and secrets.compare_digest(attach.session, self._session)
            sender = self._sender
        if known and sender is not None:
            sender.serve(channel)
        else:
            channel.send(Stop("this session is not known here."))

    def close(self) -> None:
        self._closed.set()
        self._listener.close()


def turn_away(channel: Channel) -> None:
    """Tell a machine that is not the one we copy to, and let it go."""
    with contextlib.suppress(PeerError):
        channel.send(Stop("this source is in the middle of a copy to another machine."))
    channel.close()
