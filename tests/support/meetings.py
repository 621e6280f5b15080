"""Two machines that just met, one of them before us: the source A and the blank target B."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from payload.decide.role import decide_pair, decide_role
from payload.model.event import Event
from payload.model.message import PROTOCOL_VERSION, Hello, Message
from payload.model.plan import CopyMode
from payload.model.role import Role
from payload.model.settings import Settings
from payload.session.context import Context
from payload.session.conversation import Conversation
from tests.support.machines import blank, server
from tests.support.paper_wires import OTHER, Wire


class Hurry(threading.Event):
    """The key a person may press. Who waits for it looks up more often, as in a short countdown."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.005 if timeout is None else min(timeout, 0.005))


SOURCE, TARGET = server("A"), blank("B")


def hello(inventory: Any, decision: Any = None) -> Hello:
    decision = decision or decide_role(inventory, Settings())
    return Hello(PROTOCOL_VERSION, inventory, decision, CopyMode.USED, False, 0, "")


@contextmanager
def meeting(role: Role, script: Sequence[Message | Exception], **chosen: Any) -> Iterator[Context]:
    """One of both machines, right after it chose its peer, which will say what stands here."""
    wire = Wire(OTHER, *script)
    chosen = {"countdown": 0} | chosen
    own, other = (SOURCE, TARGET) if role is Role.SOURCE else (TARGET, SOURCE)
    events: list[Event] = []
    context = Context(None, None, Settings(**chosen), events.append, Hurry(), "test")  # type: ignore[arg-type]
    context.inventory, context.decision = own, decide_role(own, context.settings)
    context.peer, context.control = hello(other), Conversation(wire)
    peer = context.peer
    context.verdict = decide_pair(
        own, context.decision, peer.inventory, peer.decision, context.settings
    )
    try:
        yield context
    finally:
        context.link.close()
