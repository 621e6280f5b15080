"""Changes of a mounted system: never outside of it, and each file whole or as it was."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.system.edits import (
    copy_file,
    copy_tree,
    make_directories,
    make_link,
    private_directory,
    remove_file,
    remove_link,
    rename,
    replace_file,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "copy"
    (place / "etc").mkdir(parents=True)
    (tmp_path / "outside").write_text("of the live system")
    return place


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


def test_a_new_file_gets_its_mode_whatever_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        replace_file(root, "etc/file", b"x", 0o666)
        make_directories(root, "srv/deep", 0o777)
    finally:
        os.umask(before)
    assert (root / "etc/file").stat().st_mode & 0o7777 == 0o666
    assert (root / "srv/deep").stat().st_mode & 0o7777 == 0o777
    assert (root / "srv").stat().st_mode & 0o7777 == 0o777


def test_a_file_keeps_its_extended_attributes(root: Path) -> None:
    place = root / "etc/file"
    place.write_bytes(b"old")
    os.setxattr(place, "user.kind", b"a label")
    replace_file(root, "etc/file", b"new")
    assert os.getxattr(place, "user.kind") == b"a label"


def test_a_file_without_a_directory_is_an_error_and_makes_none(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(root, "srv/file", b"x")
    assert sorted(path.name for path in root.iterdir()) == ["etc"]


def test_a_directory_is_not_replaced_by_a_file(root: Path) -> None:
    (root / "etc/conf.d").mkdir()
    with pytest.raises(OSError):
        replace_file(root, "etc/conf.d", b"x")
    assert [path.name for path in (root / "etc").iterdir()] == ["conf.d"]


def test_a_trap_in_the_place_of_the_temporary_file_is_not_written_through(
    root: Path, tmp_path: Path
) -> None:
    (root / "etc/.file.failover~").symlink_to(tmp_path / "outside")
    replace_file(root, "etc/file", b"x")
    assert (tmp_path / "outside").read_text() == "of the live system"
    assert (root / "etc/file").read_bytes() == b"x" and not (root / "etc/file").is_symlink()


def test_a_directory_that_is_there_stays_as_it_is(root: Path) -> None:
    (root / "etc").chmod(0o700)
    assert make_directories(root, "/etc/") == "/etc"
    assert (root / "etc").stat().st_mode & 0o7777 == 0o700


def test_a_file_in_the_place_of_a_directory_is_an_error(root: Path) -> None:
    (root / "etc/file").write_text("x")
    with pytest.raises(OSError):
        make_directories(root, "etc/file/below")
    assert (root / "etc/file").read_text() == "x"


def test_only_a_link_is_removed_as_one(root: Path) -> None:
    (root / "etc/file").write_text("x")
    (root / "etc/link").symlink_to("/etc/nothing")
    assert remove_link(root, "etc/link") and not (root / "etc/link").is_symlink()
    assert not remove_link(root, "etc/file") and not remove_link(root, "etc/none")
    assert (root / "etc/file").read_text() == "x"


def test_nothing_is_removed_through_a_linked_directory_outside(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path)
    assert not remove_file(root, "out/outside")
    assert (tmp_path / "outside").exists()


def test_a_directory_is_not_removed_as_a_file(root: Path) -> None:
    with pytest.raises(OSError):
        remove_file(root, "etc")
    assert (root / "etc").is_dir()


def test_a_link_is_made_where_its_directory_leads(root: Path) -> None:
    (root / "srv/units").mkdir(parents=True)
    (root / "units").symlink_to("/srv/units")
    make_link(root, "units/first.service", "/lib/first.service")
    assert str((root / "srv/units/first.service").readlink()) == "/lib/first.service"
    with pytest.raises(FileExistsError):
        make_link(root, "units/first.service", "/elsewhere")
    with pytest.raises(FileNotFoundError):
        make_link(root, "none/first.service", "/elsewhere")


def test_a_file_is_moved_over_another(root: Path) -> None:
    (root / "boot").mkdir()
    (root / "etc/new").write_text("new")
    (root / "boot/old").write_text("old")
    rename(root, "etc/new", "boot/old")
    assert (root / "boot/old").read_text() == "new" and not (root / "etc/new").exists()
    with pytest.raises(FileNotFoundError):
        rename(root, "etc/new", "boot/old")
    assert (root / "boot/old").read_text() == "new"


def test_a_tree_is_copied_with_its_links_as_links(root: Path, tmp_path: Path) -> None:
    (root / "etc/keys/deep").mkdir(parents=True)
    (root / "etc/keys/deep/file").write_text("x")
    (root / "etc/keys/out").symlink_to(tmp_path / "outside")
    copy_tree(root, "etc/keys", "srv/saved/keys")
    assert (root / "srv/saved/keys/deep/file").read_text() == "x"
    assert (root / "srv/saved/keys/out").is_symlink()
    with pytest.raises(FileExistsError):
        copy_tree(root, "etc/keys", "srv/saved/keys")


def test_of_no_directory_nothing_is_copied(root: Path) -> None:
    (root / "etc/file").write_text("x")
    for path in ("etc/none", "etc/file"):
        copy_tree(root, path, "srv/saved")
    assert not (root / "srv").exists()


def test_a_private_directory_is_gone_though_the_work_failed(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), private_directory(root) as path:
        assert (root / path[1:]).stat().st_mode & 0o7777 == 0o700
        raise ZeroDivisionError
    assert list((root / "etc").iterdir()) == []


def test_where_others_may_write_everywhere_there_is_no_private_directory(root: Path) -> None:
    root.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write to it"), private_directory(root):
        pytest.fail("somebody else may look into it")


def test_a_copy_without_a_model_is_for_its_owner_alone(root: Path) -> None:
    (root / "etc/made").write_text("made")
    copy_file(root, "etc/made", "etc/new", like="etc/none", limit=4)
    assert (root / "etc/new").stat().st_mode & 0o7777 == 0o600


# --- any path at all

NAMES = ("..", ".", "", "etc", "up", "abs", "loop", "file", "x" * 256, "\udcff")
PATHS = st.lists(st.sampled_from(NAMES), max_size=6).map("/".join)
ACTS: dict[str, Callable[[Path, str], object]] = {
    "replace": lambda root, path: replace_file(root, path, b"ours"),
    "directories": make_directories,
    "remove": remove_file,
    "remove link": remove_link,
    "link": lambda root, path: make_link(root, path, "/etc"),
    "rename": lambda root, path: rename(root, "etc/file", path),
    "rename from": lambda root, path: rename(root, path, "etc/file"),
    "copy": lambda root, path: copy_file(root, "etc/file", path, like="etc/file", limit=9),
    "copy from": lambda root, path: copy_file(root, path, "etc/new", like=path, limit=9),
    "tree": lambda root, path: copy_tree(root, "etc/conf.d", path),
}


@pytest.mark.parametrize("name", ACTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS)
def test_no_path_leads_out_of_the_system(
    tmp_path_factory: pytest.TempPathFactory, name: str, path: str
) -> None:
    """Links of the copied system among them: it ends well or in an error of the system."""
    above = tmp_path_factory.mktemp("live")
    root = above / "copy"
    (root / "etc/conf.d").mkdir(parents=True)
    (root / "etc/file").write_text("theirs")
    for where in ("", "etc/"):
        (root / f"{where}up").symlink_to("../../..")
        (root / f"{where}abs").symlink_to(str(above))
        (root / f"{where}loop").symlink_to("loop")
    (above / "file").write_text("live")
    with contextlib.suppress(OSError):
        ACTS[name](root, path)
    assert sorted(entry.name for entry in above.iterdir()) == ["copy", "file"]
    assert (above / "file").read_text() == "live"
