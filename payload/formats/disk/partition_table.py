"""Partition tables as sfdisk says and takes them: JSON, and a script that makes one again."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from payload.model.disk import Partition, PartitionTable


def parse_table(document: Mapping[str, Any], sector_size: int = 512) -> PartitionTable:
    """The table of `sfdisk --json`, in bytes. `sector_size` is for an sfdisk before 2.34, which
    does not say it. Raises LookupError, TypeError or ValueError for what is no such document."""
    sector = int(document.get("sectorsize", sector_size))
    return PartitionTable(
        label=str(document["label"]),
        id=printable(document.get("id", "")),
        partitions=tuple(
            _partition(document, entry, sector) for entry in document.get("partitions", [])
        ),
        first_lba=int(document.get("firstlba", 0)),
        last_lba=int(document.get("lastlba", 0)),
        table_length=int(document.get("table-length", 0)),
    )


def _partition(table: Mapping[str, Any], entry: Mapping[str, Any], sector: int) -> Partition:
    number = int(str(entry["node"]).removeprefix(str(table["device"])).removeprefix("p"))
    # Partitions of an MBR have no ids of their own; libblkid makes them from the table's.
    dos_id = str(table.get("id", "")).removeprefix("0x")
    dos_uuid = f"{dos_id}-{number:02x}" if table["label"] == "dos" and dos_id else ""
    return Partition(
        number=number,
        start=int(entry["start"]) * sector,
        size=int(entry["size"]) * sector,
        type_id=str(entry["type"]).lower(),
        uuid=printable(entry.get("uuid", dos_uuid)).lower(),
        name=printable(entry.get("name", "")),
        attributes=printable(entry.get("attrs", "")),
        bootable=bool(entry.get("bootable", False)),
    )


def printable(text: object) -> str:
    """Without the stray bytes a damaged disk may hold: this goes to screens and into JSON."""
    decoded = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in decoded)


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


def differences(wanted: PartitionTable, actual: PartitionTable) -> Iterator[str]:
    """A sentence fragment for each field in which a table is not the wanted one. Where a GPT ends
    is its disk's, and no difference."""
    for word in ("label", "id", "first_lba", "table_length"):
        before, after = (_comparable(getattr(table, word)) for table in (wanted, actual))
        if before != after and (before or word in ("label", "id")):
            yield f"its {word} is {after} instead of {before}"
    there = {partition.number: _bare(partition, actual) for partition in actual.partitions}
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
