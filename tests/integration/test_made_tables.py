"""Partition tables, made again by the real sfdisk."""

from pathlib import Path

import pytest

from payload.model.disk import Partition, PartitionTable
from payload.model.errors import PlanError
from payload.model.message import Chunk, ChunkRequest
from payload.model.plan import Method, PlannedDisk
from payload.replicate.chunks import digest_of
from payload.replicate.tables import read_table, rehearse_table, write_table
from payload.system.command import run
from tests.support.memory_line import serve_in_thread
from tests.support.server_image import MIB, make_image, tool
from tests.support.stream_disks import SECTOR, Images, LoopBlocks, make_host, sfdisk_json
from tests.support.streamed_copy import Copy, LoopDevices, assert_equal_content, read

pytestmark = pytest.mark.root


def test_tables_and_boot_code_are_the_sources(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    copy.run()
    for mine, its in zip(source.paths[:2], target.paths[:2], strict=True):
        wanted, found = sfdisk_json(mine), sfdisk_json(its)
        if wanted["label"] == "gpt":  # the backup GPT lies at the real end of the larger disk
            assert found.pop("lastlba") == its.stat().st_size // SECTOR - 34
            wanted.pop("lastlba")
        assert found == wanted
    assert read(target.paths[0], 0, 440) == read(source.paths[0], 0, 440)
    assert read(target.paths[0], SECTOR, 62 * SECTOR) == read(source.paths[0], SECTOR, 62 * SECTOR)
    assert read(target.paths[1], 0, 440) == read(source.paths[1], 0, 440)
    assert "No errors detected." in tool("sfdisk", "--verify", str(target.paths[1]))


def test_a_second_table_of_another_kind_leaves_nothing_behind(
    source: Images, target: Images
) -> None:
    """The target's disks held GPTs, and a signature at their very end."""
    for path in target.paths:
        tool("sfdisk", "-q", str(path), stdin="label: gpt\n\nsize=8MiB\n")
    copy = Copy(source, target)
    copy.run()
    with target.blocks.view(str(target.paths[0]), 0, target.paths[0].stat().st_size) as device:
        found = run(["wipefs", "--noheadings", "--output", "TYPE", device]).stdout.split()
    assert found == ["dos"]


def test_4096_byte_sectors_of_a_gpt(tmp_path: Path) -> None:
    """Loop devices with large sectors on both sides, as disks that came after 512e."""
    paths = [make_image(tmp_path / f"{name}.img", 48 * MIB) for name in ("source", "target")]
    with LoopDevices(paths, 4096) as (mine, its):
        tool("sfdisk", "-q", str(mine), stdin="label: gpt\n\nstart=256, size=8192\n")
        tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576", str(mine), "32768k")
        copy = Copy(
            make_host([mine], "S", 4096, LoopBlocks), make_host([its], "T", 4096, LoopBlocks)
        )
        copy.run()
        assert_equal_content(copy)
        wanted, found = sfdisk_json(mine), sfdisk_json(its)
        assert found == wanted


ODD_TABLES = {
    "gaps in the numbers": (
        "label: dos\n\n4 : start=63, size=1000\n2 : start=5000, size=99, type=da\n"
    ),
    "not in the order of the disk": "label: dos\n\n1 : start=9000, size=9\n2 : start=63, size=1\n",
    "logical partitions back to front": (
        "label: dos\n\n1 : start=20480, size=40960, type=5\n"
        "5 : start=40000, size=1000\n6 : start=30000, size=1000\n7 : start=20481, size=9\n"
    ),
    "one sector between logical partitions": (
        "label: dos\n\n1 : start=63, size=40960, type=85\n"
        "5 : start=126, size=1000\n6 : start=1127, size=1000\n7 : start=2128, size=63\n"
    ),
    "nothing but an id": "label: dos\nlabel-id: 0x12345678\n",
    "a long GPT": "label: gpt\ntable-length: 256\nfirst-lba: 70\n\n200 : start=80, size=9\n",
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_odd_tables_are_made_again(name: str, tmp_path: Path) -> None:
    mine, its = make_image(tmp_path / "a.img", 64 * MIB), make_image(tmp_path / "b.img", 70 * MIB)
    tool("sfdisk", "-q", str(mine), stdin=ODD_TABLES[name])
    table = read_table(make_host([mine], "S").host, str(mine), SECTOR)
    host = make_host([its], "T").host
    rehearse_table(host, table, PlannedDisk("T", "T", 70 * MIB, SECTOR))
    write_table(host, str(its), table, SECTOR)
    wanted, found = sfdisk_json(mine), sfdisk_json(its)
    wanted.pop("lastlba", None), found.pop("lastlba", None)
    assert found == wanted


def test_a_table_that_cannot_be_made_is_refused_before_the_first_write(tmp_path: Path) -> None:
    """Logical partitions without a sector between them, as some tools chained them."""
    extended = Partition(1, 2048 * SECTOR, 40960 * SECTOR, "5")
    first = Partition(5, 2049 * SECTOR, 1000 * SECTOR, "83")
    second = Partition(6, first.end, 1000 * SECTOR, "83")
    table = PartitionTable("dos", "0x12345678", (extended, first, second))
    host = make_host([make_image(tmp_path / "b.img", 70 * MIB)], "T").host
    with pytest.raises(PlanError, match="Lay out the source"):
        rehearse_table(host, table, PlannedDisk("T", "T", 70 * MIB, SECTOR))


def test_the_boot_area_is_sent_without_a_gpt(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    line = serve_in_thread(copy.sender.serve)
    areas = [one for one in copy.plan.regions if one.method is Method.BOOT]
    wanted = [read(path, 0, area.size) for path, area in zip(source.paths, areas, strict=False)]
    wanted[1] = wanted[1][:440] + bytes(34 * SECTOR - 440) + wanted[1][34 * SECTOR :]
    for area, content in zip(areas, wanted, strict=True):
        line.send(ChunkRequest(area.index, 0, area.size))
        answer = line.receive(5.0)
        assert isinstance(answer, Chunk) and answer.digest == digest_of(content)
    line.close()
