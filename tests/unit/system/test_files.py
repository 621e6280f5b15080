"""Files of a mounted system: links never lead into the live one, files are whole or unchanged."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from payload.system import files
from payload.system.edits import (
    copy_file,
    make_directories,
    private_directory,
    remove_file,
    replace_file,
)
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


def test_a_replaced_file_keeps_mode_and_times(root: Path) -> None:
    place = root / "etc/file"
    place.write_bytes(b"old")
    place.chmod(0o640)
    os.utime(place, (1_000_000_000, 1_000_000_000))
    assert replace_file(root, "etc/file", b"new") == "/etc/file"
    assert place.read_bytes() == b"new"
    assert place.stat().st_mode & 0o7777 == 0o640
    assert place.stat().st_mtime == 1_000_000_000
    assert [name.name for name in place.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = root / "etc/file"
    place.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("payload.system.edits.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        assert replace_file(root, "etc/file", b"new") == "/etc/file"
    assert place.read_bytes() == b"old"
    assert [name.name for name in place.parent.iterdir()] == ["file"]


def test_what_a_crash_left_over_is_replaced(root: Path) -> None:
    (root / "etc/.file.failover~").write_bytes(b"half")
    replace_file(root, "etc/file", b"whole", 0o600)
    assert (root / "etc/file").stat().st_mode & 0o7777 == 0o600
    assert [name.name for name in (root / "etc").iterdir()] == ["file"]


def test_directories_are_made_inside(root: Path) -> None:
    (root / "var").symlink_to("/srv/var")
    (root / "srv/var").mkdir(parents=True)
    assert make_directories(root, "var/lib/ours") == "/srv/var/lib/ours"
    assert (root / "srv/var/lib/ours").stat().st_mode & 0o7777 == 0o755


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


@pytest.mark.parametrize("link", ["/srv/a/var", "srv/a/var", "../srv/../srv/a/var"])
def test_directories_are_made_where_a_link_leads_to_nothing(root: Path, link: str) -> None:
    (root / "var").symlink_to(link)
    assert make_directories(root, "var/lib/ours") == "/srv/a/var/lib/ours"
    assert (root / "srv/a/var/lib/ours").is_dir()
    assert replace_file(root, "var/lib/ours/marker", b"x") == "/srv/a/var/lib/ours/marker"


def test_directories_are_made_through_no_circle(root: Path) -> None:
    (root / "a").symlink_to("b/x")
    (root / "b").symlink_to("a/x")
    with pytest.raises(OSError, match="symbolic links"):
        make_directories(root, "a/ours")


@pytest.mark.parametrize("path", ["etc/\0x", "/" + "x" * 300, "/x" * 2000])
def test_a_name_that_nothing_can_have_is_absent(root: Path, path: str) -> None:
    assert read_inside(root, path) is None
    assert status_inside(root, path) is None
    assert names_inside(root, path) == []


def test_a_path_longer_than_any_is_an_error(root: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        real_path(root, "/x" * 5000)


def test_of_a_link_the_link_is_removed(root: Path) -> None:
    (root / "home").mkdir()
    (root / "home/mail").write_text("mail")
    (root / "etc/name").symlink_to("/home/mail")
    assert remove_file(root, "etc/name")
    assert not remove_file(root, "etc/name")
    assert (root / "home/mail").read_text() == "mail"


def test_a_file_is_written_where_its_link_leads(root: Path, tmp_path: Path) -> None:
    (root / "srv").mkdir()
    (root / "etc/name").symlink_to("/srv/file")
    assert replace_file(root, "etc/name", b"x") == "/srv/file"
    (root / "etc/out").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="No such file"):
        replace_file(root, "etc/out", b"x")
    assert (tmp_path / "outside").read_text() == "of the live system"


def test_a_private_directory_is_made_where_no_user_may_write(root: Path) -> None:
    (root / "var/lib").mkdir(parents=True)
    (root / "home").mkdir()
    (root / "home/mail").write_text("mail")
    with private_directory(root) as path:
        assert path.startswith("/var/lib/ugs-failover-")
        (root / path[1:] / "link").symlink_to("/home")
    (root / "var/lib").chmod(0o777)
    with private_directory(root) as path:
        assert path.startswith("/etc/ugs-failover-")
    (root / "var/lib").chmod(0o755)
    (root / "var/lib").rename(root / "home/lib")
    (root / "home").chmod(0o1777)
    (root / "var/lib").symlink_to("/home/lib")
    with private_directory(root) as path:
        assert path.startswith("/etc/ugs-failover-")
    assert sorted(one.name for one in (root / "etc").iterdir()) == []
    assert (root / "home/mail").read_text() == "mail"


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


def test_a_file_is_copied_with_the_mode_of_another(root: Path) -> None:
    (root / "etc/old").write_text("old")
    (root / "etc/old").chmod(0o600)
    (root / "etc/made").write_text("new")
    digest = copy_file(root, "etc/made", "etc/new", like="etc/old", limit=3)
    assert digest == hashlib.sha1(b"new").hexdigest()
    assert (root / "etc/new").read_text() == "new"
    assert (root / "etc/new").stat().st_mode & 0o7777 == 0o600
    with pytest.raises(FileExistsError):
        copy_file(root, "etc/made", "etc/new", like="etc/old", limit=3)


def test_what_is_larger_or_no_file_is_not_copied(root: Path, tmp_path: Path) -> None:
    (root / "etc/made").write_text("four")
    with pytest.raises(OSError, match="too large"):
        copy_file(root, "etc/made", "etc/new", like="etc/none", limit=3)
    os.mkfifo(root / "etc/fifo")
    (root / "etc/link").symlink_to(tmp_path / "outside")
    for path in ("etc/fifo", "etc/link", "etc"):
        with pytest.raises(OSError, match="Not a regular file"):
            copy_file(root, path, "etc/other", like="etc/none", limit=100)
