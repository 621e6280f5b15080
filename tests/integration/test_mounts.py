"""Real file systems on views of image files: looked at, they keep every bit."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from payload.formats.disk.superblocks import read_needs_recovery
from payload.model.disk import MIB
from payload.model.errors import ToolError
from payload.system import device, mounts
from payload.system.command import Completed, run
from payload.system.mounts import LinuxMounts
from tests.support.mount_namespace import other_mounts

pytestmark = pytest.mark.root
SIZES = {"ext2": 16, "ext3": 16, "ext4": 16, "xfs": 320, "btrfs": 128}


def _made(path: Path, kind: str) -> Path:
    with path.open("wb") as file:
        file.truncate(SIZES[kind] * MIB)
    force = "-F" if kind.startswith("ext") else "-f"
    subprocess.run([f"mkfs.{kind}", "-q", force, path], check=True)
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _whole(image: Path, *, writable: bool = False) -> Any:
    return device.view(run, str(image), 0, image.stat().st_size, writable=writable)


@pytest.fixture(params=sorted(SIZES))
def crashed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """An image taken while the file system was mounted: what is left of a server that died."""
    image = _made(tmp_path / "running.img", request.param)
    copy = tmp_path / "crashed.img"
    with (
        _whole(image, writable=True) as node,
        LinuxMounts().mount(node, request.param, writable=True) as root,
    ):
        root.joinpath("installed").write_text("long ago")
    with (
        _whole(image, writable=True) as node,
        LinuxMounts().mount(node, request.param, writable=True) as root,
    ):
        for number in range(50):
            root.joinpath(f"mail-{number}").write_bytes(bytes([number]) * 5000)
        subprocess.run(["sync", "--file-system", root], check=True)
        root.joinpath("mail-1").unlink()
        subprocess.run(["sync", "--file-system", root], check=True)
        subprocess.run(["sync", node], check=True)
        shutil.copyfile(image, copy)
    return copy, request.param


def test_looking_at_a_crashed_file_system_changes_no_bit(crashed: tuple[Path, str]) -> None:
    image, kind = crashed
    before = _digest(image)
    with _whole(image) as node, LinuxMounts().mount(node, kind) as root:
        assert root.joinpath("installed").read_text() == "long ago"
        with pytest.raises(OSError):
            root.joinpath("new").write_text("x")
    assert _digest(image) == before


def test_options_alone_keep_an_ext4_that_could_be_written(tmp_path: Path) -> None:
    """The view writable, the journal dirty: `noload` has to do it."""
    image = _made(tmp_path / "a.img", "ext4")
    copy = tmp_path / "b.img"
    with (
        _whole(image, writable=True) as node,
        LinuxMounts().mount(node, "ext4", writable=True) as r,
    ):
        r.joinpath("file").write_text("x")
        subprocess.run(["sync", "--file-system", r], check=True)
        subprocess.run(["sync", node], check=True)
        shutil.copyfile(image, copy)
    assert "needs_recovery" in run(["dumpe2fs", "-h", str(copy)]).stdout
    before = _digest(copy)
    with _whole(copy, writable=True) as node, LinuxMounts().mount(node, "ext4"):
        pass
    assert _digest(copy) == before


def test_a_writable_mount_writes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    image = _made(tmp_path / "a.img", "ext4")
    with _whole(image, writable=True) as node:
        with LinuxMounts().mount(node, "ext4", writable=True) as root:
            root.joinpath("hello").write_text("copy")
        assert not root.exists()
    with _whole(image) as node, LinuxMounts().mount(node, "ext4") as root:
        assert root.joinpath("hello").read_text() == "copy"
        with pytest.raises(PermissionError):
            subprocess.run([root / "hello"], check=False)


def test_what_is_no_file_system_is_a_tool_error(tmp_path: Path) -> None:
    image = tmp_path / "zero.img"
    image.write_bytes(bytes(MIB))
    with (
        _whole(image) as node,
        pytest.raises(ToolError, match="`mount --types ext4 --options ro,nodev"),
        LinuxMounts().mount(node, "ext4"),
    ):
        pytest.fail("there is nothing to mount")


def test_a_busy_file_system_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payload.system.mounts._PAUSE", 0.01)
    image = _made(tmp_path / "a.img", "ext4")
    tries: list[str] = []

    def busy(argv: Sequence[str], **more: Any) -> Completed:
        if argv[0] == "umount":
            tries.append(argv[1])
            if len(tries) <= 3:
                raise ToolError("It is in use.", code=32)
        return run(argv, **more)

    with _whole(image) as node, LinuxMounts(busy).mount(node, "ext4") as root:
        pass
    assert len(tries) == 4
    assert not root.exists()
    with _whole(image) as node:
        mounted = LinuxMounts().mount(node, "ext4")
        place = mounted.__enter__()
        keeper = place.joinpath("lost+found")
        with subprocess.Popen(["sleep", "60"], cwd=keeper) as holder:
            with pytest.raises(ToolError, match="busy"):
                mounted.__exit__(None, None, None)
            assert place.is_mount()
            holder.kill()
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def test_a_device_that_somebody_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However mount(8) puts it: the kernel is asked."""
    image = _made(tmp_path / "a.img", "ext4")
    holders: list[int] = []

    def let_go(_: float) -> None:
        os.close(holders.pop())

    def mute(argv: Sequence[str], **more: Any) -> Completed:
        try:
            return run(argv, **more)
        except ToolError as error:
            raise ToolError("It did not go.", code=error.code) from error

    monkeypatch.setattr(mounts, "time", SimpleNamespace(sleep=let_go))
    with _whole(image) as node:
        holders.append(os.open(node, os.O_RDONLY | os.O_EXCL))
        with LinuxMounts(mute).mount(node, "ext4") as root:
            assert root.joinpath("lost+found").is_dir()
    assert holders == []


