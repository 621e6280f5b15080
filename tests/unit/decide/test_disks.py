"""Disks as a plan sees them: what divides them, how they are ordered, what people call them."""

from dataclasses import replace

import pytest

from payload.decide.disks import amount, content_of, label_of, labels_of, place, table_of
from payload.model.disk import Content, Disk, Hardware, PartitionTable
from payload.model.errors import PlanError
from tests.support.machines import DATA, disk, with_table

ACME = Hardware("sda", "/dev/sda", 80_026_361_856, model="ACME 80", serial="S1", path="ata-1")


def test_a_disk_that_was_not_looked_at_has_no_content_to_decide_by() -> None:
    assert content_of(disk("S", DATA)) is DATA
    for read in (content_of, table_of):
        with pytest.raises(PlanError, match=r"Disk S 500\.0 GB was not looked at\. Boot both"):
            read(disk("S", None))


def test_a_table_without_partitions_divides_nothing() -> None:
    """sfdisk calls the boot sector of a FAT or an NTFS that, since it ends in 55 AA."""
    divided = with_table()
    assert table_of(disk("S", divided)) is divided.table
    assert table_of(disk("S", DATA)) is None
    assert table_of(disk("S", Content(False, "", PartitionTable("dos", "0x1", ())))) is None


def test_disks_are_ordered_as_the_firmware_counts_and_equal_places_by_their_ids() -> None:
    paths = ("pci-0000:00:1f.2-ata-10", "pci-0000:00:1f.2-ata-2", "pci-0000:00:07.0-ata-3")
    disks = [disk(f"S{number}", DATA, path=path) for number, path in enumerate(paths)]
    twins = [disk(serial, DATA, path=paths[1]) for serial in ("S9", "S1")]
    ordered = sorted([*disks, *twins], key=place)
    assert [one.id for one in ordered] == [f"serial:S{n}" for n in (2, 1, 1, 9, 0)]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0.0 MB"),
        (440_000, "0.4 MB"),
        (999_999_488, "1000.0 MB"),
        (10**9, "1.0 GB"),
        (2 * 10**12, "2000.0 GB"),
    ],
)
def test_sizes_are_counted_as_on_the_sticker(size: int, words: str) -> None:
    assert amount(size) == words


def test_a_label_is_what_the_sticker_says_and_no_kernel_name() -> None:
    assert label_of(ACME) == "ACME 80 S1 80.0 GB"
    assert label_of(replace(ACME, serial="", model="")) == "path:ata-1 80.0 GB"
    assert label_of(replace(ACME, serial="", wwn="0x5")) == "ACME 80 wwn:0x5 80.0 GB"
    renamed = replace(ACME, name="sdz", node="/dev/sdz")
    assert labels_of([Disk(ACME), Disk(renamed)]) == ", ".join([label_of(ACME)] * 2)
    assert labels_of([]) == ""
