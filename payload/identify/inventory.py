"""Everything this machine knows of itself, in one value."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from payload.identify.content import CONTAINERS, look_at
from payload.identify.installed import Findings, find_systems, locations_of, volume_locations
from payload.identify.layers import Layers, find_layers
from payload.model.disk import Content, Disk, Hardware
from payload.model.errors import ToolError
from payload.model.inventory import InstalledSystem, Inventory
from payload.system.host import Host

LUKS_KIND = "crypto_LUKS"
UNSEEN = "something that could not be looked at"


def take_inventory(host: Host, version: str, now: int) -> Inventory:
    """Look at this machine, changing nothing. `now` is seconds since the epoch.

    Raises ToolError when the disks or cards cannot be listed. A single disk that cannot be looked
    at is a warning, and counts as holding something.
    """
    hardware, warnings = tell_apart(host.blocks.find())
    cards = host.links.cards()
    looked = [_examine(host, one) for one in hardware]
    layers = find_layers(host, [disk for disk, _ in looked])
    on_volumes = find_systems(host, volume_locations([disk for disk, _ in looked], layers.volumes))
    understood = layers.understood(_unseen(layers, on_volumes))
    found = [*(findings for _, findings in looked), on_volumes]
    disks = tuple(_settled(disk, findings, understood) for disk, findings in looked)
    systems = _systems(found, disks, layers)
    return Inventory(
        machine=host.board.identity(tuple(card.mac for card in cards)),
        firmware=host.board.firmware(),
        cards=cards,
        disks=disks,
        systems=systems,
        warnings=(
            *warnings,
            *(word for findings in found for word in findings.warnings),
            *_doubts(found, systems, disks),
            *layers.warnings,
            *_hidden([disk for disk, _ in looked], understood),
        ),
        memory=host.board.memory(),
        clock=now,
        version=version,
        volumes=tuple(layers.volumes),
        unused=tuple(layers.unused),
    )


def _examine(host: Host, hardware: Hardware) -> tuple[Disk, Findings]:
    if hardware.ineligible:
        return Disk(hardware), Findings()
    try:
        content = look_at(host, hardware)
    except ToolError as error:
        warning = f"{hardware.label} could not be looked at: {error}"
        unknown = Content(blank=False, evidence=UNSEEN, hidden=(UNSEEN,))
        return Disk(hardware, unknown), Findings(warnings=[warning])
    disk = Disk(hardware, content)
    return disk, find_systems(host, locations_of(disk))


def _unseen(layers: Layers, on_volumes: Findings) -> set[str]:
    """The volumes in which a system may be that was not found."""
    return {volume.name for volume in layers.volumes if not volume.legs} | on_volumes.unseen


def _systems(
    found: Sequence[Findings], disks: Iterable[Disk], layers: Layers
) -> tuple[InstalledSystem, ...]:
    """The systems that were seen; where one is encrypted and none was, what its /boot tells. What
    anybody can have made to look like one counts where there is nothing else: a server whose root
    directory has another owner is still a server."""
    systems = tuple(system for findings in found for system in findings.systems)
    doubtful = tuple(system for findings in found for system in findings.doubtful)
    kinds = {one.file_system.kind for one in layers.volumes if one.file_system}
    words = [word for disk in disks if disk.content for word in disk.content.hidden]
    if systems or not (LUKS_KIND in kinds or any(CONTAINERS[LUKS_KIND] in one for one in words)):
        return systems or doubtful
    return tuple(system for findings in found for system in findings.boots) or doubtful


def _doubts(
    found: Sequence[Findings], systems: Sequence[InstalledSystem], disks: Iterable[Disk]
) -> Iterator[str]:
    labels = {disk.id: disk.hardware.label for disk in disks}
    for system in (one for findings in found for one in findings.doubtful if one not in systems):
        yield (
            f"On {system.place} of {labels[system.disk]} are files as of an installed system, which"
            " not only root can have put there: it is not taken for one."
        )


def _settled(disk: Disk, findings: Findings, understood: Collection[tuple[str, str]]) -> Disk:
    """With what is still hidden, now that the volumes were looked into."""
    if disk.content is None:
        return disk
    words = dict.fromkeys((*disk.content.hidden, *findings.hidden))
    hidden = tuple(word for word in words if (disk.id, word) not in understood)
    return replace(disk, content=replace(disk.content, hidden=hidden))


def _hidden(disks: Iterable[Disk], understood: Collection[tuple[str, str]]) -> Iterator[str]:
    for disk in disks:
        for words in disk.content.hidden if disk.content else ():
            if words != UNSEEN and (disk.id, words) not in understood:
                yield (
                    f"{disk.hardware.label} holds {words}: whether there is a system in it was not"
                    " looked at."
                )


def tell_apart(found: Sequence[Hardware]) -> tuple[tuple[Hardware, ...], tuple[str, ...]]:
    """Make sure that no two disks have the same id, and say which are known by less than that.

    A serial that two disks share (cheap controllers, virtual machines) is cleared, so that the
    path counts. Equal WWNs are one disk seen twice: none of the two may be written to.
    """
    warnings: list[str] = []
    serials = Counter(disk.serial for disk in found if disk.serial)
    disks = [_without_shared_serial(disk, serials, warnings) for disk in found]
    ids = Counter(disk.id for disk in disks)
    disks = [_without_shared_id(disk, ids, warnings) for disk in disks]
    for disk in disks:
        if disk.id.startswith("path:") and not disk.ineligible:
            warnings.append(
                f"{disk.label} tells neither serial nor WWN of its own: it is known only by where"
                f" it is plugged in ({disk.path})."
            )
    return tuple(disks), tuple(warnings)


def _without_shared_serial(disk: Hardware, serials: Counter[str], warnings: list[str]) -> Hardware:
    if serials[disk.serial] < 2:
        return disk
    warnings.append(f"{disk.label}: another disk has the same serial, so it counts for nothing.")
    return replace(disk, serial="")


def _without_shared_id(disk: Hardware, ids: Counter[str], warnings: list[str]) -> Hardware:
    is_anonymous = not (disk.wwn or disk.serial or disk.path)
    if disk.ineligible or (ids[disk.id] < 2 and not is_anonymous):
        return disk
    reason = "it cannot be told from another disk, or is the same disk seen twice"
    warnings.append(f"{disk.label} is left alone: {reason} ({disk.id}).")
    return replace(disk, ineligible=reason)
