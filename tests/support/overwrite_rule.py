"""The rule about overwriting, written down a second time and as plainly as can be."""

from payload.model.disk import Disk
from payload.model.inventory import Inventory


def may_be_overwritten(inventory: Inventory, one: Disk, named: tuple[str, ...]) -> bool:
    """Whether the rule permits to overwrite this disk, if a person named these."""
    content = one.content
    if one.hardware.ineligible or content is None:
        return bool(not one.hardware.ineligible and {one.hardware.serial, one.id} & set(named))
    if {one.hardware.serial, one.id} & set(named):
        return True
    here = [found for found in inventory.systems if found.disk == one.id]
    if any(found.marker is None for found in here):
        return False
    mark = content.unfinished
    if mark and (mark.target_id, mark.disk_id) != (inventory.machine.id, one.id):
        return False  # of the copies here all are the one that the mark is of
    whole = content.file_system
    if mark and not content.table and (not whole or whole.kind == "linux_raid_member"):
        return True
    for found in inventory.systems:
        made = found.marker
        if made is None or made.target.id != inventory.machine.id or made.used:
            continue
        if found.started_at:
            continue
        if found.usage != made.usage or made.usage.counter < 0:
            continue
        for mapping in made.disks:
            if mapping.target == one.id and (
                mapping.content == content.fingerprint != ""
                or (found.disk == one.id and not mapping.content)
            ):
                return True
    nothing = not (content.table or content.signatures or content.hidden or here or mark)
    return content.blank and nothing
