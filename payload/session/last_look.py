"""The target looks at itself once more, right before the first write.

Hours may lie between the inventory and the countdown's end, and a disk may have been swapped,
mounted or written to. So the very look that the permissions came from is taken again, and every
fact they rest on has to be what it was when both machines agreed.
"""

from payload.decide.role import decide_pair, decide_role
from payload.identify.inventory import take_inventory
from payload.model.errors import TargetDiskError, UndecidedError
from payload.model.inventory import Inventory
from payload.model.plan import DiskPair
from payload.model.role import Decision, Permission
from payload.session.context import Context

CHECK = "Check the disks."


def look_again(context: Context) -> None:
    """Raise UndecidedError or TargetDiskError unless all disks of the plan are what they were."""
    now = take_inventory(context.host, context.version, int(context.clock()))
    decision = decide_role(now, context.settings)
    check_role(context, now, decision)
    for pair in context.agreed.disks:
        _check_disk(pair, context.own, now)
        check_permission(pair, context.own_decision, decision)


def check_role(context: Context, own: Inventory, decision: Decision) -> None:
    """Raise UndecidedError unless this machine, as given, and its peer still have the opposite
    roles that each of them decided for itself."""
    other = context.other
    verdict = decide_pair(own, decision, other.inventory, other.decision, context.settings)
    if verdict.role is not context.own_decision.role:
        raise UndecidedError(
            "This machine is no longer what it was when the plan was agreed. "
            f"{' '.join(verdict.reasons)}"
        )


def _check_disk(pair: DiskPair, before: Inventory, now: Inventory) -> None:
    then = before.disk(pair.target.id)
    disk = next((one for one in now.disks if one.id == pair.target.id), None)
    if disk is None:
        raise TargetDiskError(f"Disk {pair.target.label} of the target is gone. {CHECK}")
    places = [(one.hardware.node, one.hardware.sequence) for one in (then, disk)]
    if places[0] != places[1]:
        raise TargetDiskError(
            f"Disk {pair.target.label} of the target was {then.hardware.node} when the plan was "
            f"agreed, and now another device is {then.hardware.node}. {CHECK}"
        )
    if then.content != disk.content:
        evidence = disk.content.evidence if disk.content else disk.hardware.ineligible
        raise TargetDiskError(
            f"Disk {pair.target.label} of the target changed since it was looked at: on it was "
            f"{pair.content}, now there is {evidence}. {CHECK}"
        )


def check_permission(pair: DiskPair, before: Decision, now: Decision) -> None:
    """Raise TargetDiskError unless the pair's target disk may be overwritten as it might before."""
    then, found = _permission(pair, before), _permission(pair, now)
    if then is None or then != found:
        raise TargetDiskError(
            f"Disk {pair.target.label} of the target changed since it was looked at: on it was "
            f"{pair.content}, now there is "
            f"{found.content if found else 'something that may not be overwritten'}. {CHECK}"
        )


def _permission(pair: DiskPair, decision: Decision) -> Permission | None:
    return next((one for one in decision.permissions if one.disk == pair.target.id), None)
