"""Which card of the target gets which name, asked before anything is written.

The copy itself is named at the end (`finish`). But that a name which leads to the storage or to
the domain controller will have no card can be known before the outage, from what the source says
of its names and from what the beacons said of the wires.
"""

from collections.abc import Sequence

from payload.finish.network.assignment import lost_ways, plan_names, source_names, warnings_of
from payload.model.errors import PlanError
from payload.model.machine import Card
from payload.model.network import Arrival
from payload.model.role import Role
from payload.model.survey import Survey
from payload.session.context import Context


def check_names(
    context: Context, survey: Survey, arrivals: Sequence[Arrival] = ()
) -> tuple[str, ...]:
    """Sentences about names that will have no card. Raises PlanError when the copy could not
    reach what the server is useless without."""
    in_use = survey.network
    if in_use is None:
        return ()
    own, other = context.own, context.other.inventory
    source, target = (own, other) if context.own_decision.role is Role.SOURCE else (other, own)
    ends = (context.link.card, context.other.card)
    wire = ends if context.own_decision.role is Role.SOURCE else ends[::-1]
    plan = plan_names(in_use, source.cards, (wire,), target.cards, arrivals)
    lost = lost_ways(plan, in_use)
    if lost:
        raise PlanError(
            f"The target {target.machine.label} has no network card for {', nor for '.join(lost)}:"
            f" the copy would start and not serve. Put in another network card, or"
            " connect one to that wire."
        )
    return warnings_of(plan, in_use)


def tags_of(card: Card, context: Context) -> tuple[int, ...]:
    """The VLAN ids that the copied system uses on a card of this machine, as far as is known."""
    in_use = context.survey.network if context.survey else None
    if in_use is None:
        return ()
    name = source_names(in_use, context.own.cards).get(card.mac, "")
    every = {tag for tags in in_use.vlans.values() for tag in tags}
    return in_use.vlans.get(name, ()) if name else tuple(sorted(every))
