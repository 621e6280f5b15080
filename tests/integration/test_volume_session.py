"""Whole runs with servers whose root is no partition: found, copied, adapted, known again."""

from pathlib import Path

import pytest

from payload.model.codec import from_json
from payload.model.marker import BOOT_MARKER_PATH, MARKER_PATH, CopyMarker
from payload.model.report import Report, Result
from payload.system import device
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from tests.support.machine_bench import SOURCE_ID, TARGET_ID, Bench, content_digest, copy_once
from tests.support.md_superblocks import old_place
from tests.support.network_namespaces import network
from tests.support.server_image import MIB, make_image
from tests.support.volume_groups import EXTENT
from tests.support.volume_servers import (
    BOOT_SIZE,
    BOOT_START,
    DATA_START,
    DISK,
    LAYER_SIZE,
    LAYER_START,
    ROOT_EXTENTS,
    make_encrypted_server,
    make_lvm_server,
    make_mirror_server,
)

pytestmark = [pytest.mark.root, pytest.mark.waits]

ROOT_SIZE = ROOT_EXTENTS * EXTENT


def blanks(directory: Path, count: int) -> list[Path]:
    return [make_image(directory / f"target{n}.img", DISK + 8 * MIB) for n in range(count)]


def read(image: Path, start: int, size: int, *names: str) -> list[bytes]:
    with (
        device.view(run, str(image), start, size) as node,
        LinuxMounts(run).mount(node, "ext4") as tree,
    ):
        return [tree.joinpath(name).read_bytes() for name in names]


def check_copy(image: Path, root_start: int, report: Report) -> None:
    """The copy on that disk is adapted, marked, and looked over down to its root."""
    assert report.result is Result.OK, report.sentence
    assert report.boot_loader is not None
    assert "/vmlinuz-6.1, /initrd.img-6.1 there" in " ".join(report.boot_loader.checks)
    names = ("etc/udev/rules.d/70-persistent-net.rules", MARKER_PATH, "srv/mail")
    rules, marker, mail = read(image, root_start, ROOT_SIZE, *names)
    assert b'\n#SUBSYSTEM=="net"' in rules
    assert rules.count(b'NAME="eth0"') == 2  # the server's, commented out, and this machine's
    told = from_json(CopyMarker, marker)
    assert (told.source.id, told.target.id) == (SOURCE_ID, TARGET_ID)
    assert mail == b"a message\n" * 100_000


def test_a_server_on_lvm_is_copied_and_its_copy_known_again(bench: Bench, tmp_path: Path) -> None:
    server = make_lvm_server(tmp_path)
    before = [content_digest(image) for image in server]
    targets = blanks(tmp_path, 1)
    _, report = copy_once(bench, server, targets)
    check_copy(targets[0], LAYER_START + 6 * EXTENT, report)
    (group,) = [one for one in report.regions if one.file_system == "LVM2_member"]
    assert group.verified and group.used < group.total / 2, "a half-empty group costs half"
    (root,) = [one for one in report.changes if "mounted here" in one.what]
    start = LAYER_START + 6 * EXTENT
    assert root.where.endswith(f" bytes {start}-{start + ROOT_SIZE - 1}")
    again = copy_once(bench, server, targets)[1]
    check_copy(targets[0], LAYER_START + 6 * EXTENT, again)
    assert sum(one.sent for one in again.regions) < sum(one.sent for one in report.regions)
    assert [content_digest(image) for image in server] == before


def test_a_copy_of_a_mirror_is_alike_on_all_its_disks(bench: Bench, tmp_path: Path) -> None:
    server = make_mirror_server(tmp_path)
    before = [content_digest(image) for image in server]
    targets = blanks(tmp_path, 2)
    _, report = copy_once(bench, server, targets)
    root_start = LAYER_START + DATA_START + 6 * EXTENT
    for image in targets:
        check_copy(image, root_start, report)
    data_start = LAYER_START + DATA_START
    arrays = ((BOOT_START, old_place(BOOT_SIZE)), (data_start, LAYER_SIZE - DATA_START))
    for start, size in arrays:
        legs = [image.read_bytes()[start : start + size] for image in targets]
        assert legs[0] == legs[1]
    changed = [one.where for one in report.changes if "mounted here" in one.what]
    assert [where.split(" bytes ")[1] for where in changed] == [
        f"{root_start}-{root_start + ROOT_SIZE - 1}"
    ] * 2
    again = copy_once(bench, server, targets)[1]
    check_copy(targets[1], root_start, again)
    assert [content_digest(image) for image in server] == before


def test_an_encrypted_server_is_copied_as_it_is_and_says_so(bench: Bench, tmp_path: Path) -> None:
    server = make_encrypted_server(tmp_path)
    before = [content_digest(image) for image in server]
    targets = blanks(tmp_path, 1)
    _, report = copy_once(bench, server, targets)
    assert report.result is Result.OK, report.sentence
    assert "is not adapted" in " ".join(report.warnings)
    assert report.cards == ()
    (document,) = read(targets[0], BOOT_START, BOOT_SIZE, BOOT_MARKER_PATH)
    assert from_json(CopyMarker, document).usage.counter == -1
    luks = slice(LAYER_START, LAYER_START + MIB)
    assert targets[0].read_bytes()[luks] == server[0].read_bytes()[luks]
    assert [content_digest(image) for image in server] == before
    with network(1) as (machine,):
        copy = bench.start(machine, TARGET_ID, targets)
        copy.wait_for("does not tell, so it cannot be excluded")
