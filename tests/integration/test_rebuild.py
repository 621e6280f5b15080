"""The copy's own programs run in the copy, see nothing of this machine, and make its initramfs."""

import os
import select
from dataclasses import replace
from pathlib import Path

import pytest

from payload.finish.storage.initramfs import OLD, Rebuild, plan_rebuild, rebuild_initramfs
from payload.formats.kernel.startup import read_startup
from payload.model.errors import AdaptError, ToolError
from payload.system.command import run
from payload.system.sandbox import Sandbox
from tests.support.chroot_system import install, make_small_system
from tests.support.cpio_archives import archive
from tests.support.initramfs_without_ahci import (
    AHCI,
    IMAGE,
    VERSION,
    add_initramfs_without_ahci,
)
from tests.support.recorded_run import RecordedRun

pytestmark = pytest.mark.root

BEFORE = archive({"conf/initramfs.conf": b"MODULES=dep\n", "sbin/lvm": b"x"})
AFTER = archive({"conf/initramfs.conf": b"MODULES=most\n", "sbin/lvm": b"x", "k/ahci.ko": b"x"})
WORSE = archive({"conf/initramfs.conf": b"MODULES=most\n", "k/ahci.ko": b"x"})
MAKE = 'echo "$@"; cat "$2/x" "$2/conf.d/zz-failover" "$2/modules"\n'


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    make_small_system(root)
    return root


@pytest.fixture
def sandbox(system: Path, tmp_path: Path) -> Sandbox:
    (work := tmp_path / "work").mkdir()
    return Sandbox(run, system, work)


def test_what_runs_in_the_copy_sees_nothing_of_this_machine(system: Path, sandbox: Sandbox) -> None:
    words = sandbox(["sh", "-c", "ls /dev; ls /run; cat /proc/net/dev; echo $PATH"]).split()
    assert {"null", "urandom", "fd"} <= set(words)
    assert not [word for word in words if word.startswith(("loop", "sd", "vd", "nvme", "eth"))]
    assert words[-1] == "/usr/sbin:/usr/bin:/sbin:/bin"
    assert list((system / "dev").iterdir()) == list((system / "proc").iterdir()) == []


def test_what_it_leaves_running_ends_with_it(sandbox: Sandbox) -> None:
    """A pipe that only the program and what it started hold open comes to its end."""
    pipe = sandbox.work / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sandbox(["sh", "-c", "exec 8>/tmp/pipe; echo begun >&8; sleep 3600 >&- 2>&- & exit 0"])
    assert os.read(reader, 100) == b"begun\n"
    assert select.select([reader], [], [], 120)[0], "somebody still holds it open"
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_a_program_that_hangs_fails_or_is_missing_is_told(sandbox: Sandbox) -> None:
    with pytest.raises(ToolError, match="did not end within 3 seconds"):
        sandbox(["sleep", "60"], timeout=3)
    with pytest.raises(ToolError, match="copy's own sh failed with code 3: no room"):
        sandbox(["sh", "-c", "echo no room >&2; exit 3"])
    with pytest.raises(ToolError, match=r"copy's own mkinitramfs failed .* No such file"):
        sandbox(["mkinitramfs"])


def test_files_are_given_away_as_by_root(sandbox: Sandbox) -> None:
    """As cp -p does in what makes an initramfs."""
    (sandbox.work / "file").write_text("x")
    os.chown(sandbox.work / "file", 33, 42)
    sandbox(["cp", "-p", "/tmp/file", "/tmp/copy"])
    status = (sandbox.work / "copy").stat()
    assert (status.st_uid, status.st_gid) == (33, 42)


def test_a_system_that_is_only_looked_at_runs_its_programs(system: Path, sandbox: Sandbox) -> None:
    run(["mount", "--bind", str(system), str(system)])
    try:
        run(["mount", "-o", "remount,bind,ro,nodev,nosuid,noexec", str(system)])
        sandbox(["sh", "-c", "echo there > /var/tmp/file"])
        with pytest.raises(ToolError, match="Read-only file system"):
            sandbox(["mkdir", "/etc/new"])
    finally:
        run(["umount", str(system)])
    assert (sandbox.work / "file").read_text() == "there\n"


@pytest.fixture
def rebuild(system: Path) -> Rebuild:
    """A system with an initramfs that knows no AHCI, and a kernel that does."""
    made = add_initramfs_without_ahci(system, BEFORE, AFTER, f'{MAKE}cp /next "$4"\n')
    (system / IMAGE).chmod(0o600)
    (system / "etc/initramfs-tools/x").write_text("own\n")
    (system / "etc/initramfs-tools/modules").write_text("loop")
    return made


