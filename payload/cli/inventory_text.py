"""An inventory, and what follows from it, as text for people."""

from collections.abc import Iterator

from payload.console.text import plain, wrap
from payload.model.disk import Disk, Partition
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Card
from payload.model.role import Decision
from payload.model.volume import Volume

WIDTH = 100


def render_inventory(inventory: Inventory) -> str:
    """Machine, cards, disks with what lies on them, systems, warnings."""
    firmware = f"{inventory.firmware.value.upper()} firmware"
    memory = f"{inventory.memory / 1e9:.1f} GB of memory"
    lines = [f"machine  {inventory.machine.label}, {firmware}, {memory}"]
    lines += [f"card     {_card(card)}" for card in inventory.cards]
    for disk in inventory.disks:
        lines += _disk(disk)
    lines += [f"volume   {_volume(volume)}" for volume in inventory.volumes]
    lines += [f"system   {_system(system)}" for system in inventory.systems]
    lines += [f"warning  {warning}" for warning in inventory.warnings]
    return "".join(f"{text}\n" for line in lines for text in _hang(line))


def render_decision(decision: Decision) -> str:
    """The role, why, and what may be overwritten."""
    lines = [f"role     {decision.role.value} ({decision.rule})"]
    lines += [f"because  {reason}" for reason in decision.reasons]
    lines += [
        f"may be overwritten  {one.disk}: {one.ground.value}; on it now: {one.content}"
        for one in decision.permissions
    ]
    return "".join(f"{text}\n" for line in lines for text in _hang(line))


def _hang(line: str) -> tuple[str, ...]:
    """Wrapped below its first word; the column after that word, and an indent, are kept."""
    label, rest = line[:9], line[9:]
    inner = rest.lstrip(" ")
    margin = " " * (len(rest) - len(inner))
    first, *more = wrap(inner, WIDTH - 9 - len(margin), "  ")
    return (f"{plain(label):9}{margin}{first}", *(" " * 9 + margin + text for text in more))


def _card(card: Card) -> str:
    speed = f", {card.speed} Mbit/s" if card.speed else ""
    link = f"link{speed}" if card.carrier else "no link"
    return f"{card.name} {card.mac} {card.driver or 'unknown driver'} ({link})"


def _disk(disk: Disk) -> Iterator[str]:
    yield f"disk     {disk.hardware.label} ({disk.id})"
    if disk.hardware.ineligible:
        yield f"           never used: {disk.hardware.ineligible}"
    if disk.content is None:
        return
    yield f"           {'blank: ' if disk.content.blank else ''}{disk.content.evidence}"
    if disk.content.table is not None:
        for partition in disk.content.table.partitions:
            yield f"           {_partition(partition)}"


def _partition(partition: Partition) -> str:
    kind = partition.file_system.kind if partition.file_system else "no known content"
    content = "extended" if partition.is_extended else kind
    return f"partition {partition.number}: {partition.size / 1e9:.1f} GB, {content}"


def _volume(volume: Volume) -> str:
    kind = volume.file_system.kind if volume.file_system else "no known content"
    size = f"{volume.size / 1e9:.1f} GB"
    if not volume.legs:
        return f"{volume.name}: {size}, not looked into: {volume.why_not}"
    mirrored = ", mirrored" if len(volume.legs) > 1 else ""
    return f"{volume.name}: {size}, {kind}{mirrored}, on {' and '.join(volume.disks)}"


def _system(system: InstalledSystem) -> str:
    words = [system.os_name or "an unknown system"]
    if system.ucs_version:
        words.append(f"UCS {system.ucs_version}")
    if system.host_name:
        words.append(f'called "{system.host_name}"')
    words.append(f"on {' and '.join(system.disks)} {system.place} ({system.file_system})")
    if system.marker is not None:
        source = system.marker.source
        words.append(f"(our copy of {source.host_name or source.label})")
    return " ".join(words)
