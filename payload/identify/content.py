"""What lies on a disk: its partition table, its file systems, or the proof that it is blank.

Everything is read from the whole disk, never from partition nodes: the kernel's idea of the
partitions plays no part. Blank is a proof made of four parts, each of which alone would let
something through: no partition table, no signature, zeros at both ends, and zeros at evenly
spread places between.
"""

import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from payload.formats.disk.partition_table import parse_table, printable
from payload.formats.disk.room_behind import find_room_behind
from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, decode_mark
from payload.model.disk import (
    MIB,
    Content,
    FileSystem,
    Hardware,
    Partition,
    PartitionTable,
    Remnant,
    Unfinished,
)
from payload.model.errors import ToolError
from payload.model.gap import GAP_LIMIT, find_gaps
from payload.system.host import Host
from payload.system.map_doubts import find_doubt

SAMPLES = 64  # places between the ends, one MiB each
_ALIGNED = 4096  # bytes; O_DIRECT takes multiples of the sector size, at most this
_ZEROS = bytes(MIB)
_NO_TABLE = "does not contain a recognized partition table"  # sfdisk, with LC_ALL=C
_NOTHING, _AMBIVALENT = 2, 8  # exit codes of blkid --probe

# What holds other volumes: hidden, unless `layers` finds out what is in it.
CONTAINERS = {
    "LVM2_member": "LVM",
    "LVM1_member": "LVM",
    "linux_raid_member": "MD RAID",
    "ddf_raid_member": "DDF RAID",
    "isw_raid_member": "Intel RAID",
    "crypto_LUKS": "LUKS",
    "zfs_member": "ZFS",
    "bcache": "bcache",
    "drbd": "DRBD",
    "DM_snapshot_cow": "a snapshot",
}


def look_at(host: Host, hardware: Hardware) -> Content:
    """Read what is on an eligible disk. Raises ToolError when that cannot be found out."""
    table = read_table(host, hardware.node)
    signatures = _signatures(host, hardware.node)
    whole, words = None, ""
    if table is None or not table.partitions:  # the latter is what sfdisk calls a FAT's boot sector
        whole, words = probe(host, hardware.node, 0, hardware.size)
    hidden = [words] if words else []
    if table:
        table, more = _with_file_systems(host, hardware.node, table)
        hidden += more
    unfinished, evidence = _look_at_bytes(host, hardware)
    hidden += [CONTAINERS[kind] for kind in signatures if kind in CONTAINERS]
    is_blank = not (evidence or table or whole or signatures or unfinished or hidden)
    remnants = tuple(_find_remnants(host, hardware, table)) if table and table.partitions else ()
    found = (table, whole, signatures, unfinished, _unique(hidden), remnants)
    content = Content(is_blank, "", *found)
    return replace(content, evidence=_evidence(content, evidence))


def read_table(host: Host, node: str) -> PartitionTable | None:
    """The partition table, None when there is none. Raises ToolError when sfdisk failed."""
    done = host.run(["sfdisk", "--json", node], ok=(0, 1))
    if done.code == 1 and _NO_TABLE in done.stderr:
        return None
    if done.code != 0:
        raise ToolError(
            f"The partition table of {node} could not be read by sfdisk: {done.stderr.strip()}."
        )
    try:
        return parse_table(json.loads(done.stdout, strict=False)["partitiontable"])
    except (ValueError, LookupError, TypeError) as error:
        raise ToolError(
            f"`sfdisk --json {node}` told what cannot be understood: {error!r}."
        ) from error


def _with_file_systems(
    host: Host, node: str, table: PartitionTable
) -> tuple[PartitionTable, list[str]]:
    """The table with what is on each partition, and what there could not be looked into."""
    partitions: list[Partition] = []
    hidden = [] if table.label in ("dos", "gpt") else [f"a partition table of kind {table.label}"]
    for partition in table.partitions:
        found, words = None, ""
        if not partition.is_extended:
            found, words = probe(host, node, partition.start, partition.size)
        if words:
            hidden.append(f"{words} on partition {partition.number}")
        partitions.append(replace(partition, file_system=found))
    return replace(table, partitions=tuple(partitions)), hidden


