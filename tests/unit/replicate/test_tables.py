"""The comparison of a written partition table with the wanted one."""

import pytest

from payload.model.errors import TargetDiskError, ToolError
from payload.replicate.tables import check_table, read_table
from payload.system.command import Completed
from tests.support.partition_tables import MBR


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
