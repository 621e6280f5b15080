"""What each disk of this machine is to us: the facts that roles are decided from. No I/O.

A disk that cannot be placed is never blank and never ours. Whoever adds a finding that permits
overwriting has to show a proof for it, not the absence of a reason against it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from payload.model.disk import Content, Disk, Hardware, Unfinished
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.marker import CopyMarker, DiskMapping, Usage
from payload.model.role import Ground


class Finding(Enum):
    """What a disk is to us. The first four may be overwritten."""

    NAMED = "named by a person"
    BLANK = "blank"
    UNUSED_COPY = "our copy, made for this machine, unused"
    UNFINISHED = "our unfinished copy, made for this machine"
    SYSTEM = "an installed system"
    MIXED = "an installed system beside a copy"
    USED_COPY = "our copy, used since"
    COPY_ELSEWHERE = "a copy made for another machine or disk"
    UNFINISHED_ELSEWHERE = "an unfinished copy made for another machine or disk"
    HIDDEN = "data that could not be looked into"
    FOREIGN = "data of unknown use"


GROUNDS = {
    Finding.NAMED: Ground.NAMED,
    Finding.BLANK: Ground.BLANK,
    Finding.UNUSED_COPY: Ground.OUR_COPY,
    Finding.UNFINISHED: Ground.OUR_COPY,
}


@dataclass(frozen=True)
class Verdict:
    """One disk, what it is to us, and in a few words what is on it now."""

    disk: Disk
    finding: Finding
    words: str
    source_id: str = ""  # of a copy: the machine it was copied from
    finished_at: int = 0  # of a copy

    @property
    def sentence(self) -> str:
        return f"{self.disk.hardware.label}: {self.words}."


def judge(inventory: Inventory, named: frozenset[str]) -> tuple[Verdict, ...]:
    """A verdict on every eligible disk; `named` are the ids of disks a person named."""
    return tuple(_judge_disk(disk, inventory, named) for disk in inventory.eligible_disks)


def _judge_disk(disk: Disk, inventory: Inventory, named: frozenset[str]) -> Verdict:
    verdict = _judge_content(disk, inventory)
    if disk.id in named:
        return Verdict(disk, Finding.NAMED, f"named by a person; on it is {verdict.words}")
    return verdict


def _judge_content(disk: Disk, inventory: Inventory) -> Verdict:
    if disk.content is None:
        return Verdict(disk, Finding.FOREIGN, "not looked at")
    copies = _copies_on(disk, disk.content, inventory)
    plain = [one for one in inventory.systems if disk.id in one.disks and one.marker is None]
    if plain:
        is_alone = not copies and not disk.content.unfinished
        finding = Finding.SYSTEM if is_alone else Finding.MIXED
        return Verdict(disk, finding, " and ".join(describe_system(system) for system in plain))
    if disk.content.unfinished:
        return _judge_marked(disk, disk.content, disk.content.unfinished, copies, inventory)
    if copies:
        return _judge_copies(disk, disk.content, copies, inventory.machine.id)
    return _judge_data(disk, disk.content)


def _judge_data(disk: Disk, content: Content) -> Verdict:
    if is_blank(content):
        return Verdict(disk, Finding.BLANK, "blank")
    if content.hidden:
        words = f"{', '.join(content.hidden)}, which was not looked into"
        return Verdict(disk, Finding.HIDDEN, words)
    return Verdict(disk, Finding.FOREIGN, content.evidence or "data of unknown use")


def is_blank(content: Content) -> bool:
    """Proven blank, and nothing else that was found says otherwise."""
    found = (content.table, content.file_system, content.signatures, content.unfinished)
    return content.blank and not any(found) and not content.hidden


def _judge_marked(
    disk: Disk,
    content: Content,
    mark: Unfinished,
    copies: Sequence[InstalledSystem],
    inventory: Inventory,
) -> Verdict:
    """Our mark outlives whatever else is made of a disk, and a copy that broke right before its
    boot code was written can be started by UEFI. A partition table beside it, or a file system on
    the whole disk, is ours only where the finished copy is seen too; whether that was used, it
    says itself."""
    found = _made_beside(content)
    if not found:
        return _judge_unfinished(disk, mark, inventory.machine.id)
    if not copies:
        words = f"{found} that was made after our copy to it broke off"
        finding = Finding.HIDDEN if content.hidden else Finding.FOREIGN
        return Verdict(disk, finding, ", ".join((words, *content.hidden)))
    verdict = _judge_copies(disk, content, copies, inventory.machine.id)
    ids = {copy.marker.copy_id for copy in copies if copy.marker}
    if verdict.finding is Finding.UNUSED_COPY and ids == {mark.copy_id}:
        return _judge_unfinished(disk, mark, inventory.machine.id)
    return verdict


def _made_beside(content: Content) -> str:
    """What a disk holds that an unfinished copy does not show. A member of an array is known by
    its end, and the last partition's may be taken for the disk's: it tells nothing."""
    if content.table is not None:
        return "a partition table"
    whole = content.file_system
    return whole.kind if whole and whole.kind != "linux_raid_member" else ""


def _judge_unfinished(disk: Disk, mark: Unfinished, machine_id: str) -> Verdict:
    words = f"our unfinished copy of machine {mark.source_id[:8]}, begun {when(mark.started_at)}"
    if mark.target_id == machine_id and mark.disk_id == disk.id:
        return Verdict(disk, Finding.UNFINISHED, words, mark.source_id)
    other = f"machine {mark.target_id[:8]}" if mark.target_id != machine_id else "another disk"
    return Verdict(disk, Finding.UNFINISHED_ELSEWHERE, f"{words}, made for {other}", mark.source_id)


def _copies_on(disk: Disk, content: Content, inventory: Inventory) -> list[InstalledSystem]:
    """The copied systems that lie on this disk; where none does, those it is a data disk of. An
    older copy may name it too, so those count that left what is on it now."""
    copies = [system for system in inventory.systems if system.marker]
    mapped = [(one, found) for one in copies if (found := _mapping(one.marker, disk))]
    alike = [one for one, found in mapped if found.content == content.fingerprint != ""]
    on_it = [system for system in copies if disk.id in system.disks]
    return on_it or alike or [one for one, _ in mapped]


def _mapping(marker: CopyMarker | None, disk: Disk) -> DiskMapping | None:
    mappings = marker.disks if marker else ()
    return next((mapping for mapping in mappings if mapping.target == disk.id), None)


def _judge_copies(
    disk: Disk, content: Content, copies: Sequence[InstalledSystem], machine: str
) -> Verdict:
    """All of them have to be unused, and of one source; else the first that is not decides."""
    verdicts = [_judge_copy(disk, content, copy, machine) for copy in copies]
    for verdict in verdicts:
        if verdict.finding is not Finding.UNUSED_COPY:
            return verdict
    if len({verdict.source_id for verdict in verdicts}) > 1:
        words = " and ".join(describe_copy(copy) for copy in copies)
        return Verdict(disk, Finding.FOREIGN, f"copies of more than one machine: {words}")
    return verdicts[0]


def _judge_copy(disk: Disk, content: Content, system: InstalledSystem, machine: str) -> Verdict:
    marker = system.marker
    assert marker is not None
    words = describe_copy(system)

    def verdict(finding: Finding, more: str) -> Verdict:
        text = f"{words}, {more}"
        return Verdict(disk, finding, text, marker.source.id, marker.finished_at)

    mapping = _mapping(marker, disk)
    if marker.target.id != machine:
        return verdict(Finding.COPY_ELSEWHERE, f"made for machine {marker.target.id[:8]}")
    if mapping is None:
        return verdict(Finding.COPY_ELSEWHERE, "made for another disk of this machine")
    evidence = "; ".join(signs_of_use(marker, system.usage, system.started_at))
    if evidence:
        return verdict(Finding.USED_COPY, f"used since: {evidence}")
    is_known = system.disk == disk.id and not mapping.content  # by the marker on it alone
    if not is_known and mapping.content != (content.fingerprint or None):
        # The root file system is untouched, but the disk, or room on it, may have got another use.
        finding = Finding.HIDDEN if content.hidden else Finding.FOREIGN
        return Verdict(disk, finding, f"not what {words} had there: {content.evidence}")
    return verdict(Finding.UNUSED_COPY, "unused")


def signs_of_use(marker: CopyMarker, now: Usage | None, started_at: int) -> Iterator[str]:
    """Why a copy may have been in service since it was finished. Nothing: it was not. `started_at`
    is when it noted its own first start, 0 when it did not."""
    then = marker.usage
    if marker.used:
        yield "its own mark says so"
    if started_at:
        yield f"it was started first on {when(started_at)}"
    if now is None or min(now.counter, then.counter) < 0:
        yield f"its file system ({then.kind}) does not tell, so it cannot be excluded"
    elif now.kind != then.kind or now.counter != then.counter:
        yield f"the counter of its root file system went from {then.counter} to {now.counter}"
    if now and now.time != then.time:
        yield f"it was mounted last on {when(now.time)}"


def describe_copy(system: InstalledSystem) -> str:
    """For people: "our copy of groupware of 2026-03-01 10:00 UTC"."""
    assert system.marker is not None
    source = system.marker.source
    name = source.host_name or source.label or f"machine {source.id[:8]}"
    return f"our copy of {name} of {when(system.marker.finished_at)}"


def describe_system(system: InstalledSystem) -> str:
    """For people: "the system groupware (Debian GNU/Linux 12) on partition 5"."""
    name = system.host_name or "without host name"
    kind = f" ({system.os_name})" if system.os_name else ""
    return f"the system {name}{kind} on {system.place}"


def when(seconds: int) -> str:
    """A time for people, in UTC. A machine with a dead clock may have written anything."""
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "an impossible time"


def disks_named(inventory: Inventory, word: str) -> tuple[Hardware, ...]:
    """The disks that a word of `failover.overwrite=` means. Kernel names mean none."""
    found = (disk.hardware for disk in inventory.disks)
    return tuple(hardware for hardware in found if word in _names(hardware))


def _names(hardware: Hardware) -> set[str]:
    by_id = [hardware.wwn, f"wwn-{hardware.wwn}"] if hardware.wwn else []
    names = [hardware.serial, *by_id, *hardware.aliases]
    links = [f"/dev/disk/by-id/{name}" for name in (*by_id, *hardware.aliases)]
    if hardware.path:
        names.append(f"path:{hardware.path}")
        links.append(f"/dev/disk/by-path/{hardware.path}")
    if hardware.wwn or hardware.serial:
        names.append(hardware.id)
    return {name for name in (*names, *links) if name}
