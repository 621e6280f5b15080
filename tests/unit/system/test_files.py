"""Files of a mounted system: links never lead into the live one."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from payload.system import files
from payload.system.files import (
    digest_inside,
    is_roots_own,
    link_inside,
    names_inside,
    read_inside,
    real_path,
    status_inside,
    subtree,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "copy"
    (place / "etc").mkdir(parents=True)
    (tmp_path / "outside").write_text("of the live system")
    return place


@pytest.mark.parametrize(
    "link", ["/etc/real", "real", "../etc/real", "../../../../etc/real", "/../../etc/real"]
)
def test_links_stay_below_the_root(root: Path, link: str) -> None:
    (root / "etc/real").write_text("of the copy")
    (root / "etc/name").symlink_to(link)
    assert read_inside(root, "/etc/name") == b"of the copy"


@pytest.mark.parametrize("link", ["../../outside", "/../outside", "{parent}/outside"])
def test_what_lies_outside_is_never_read(root: Path, link: str) -> None:
    (root / "etc/name").symlink_to(link.format(parent=root.parent))
    assert read_inside(root, "etc/name") is None
    assert status_inside(root, "etc/name") is None
    assert real_path(root, "etc/name").startswith("/")


def test_a_linked_directory_is_followed_inside(root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("/usr/lib")
    (root / "usr/lib/file").write_text("x")
    assert real_path(root, "/lib/file") == "/usr/lib/file"
    assert real_path(root, "/lib/new/../other") == "/usr/lib/other"
    assert subtree(root, "/lib") == root / "usr/lib"
    assert names_inside(root, "/lib") == ["file"]
    assert link_inside(root, "/lib") == "/usr/lib"


def test_links_in_a_circle_are_an_error(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        real_path(root, "a")
    assert status_inside(root, "a") is None


def test_a_fifo_in_place_of_a_file_does_not_hang(root: Path) -> None:
    os.mkfifo(root / "etc/fifo")
    assert read_inside(root, "etc/fifo") is None
    assert read_inside(root, "etc/fifo/below") is None


def test_a_socket_in_place_of_a_file_is_none(root: Path) -> None:
    """Like a device, it cannot be opened as a file, which is no reason to give up."""
    os.mknod(root / "etc/socket", stat.S_IFSOCK | 0o600)
    assert read_inside(root, "etc/socket") is None


def test_a_digest_is_taken_of_what_is_too_large_to_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LARGEST", 3)
    (root / "etc/initrd").write_bytes(b"large")
    with pytest.raises(OSError, match="etc/initrd"):
        read_inside(root, "/etc/initrd")
    assert digest_inside(root, "/etc/initrd") == hashlib.sha256(b"large").hexdigest()
    assert digest_inside(root, "/etc/none") is None
    assert digest_inside(root, "/etc") is None


@pytest.mark.parametrize("path", ["etc/\0x", "/" + "x" * 300, "/x" * 2000])
def test_a_name_that_nothing_can_have_is_absent(root: Path, path: str) -> None:
    assert read_inside(root, path) is None
    assert status_inside(root, path) is None
    assert names_inside(root, path) == []


def test_a_path_longer_than_any_is_an_error(root: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        real_path(root, "/x" * 5000)


def test_only_what_root_alone_may_write_to_is_its_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "tmp/usr").mkdir(parents=True)
    for place in ("etc/file", "tmp/usr/file"):
        (root / place).write_text("x")
    assert is_roots_own(root, "etc/file")
    assert not is_roots_own(root, "etc/none")
    (root / "tmp").chmod(0o1777)
    (root / "etc/link").symlink_to("/tmp/usr/file")
    assert not is_roots_own(root, "tmp/usr/file")
    assert not is_roots_own(root, "etc/link")
    (root / "etc/file").chmod(0o664)
    assert is_roots_own(root, "etc/file"), "root's group is root's own"
    monkeypatch.setattr(files, "ROOT_GROUP", os.getegid() + 1)
    assert not is_roots_own(root, "etc/file")
    (root / "etc/file").chmod(0o644)
    monkeypatch.setattr(files, "ROOT", os.geteuid() + 1)
    assert not is_roots_own(root, "etc/file")
