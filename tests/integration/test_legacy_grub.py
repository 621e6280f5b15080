"""GRUB legacy: what its own shell installs is followed, and installed anew where it got lost."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload.finish.boot import reinstall
from payload.finish.boot.candidates import Medium
from payload.finish.boot.grub_layout import Room
from payload.finish.boot.grub_legacy_shell import LIVE_SHELL, Stages, install_stages
from payload.model.errors import AdaptError, LoaderError
from payload.system.command import run
from tests.support.copy_before_finish import BOOT_START, Sealed
from tests.support.grub_legacy_server import make_legacy, run_shell, unpacked_shell
from tests.support.server_image import ServerImages, make_server

pytestmark = pytest.mark.root
SETUP = "setup --prefix=/grub (hd0)"
BY_BLOCKS = "install /grub/stage1 (hd0) /grub/stage2 p /grub/menu.lst"
GAP = bytes(2047 * 512)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerImages:
    return make_server(tmp_path_factory.mktemp("server"), files=4)


@pytest.fixture(scope="module")
def shell() -> Path:
    return unpacked_shell()


@pytest.fixture
def copy(
    tmp_path: Path, server: ServerImages, shell: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sealed]:
    monkeypatch.setattr(reinstall, "MEDIUM", Medium(tmp_path / "no modules", shell))
    yield Sealed(tmp_path, server)


def test_stage_1_5_is_followed(copy: Sealed, shell: Path) -> None:
    make_legacy(copy, shell, SETUP)
    report, changes = copy.start()
    assert (report.loader, report.strategy, changes) == ("GRUB legacy", "carried over", ())
    assert "stage 1.5 in the gap, which opens /grub/stage2" in report.checks[0]
    assert "the boot menu is on partition 1 of disk 1" in report.checks


def test_a_list_of_blocks_is_followed(copy: Sealed, shell: Path) -> None:
    make_legacy(copy, shell, BY_BLOCKS)
    report, _ = copy.start()
    assert "by list of blocks" in report.checks[0]
    assert "the boot menu is on partition 1 of disk 1" in report.checks


def test_the_readmes_directory_is_found(copy: Sealed, shell: Path) -> None:
    """--root-directory=/boot on a separate /boot, as the package's own README tells."""
    make_legacy(copy, shell, "setup --prefix=/boot/grub (hd0)", directory="boot/grub")
    assert "opens /boot/grub/stage2" in copy.start()[0].checks[0]


@pytest.mark.parametrize("command", [SETUP, BY_BLOCKS])
def test_a_lost_loader_is_installed_anew(copy: Sealed, shell: Path, command: str) -> None:
    make_legacy(copy, shell, command)
    copy.write(0, bytes(440))
    copy.write(512, GAP)
    before = copy.disks[0].read_bytes()
    report, changes = copy.start()
    after = copy.disks[0].read_bytes()
    assert (report.strategy, report.loader) == (LIVE_SHELL, "GRUB legacy")
    ranges = [re.search(r"bytes (\d+)-(\d+)$", change.where) for change in changes]
    assert [(int(found[1]), int(found[2])) for found in ranges if found] == [
        (512, 512 + 19 * 512 - 1), (0, 439),
    ]  # fmt: skip
    assert before[20 * 512 :] == after[20 * 512 :]
    assert before[440:512] == after[440:512]
    assert copy.start()[1] == (), "the second look finds nothing to mend"


def test_what_is_installed_anew_is_what_the_shell_installs(copy: Sealed, shell: Path) -> None:
    make_legacy(copy, shell, SETUP)
    as_installed = copy.disks[0].read_bytes()[: 20 * 512]
    copy.write(512, GAP)
    copy.start()
    # Where stage 1.5's own first sector is loaded from and the menu's name differ in nothing that
    # counts: the shell names the menu only when it is told to write it into stage 2.
    mended = copy.disks[0].read_bytes()[: 20 * 512]
    differing = [at for at in range(len(mended)) if mended[at] != as_installed[at]]
    menu = as_installed.index(b" /grub/menu.lst")
    assert set(differing) <= set(range(menu, menu + len(" /grub/menu.lst")))


def test_a_list_of_blocks_of_former_times_is_noticed(copy: Sealed, shell: Path) -> None:
    """stage 2 was written anew by an upgrade, and its former blocks were not copied."""
    make_legacy(copy, shell, BY_BLOCKS)
    with copy.boot() as boot:
        content = (boot / "grub/stage2").read_bytes()
        (boot / "grub/stage2.new").write_bytes(content)
        (boot / "grub/stage2.new").replace(boot / "grub/stage2")
    disk = copy.disks[0].read_bytes()
    first = int.from_bytes(disk[0x44:0x48], "little") * 512
    assert first > BOOT_START
    copy.write(first + 4096, b"\xa5" * 1024)
    report, _ = copy.start()
    assert report.strategy == LIVE_SHELL


def test_without_the_shell_it_is_told(
    copy: Sealed, shell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reinstall, "MEDIUM", Medium(tmp_path / "none", tmp_path / "none"))
    make_legacy(copy, shell, SETUP)
    copy.write(512, GAP)
    with pytest.raises(AdaptError, match="neither the copy nor this medium has one"):
        copy.start()


def test_a_copy_without_its_stage_2_is_left_alone(copy: Sealed, shell: Path) -> None:
    make_legacy(copy, shell, SETUP)
    with copy.boot() as boot:
        (boot / "grub/stage2").unlink()
    with pytest.raises(LoaderError, match="bare prompt"):
        copy.start()
    assert copy.blocks.opened_for_writing == []


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6, 9])
def test_partitions_of_every_number(shell: Path, number: int) -> None:
    parts = [(shell / name).read_bytes() for name in ("stage1", "reiserfs_stage1_5", "stage2")]
    stages = Stages("/boot/grub", number, *parts)
    writes = install_stages(run, stages, Room(512, 62 * 512, "the gap"), shell)
    assert [(place, len(content)) for place, content in writes.items()] == [
        (512, 21 * 512),
        (0, 440),
    ]
    assert writes[512][512 + 0x17 + 2] == number - 1
    with pytest.raises(AdaptError, match="needs 21 sectors, the gap has 20"):
        install_stages(run, stages, Room(512, 20 * 512, "the gap"), shell)


def test_the_shells_refusal_is_told(shell: Path, tmp_path: Path) -> None:
    stages = Stages("/boot/grub", 1, b"no stage" * 64, b"neither" * 200, b"nor that" * 900)
    with pytest.raises(AdaptError, match=r"shell says: Error \d+: "):
        install_stages(run, stages, Room(512, 62 * 512, "the gap"), shell)


def test_the_shell_reads_the_copy_as_it_is(copy: Sealed, shell: Path) -> None:
    """The file system of these tests is one GRUB legacy can read at all."""
    make_legacy(copy, shell, SETUP)
    assert "(hd0,0)" in run_shell(shell, copy.disks[0], "find /grub/menu.lst")
