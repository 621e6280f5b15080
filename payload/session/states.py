"""Which state follows which. Data only: it knows no role and does no I/O.

A reader who knows this table knows the program:

    IDENTIFY  who am I: disks, firmware, cards, the installed system, our marker
    CONNECT   who is there: links, addresses, one peer with the same site key and the other role
    AGREE     both compute the plan, compare digests, show it, count down
    COPY      partition content over, verified by re-reading
    RECONNECT the link broke: the same peer is waited for, then COPY carries on; a target that was
              started anew is met anew
    FINISH    names, marker, tables, boot code: a machine that boots
    REPORT    say what was done; every way through the program ends here
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    IDENTIFY = "identify"
    CONNECT = "connect"
    AGREE = "agree"
    COPY = "copy"
    RECONNECT = "reconnect"
    FINISH = "finish"
    REPORT = "report"
    END = "end"


class Outcome(StrEnum):
    """How a state ended."""

    DECIDED = "decided"  # a role was found
    PAIRED = "paired"  # exactly one peer, and it fits
    PEER_LEFT = "peer left"  # before anything was written, or for a run of its own
    AGREED = "agreed"  # equal plans, countdown over
    LOOKED = "looked"  # a dry run ends where the writing would begin
    LINK_LOST = "link lost"
    LINK_BACK = "link back"
    COPIED = "copied"  # all content in place and proven
    FINISHED = "finished"
    FAILED = "failed"  # a FailoverError, kept in the context
    REPORTED = "reported"


_FORWARD: dict[tuple[State, Outcome], State] = {
    (State.IDENTIFY, Outcome.DECIDED): State.CONNECT,
    (State.CONNECT, Outcome.PAIRED): State.AGREE,
    (State.AGREE, Outcome.PEER_LEFT): State.CONNECT,
    (State.AGREE, Outcome.LOOKED): State.REPORT,
    (State.AGREE, Outcome.AGREED): State.COPY,
    (State.COPY, Outcome.LINK_LOST): State.RECONNECT,
    (State.RECONNECT, Outcome.LINK_BACK): State.COPY,
    (State.RECONNECT, Outcome.PEER_LEFT): State.CONNECT,
    (State.COPY, Outcome.PEER_LEFT): State.CONNECT,
    (State.COPY, Outcome.COPIED): State.FINISH,
    (State.FINISH, Outcome.FINISHED): State.REPORT,
    (State.REPORT, Outcome.REPORTED): State.END,
}

TRANSITIONS: Mapping[tuple[State, Outcome], State] = _FORWARD | {
    (state, Outcome.FAILED): State.REPORT
    for state in State
    if state not in (State.REPORT, State.END)
}


class OutOfOrderError(RuntimeError):
    """An outcome that the table does not know in this state: a mistake in the program."""


def next_state(state: State, outcome: Outcome) -> State:
    """The state that follows. Raises OutOfOrderError; the caller's state is unchanged then."""
    try:
        return TRANSITIONS[state, outcome]
    except KeyError:
        raise OutOfOrderError(f"{outcome!r} cannot happen in state {state!r}") from None