@pytest.mark.parametrize(("code", "tries"), [(32, 2), (1, 1), (None, 1)])
def test_what_nobody_holds_is_not_waited_for(
    code: int | None, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once more at once, in case it was let go of between the failure and the question."""
    seen: list[str] = []

    def refuse(argv: Sequence[str], **_: Any) -> Completed:
        seen.append(argv[0])
        raise ToolError("The device is busy, or so it says.", code=code)

    no_clock = SimpleNamespace(sleep=lambda _: pytest.fail("it waited"))
    monkeypatch.setattr(mounts, "time", no_clock)
    image = _made(tmp_path / "a.img", "ext4")
    with (
        _whole(image) as node,
        pytest.raises(ToolError),
        LinuxMounts(refuse).mount(node, "ext4"),
    ):
        pytest.fail("there is nothing mounted")
    assert seen == ["mount"] * tries


def test_a_file_system_that_lives_on_in_another_namespace_is_not_unmounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """umount(8) succeeds, and what was written is still in a journal, or in memory alone."""
    monkeypatch.setattr("payload.system.mounts._PAUSE", 0.01)
    image = _made(tmp_path / "a.img", "ext4")
    with _whole(image, writable=True) as node:
        mounted = LinuxMounts().mount(node, "ext4", writable=True)
        root = mounted.__enter__()
        with other_mounts():
            root.joinpath("marker").write_text("finished")
            with pytest.raises(ToolError, match=f"{node} was unmounted, and its journal"):
                mounted.__exit__(None, None, None)
    assert not root.exists()


def test_another_namespace_may_let_it_go_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = _made(tmp_path / "a.img", "ext4")
    with _whole(image, writable=True) as node:
        mounted = LinuxMounts().mount(node, "ext4", writable=True)
        mounted.__enter__()
        with other_mounts() as holder:

            def let_go(_: float) -> None:
                holder.kill()
                holder.wait()

            monkeypatch.setattr(mounts, "time", SimpleNamespace(sleep=let_go))
            mounted.__exit__(None, None, None)
        assert read_needs_recovery(node, "ext4") is False


def test_a_journal_that_broke_off_is_no_clean_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """umount(8) succeeds on a file system whose disk failed, too (fs/ext4/super.c, ext4_put_super:
    the journal is kept for a replay when it was aborted)."""
    monkeypatch.setattr("payload.system.mounts._PAUSE", 0.01)
    image = _made(tmp_path / "a.img", "ext4")
    with (
        pytest.raises(ToolError, match="was unmounted, and its journal"),
        _whole(image, writable=True) as node,
        LinuxMounts().mount(node, "ext4", writable=True) as root,
    ):
        root.joinpath("marker").write_text("finished")
        subprocess.run(["mount", "-o", "remount,abort", root], check=True)
