"""What bubblewrap is told: the mounts are those meant, also where the copy's own links lead."""

from pathlib import Path

import pytest

from payload.system.sandbox import render_sandbox


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("root/etc", "root/tmp", "root/var/tmp", "root/run", "root/proc", "root/dev"):
        (tmp_path / path).mkdir(parents=True)
    return tmp_path / "root"


def mounts(root: Path) -> list[tuple[str, str]]:
    """(option, where) of each mount, in order."""
    argv = render_sandbox(root, Path("/work"))
    last = {"--ro-bind": 2, "--bind": 2, "--dev-bind": 2, "--tmpfs": 1, "--proc": 1}
    return [(word, argv[at + last[word]]) for at, word in enumerate(argv) if word in last]


def test_the_copy_is_read_only_and_one_directory_is_not(root: Path) -> None:
    found = mounts(root)
    assert found[0] == ("--ro-bind", "/")
    assert [place for option, place in found if option == "--bind"] == ["/tmp", "/var/tmp"]
    devices = [place for option, place in found if option == "--dev-bind"]
    assert devices == [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")]
    assert not any(place.startswith("/sys") for _, place in found)


def test_every_namespace_is_its_own_and_only_harmless_rights_are_left(root: Path) -> None:
    argv = render_sandbox(root, Path("/work"))
    for name in ("ipc", "pid", "net", "uts", "cgroup"):
        assert f"--unshare-{name}" in argv
    assert argv[argv.index("--cap-drop") + 1] == "ALL"
    rights = {argv[at + 1] for at, word in enumerate(argv) if word == "--cap-add"}
    assert not rights & {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"}
    assert {"--die-with-parent", "--new-session", "--clearenv"} <= set(argv)


def test_links_of_the_copy_move_no_mount_out_of_it(root: Path) -> None:
    """A mount is made by its path, while this machine's files can still be seen."""
    (root / "tmp").rmdir()
    (root / "tmp").symlink_to("/../../oldroot/etc")
    (root / "run").rmdir()
    (root / "run").symlink_to("/var/run")
    (root / "var/run").mkdir()
    found = mounts(root)
    assert ("--bind", "/var/tmp") in found
    assert ("--tmpfs", "/var/run") in found
    assert not any("oldroot" in place or place in ("/tmp", "/run") for _, place in found)
