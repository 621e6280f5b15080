"""The bytes before the first partition: boot code kept, a table of its own left to each disk."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from payload.formats.disk.boot_area import table_range, with_table_of, without_table
from payload.model.disk import PartitionTable
from tests.support.partition_tables import GPT, MBR


def test_boot_code_and_table_are_told_apart() -> None:
    assert table_range(MBR, 512) == (440, 440), "an MBR is bytes like others"
    assert table_range(GPT, 512) == (440, 1024 + 256 * 128)
    assert table_range(replace(GPT, table_length=0), 4096) == (440, 2 * 4096 + 16384)
    area = memoryview(bytearray(b"\xaa" * 2048))
    without_table(area, MBR, 512)
    assert bytes(area) == b"\xaa" * 2048
    assert with_table_of(bytes(area), b"\xbb" * 2048, MBR, 512) == b"\xaa" * 2048
    few = replace(GPT, table_length=4)
    without_table(area, few, 512)
    assert bytes(area) == b"\xaa" * 440 + bytes(1096) + b"\xaa" * 512
    merged = with_table_of(bytes(area), b"\xbb" * 2048, few, 512)
    assert merged == b"\xaa" * 440 + b"\xbb" * 1096 + b"\xaa" * 512
    small = memoryview(bytearray(b"\xaa" * 1024))
    without_table(small, GPT, 512)  # the first partition begins before the table could end
    assert bytes(small) == b"\xaa" * 440 + bytes(584)


TABLES = st.sampled_from([MBR, GPT, replace(GPT, table_length=4), replace(GPT, table_length=0)])


@given(TABLES, st.sampled_from([512, 4096]), st.integers(440, 40_000), st.integers(0, 255))
def test_a_disk_keeps_its_table_and_gets_the_boot_code_of_another(
    table: PartitionTable, sector: int, length: int, value: int
) -> None:
    own, other = bytes([value]) * length, bytes([255 - value]) * length
    area = memoryview(bytearray(other))
    without_table(area, table, sector)
    merged = with_table_of(bytes(area), own, table, sector)
    first, end = table_range(table, sector)
    assert len(merged) == len(area) == length
    assert merged == other[:first] + own[first:end] + other[end:]
