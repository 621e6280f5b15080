"""A disk that becomes another one on the way is found out before it is written to."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from payload.model.errors import TargetDiskError
from payload.replicate import target_disk
from payload.replicate.tables import write_table
from tests.support.server_image import make_image
from tests.support.stream_disks import SECTOR, Images
from tests.support.streamed_copy import Copy, exchange, hashes, read

pytestmark = pytest.mark.root


def test_a_disk_that_is_busy_for_a_moment_after_the_table_is_waited_for(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_disk, "REOPEN_PAUSE", 0.001)
    copy = Copy(source, target)
    copy.run(seal=False)
    target.blocks.busy = 5
    copy.receiver.seal()
    assert target.blocks.busy == 0
    assert read(target.paths[0], 0, 440) == read(source.paths[0], 0, 440)


def test_a_disk_that_was_exchanged_is_never_written(source: Images, target: Images) -> None:
    copy = Copy(source, target)
    path = target.paths[2]
    path.rename(path.with_suffix(".old"))
    make_image(path, path.with_suffix(".old").stat().st_size)
    with pytest.raises(TargetDiskError):
        copy.receiver.begin()
    copy.receiver.abandon()
    assert target.blocks.opened_for_writing == []


def test_a_disk_that_is_exchanged_while_it_is_opened_is_not_written_to(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, before = Copy(source, target), hashes(target)
    path = target.paths[1]
    allow = target.blocks.set_writable

    def meddle(node: str) -> None:
        allow(node)
        if node == str(path):
            exchange(path)

    monkeypatch.setattr(target.blocks, "set_writable", meddle)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.receiver.begin()
    copy.receiver.abandon()
    assert read(path, 0, SECTOR).startswith(b"somebody's data")
    path.with_suffix(".old").replace(path)
    assert hashes(target) == before
    assert target.blocks.writable == set()


def test_a_disk_that_is_exchanged_while_the_copy_is_made_to_boot_is_not_sealed(
    source: Images, target: Images
) -> None:
    copy = Copy(source, target)
    copy.run(seal=False)
    exchange(target.paths[0])
    before = hashes(target)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.receiver.seal()
    copy.receiver.abandon()
    assert hashes(target) == before, "no other disk got its table either"


def test_a_disk_that_is_exchanged_while_its_table_is_made_gets_no_boot_code(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(source, target)
    copy.prepare()
    copy.receiver.fetch(copy.open_data)
    copy.receiver.verify()
    copy.receiver.write_heads(copy.open_data)
    path = target.paths[1]
    make = write_table

    def meddle(host: Any, node: str, *rest: Any) -> None:
        make(host, node, *rest)
        if node == str(path):
            exchange(path)

    monkeypatch.setattr(target_disk, "write_table", meddle)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.receiver.seal()
    copy.receiver.abandon()
    assert read(path, 0, SECTOR) == b"somebody's data".ljust(SECTOR, b"\0")
    assert read(path.with_suffix(".old"), 0, 440) == bytes(440), "nothing starts"


def test_its_name_stays_taken_while_its_table_is_made(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sfdisk opens the disk by name, and would write to another one that got it meanwhile."""
    held: list[tuple[str, int]] = []
    make = write_table

    def look(host: Any, node: str, *rest: Any) -> None:
        held.extend((node, how) for how in open_here(Path(node)))
        make(host, node, *rest)

    monkeypatch.setattr(target_disk, "write_table", look)
    Copy(source, target).run()
    assert held == [(str(target.paths[1]), os.O_RDONLY)], "only a GPT is made anew"
    assert not any(open_here(path) for path in target.paths)


def open_here(path: Path) -> list[int]:
    """How each descriptor of this process for that file was opened: O_RDONLY, O_RDWR."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this listing
            if entry.readlink() == path:
                flags = Path("/proc/self/fdinfo", entry.name).read_text().split()[3]
                found.append(int(flags, 8) & os.O_ACCMODE)
    return found
