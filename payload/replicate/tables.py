"""Partition tables: the script that makes one again, and the proof that it is the same.

sfdisk writes them: it knows how logical partitions are chained and where a GPT keeps its second
half on a disk of another size.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from tempfile import NamedTemporaryFile
from typing import Any

from payload.model.disk import Partition, PartitionTable
from payload.model.errors import PlanError, TargetDiskError, ToolError
from payload.model.plan import PlannedDisk
from payload.system.host import Host

SFDISK = [
    "sfdisk",
    "--quiet",
    "--wipe=never",  # signatures that a source disk carries are part of the copy
    "--wipe-partitions=never",
    "--no-reread",
    "--no-tell-kernel",
]


def render_script(table: PartitionTable, sector_size: int) -> str:
    """The table as input for sfdisk, for a disk of any size: where it ends is left to sfdisk."""
    return "\n".join(
        [
            *_header(table, sector_size),
            "",
            *(_line(partition, table, sector_size) for partition in table.partitions),
            "",
        ]
    )


def _header(table: PartitionTable, sector_size: int) -> Iterator[str]:
    yield f"label: {table.label}"
    yield f"label-id: {table.id}"
    yield "unit: sectors"
    yield f"sector-size: {sector_size}"
    if table.label == "gpt":
        if table.first_lba:
            yield f"first-lba: {table.first_lba}"
        if table.table_length:
            yield f"table-length: {table.table_length}"


def _line(partition: Partition, table: PartitionTable, sector_size: int) -> str:
    # sfdisk takes the number from the end of the device's name; any name will do.
    fields = [
        f"start={partition.start // sector_size}",
        f"size={partition.size // sector_size}",
        f"type={partition.type_id}",
    ]
    if table.label == "gpt":
        fields.append(f"uuid={partition.uuid}")
        if partition.name:
            fields.append(f'name="{_escape(partition.name)}"')
        if partition.attributes:
            fields.append(f'attrs="{partition.attributes}"')
    elif partition.bootable:
        fields.append("bootable")
    return f"p{partition.number} : {', '.join(fields)}"


def _escape(name: str) -> str:
    """Everything but plain characters as bytes in hex, as sfdisk itself writes them."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:+/"
    encoded = name.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in encoded)


def write_table(host: Host, node: str, table: PartitionTable, sector_size: int) -> None:
    """Write the table. Raises TargetDiskError; the disk may then hold half a table."""
    try:
        host.run([*SFDISK, node], stdin=render_script(table, sector_size))
    except ToolError as error:
        raise TargetDiskError(
            f"The partition table could not be written to {node}: {error}. Check the disk."
        ) from error


def rehearse_table(host: Host, table: PartitionTable, disk: PlannedDisk) -> None:
    """Raise PlanError when sfdisk cannot make this very table on a disk of that size, as with
    logical partitions that other tools chained in an unusual way. Better known before the first
    write than hours later. Tried on an empty file, whose sectors always have 512 bytes."""
    if disk.sector_size != 512:
        return
    with NamedTemporaryFile(prefix="ugs-failover-") as file:
        try:
            file.truncate(disk.size)
            write_table(host, file.name, table, disk.sector_size)
            check_table(host, file.name, table, disk.sector_size)
        except (TargetDiskError, OSError) as error:
            raise PlanError(
                f"The partition table of the source cannot be made again on disk {disk.label}: "
                f"{error.__cause__ or error} Lay out the source's partitions "
                "anew, or copy this machine by hand."
            ) from error


def check_table(host: Host, node: str, wanted: PartitionTable, sector_size: int) -> None:
    """Raise TargetDiskError unless the table on the disk is the wanted one in every field."""
    found = read_table(host, node, sector_size)
    differences = list(_differences(wanted, found))
    if differences:
        raise TargetDiskError(
            f"The partition table on {node} is not the source's: {'; '.join(differences)}. Report "
            "this with `python3 -m payload inventory --json`."
        )


def read_table(host: Host, node: str, sector_size: int) -> PartitionTable:
    """The table on a disk, without its file systems. Raises ToolError."""
    answer = host.run(["sfdisk", "--json", node]).stdout
    try:
        return _parse(json.loads(answer)["partitiontable"], sector_size)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ToolError(f"sfdisk gave an answer for {node} that is none: {answer!r}.") from error


def _parse(document: dict[str, Any], sector_size: int) -> PartitionTable:
    entries = document.get("partitions", ())
    return PartitionTable(
        label=document["label"],
        id=document["id"].lower(),
        partitions=tuple(_partition(entry, sector_size) for entry in entries),
        first_lba=int(document.get("firstlba", 0)),
        last_lba=int(document.get("lastlba", 0)),
        table_length=int(document.get("table-length", 0)),
    )


def _partition(entry: dict[str, Any], sector_size: int) -> Partition:
    digits = len(entry["node"]) - len(entry["node"].rstrip("0123456789"))
    return Partition(
        number=int(entry["node"][-digits:]),
        start=entry["start"] * sector_size,
        size=entry["size"] * sector_size,
        type_id=entry["type"].lower(),
        uuid=entry.get("uuid", "").lower(),
        name=entry.get("name", ""),
        attributes=entry.get("attrs", ""),
        bootable=entry.get("bootable", False),
    )


def _differences(wanted: PartitionTable, found: PartitionTable) -> Iterator[str]:
    for word in ("label", "id", "first_lba", "table_length"):
        before, after = (_comparable(getattr(table, word)) for table in (wanted, found))
        if before != after and (before or word in ("label", "id")):
            yield f"its {word} is {after} instead of {before}"
    there = {partition.number: _bare(partition, found) for partition in found.partitions}
    for partition in wanted.partitions:
        mine = _bare(partition, wanted)
        if there.pop(partition.number, None) != mine:
            yield f"partition {partition.number} differs"
    if there:
        yield f"there are more partitions: {sorted(there)}"


def _comparable(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _bare(partition: Partition, table: PartitionTable) -> Partition:
    """What the table itself says: an MBR has no uuids, and its flag is not a GPT's."""
    gpt = table.label == "gpt"
    return replace(
        partition,
        type_id=partition.type_id.lower(),
        uuid=partition.uuid.lower() if gpt else "",
        name=partition.name if gpt else "",
        attributes=partition.attributes if gpt else "",
        bootable=not gpt and partition.bootable,
        file_system=None,
    )
