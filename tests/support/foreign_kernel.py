"""A kernel that knows file systems which the running one may not: User Mode Linux, a process.

It sees the files of this machine, read-only, and one image as its disk.
"""

import subprocess
from pathlib import Path

from tests.support.server_image import PATH

MOUNTED = "/dev/mounted"  # where the script has the file system: only /dev can be written to
_DONE = "the script came to its end"
_SCRIPT = """\
#!/bin/sh -e
trap 'echo o > /proc/sysrq-trigger; sleep 60' EXIT
export PATH={path}
mount -t proc proc /proc
mkdir {mounted}
mount -t {kind} -o {options} /dev/ubda {mounted}
cd {mounted}
{script}
echo "{done}"
{end}
"""


def run_in_kernel(
    image: Path, kind: str, script: str, *, options: str = "rw", unmount: bool = True
) -> str:
    """What a script prints whose working directory is the image's file system. Without `unmount`
    the machine is switched off as it is, after the script."""
    start = image.with_suffix(".init")
    start.write_text(
        _SCRIPT.format(
            path=PATH,
            mounted=MOUNTED,
            kind=kind,
            options=options,
            script=script,
            done=_DONE,
            end=f"cd /; umount {MOUNTED}" if unmount else "",
        )
    )
    start.chmod(0o755)
    disk, folder = f"ubd0={image}", f"uml_dir={image.parent}"
    root = ["root=/dev/root", "rootfstype=hostfs", "ro", f"init={start}"]
    argv = ["linux.uml", disk, folder, *root, "mem=128M", "quiet", "con=null", "con0=null,fd:1"]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
        env={"PATH": PATH, "TMPDIR": str(image.parent)},
    )
    assert _DONE in done.stdout, done.stdout + done.stderr
    return done.stdout.split(_DONE)[0]


# Files of many sizes, some of them deleted again, as in daily life.
USE = """\
mkdir mail
for number in $(seq 1 150); do head -c $((number * 997)) /dev/urandom > mail/$number; done
for number in $(seq 1 8); do head -c $((number * 1000000)) /dev/urandom > large$number; done
rm large2 large5 mail/*3
head -c 3000000 /dev/urandom > late
"""


def use(image: Path, kind: str) -> None:
    run_in_kernel(image, kind, USE)


def digests(image: Path, kind: str, options: str = "ro") -> list[str]:
    """The SHA-256 and the path of every file."""
    told = run_in_kernel(image, kind, "find . -type f | sort | xargs sha256sum", options=options)
    lines = [line.strip() for line in told.splitlines()]
    return [line for line in lines if "  ./" in line]
