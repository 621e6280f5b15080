"""What two machines have in common: a disk that both see, a name for disks of both. No I/O."""

from collections.abc import Sequence

from payload.decide.disk_verdict import disks_named
from payload.model.disk import Disk, Hardware
from payload.model.inventory import Inventory


def shared_disks(own: Inventory, peer: Inventory) -> tuple[tuple[Hardware, Hardware], ...]:
    """The disks of both, eligible or not, that are one and the same as far as can be told."""
    return tuple(
        (mine.hardware, theirs.hardware)
        for mine in own.disks
        for theirs in peer.disks
        if _is_same_disk(mine, theirs)
        and not _is_copy_beside(mine, own, peer)
        and not _is_copy_beside(theirs, peer, own)
    )


def _is_same_disk(mine: Disk, theirs: Disk) -> bool:
    """By WWN; where one of them tells none (virtio, parallel SCSI), by serial, size and content.
    A disk that one machine does not look into is not excluded to be the other's."""
    one, other = mine.hardware, theirs.hardware
    if one.wwn and other.wwn:
        return one.wwn == other.wwn
    if not one.serial or (one.serial, one.size) != (other.serial, other.size):
        return False
    if mine.content and theirs.content:
        return mine.content.fingerprint == theirs.content.fingerprint != ""
    return (mine.eligible and other.unseen) or (theirs.eligible and one.unseen)


def _is_copy_beside(disk: Disk, inventory: Inventory, other: Inventory) -> bool:
    """Whether a marker says that the disk was copied to, in this machine. One and the same disk
    would show that marker on both."""
    if not disk.content or disk.hardware.wwn:
        return False
    elsewhere = {system.marker.copy_id for system in other.systems if system.marker}
    return any(
        mapping.target == disk.id and mapping.content == disk.content.fingerprint
        for system in inventory.systems
        if system.marker
        and system.marker.target.id == inventory.machine.id
        and system.marker.copy_id not in elsewhere
        for mapping in system.marker.disks
    )


def words_for_both(own: Inventory, peer: Inventory, words: Sequence[str]) -> tuple[str, ...]:
    """The words of `failover.overwrite=` that mean a disk of either machine: a place does so as
    soon as both machines are built alike."""
    return tuple(word for word in words if disks_named(own, word) and disks_named(peer, word))
