"""A copied system whose programs are an attacker's: what they reach from where they are run.

The copy is a file system on a loop device, mounted as a finish mounts it; its mkinitramfs does the
harm it can, by the call that a finish makes.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from payload.finish.storage.initramfs import Rebuild, rebuild_initramfs
from payload.model.errors import AdaptError, ToolError
from payload.system import control_groups, sandbox
from payload.system.command import run
from payload.system.mounts import LinuxMounts
from payload.system.sandbox import Sandbox
from payload.system.system_calls import DENIED, number_of
from tests.support.chroot_system import add_programs, install, make_small_system
from tests.support.cpio_archives import archive
from tests.support.initramfs_without_ahci import IMAGE, add_initramfs_without_ahci
from tests.support.recorded_run import RecordedRun

pytestmark = pytest.mark.root

MIB = 1 << 20
BEFORE = archive({"conf/initramfs.conf": b"MODULES=dep\n"})
AFTER = archive({"conf/initramfs.conf": b"MODULES=most\n", "k/ahci.ko": b"x"})
TOOLS = (
    "blockdev", "chroot", "ln", "mkfifo", "mount", "nsenter", "rmdir", "seq", "umount", "unshare",
    "yes",
)  # fmt: skip
HONEST = 'while [ "$1" != -o ]; do shift; done\nmade=$2\n'


def left_nothing(recorded: RecordedRun) -> bool:
    """The control groups that programs were run in are gone."""
    words = " ".join(" ".join(call) for call in recorded.calls).split()
    groups = [Path(word) for word in words if word.startswith(f"{control_groups.ROOT}/")]
    return bool(groups) and not any(group.exists() for group in groups)


@dataclass(frozen=True)
class Victim:
    """The copy at `root`, and another disk of the target, write-protected, that is none of its
    business; `key` is a secret of the live system."""

    root: Path
    rebuild: Rebuild
    disk: str
    key: Path
    outside: Path

    @property
    def number(self) -> tuple[int, int]:
        device = Path(self.disk).stat().st_rdev
        return os.major(device), os.minor(device)

    def plant(self, script: str) -> None:
        install(self.root, "usr/sbin/mkinitramfs", HONEST + script)

    def is_as_before(self) -> bool:
        return (self.root / IMAGE).read_bytes() == BEFORE and sorted(
            path.name for path in (self.root / "boot").iterdir()
        ) == [Path(IMAGE).name]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    (tmp_path / "key").write_text("the site's key\n")
    (tmp_path / "copy.img").write_bytes(b"")
    os.truncate(tmp_path / "copy.img", 96 * MIB)
    (tmp_path / "other.img").write_bytes(b"another disk's data".ljust(MIB, b"\0"))
    run(["mkfs.ext4", "-q", "-F", str(tmp_path / "copy.img")])
    device = run(["losetup", "--find", "--show", str(tmp_path / "copy.img")]).stdout.strip()
    other = run(["losetup", "--find", "--show", str(tmp_path / "other.img")]).stdout.strip()
    run(["blockdev", "--setro", other])
    try:
        with LinuxMounts().mount(device, "ext4", writable=True) as root:
            yield Victim(root, _fill(root), other, tmp_path / "key", tmp_path / "outside")
    finally:
        run(["losetup", "--detach", device])
        run(["blockdev", "--setrw", other])  # or whoever uses that loop device next cannot write
        run(["losetup", "--detach", other])


def _fill(root: Path) -> Rebuild:
    make_small_system(root)
    add_programs(root, *TOOLS)
    (root / "etc/shadow").write_text("root:*\n")
    return add_initramfs_without_ahci(root, BEFORE, AFTER, f'{HONEST}cp /next "$made"\n')


def test_an_honest_one_is_taken(victim: Victim) -> None:
    rebuild_initramfs(recorded := RecordedRun(), victim.root, victim.rebuild)
    assert (victim.root / IMAGE).read_bytes() == AFTER
    assert left_nothing(recorded)


def test_no_disk_process_namespace_or_file_of_this_machine_is_reached(victim: Victim) -> None:
    """Whatever succeeds is said; in the end it does its work, so that the call succeeds."""
    major, minor = victim.number
    key = victim.key
    victim.plant(f"""
try() {{ if "$@" >/dev/null 2>&1; then echo "REACHED: $*"; fi; }}
for place in /tmp /var/tmp /dev /dev/shm /run /proc /; do
  try mknod $place/disk b {major} {minor}
  try dd if=$place/disk of=/tmp/stolen bs=512 count=1
  try blockdev --setrw $place/disk
  try dd if=/dev/zero of=$place/disk bs=512 count=1 conv=nocreat
done
try cat {victim.disk}
try mount -t tmpfs none /run
try mount -t tmpfs none /tmp
try mount -t devtmpfs none /run
try mount -t sysfs none /sys
try mount -t proc none /tmp
try mount -t cgroup2 none /run
try mount --bind /tmp /etc
try mount -o remount,rw /
try mount -o remount,rw /proc
try mount -t ext4 /run/disk /run
try umount /proc
for kind in mount net pid user ipc uts cgroup; do
  try nsenter --target 1 --$kind true