def test_the_copy_makes_its_initramfs_for_all_machines(system: Path, rebuild: Rebuild) -> None:
    states = system / "var/lib/initramfs-tools"
    states.mkdir(parents=True)
    (states / VERSION).write_text("0123  /boot/x\n")
    changes = rebuild_initramfs(heard := RecordedRun(), system, rebuild)
    assert (rebuild.modules, rebuild.vital, rebuild.why) == (("ahci",), True, "it lacked ahci")
    assert (system / IMAGE).read_bytes() == AFTER
    assert (system / IMAGE).stat().st_mode & 0o777 == 0o600
    assert (system / (IMAGE + OLD)).read_bytes() == BEFORE
    assert heard.said == [
        f"-d /tmp/initramfs-tools -o /tmp/made {VERSION}", "own", "MODULES=most", "loop", "ahci",
    ]  # fmt: skip
    assert not list((system / "var/lib").glob("ugs-failover-*"))
    assert [change.where for change in changes] == [
        f"/{IMAGE}{OLD}", f"/{IMAGE}", f"/var/lib/initramfs-tools/{VERSION}",
    ]  # fmt: skip
    state = (states / VERSION).read_text()
    digest = run(["sha1sum", str(system / IMAGE)]).stdout.split()[0]
    assert state == f"{digest}  /{IMAGE}\n"


def test_a_link_that_a_user_made_deletes_nothing(system: Path, rebuild: Rebuild) -> None:
    """The name was a fixed one in a directory where anybody may make links."""
    mail = system / "home/mail"
    mail.mkdir(parents=True)
    (mail / "inbox").write_text("mail")
    link = system / "var/tmp/ugs-failover-initramfs-tools"
    link.symlink_to("/home/mail")
    os.lchown(link, 65534, 65534)
    rebuild_initramfs(run, system, rebuild)
    assert (system / IMAGE).read_bytes() == AFTER
    assert (mail / "inbox").read_text() == "mail"
    assert link.is_symlink()


def test_links_in_its_configuration_lead_nowhere_else(
    system: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    """Links of the copy mean its own root, and what they lead to stays as it is."""
    configuration = system / "etc/initramfs-tools"
    (configuration / "modules").unlink()
    (configuration / "modules").symlink_to("../modules")
    (system / "etc/modules").write_text("loop")
    (outside := tmp_path / "outside").mkdir()
    (configuration / "conf.d").symlink_to(outside)
    (system / str(outside)[1:]).mkdir(parents=True)
    (system / str(outside)[1:] / "own").write_text("own\n")
    install(system, "usr/sbin/mkinitramfs", f'{MAKE}cat "$2/conf.d/own"\ncp /next "$4"\n')
    rebuild_initramfs(heard := RecordedRun(), system, rebuild)
    assert heard.said[1:] == ["own", "MODULES=most", "loop", "ahci", "own"]
    assert (system / "etc/modules").read_text() == "loop"
    assert list(outside.iterdir()) == []
    assert [one.name for one in (system / str(outside)[1:]).iterdir()] == ["own"]


def test_made_again_the_first_one_stays_the_old_one(system: Path, rebuild: Rebuild) -> None:
    rebuild_initramfs(run, system, rebuild)
    assert plan_rebuild(read_startup([system]), [AHCI], [], stale=False) is None
    rebuild_initramfs(run, system, rebuild)
    assert (system / (IMAGE + OLD)).read_bytes() == BEFORE


@pytest.mark.parametrize(
    ("script", "content", "why"),
    [
        ("exit 1\n", AFTER, "failed with code 1"),
        ('cp /next "$4"\n', BEFORE, "the new one does not hold ahci"),
        ('cp /next "$4"\n', WORSE, "the new one does not hold lvm"),
        ('cp /next "$4"\n', b"\x1f\x8b", "the image is damaged"),
        ("exit 0\n", AFTER, "missing, or not a regular file"),
    ],
)
def test_what_was_not_made_well_is_not_put_in_place(
    system: Path, rebuild: Rebuild, script: str, content: bytes, why: str
) -> None:
    (system / "next").write_bytes(content)
    install(system, "usr/sbin/mkinitramfs", script)
    with pytest.raises(AdaptError, match=why):
        rebuild_initramfs(run, system, rebuild)
    assert (system / IMAGE).read_bytes() == BEFORE
    assert sorted(path.name for path in (system / "boot").iterdir()) == [Path(IMAGE).name]


@pytest.mark.parametrize("words", [["--no-hostonly"], []])
def test_dracut_of_any_age(system: Path, rebuild: Rebuild, words: list[str]) -> None:
    script = f'# {" ".join(words)}\necho "$@"\n'
    copy = 'for place; do last=$before; before=$place; done; cp /next "$last"\n'
    install(system, "usr/bin/dracut", script + copy)
    rebuild_initramfs(heard := RecordedRun(), system, replace(rebuild, maker="dracut"))
    wanted = ["--force", *words, "--add-drivers ahci", f"/tmp/made {VERSION}"]
    assert heard.said == [" ".join(wanted)]
