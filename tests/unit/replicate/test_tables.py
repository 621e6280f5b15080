"""Partition tables as scripts for sfdisk, and the comparison afterwards."""

from dataclasses import replace

import pytest

from payload.formats.disk.boot_area import table_range, with_table_of, without_table
from payload.model.disk import FileSystem, Partition, PartitionTable
from payload.model.errors import TargetDiskError, ToolError
from payload.replicate.tables import check_table, read_table, render_script
from payload.system.command import Completed

MBR = PartitionTable(
    "dos",
    "0xfa110e55",
    (
        Partition(1, 63 * 512, 1000 * 512, "83", "fa110e55-01", bootable=True),
        Partition(2, 2000 * 512, 9000 * 512, "5"),
        Partition(5, 2063 * 512, 100 * 512, "82", file_system=FileSystem("swap")),
    ),
)
GPT = PartitionTable(
    "gpt",
    "4c1d64ca-2b41-4cfa-9a1f-3b5c3ddf7f11",
    (Partition(3, 1 << 20, 1 << 20, "0fc63daf", "aaaa", 'a "b" \\ ä', "RequiredPartition"),),
    first_lba=34,
    last_lba=9999,
    table_length=256,
)


def test_the_script_of_an_old_disk() -> None:
    assert render_script(MBR, 512).splitlines() == [
        "label: dos",
        "label-id: 0xfa110e55",
        "unit: sectors",
        "sector-size: 512",
        "",
        "p1 : start=63, size=1000, type=83, bootable",
        "p2 : start=2000, size=9000, type=5",
        "p5 : start=2063, size=100, type=82",
    ]


def test_the_script_of_a_gpt_leaves_its_end_to_the_disk() -> None:
    script = render_script(GPT, 4096)
    assert "last-lba" not in script
    assert "first-lba: 34" in script and "table-length: 256" in script
    assert script.splitlines()[-1] == (
        "p3 : start=256, size=256, type=0fc63daf, uuid=aaaa, "
        'name="a \\x22b\\x22 \\x5c \\xc3\\xa4", attrs="RequiredPartition"'
    )


@pytest.mark.parametrize("name", ['"; rm', "a\nlabel: dos", "x\\x22", "\udcff", "', size=1"])
def test_no_name_breaks_out_of_its_quotes(name: str) -> None:
    table = replace(GPT, partitions=(replace(GPT.partitions[0], name=name),))
    lines = render_script(table, 512).splitlines()
    assert len(lines) == len(render_script(GPT, 512).splitlines())
    assert lines[-1].count('"') == 4


class Sfdisk:
    """A host on which sfdisk gives one answer."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def run(self, argv: list[str], **_: object) -> Completed:
        return Completed(tuple(argv), 0, self.answer, "")


ANSWER = """{"partitiontable": {"label": "dos", "id": "0xFA110E55", "device": "/dev/nvme0n1",
 "unit": "sectors", "sectorsize": 512, "partitions": [
 {"node": "/dev/nvme0n1p1", "start": 63, "size": 1000, "type": "83", "bootable": true},
 {"node": "/dev/nvme0n1p2", "start": 2000, "size": 9000, "type": "5"},
 {"node": "/dev/nvme0n1p5", "start": 2063, "size": 100, "type": "82"}]}}"""


def test_an_equal_table_is_equal() -> None:
    host = Sfdisk(ANSWER)
    check_table(host, "/dev/x", MBR, 512)  # type: ignore[arg-type]
    found = read_table(host, "/dev/x", 512)  # type: ignore[arg-type]
    assert [part.number for part in found.partitions] == [1, 2, 5]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("0xFA110E55", "0xFA110E56", "id"),
        ('"start": 63', '"start": 64', "partition 1"),
        ('"size": 100,', '"size": 101,', "partition 5"),
        ('"type": "82"', '"type": "83"', "partition 5"),
        (', "bootable": true', "", "partition 1"),
        ("n1p5", "n1p6", "partition 5 differs; there are more"),
        ('"dos"', '"gpt"', "label"),
    ],
)
def test_any_difference_is_named(old: str, new: str, word: str) -> None:
    assert old in ANSWER
    with pytest.raises(TargetDiskError, match=word):
        check_table(Sfdisk(ANSWER.replace(old, new)), "/dev/x", MBR, 512)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer", ["", "{}", "[]", '{"partitiontable": {}}', ANSWER.replace("63", '"a"')]
)
def test_an_answer_that_is_none_is_an_error(answer: str) -> None:
    with pytest.raises(ToolError):
        read_table(Sfdisk(answer), "/dev/x", 512)  # type: ignore[arg-type]


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
