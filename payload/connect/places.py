"""Places before the source's door: who waits there, unproven, and who has to go for a newcomer.

Anybody on the network can connect and say nothing. So a newcomer always gets a place, and what it
costs is somebody who has waited longest for a proof: first one of its own address, then one of the
address that holds most places. Addresses from which a machine of the site proved itself have
places of their own, which nobody else can fill.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

LIMIT = 96  # connections in their handshake, of addresses nobody proved himself from
PROVEN_LIMIT = 64  # the same, of addresses a machine of the site answered from
ADDRESS_LIMIT = 32  # of one address; a target opens 16 data connections at once over a link


@dataclass(frozen=True)
class Caller:
    """A connection in its handshake. Numbers grow with the time of arrival."""

    number: int
    address: str


def choose_evicted(
    waiting: Sequence[Caller], address: str, proven: Collection[str]
) -> Caller | None:
    """Who goes for a newcomer from `address`; None while there is room."""
    own = [caller for caller in waiting if caller.address == address]
    if len(own) >= ADDRESS_LIMIT:
        return _oldest(own)
    is_proven = address in proven
    beside = [caller for caller in waiting if (caller.address in proven) == is_proven]
    if len(beside) < (PROVEN_LIMIT if is_proven else LIMIT):
        return None
    held: dict[str, list[Caller]] = {}
    for caller in beside:
        held.setdefault(caller.address, []).append(caller)
    most = max(map(len, held.values()))
    return _oldest([one for callers in held.values() if len(callers) == most for one in callers])


def _oldest(callers: Collection[Caller]) -> Caller:
    return min(callers, key=lambda caller: caller.number)
