"""A copy whose boot loader did not come over gets GRUB anew; what it does is tests/vm's to see."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from payload.finish.boot import reinstall
from payload.finish.boot.candidates import Medium
from payload.finish.boot.grub_parts import LIVE_GRUB, LIVE_MODULES, OWN_MODULES, OWN_PAIR
from payload.model.disk import Hardware, PartitionTable
from payload.model.errors import AdaptError, TargetDiskError
from payload.model.event import Level, Note
from payload.model.report import Result
from tests.support.copy_before_finish import Sealed
from tests.support.machine_bench import Bench, content_digest, copy_once
from tests.support.server_image import MIB, ServerImages, make_image, make_server, tool

pytestmark = pytest.mark.root
GAP = bytes(2047 * 512)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerImages:
    return make_server(tmp_path_factory.mktemp("server"), files=4)


@pytest.fixture
def copy(tmp_path: Path, server: ServerImages) -> Iterator[Sealed]:
    yield Sealed(tmp_path, server)


def assert_mended(copy: Sealed, strategy: str) -> None:
    """The copy starts, and no byte of its disks changed but those that are listed."""
    before = [path.read_bytes() for path in copy.disks]
    report, changes = copy.start()
    after = [path.read_bytes() for path in copy.disks]
    assert (report.strategy, report.loader) == (strategy, "GRUB 2")
    assert any("core.img" in check and "whole" in check for check in report.checks)
    ranges = [re.fullmatch(r"disk (\S+) bytes (\d+)-(\d+)", change.where) for change in changes]
    allowed = bytearray(before[0])
    for found in ranges:
        assert found is not None
        assert found[1] == copy.plan.disks[0].target.id
        first, end = int(found[2]), int(found[3]) + 1
        assert end <= 440 or 512 <= first < end <= MIB
        allowed[first:end] = after[0][first:end]
    assert bytes(allowed) == after[0]
    assert before[1] == after[1]
    assert copy.blocks.opened_for_writing == [str(copy.disks[0])]
    assert not copy.blocks.writable
    warnings = [event for event in copy.events if isinstance(event, Note)]
    assert warnings[0].level is Level.WARNING
    assert copy.start()[1] == (), "the second look finds nothing to mend"


def test_a_loader_that_came_over_is_left_alone(copy: Sealed) -> None:
    report, changes = copy.start()
    assert (report.strategy, changes) == ("carried over", ())
    assert copy.blocks.opened_for_writing == []


def test_a_damaged_gap_is_filled_from_the_copys_modules(copy: Sealed) -> None:
    copy.give_modules()
    copy.write(512, GAP)
    assert_mended(copy, OWN_MODULES)
    size = len(copy.disks[0].read_bytes()[512:MIB].rstrip(b"\0"))
    assert size < 62 * 512, "fits before a first partition at sector 63"


def test_the_pair_that_grub_install_left_comes_first(copy: Sealed) -> None:
    copy.give_modules()
    core = copy.core("-p", "(,msdos1)/grub")
    with copy.boot() as boot:
        (boot / "grub/i386-pc/core.img").write_bytes(core)
        shutil.copy(LIVE_MODULES / "boot.img", boot / "grub/i386-pc")
    copy.write(0, bytes(440) + copy.disks[0].read_bytes()[440:512] + GAP)
    assert_mended(copy, OWN_PAIR)
    assert copy.disks[0].read_bytes()[1024 : 512 + len(core)] == core[512:]


def test_a_kept_core_that_leads_elsewhere_is_not_taken(copy: Sealed) -> None:
    copy.give_modules()
    with copy.boot() as boot:
        (boot / "grub/i386-pc/core.img").write_bytes(copy.core("-p", "(,msdos1)/boot/grub"))
        shutil.copy(LIVE_MODULES / "boot.img", boot / "grub/i386-pc")
    copy.write(512, copy.core("-p", "(,msdos1)/boot/grub"))
    assert_mended(copy, OWN_MODULES)


def test_the_copys_own_tool_joins_its_modules(copy: Sealed) -> None:
    copy.give_modules()
    mkimage = Path("/usr/bin/grub-mkimage")
    needed = re.findall(r"(/\S+) \(0x", tool("ldd", str(mkimage)))
    with copy.root(writable=True) as root:
        for file in (str(mkimage), *needed):
            place = root / file[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    copy.write(512, GAP)
    assert_mended(copy, OWN_MODULES)
    makers = [argv for argv in copy.commands if any("grub-mkimage" in word for word in argv)]
    assert ["bwrap" in argv for argv in makers] == [True]


def test_a_tool_of_the_copy_that_does_not_run_is_replaced_by_ours(copy: Sealed) -> None:
    copy.give_modules()
    with copy.root(writable=True) as root:
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/grub-mkimage").write_text("#!/bin/of/nobody\n")
        (root / "usr/bin/grub-mkimage").chmod(0o755)
    copy.write(512, GAP)
    assert_mended(copy, OWN_MODULES)


def test_a_disk_that_was_exchanged_after_it_was_sealed_is_not_written(
    copy: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.write(512, GAP)
    opened = list[str]()

    def exchanged(_hardware: Hardware) -> None:
        if copy.blocks.opened_for_writing == opened:
            raise TargetDiskError("no longer the disk that was agreed on")

    monkeypatch.setattr(copy.blocks, "recheck", exchanged)
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.start()
    assert copy.blocks.opened_for_writing == []
    opened.append(str(copy.disks[0]))  # it is exchanged between the look and the opening
    before = copy.disks[0].read_bytes()
    with pytest.raises(TargetDiskError, match="no longer the disk"):
        copy.start()
    assert copy.blocks.opened_for_writing == opened and not copy.blocks.writable
    assert copy.disks[0].read_bytes() == before


def test_without_modules_in_the_copy_ours_come_all_together(copy: Sealed) -> None:
    copy.write(512, GAP)
    assert_mended(copy, LIVE_GRUB)


def test_a_core_without_modules_from_the_disk_needs_more_room(copy: Sealed) -> None:
    copy.write(512, GAP)
    table = copy.plan.disks[0].table
    assert table is not None
    first, *others = table.partitions
    old = replace(table, partitions=(replace(first, start=63 * 512), *others))
    with pytest.raises(AdaptError, match=r"needs \d+ sectors, and the gap .* has 62\."):
        _with_table(copy, old)


def _with_table(copy: Sealed, table: PartitionTable) -> None:
    """The table as the choice of room sees it; the file systems are found where they are."""
    system, data = copy.plan.disks
    copy.plan = replace(copy.plan, disks=(replace(system, table=table), data))
    copy.start()


def test_no_grub_anywhere_is_told_and_nothing_is_written(
    copy: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reinstall, "MEDIUM", Medium(tmp_path / "nothing", tmp_path / "none"))
    copy.write(0, bytes(440))
    before = copy.disks[0].read_bytes()
    with pytest.raises(AdaptError, match=r"neither the copy nor this medium has one\. Put right"):
        copy.start()
    assert copy.disks[0].read_bytes() == before
    assert copy.blocks.opened_for_writing == []


def test_a_menu_that_starts_nothing_is_no_loaders_fault(copy: Sealed) -> None:
    with copy.boot() as boot:
        (boot / "vmlinuz-6.1").write_bytes(b"")
    with pytest.raises(AdaptError, match=r"/vmlinuz-6\.1 is missing or empty"):
        copy.start()
    copy.write(512, GAP)
    with pytest.raises(AdaptError, match="where GRUB's core is not"):
        copy.start()
    assert copy.blocks.opened_for_writing == []


def test_the_menu_that_the_copy_keeps_up_to_date_is_meant(copy: Sealed) -> None:
    """Partition 1 was /boot once; fstab no longer says so, and /boot lies on the root."""
    with copy.root(writable=True) as root, copy.boot() as former:
        shutil.copytree(former, root / "boot", dirs_exist_ok=True)
        menu = root / "boot/grub/grub.cfg"
        menu.write_text(re.sub(r" /(vmlinuz|initrd)", r" /boot/\1", menu.read_text()))
        fstab = root / "etc/fstab"
        fstab.write_text(re.sub(r"\S+ /boot .*\n", "", fstab.read_text()))
    copy.write(512, GAP)
    report, _ = copy.start()
    assert "the boot menu is on partition 6 of disk 1" in report.checks


def test_a_gpt_takes_the_core_in_its_bios_boot_partition(copy: Sealed) -> None:
    copy.convert_to_gpt()
    copy.give_modules()
    copy.write(0, bytes(440))
    copy.write(34 * 512, bytes(512))
    report, changes = copy.start()
    assert report.strategy == OWN_MODULES
    assert "points to its core in sector 34, in BIOS boot partition 3" in report.checks[0]
    assert [change.where.split()[-1].split("-")[0] for change in changes] == [str(34 * 512), "0"]
    assert "First usable LBA" not in tool("sfdisk", "--verify", str(copy.disks[0]))


def test_a_gpt_without_room_is_told(copy: Sealed) -> None:
    copy.convert_to_gpt()
    copy.write(0, bytes(440))
    system, data = copy.plan.disks
    assert system.table is not None
    parts = tuple(part for part in system.table.partitions if part.number != 3)
    table = replace(system.table, partitions=parts)
    copy.plan = replace(copy.plan, disks=(replace(system, table=table), data))
    with pytest.raises(AdaptError, match=r"without a BIOS boot partition.* Put right"):
        copy.start()


def test_a_run_mends_what_the_server_lacks_and_reports_it(bench: Bench, tmp_path: Path) -> None:
    """The server's boot code is on a disk that is not copied, and its GRUB nowhere."""
    (tmp_path / "server").mkdir()
    images = make_server(tmp_path / "server", files=4)
    with images.system.open("r+b") as disk:
        disk.write(bytes(440))
        disk.seek(512)
        disk.write(GAP)
    before = content_digest(images.system)
    blanks = [make_image(tmp_path / f"t{n}.img", size * MIB) for n, size in ((0, 120), (1, 32))]
    theirs, ours = copy_once(bench, [images.system, images.data], blanks)
    assert (ours.result, theirs) == (Result.OK, ours), ours.sentence
    assert content_digest(images.system) == before
    assert ours.boot_loader is not None
    assert ours.boot_loader.strategy == LIVE_GRUB
    told = [change for change in ours.changes if "GRUB's" in change.what]
    assert [change.where.partition(" bytes ")[2].split("-")[0] for change in told] == ["512", "0"]
    assert "No disk of the copy has boot code" in told[0].what
    assert blanks[0].read_bytes()[:440].strip(b"\0")
