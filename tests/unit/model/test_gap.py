"""The room of a disk that is in no partition: all of it, and nothing else."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from payload.model.disk import MIB, Partition, PartitionTable
from payload.model.gap import (
    BOOT_LIMIT,
    Gap,
    backup_size,
    boot_area_end,
    find_gaps,
    table_end,
)
from tests.support.drawn_disks import tables
from tests.support.partition_tables import GPT, MBR

SECTOR = 512


def test_an_mbr_takes_one_sector_and_nothing_at_the_end() -> None:
    assert (table_end(MBR, 512), backup_size(MBR, 512)) == (512, 0)
    assert (table_end(MBR, 4096), backup_size(MBR, 4096)) == (4096, 0)


def test_a_gpt_takes_its_entries_in_whole_sectors_at_both_ends() -> None:
    """UEFI specification, 5.3: protective MBR, header and entries; entries and header."""
    assert (table_end(GPT, 512), backup_size(GPT, 512)) == (1024 + 32768, 32768 + 512)
    usual = replace(GPT, table_length=0)
    assert (table_end(usual, 512), backup_size(usual, 512)) == (34 * 512, 33 * 512)
    assert (table_end(usual, 4096), backup_size(usual, 4096)) == (6 * 4096, 5 * 4096)
    few = replace(GPT, table_length=5)  # 640 bytes are two sectors
    assert (table_end(few, 512), backup_size(few, 512)) == (4 * 512, 3 * 512)


def test_the_boot_area_ends_at_the_first_partition_or_at_its_limit() -> None:
    assert boot_area_end(MBR) == 63 * SECTOR
    assert boot_area_end(GPT) == BOOT_LIMIT
    far = PartitionTable("dos", "0x1", (Partition(1, 9 * MIB, MIB, "83"),))
    assert boot_area_end(far) == BOOT_LIMIT


def test_gaps_lie_around_logical_partitions_and_behind_the_last() -> None:
    """What chains the logical partitions lies in the extended one, which holds nothing else."""
    assert list(find_gaps(MBR, 20_000 * SECTOR, SECTOR)) == [
        Gap(1063 * SECTOR, 1000 * SECTOR),
        Gap(2163 * SECTOR, 17_837 * SECTOR),
    ]


def test_gaps_of_a_gpt_leave_out_both_halves_of_the_table() -> None:
    assert list(find_gaps(GPT, 10 * MIB, SECTOR)) == [Gap(2 * MIB, 8 * MIB - 33_280)]
    late = replace(GPT, partitions=(replace(GPT.partitions[0], start=3 * MIB),))
    first, _ = find_gaps(late, 10 * MIB, SECTOR)
    assert (first.start, first.end) == (BOOT_LIMIT, 3 * MIB)
    early = replace(GPT, partitions=(replace(GPT.partitions[0], start=70 * SECTOR, size=SECTOR),))
    assert next(find_gaps(early, MIB, SECTOR)).start == 71 * SECTOR


@given(tables())
def test_every_byte_is_of_the_boot_area_a_partition_the_table_or_a_gap(
    drawn: tuple[PartitionTable, int],
) -> None:
    table, size = drawn
    position = max(boot_area_end(table), table_end(table, SECTOR))
    end = size - backup_size(table, SECTOR)
    ranges = [(one.start, one.end) for one in find_gaps(table, size, SECTOR)]
    ranges += [(one.start, one.end) for one in table.partitions if not one.is_extended]
    for first, behind in sorted(ranges):
        assert first <= position, "nothing is left out"
        position = max(position, behind)
    assert position >= end


@given(
    st.sampled_from(["dos", "gpt"]),
    st.lists(
        st.tuples(st.integers(-4000, 40_000), st.integers(0, 40_000), st.sampled_from(["83", "5"])),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 40_000),
)
def test_a_lying_table_makes_no_gap_overlap_anything(
    label: str, told: list[tuple[int, int, str]], size: int
) -> None:
    partitions = tuple(
        Partition(number, start * SECTOR, length * SECTOR, kind)
        for number, (start, length, kind) in enumerate(told, 1)
    )
    table = PartitionTable(label, "id", partitions)
    gaps = list(find_gaps(table, size * SECTOR, SECTOR))
    end = size * SECTOR - backup_size(table, SECTOR)
    position = table_end(table, SECTOR)
    for gap in gaps:
        assert position <= gap.start < gap.end <= end
        position = gap.end + 1  # two gaps never touch
        for one in partitions:
            apart = one.end <= gap.start or gap.end <= one.start
            assert apart or one.is_extended or not one.size