done
try unshare --user --map-root-user true
try unshare --mount true
try unshare --net true
for place in /proc/1/root /proc/self/root/.. /..  /proc/self/cwd/../..; do try cat $place{key}; done
mkdir /tmp/jail
for above in .. ../.. ../../../../../..; do try chroot /tmp sh -c "cat $above{key}"; done
try cat {key}
try sh -c 'echo x > {victim.outside}'
try sh -c 'echo x > /etc/shadow'
try sh -c 'echo x > /usr/sbin/mkinitramfs'
try mkdir /etc/new
try rm /{IMAGE}
cd /proc/sys
for file in kernel/core_pattern kernel/modprobe vm/overcommit_memory \\
  /proc/sysrq-trigger /proc/self/uid_map /proc/self/oom_score_adj; do
  try sh -c "echo 1 > $file"
done
for fd in $(ls /proc/self/fd); do
  case $(ls -l /proc/self/fd/$fd) in
    */dev/null) ;; */dev/*) try sh -c "echo REACHED: $fd >&$fd";;
  esac
done
for process in /proc/[0-9]*; do
  if grep -q pytest $process/cmdline 2>/dev/null; then echo "REACHED: $process"; fi
done
for link in /sys/*; do [ -e "$link" ] && echo "REACHED: $link"; done
while read -r name rest; do
  case $name in lo:|Inter-*|face) ;; *) echo "REACHED: $name";; esac
done </proc/net/dev
cp /next "$made"
echo done
""")
    add_programs(victim.root, "grep")
    rebuild_initramfs(recorded := RecordedRun(), victim.root, victim.rebuild)
    assert [line for line in recorded.said if line.startswith("REACHED")] == []
    assert recorded.said[-1] == "done"
    assert run(["blockdev", "--getro", victim.disk]).stdout == "1\n"
    assert not victim.outside.exists()
    assert (victim.root / "etc/shadow").read_text() == "root:*\n"
    assert (victim.root / IMAGE).read_bytes() == AFTER


def test_system_calls_that_nothing_here_needs_are_refused(victim: Victim, tmp_path: Path) -> None:
    """Without a filter most of these are answered otherwise (EFAULT, EINVAL, ESRCH, or done)."""
    add_programs(victim.root, "perl")
    numbers = {name: number_of(name) for name in DENIED if number_of(name) >= 0}
    calls = " ".join(f"{name} {number}" for name, number in numbers.items())
    script = (
        f"%calls = qw({calls}); foreach (sort keys %calls)"
        " { $! = 0; syscall($calls{$_}, -1, 0, 0, 0, 0, 0); print $_, ' ', $!+0, qq(\n); }"
    )
    (work := tmp_path / "work").mkdir()
    said = Sandbox(run, victim.root, work)(["perl", "-e", script])
    assert said.splitlines() == [f"{name} {errno.EPERM}" for name in sorted(numbers)]
    assert len(numbers) > 50


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('mkfifo "$made"\n', "missing, or not a regular file"),
        ('mkdir "$made"\n', "missing, or not a regular file"),
        ('ln -s /dev/zero "$made"\n', "missing, or not a regular file"),
        ('ln -s {key} "$made"\n', "missing, or not a regular file"),
        ('ln -s /etc/shadow "$made"\n', "of no known kind"),
        ('rm -rf /tmp/*; ln -s / /tmp/x; ln -s /etc "$made"\n', "missing, or not a regular file"),
        ("dd if=/dev/zero of=/dev/null bs=700M count=1\n", "could not be made anew"),
        ('dd if=/dev/zero of="$made" bs=1M count=40\n', "could not be made anew"),
        ("while :; do sleep 600 & done\n", "could not be made anew"),
    ],
)
def test_what_it_leaves_and_takes_is_bounded(
    victim: Victim, script: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PROCESSES", 100)
    monkeypatch.setattr(sandbox, "LARGEST_FILE", 32 * MIB)
    monkeypatch.setattr(sandbox, "_memory", lambda: 256 * MIB)
    victim.plant(script.replace("{key}", str(victim.key)))
    with pytest.raises(AdaptError, match=why):
        rebuild_initramfs(recorded := RecordedRun(), victim.root, victim.rebuild)
    assert victim.is_as_before()
    assert (victim.root / "etc/shadow").read_text() == "root:*\n"
    assert victim.key.read_text() == "the site's key\n"
    assert left_nothing(recorded)


def test_what_it_fills_the_disk_with_is_gone_afterwards(victim: Victim) -> None:
    free = shutil.disk_usage(victim.root).free
    victim.plant("for n in $(seq 100); do dd if=/dev/zero of=/tmp/$n bs=1M count=10; done\n")
    with pytest.raises(AdaptError, match="No space left"):
        rebuild_initramfs(run, victim.root, victim.rebuild)
    assert victim.is_as_before()
    assert shutil.disk_usage(victim.root).free > free - MIB


def test_what_it_says_without_end_is_not_kept(victim: Victim, tmp_path: Path) -> None:
    (work := tmp_path / "work").mkdir()
    said = Sandbox(run, victim.root, work)(["sh", "-c", "yes | dd bs=1M count=50 2>&1; echo last"])
    assert len(said) <= sandbox.OUTPUT
    assert said.endswith("last\n")
    with pytest.raises(ToolError, match="did not end within 5 seconds"):
        Sandbox(recorded := RecordedRun(), victim.root, work)(["yes"], timeout=5)
    assert left_nothing(recorded)
