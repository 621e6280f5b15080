"""Partition tables as scripts for sfdisk."""

from dataclasses import replace

import pytest

from payload.formats.disk.partition_table import parse_table, render_script
from tests.support.partition_tables import GPT, MBR


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


def test_a_name_with_stray_bytes_is_fit_for_a_screen() -> None:
    entry = {
        "node": "/dev/loop0p1",
        "start": 1,
        "size": 2,
        "type": "0FC63DAF",
        "name": "a\x1b\udcffb",
    }
    document = {"label": "gpt", "id": "4C1D", "device": "/dev/loop0", "partitions": [entry]}
    (partition,) = parse_table(document, 4096).partitions
    assert (partition.start, partition.size) == (4096, 8192), "an old sfdisk does not say how large"
    assert (partition.number, partition.type_id, partition.name) == (1, "0fc63daf", "a?\ufffdb")


def test_the_partitions_of_an_mbr_have_the_ids_that_libblkid_makes() -> None:
    entry = {"node": "/dev/sda5", "start": 1, "size": 2, "type": "82"}
    document = {"label": "dos", "id": "0xFA110E55", "device": "/dev/sda", "partitions": [entry]}
    assert parse_table(document).partitions[0].uuid == "fa110e55-05"
