"""Files of a mounted system: links never lead into the live one, files are whole or unchanged."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from payload.system import files
from payload.system.files import digest_inside, inside, make_directories, read_inside, replace_file


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
    assert inside(root, "etc/name").is_relative_to(root)


def test_a_linked_directory_is_followed_inside(root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("/usr/lib")
    (root / "usr/lib/file").write_text("x")
    assert inside(root, "/lib/file") == root / "usr/lib/file"


def test_links_in_a_circle_are_an_error(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        inside(root, "a")


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
    replace_file(place, b"new")
    assert place.read_bytes() == b"new"
    assert place.stat().st_mode & 0o7777 == 0o640
    assert place.stat().st_mtime == 1_000_000_000
    assert [name.name for name in place.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = root / "etc/file"
    place.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("payload.system.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(place, b"new")
    assert place.read_bytes() == b"old"
    assert [name.name for name in place.parent.iterdir()] == ["file"]


def test_what_a_crash_left_over_is_replaced(root: Path) -> None:
    (root / "etc/.file.failover~").write_bytes(b"half")
    replace_file(root / "etc/file", b"whole", 0o600)
    assert (root / "etc/file").stat().st_mode & 0o7777 == 0o600
    assert [name.name for name in (root / "etc").iterdir()] == ["file"]


def test_directories_are_made_inside(root: Path) -> None:
    (root / "var").symlink_to("/srv/var")
    (root / "srv/var").mkdir(parents=True)
    assert make_directories(root, "var/lib/ours") == root / "srv/var/lib/ours"
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