def _find_remnants(host: Host, hardware: Hardware, table: PartitionTable) -> Iterator[Remnant]:
    """What the gaps hold that are too large to be copied unseen. A deleted partition began where
    the gap does, or at the next MiB, where partitions are aligned. Raises ToolError."""
    for gap in find_gaps(table, hardware.size, hardware.sector_size):
        if gap.size <= GAP_LIMIT:
            continue
        for start in (gap.start, (gap.start // MIB + 1) * MIB):
            system, words = probe(host, hardware.node, start, gap.end - start)
            kind = system.kind if system else words
            if kind:
                yield Remnant(gap.start, kind)
                break


def probe(host: Host, node: str, start: int, size: int) -> tuple[FileSystem | None, str]:
    """What libblkid finds in a range, and what speaks against looking into it. Raises
    ToolError."""
    place = ["--offset", str(start), "--size", str(size)]
    argv = ["blkid", "--probe", "--output", "export", *place, node]
    done = host.run(argv, ok=(0, _NOTHING, _AMBIVALENT))
    if done.code == _AMBIVALENT:
        return None, "signatures of more than one file system"
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    kind = told.get("TYPE", "")
    if not kind:
        return None, ""
    uuid, label = (_unescape(told.get(key, "")) for key in ("UUID", "LABEL"))
    doubt = find_doubt(host, node, start, size, kind)
    behind = find_room_behind(node, start, size, kind)
    return FileSystem(printable(kind), uuid, label, doubt, behind), CONTAINERS.get(kind, "")


def _signatures(host: Host, node: str) -> tuple[str, ...]:
    """Every signature on the disk itself, the ones at its end included."""
    text = host.run(["wipefs", "--no-act", "--json", node]).stdout
    try:
        found = json.loads(text, strict=False)["signatures"] if text.strip() else []
        return _unique(printable(signature["type"]) for signature in found)
    except (ValueError, LookupError, TypeError) as error:
        raise ToolError(
            f"`wipefs --no-act --json {node}` told what cannot be understood: {error!r}."
        ) from error


def _look_at_bytes(host: Host, hardware: Hardware) -> tuple[Unfinished | None, str]:
    """Our mark of an unfinished copy, and where the first byte was found that is not zero."""
    memory = mmap.mmap(-1, MIB)  # aligned, as O_DIRECT wants it
    descriptor = -1
    try:
        descriptor = host.blocks.open_to_read(hardware.node)
        head = _read(descriptor, memory, 0)
        mark = decode_mark(head[MARK_OFFSET : MARK_OFFSET + MARK_SIZE])
        for offset in sample_offsets(hardware.size):
            piece = _read(descriptor, memory, offset)
            if piece != _ZEROS[: len(piece)] or not piece:
                return mark, f"data at byte {offset + _first_set(piece)}"
    except OSError as error:
        return None, f"parts that cannot be read ({error.strerror})"
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        memory.close()
    return mark, ""


def sample_offsets(size: int) -> list[int]:
    """Where to look for zeros, one MiB each: the first, the last, and 64 evenly spread ones.

    Offsets are aligned downwards, so the last MiB takes a second, shorter look at its very end.
    """
    last = max(size - MIB, 0)
    spread = [last * number // (SAMPLES + 1) for number in range(SAMPLES + 2)]
    ends = [*spread, max(size - _ALIGNED, 0)]
    return sorted({offset // _ALIGNED * _ALIGNED for offset in ends})


def _read(descriptor: int, memory: mmap.mmap, offset: int) -> bytes:
    return memory[: os.preadv(descriptor, [memory], offset)]


def _first_set(piece: bytes) -> int:
    return len(piece) - len(piece.lstrip(b"\0"))


def _evidence(content: Content, data: str) -> str:
    """For people: what was seen, in a few words."""
    if content.unfinished:
        return "our mark of an unfinished copy"
    words = [f"{kind} signature" for kind in content.signatures]
    if content.file_system:
        words = [f"{content.file_system.kind} on the whole disk"]
    elif content.table:
        systems = [part.file_system for part in content.table.partitions]
        kinds = ", ".join(system.kind for system in systems if system) or "no file systems"
        count = len(content.table.partitions)
        words = [f"a {content.table.label} partition table with {count} partitions ({kinds})"]
    words += [word for word in content.hidden if not content.table]
    if not words and data:
        words = [f"no known signature, but {data}"]
    nothing = f"no partition table, no signature, zeros at both ends and {SAMPLES} places between"
    return "; ".join(words) or nothing


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _unescape(text: str) -> str:
    """blkid's export format puts a backslash before what a shell would understand."""
    return printable(re.sub(r"\\(.)", r"\1", text))
