"""The bytes before the first partition: boot code kept, a table of its own left to each disk."""

from dataclasses import replace

from payload.formats.disk.boot_area import table_range, with_table_of, without_table
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
