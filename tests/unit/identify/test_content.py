"""Blank is a proof of several parts: each alone speaks against it, whatever the others say."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payload.decide.disk_verdict import is_blank
from payload.formats.disk.unfinished_mark import MARK_OFFSET, encode_mark
from payload.identify.content import look_at, sample_offsets
from payload.model.disk import (
    MIB,
    Content,
    FileSystem,
    Hardware,
    Partition,
    PartitionTable,
    Unfinished,
)
from payload.system import device
from payload.system.command import Completed
from tests.support.machines import BLANK, with_table

SIZE = 200 * MIB
MARK = Unfinished("c" * 32, "A", "B", "serial:S", 1)
AMBIVALENT = "more than one kind"
TABLE = {"label": "dos", "id": "0x1", "device": "/dev/sda", "unit": "sectors", "partitions": []}


class Tools:
    """A disk of zeros, of which the tools say what the test wants."""

    def __init__(self, image: Path, **answers: str) -> None:
        image.touch()
        with image.open("r+b") as file:
            file.truncate(SIZE)
        self.image, self.answers, self.blocks = image, answers, self

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        tool = argv[0]
        text = self.answers.get(tool, "")
        if tool == "blkid" and text == AMBIVALENT:
            return Completed(tuple(argv), 8, "", "")
        if tool == "sfdisk" and not text:
            text = "sfdisk: it does not contain a recognized partition table"
            return Completed(tuple(argv), 1, "", text)
        return Completed(tuple(argv), 2 if tool == "blkid" and not text else 0, text, "")

    def open_to_read(self, node: str) -> int:
        return device.open_to_read(node)

    def look(self, size: int = SIZE) -> Content:
        hardware = Hardware("sda", str(self.image), size, serial="S")
        return look_at(self, hardware)  # type: ignore[arg-type]


def test_nothing_anywhere_is_blank(tmp_path: Path) -> None:
    found = Tools(tmp_path / "disk").look()
    assert found.blank and is_blank(found)
    assert found.evidence == (
        "no partition table, no signature, zeros at both ends and 64 places between"
    )


@pytest.mark.parametrize(
    ("tool", "answer", "evidence"),
    [
        ("sfdisk", json.dumps({"partitiontable": TABLE}), "a dos partition table with 0"),
        ("blkid", "TYPE=ext4\nUUID=x\n", "ext4 on the whole disk"),
        ("blkid", "TYPE=LVM2_member\n", "LVM"),
        ("blkid", AMBIVALENT, "signatures of more than one file system"),
        ("wipefs", json.dumps({"signatures": [{"type": "zfs"}]}), "zfs signature"),
        ("wipefs", json.dumps({"signatures": [{"type": "LVM2_member"}]}), "LVM2_member"),
    ],
)
def test_what_one_tool_alone_sees_is_not_blank(
    tmp_path: Path, tool: str, answer: str, evidence: str
) -> None:
    found = Tools(tmp_path / "disk", **{tool: answer}).look()
    assert not found.blank and not is_blank(found)
    assert evidence in found.evidence


@pytest.mark.parametrize("offset", [0, MIB - 1, sample_offsets(SIZE)[32], SIZE - 1])
def test_one_byte_where_we_look_is_not_blank(tmp_path: Path, offset: int) -> None:
    tools = Tools(tmp_path / "disk")
    with tools.image.open("r+b") as file:
        file.seek(offset)
        file.write(b"x")
    found = tools.look()
    assert not found.blank
    assert found.evidence == f"no known signature, but data at byte {offset}"


def test_a_disk_that_ends_before_its_size_is_not_blank(tmp_path: Path) -> None:
    assert not Tools(tmp_path / "disk").look(SIZE + MIB).blank


def test_our_mark_is_not_blank(tmp_path: Path) -> None:
    tools = Tools(tmp_path / "disk")
    with tools.image.open("r+b") as file:
        file.seek(MARK_OFFSET)
        file.write(encode_mark(MARK))
    found = tools.look()
    assert found.unfinished == MARK and not found.blank


@pytest.mark.parametrize(
    "odd",
    [
        replace(BLANK, blank=False),
        replace(BLANK, table=with_table().table),
        replace(BLANK, file_system=FileSystem("ext4")),
        replace(BLANK, signatures=("ext4",)),
        replace(BLANK, unfinished=MARK),
        replace(BLANK, hidden=("LVM",)),
    ],
)
def test_an_inventory_that_contradicts_itself_is_not_blank(odd: Content) -> None:
    assert not is_blank(odd)


def test_a_mark_alone_is_not_blank() -> None:
    assert is_blank(BLANK)
    assert not is_blank(replace(BLANK, unfinished=MARK))


def test_a_fingerprint_changes_with_all_that_a_copy_has_in_common_with_its_original() -> None:
    first = Partition(1, MIB, 8 * MIB, "83", file_system=FileSystem("ext4", "u1"))
    bare = Partition(2, 9 * MIB, MIB, "83")
    table = PartitionTable("dos", "0x1", (first, bare))
    partitions = [
        (replace(first, number=3), bare),
        (replace(first, start=2 * MIB), bare),
        (replace(first, size=7 * MIB), bare),
        (replace(first, file_system=FileSystem("ext4", "u2")), bare),
        (replace(first, file_system=FileSystem("xfs", "u1")), bare),
        (replace(first, file_system=None), bare),
        (first,),
    ]
    tables = [
        table,
        replace(table, id="0x2"),
        replace(table, label="gpt"),
        *(replace(table, partitions=one) for one in partitions),
    ]
    contents = [
        *(Content(False, "", one) for one in tables),
        Content(False, "", table, file_system=FileSystem("ext4", "u1")),
        Content(False, "", file_system=FileSystem("ext4", "u1")),
        Content(False, "", file_system=FileSystem("ext4", "u2")),
        Content(False, "", file_system=FileSystem("xfs", "u1")),
    ]
    prints = [one.fingerprint for one in contents]
    assert all(prints)
    assert len(set(prints)) == len(prints)
    assert Content(False, "something").fingerprint == "", "nothing to tell it by"


def test_what_cannot_be_read_is_not_blank(tmp_path: Path) -> None:
    tools = Tools(tmp_path / "disk")
    tools.image.unlink()
    found = tools.look()
    assert not found.blank
    assert "parts that cannot be read" in found.evidence


def test_the_very_end_is_looked_at(tmp_path: Path) -> None:
    size = 64 * MIB + 4096 + 512
    assert max(sample_offsets(size)) + 4096 <= size < max(sample_offsets(size)) + 2 * 4096
