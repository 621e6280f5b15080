"""The cache outside the clone: what comes back, what is noticed, and many users at once."""

import os
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.iso_build import load_iso_build
from tests.vm import debian, kept
from tests.vm.images import MIB, ImageError

NAME = "live-0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shared"
    monkeypatch.setenv("UGS_CACHE", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A little of what a root file system holds, and an image with a hole."""
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/su").write_bytes(os.urandom(3 * MIB))
    (tree / "bin/su").chmod(0o4755)
    (tree / "sh").symlink_to("/bin/su")
    os.link(tree / "bin/su", tree / "bin/again")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(tree / "bin", 1000, 1001)
    os.utime(tree / "bin/su", (5, 5))
    with (tree / "disk").open("wb") as disk:
        disk.seek(64 * MIB)
        disk.write(b"end")
    return tree


def entry(folder: Path) -> Path:
    return folder / f"{NAME}.tar.zst"


def test_a_directory_comes_back_as_it_was(folder: Path, tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clone/build/copy"
    assert not kept.fetch(NAME, copy)
    assert not copy.exists()
    kept.keep(NAME, tree)
    assert kept.fetch(NAME, copy)
    subprocess.run(["diff", "-r", "--no-dereference", "-x", "null", tree, copy], check=True)
    su = (copy / "bin/su").stat()
    assert (stat.S_IMODE(su.st_mode), su.st_mtime, su.st_nlink) == (0o4755, 5, 2)
    assert ((copy / "bin").stat().st_uid, (copy / "bin").stat().st_gid) == (1000, 1001)
    assert (copy / "null").stat().st_rdev == os.makedev(1, 3)
    assert (copy / "disk").stat().st_blocks * 512 < MIB, "the hole is one again"
    assert sorted(path.name for path in folder.iterdir()) == [entry(folder).name]
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_without_a_folder_nothing_is_kept(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UGS_CACHE", raising=False)
    kept.keep(NAME, tree)
    assert not kept.fetch(NAME, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b""])
def test_a_damaged_entry_is_made_anew(
    folder: Path, tree: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    kept.keep(NAME, tree)
    entry(folder).write_bytes(damage(entry(folder).read_bytes()))
    copy = tmp_path / "clone/copy"
    assert not kept.fetch(NAME, copy)
    assert list(copy.parent.iterdir()) == [], "nothing half is left"
    assert not entry(folder).exists()
    kept.keep(NAME, tree)
    assert kept.fetch(NAME, copy)


def test_a_directory_that_holds_something_is_not_replaced(
    folder: Path, tree: Path, tmp_path: Path
) -> None:
    kept.keep(NAME, tree)
    copy = tmp_path / "copy"
    copy.mkdir()
    assert kept.fetch(NAME, copy), "it is empty"
    before = sorted(copy.rglob("*"))
    (copy / "mine").touch()
    with pytest.raises(ImageError, match="could not fetch"):
        kept.fetch(NAME, copy)
    assert sorted(copy.rglob("*")) == sorted([*before, copy / "mine"])
    assert not list(tmp_path.glob("copy.*"))


def test_many_clones_use_one_folder_at_once(folder: Path, tree: Path, tmp_path: Path) -> None:
    kept.keep(NAME, tree)

    def use(clone: int) -> None:
        kept.keep(NAME, tree)
        copy = tmp_path / f"clone-{clone}"
        assert kept.fetch(NAME, copy)
        subprocess.run(["diff", "-r", "--no-dereference", "-x", "null", tree, copy], check=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(12)))
    assert sorted(path.name for path in folder.iterdir()) == [entry(folder).name]


def test_a_writer_that_is_killed_leaves_the_old_entry(
    folder: Path, tree: Path, tmp_path: Path
) -> None:
    kept.keep(NAME, tree)
    before = entry(folder).read_bytes()
    (tree / "more").write_bytes(os.urandom(64 * MIB))
    with subprocess.Popen([kept.PROGRAM, "keep", NAME, tree], process_group=0) as writer:
        while len(list(folder.iterdir())) < 2:
            assert writer.poll() is None
        os.killpg(writer.pid, 9)
    assert entry(folder).read_bytes() == before
    assert kept.fetch(NAME, tmp_path / "copy")
    assert not (tmp_path / "copy/more").exists()


def test_a_server_s_installation_is_taken_from_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(release: str, packages: object, archive: Path) -> None:
        archive.write_text(release)

    monkeypatch.setattr(debian, "_install", install)
    first = debian.base_system(tmp_path / "one", "bookworm", ("mdadm",))
    monkeypatch.setattr(debian, "_install", None)  # a second time would fail
    second = debian.base_system(tmp_path / "two", "bookworm", ("mdadm",))
    assert first.read_text() == second.read_text() == "bookworm"
    assert first.relative_to(tmp_path / "one") == second.relative_to(tmp_path / "two")


def test_the_iso_build_knows_the_folder(
    folder: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = load_iso_build()
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "old").touch()
    assert not build.fetch(NAME, copy)
    assert not copy.exists()
    build.keep(NAME, tree)
    assert build.fetch(NAME, copy)
    assert (copy / "bin/su").read_bytes() == (tree / "bin/su").read_bytes()


def test_what_a_site_is_known_by_is_never_kept() -> None:
    """Only layers in which nothing of the site is have an entry."""
    source = (Path(kept.PROGRAM).parent / "build").read_text()
    for name in ("build_payload", "build_iso", "write_iso", "lay_out_medium", "lay_out_network"):
        _, _, rest = source.partition(f"def {name}(")
        assert rest
        body, _, _ = rest.partition("\n\n\ndef ")
        assert "keep(" not in body
