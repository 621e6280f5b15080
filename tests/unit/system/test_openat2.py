"""Paths that the kernel keeps below a directory."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.system.openat2 import open_in_root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "copy/etc").mkdir(parents=True)
    (tmp_path / "copy/etc/passwd").write_text("of the copy")
    (tmp_path / "outside").write_text("of the live system")
    return tmp_path / "copy"


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    descriptor = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def read(root: int, path: str, *, follow_links: bool = True) -> bytes:
    descriptor = open_in_root(root, path, os.O_RDONLY, follow_links=follow_links)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "path", ["etc/passwd", "/etc/passwd", "//etc/passwd", "../../etc/passwd", "/etc/../etc/passwd"]
)
def test_the_directory_is_the_root_of_every_path(root: int, path: str) -> None:
    assert read(root, path) == b"of the copy"


@pytest.mark.parametrize("leads", ["/etc/passwd", "../../../etc/passwd", "passwd"])
def test_links_mean_the_system_s_own_files(tree: Path, root: int, leads: str) -> None:
    (tree / "etc/link").symlink_to(leads)
    assert read(root, "etc/link") == b"of the copy"


@pytest.mark.parametrize("leads", ["../outside", "/../outside", "{outside}"])
def test_no_link_leads_out(tree: Path, root: int, leads: str) -> None:
    (tree / "link").symlink_to(leads.format(outside=tree.parent / "outside"))
    with pytest.raises(FileNotFoundError) as caught:
        read(root, "link")
    assert caught.value.filename == "link"


def test_the_empty_path_is_the_directory_itself(tree: Path, root: int) -> None:
    for path in ("", "/", "///"):
        descriptor = open_in_root(root, path, os.O_PATH)
        assert os.path.sameopenfile(descriptor, root)
        os.close(descriptor)


@pytest.mark.parametrize("path", ["link", "linked/passwd"])
def test_without_following_a_link_anywhere_is_an_error(tree: Path, root: int, path: str) -> None:
    (tree / "link").symlink_to("etc/passwd")
    (tree / "linked").symlink_to("etc")
    assert read(root, path) == b"of the copy"
    with pytest.raises(OSError) as caught:
        read(root, path, follow_links=False)
    assert caught.value.errno == errno.ELOOP


def test_links_of_proc_lead_nowhere() -> None:
    """They would lead to whatever a process of the live system has open."""
    proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError) as caught:
            read(proc, "root/etc/passwd")
        assert caught.value.errno == errno.ELOOP
    finally:
        os.close(proc)


def test_a_path_is_not_cut_where_c_would_end_it(tree: Path, root: int) -> None:
    with pytest.raises(FileNotFoundError):
        read(root, "etc/passwd\0.bak")


def test_a_new_file_has_its_mode_and_is_not_inherited(tree: Path, root: int) -> None:
    descriptor = open_in_root(root, "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert (tree / "new").stat().st_mode & 0o7777 == 0o600
    with pytest.raises(FileExistsError):
        open_in_root(root, "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def test_a_name_that_is_no_utf8_is_opened(tree: Path, root: int) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/M\xfcller")).write_text("x")
    assert read(root, os.fsdecode(b"M\xfcller")) == b"x"


def test_a_directory_that_is_closed_is_an_error() -> None:
    with pytest.raises(OSError) as caught:
        open_in_root(-1, "etc", os.O_PATH)
    assert caught.value.errno == errno.EBADF


NAMES = st.sampled_from(["..", ".", "etc", "passwd", "outside", "up", "abs", ""]) | st.text(
    st.characters(codec="utf-8"), max_size=5
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, max_size=8))
def test_no_path_reaches_anything_outside(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    above = tmp_path_factory.mktemp("live")
    (above / "copy/etc").mkdir(parents=True)
    (above / "copy/up").symlink_to("../..")
    (above / "copy/abs").symlink_to(str(above))
    (above / "outside").write_text("of the live system")
    root = os.open(above / "copy", os.O_PATH | os.O_DIRECTORY)
    try:
        descriptor = open_in_root(root, "/".join(words), os.O_PATH)
    except OSError:
        return
    finally:
        os.close(root)
    reached = Path(f"/proc/self/fd/{descriptor}").readlink()
    os.close(descriptor)
    assert reached.is_relative_to(above / "copy")
