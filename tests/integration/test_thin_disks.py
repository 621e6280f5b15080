"""What is free on the source is given back on the target, and nothing relies on it."""

import errno
import os
from pathlib import Path

import pytest

from payload.model.event import Note
from payload.model.plan import CopyMode, Method
from tests.support.server_image import MIB, make_image, tool
from tests.support.stream_disks import Images, LoopBlocks, make_host
from tests.support.streamed_copy import (
    Copy,
    LoopDevices,
    allocated,
    assert_equal_content,
    fill,
    read,
)

pytestmark = pytest.mark.root


def test_what_is_free_on_the_source_is_given_back_on_the_target(
    source: Images, target: Images
) -> None:
    for path in target.paths:
        fill(path)
    behind = read(target.paths[0], 142 * MIB, 16 * MIB)
    copy = Copy(source, target)
    copy.run()
    assert_equal_content(copy)
    for pair, path in enumerate(target.paths):
        reports = [
            report
            for report, region in zip(copy.receiver.reports(), copy.plan.regions, strict=True)
            if region.pair == pair
        ]
        outside = path.stat().st_size - sum(report.total for report in reports)
        used = sum(report.used for report in reports)
        zeros = sum(report.used for report in reports if report.is_gap)  # made by the disk
        assert (used - zeros) * 0.2 < allocated(path) <= used + outside + MIB
    assert read(target.paths[0], 142 * MIB, 16 * MIB) == behind, "no region reaches there"
    again = Copy(source, target)
    again.run()
    boot = sum(region.size for region in copy.plan.regions if region.method is Method.BOOT)
    assert again.sent <= boot, "nothing that is in use was given back"


def small_server(path: Path) -> Images:
    """One partition of 80 MiB with an empty file system."""
    make_image(path, 96 * MIB)
    tool("sfdisk", "-q", str(path), stdin="label: gpt\n\nstart=2048, size=163840\n")
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={MIB}", str(path), "80m")
    return make_host([path], "S")


@pytest.mark.parametrize("mode", list(CopyMode))
def test_a_thin_disk_stays_thin(tmp_path: Path, mode: CopyMode) -> None:
    """Real block devices, which are told by the kernel's own calls. Of an exact copy the zeros take
    no room, and are proven."""
    source, backing = small_server(tmp_path / "a.img"), make_image(tmp_path / "b.img", 99 * MIB)
    fill(backing)
    with LoopDevices([backing]) as (its,):
        copy = Copy(source, make_host([its], "T", blocks=LoopBlocks), mode)
        copy.run()
        assert_equal_content(copy)
        assert all(report.verified for report in copy.receiver.reports())
    outside = 18 * MIB  # of any region
    assert allocated(backing) < outside + 20 * MIB


@pytest.mark.parametrize("name", ["discard", "zero"])
def test_a_disk_that_refuses_to_discard_or_to_make_zeros_gets_the_same_copy(
    source: Images, target: Images, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for path in target.paths:
        fill(path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(target.blocks, name, refuse)
    copy = Copy(source, target, CopyMode.USED if name == "discard" else CopyMode.EXACT)
    copy.run()
    assert_equal_content(copy)
    notes = [event.text for event in copy.events if isinstance(event, Note)]
    if name == "discard":
        assert len(notes) == 3 and all("was not given back: Operation not" in one for one in notes)
    assert all(report.verified for report in copy.receiver.reports())
