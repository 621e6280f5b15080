"""Disks and what lies on them: stable names, order, and what a copy shares with its original."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.disk import (
    SMALLEST_SYSTEM,
    Content,
    FileSystem,
    Hardware,
    Partition,
    PartitionTable,
)

DISK = Hardware("sda", "/dev/sda", 500 * 10**9, model="ST1", serial="S1", wwn="0x5000", path="p-1")


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        ((), "wwn:0x5000"),
        (("wwn",), "serial:S1"),
        (("wwn", "serial"), "path:p-1"),
        (("wwn", "serial", "path"), "path:sda"),
    ],
)
def test_a_disk_has_the_surest_name_that_there_is(missing: tuple[str, ...], name: str) -> None:
    assert replace(DISK, **dict.fromkeys(missing, "")).id == name  # type: ignore[arg-type]


def test_the_names_of_this_boot_are_no_identity() -> None:
    moved = replace(DISK, name="sdz", node="/dev/sdz", path="p-9", sequence=99)
    assert moved.id == DISK.id


def test_a_label_leaves_out_what_is_not_known() -> None:
    assert DISK.label == "sda ST1 S1 500.0 GB"
    assert replace(DISK, model="", serial="").label == "sda 500.0 GB"


@pytest.mark.parametrize(
    ("changes", "unseen"),
    [
        ({"ineligible": "it is on Fibre Channel"}, True),
        ({"ineligible": "it is on Fibre Channel", "size": SMALLEST_SYSTEM}, True),
        ({"ineligible": "it is on Fibre Channel", "size": SMALLEST_SYSTEM - 1}, False),
        ({}, False),
        ({"ineligible": "our medium", "bystander": True}, False),
        ({"ineligible": "a stick", "removable": True}, False),
    ],
)
def test_a_server_may_run_from_a_disk_that_is_not_looked_into(
    changes: dict[str, object], unseen: bool
) -> None:
    assert replace(DISK, **changes).unseen is unseen  # type: ignore[arg-type]


def at(path: str) -> Hardware:
    return replace(DISK, path=path)


@pytest.mark.parametrize(
    "paths",
    [
        ["pci-0000:00:1f.2-ata-2", "pci-0000:00:1f.2-ata-10"],
        ["pci-0000:00:09.0-ata-1", "pci-0000:00:0a.0-ata-1", "pci-0000:00:10.0-ata-1"],
        ["pci-0000:00:1f.2-ata-1", "pci-0000:00:1f.5-ata-1"],
        ["pci-0000:ff:00.0-ata-1", "pci-10000:00:00.0-ata-1"],
        ["pci-0000:02:00.0-scsi-0:0:1:0", "pci-0000:02:00.0-scsi-0:0:12:0"],
    ],
)
def test_disks_are_counted_by_controller_and_port(paths: list[str]) -> None:
    mixed = [at(path) for path in reversed(paths)]
    counted = sorted(mixed, key=lambda disk: disk.position)
    assert [disk.path for disk in counted] == paths


@given(st.lists(st.text(max_size=30), max_size=5))
def test_disks_at_any_places_can_be_sorted(paths: list[str]) -> None:
    """Words and numbers stand in the same place: they must not be compared with each other."""
    assert len(sorted(map(at, paths), key=lambda disk: disk.position)) == len(paths)


# --- tables


def test_a_table_ends_where_the_last_partition_does_whatever_their_order() -> None:
    parts = (Partition(2, 500, 100, "83"), Partition(1, 100, 50, "83"))
    assert PartitionTable("dos", "0x1", parts).end == 600
    assert PartitionTable("dos", "0x1", ()).end == 0


@pytest.mark.parametrize("kind", ["5", "f", "85", "c5"])
def test_a_container_of_partitions_holds_no_data(kind: str) -> None:
    assert Partition(1, 0, 1, kind).is_extended
    assert not Partition(1, 0, 1, "83").is_extended
    assert not Partition(1, 0, 1, "0fc63daf-8483-4772-8e79-3d69d8477de4").is_extended


# --- what a copy has in common with its original

ROOT = FileSystem("ext4", "r00t")
PARTS = (Partition(1, 1 << 20, 1 << 30, "83", file_system=ROOT), Partition(2, 1 << 31, 512, "82"))
TABLE = PartitionTable("dos", "0x1234", PARTS)
CONTENT = Content(False, "a table", TABLE)


def with_part(**changes: object) -> Content:
    part = replace(PARTS[0], **changes)  # type: ignore[arg-type]
    return replace(CONTENT, table=replace(TABLE, partitions=(part, PARTS[1])))


@pytest.mark.parametrize(
    "copy",
    [
        replace(CONTENT, evidence="other words", signatures=("dos",), hidden=("LVM",)),
        replace(CONTENT, table=replace(TABLE, partitions=PARTS[::-1])),
        replace(CONTENT, table=replace(TABLE, first_lba=34, last_lba=99)),
        with_part(file_system=replace(ROOT, doubt="its journal is not empty", behind=512)),
        with_part(bootable=True, name="root", attributes="RequiredPartition"),
        with_part(uuid="1234-01"),
    ],
)
def test_a_copy_is_known_by_ids_and_places(copy: Content) -> None:
    assert copy.fingerprint == CONTENT.fingerprint != ""


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTENT, table=replace(TABLE, id="0x1235")),
        replace(CONTENT, table=replace(TABLE, label="gpt")),
        replace(CONTENT, table=replace(TABLE, partitions=PARTS[:1])),
        replace(CONTENT, file_system=ROOT),
        replace(CONTENT, table=None, file_system=ROOT),
        with_part(number=3),
        with_part(start=2 << 20),
        with_part(size=1 << 29),
        with_part(file_system=None),
        with_part(file_system=replace(ROOT, uuid="other")),
        with_part(file_system=replace(ROOT, kind="ext3")),
    ],
)
def test_another_disk_is_not_taken_for_the_copy(other: Content) -> None:
    assert other.fingerprint not in ("", CONTENT.fingerprint)


def test_there_is_nothing_to_know_an_empty_disk_by() -> None:
    assert Content(True, "zeros").fingerprint == ""
    assert Content(False, "noise", signatures=("x",)).fingerprint == ""
