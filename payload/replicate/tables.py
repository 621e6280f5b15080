"""Partition tables, made again and proven to be the same.

sfdisk writes them: it knows how logical partitions are chained and where a GPT keeps its second
half on a disk of another size.
"""

import json
from tempfile import NamedTemporaryFile

from payload.formats.disk.partition_table import differences, parse_table, render_script
from payload.model.disk import PartitionTable
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
    wrong = list(differences(wanted, read_table(host, node, sector_size)))
    if wrong:
        raise TargetDiskError(
            f"The partition table on {node} is not the source's: {'; '.join(wrong)}. Report "
            "this with `python3 -m payload inventory --json`."
        )


def read_table(host: Host, node: str, sector_size: int) -> PartitionTable:
    """The table on a disk, without its file systems. Raises ToolError."""
    answer = host.run(["sfdisk", "--json", node]).stdout
    try:
        return parse_table(json.loads(answer)["partitiontable"], sector_size)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ToolError(f"`sfdisk --json {node}` gave no partition table: {answer!r}.") from error
