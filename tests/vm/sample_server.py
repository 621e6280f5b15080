"""The sample server: a real Debian installation as an old groupware server's disks hold it.

Two disks. The first has an MBR with the old start at sector 63: /boot (ext3, 128-byte inodes),
swap, and root (ext4) in a logical partition, with GRUB 2 in the gap. The second is one XFS data
partition. File systems are filled by their own mkfs. Then the plug is pulled: /boot was being
written to, and one of its files is in the journal only.

    python -m tests.vm.sample_server      builds it (cached) and tells where it is
"""

import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.vm.images import MIB, call

HOST_NAME = "groupware"
MAC = "52:54:00:67:77:01"
IP = "192.0.2.10"
ADDRESS = f"{IP}/24"
MACHINE_UUID = "9f3a3c52-6f2b-4a0e-8d0c-6b1f3a7c2e01"

SECTOR = 512
LAST_WORDS = ("boot/last-words", "written when the plug was pulled\n")

DISK_SIZES = (2048 * MIB, 768 * MIB)
DISK_ID = "0x67726f75"
DATA_DISK_ID = "0x70776172"
BOOT_UUID = "1b7c0c1e-1f0e-4c39-9b55-5a6f54b5d7a1"
SWAP_UUID = "2c8d1d2f-2a1f-4d4a-8c66-6b7a65c6e8b2"
ROOT_UUID = "3d9e2e3a-3b2a-4e5b-9d77-7c8b76d7f9c3"
DATA_UUID = "4eaf3f4b-4c3b-4f6c-8e88-8d9c87e8aad4"


@dataclass(frozen=True)
class Range:
    """A partition, in sectors."""

    start: int
    size: int


BOOT = Range(63, 327617)
SWAP = Range(327680, 262144)
EXTENDED = Range(589824, DISK_SIZES[0] // SECTOR - 589824)
ROOT = Range(EXTENDED.start + 63, EXTENDED.size - 63)
DATA = Range(63, DISK_SIZES[1] // SECTOR - 63)

PACKAGES = (
    "systemd-sysv", "udev", "kmod", "ifupdown", "iproute2", "procps", "login", "passwd",
    "e2fsprogs", "linux-image-amd64", "initramfs-tools", "zstd", "grub-pc", "cron", "rsyslog",
    "nano",
)  # fmt: skip

# What a server has installed and never uses: left out, since every byte goes through emulated CPUs.
LEFT_OUT = (
    *(f"/usr/share/{what}/*" for what in ("doc", "man", "locale", "info", "bug", "lintian")),
    "/lib/udev/hwdb.d/*",
    *(f"/lib/modules/*/kernel/{what}/*" for what in ("sound", "drivers/gpu", "drivers/media")),
    *(f"/lib/modules/*/kernel/net/{what}/*"
      for what in ("bluetooth", "bridge", "ceph", "mac80211", "netfilter", "sched", "sunrpc",
                   "wireless")),
    *(f"/lib/modules/*/kernel/fs/{what}/*"
      for what in ("btrfs", "ceph", "cifs", "f2fs", "gfs2", "nfs", "nfsd", "ocfs2", "smb")),
    *(f"/lib/modules/*/kernel/drivers/{what}/*"
      for what in ("bluetooth", "comedi", "hwmon", "iio", "infiniband", "isdn", "leds", "mtd",
                   "net/can", "net/usb", "net/wireless", "nfc", "power", "staging", "target",
                   "usb/gadget")),
    *(f"/lib/modules/*/kernel/drivers/net/ethernet/{what}/*"
      for what in ("cavium", "chelsio", "marvell", "mellanox", "netronome", "qlogic", "sfc",
                   "stmicro")),
)  # fmt: skip

# Written at every boot, or rightly different in a copy: not in the list of digests.
VOLATILE = ("var/log/", "var/lib/systemd/", "run/", "tmp/", "etc/udev/rules.d/", "etc/groupware/",
            "etc/resolv.conf", "etc/adjtime", "var/cache/", "etc/network/run")  # fmt: skip


@dataclass(frozen=True)
class SampleServer:
    """The finished disks, never written again."""

    disks: tuple[Path, Path]
    files: int  # with a digest inside


def recipe_digest() -> str:
    """Names this recipe: any change of this file or its samples builds a new server."""
    whole = hashlib.sha256()
    for path in (Path(__file__), *sorted((Path(__file__).parent / "sample").iterdir())):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def build(cache: Path) -> SampleServer:
    """The sample server, from `cache` when this very recipe was built before. Needs root."""
    finished = cache / f"sample-server-{recipe_digest()}"
    if not finished.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("sample-server-*"):
            shutil.rmtree(old)
        work = cache / "sample-server-unfinished"
        work.mkdir()
        _build(cache, work)
        work.rename(finished)
    return SampleServer(
        disks=(finished / "disk0.img", finished / "disk1.img"),
        files=int((finished / "files").read_text()),
    )


def _build(cache: Path, work: Path) -> None:
    root, data = work / "root", work / "data"
    root.mkdir()
    data.mkdir()
    call("tar", "-C", root, "--numeric-owner", "-xpf", _base_system(cache))
    _configure(root)
    _fill_spool(root / "var/spool/cyrus/mail", boxes=40, letters=90, seed=1)
    _fill_spool(data / "archive", boxes=25, letters=80, seed=2)
    _fill_large(data / "attachments", count=6, seed=3)
    files = _write_digests(root, data)

    boot = work / "boot"
    (root / "boot").rename(boot)
    (root / "boot").mkdir()
    _make_first_disk(work / "disk0.img", root, boot, work)
    _make_data_disk(work / "disk1.img", data, work)
    for directory in (root, boot, data):
        shutil.rmtree(directory)
    _pull_the_plug(work / "disk0.img", work)
    (work / "files").write_text(f"{files}\n")


# -- the installation ---------------------------------------------------------------------------


def _base_system(cache: Path) -> Path:
    """Debian as a tar archive, cached on its own since it takes longest."""
    words = "\n".join((*PACKAGES, *LEFT_OUT))
    archive = cache / f"sample-base-{hashlib.sha256(words.encode()).hexdigest()[:16]}.tar"
    if archive.exists():
        return archive
    for old in cache.glob("sample-base-*.tar"):
        old.unlink()
    unfinished = cache / "sample-unfinished.tar"
    options = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    call("mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(PACKAGES)}",
         *options, *_apt_options(), "bookworm", unfinished, *_debian_sources())  # fmt: skip
    unfinished.rename(archive)
    return archive


def _debian_sources() -> list[str]:
    """This machine's own Debian sources, one line each: whatever mirror it uses is near."""
    form = "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = call("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    words = [line.split() for line in targets.splitlines() if line.startswith("Debian ")]
    sources = [
        f"deb {uri} {release} {component}"
        for _, uri, release, component in words
        if release.startswith("bookworm") and component == "main"
    ]
    if not sources:
        raise RuntimeError(
            "This machine knows no Debian bookworm package lists: run `apt-get update` on a "
            "Debian 12 system first."
        )
    return list(dict.fromkeys(sources))


def _apt_options() -> list[str]:
    """How this machine reaches its mirror, as far as its apt was told."""
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until",
              "Acquire::Check-Date")  # fmt: skip
    settings = call("apt-config", "dump").splitlines()
    return [f"--aptopt={line}" for line in settings if line.split(" ")[0] in wanted]


def _configure(root: Path) -> None:
    for path, text in _configuration(_kernel_version(root)).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    sample = Path(__file__).parent / "sample"
    _install(sample / "groupware-evidence", root / "usr/local/sbin/groupware-evidence", 0o755)
    unit = "etc/systemd/system/groupware-evidence.service"
    _install(sample / "groupware-evidence.service", root / unit, 0o644)
    _link(root / "etc/systemd/system/multi-user.target.wants/groupware-evidence.service",
          "/etc/systemd/system/groupware-evidence.service")  # fmt: skip
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        _link(root / "etc/systemd/system" / timer, "/dev/null")
    (root / "srv/groupware").mkdir(parents=True)
    # The room's own password, so that a person can look around in a rehearsal.
    call("chroot", root, "sh", "-c", "echo root:groupware | chpasswd")
    shutil.copytree(root / "usr/lib/grub/i386-pc", root / "boot/grub/i386-pc")


def _configuration(kernel: str) -> dict[str, str]:
    """The files that make a Debian installation this server."""
    line = "net.ifnames=0 console=tty0 console=ttyS0,115200"
    return {
        "etc/hostname": f"{HOST_NAME}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{IP} {HOST_NAME}\n",
        "etc/machine-id": f"{MACHINE_UUID.replace('-', '')}\n",
        "etc/fstab": (
            "# <file system> <mount point> <type> <options> <dump> <pass>\n"
            f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
            "/dev/sda1 /boot ext3 defaults 0 2\n"
            f"UUID={SWAP_UUID} none swap sw 0 0\n"
            "/dev/sdb1 /srv/groupware xfs defaults 0 0\n"
        ),
        "etc/network/interfaces": (
            "auto lo\niface lo inet loopback\n\n"
            f"auto eth0\niface eth0 inet static\n    address {ADDRESS}\n"
        ),
        "etc/udev/rules.d/z25_persistent-net.rules": (
            "# This file was automatically generated by the /lib/udev/write_net_rules\n"
            "# program, probably run by the persistent-net-generator.rules rules file.\n"
            "#\n"
            "# You can modify it, as long as you keep each rule on a single line.\n"
            "# MAC addresses must be written in lowercase.\n\n"
            "# PCI device 0x8086:0x100e (e1000)\n"
            f'SUBSYSTEM=="net", DRIVERS=="?*", ATTRS{{address}}=="{MAC}", NAME="eth0"\n'
        ),
        "etc/default/grub": f'GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX="{line}"\n',
        "boot/grub/grub.cfg": (
            "set default=0\nset timeout=1\n"
            f"search --no-floppy --fs-uuid --set=root {BOOT_UUID}\n"
            'menuentry "Debian GNU/Linux" {\n'
            f"    linux /vmlinuz-{kernel} root=UUID={ROOT_UUID} ro {line}\n"
            f"    initrd /initrd.img-{kernel}\n"
            "}\n"
        ),
    }


def _kernel_version(root: Path) -> str:
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    return kernels[-1].name.removeprefix("vmlinuz-")


def _install(source: Path, target: Path, mode: int) -> None:
    shutil.copyfile(source, target)
    target.chmod(mode)


def _link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


# -- its content --------------------------------------------------------------------------------

WORDS = (
    "report", "offer", "meeting", "invoice", "contract", "delivery", "server", "printer",
    "holiday", "budget", "minutes", "draft", "answer", "question", "project", "customer",
)  # fmt: skip


def _fill_spool(spool: Path, boxes: int, letters: int, seed: int) -> None:
    """Mail boxes as Cyrus keeps them: a directory each, a numbered file per letter."""
    dice = random.Random(seed)
    for box in range(boxes):
        directory = spool / f"user/mailbox{box:03}"
        directory.mkdir(parents=True)
        for letter in range(1, letters + 1):
            (directory / f"{letter}.").write_text(_letter(dice, box, letter))


def _letter(dice: random.Random, box: int, letter: int) -> str:
    words = dice.choices(WORDS, k=dice.randint(60, 1500))
    lines = [" ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    head = f"To: mailbox{box:03}@{HOST_NAME}.example\nSubject: {words[0]} {letter}\n\n"
    return head + "\n".join(lines) + "\n"


def _fill_large(directory: Path, count: int, seed: int) -> None:
    """Files that do not compress, as scans and archives do not."""
    dice = random.Random(seed)
    directory.mkdir()
    for number in range(count):
        (directory / f"scan-{number}.tif").write_bytes(dice.randbytes(dice.randint(2, 8) * MIB))


def _write_digests(root: Path, data: Path) -> int:
    """`/etc/groupware/digests`, in sha256sum's own form, paths from the server's root."""
    lines = [
        _digest_line(file, name)
        for top, place in ((root, ""), (data, "srv/groupware/"))
        for file, name in _regular_files(top, place)
    ]
    name, text = LAST_WORDS
    lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n")
    target = root / "etc/groupware/digests"
    target.parent.mkdir()
    target.write_text("".join(lines))
    return len(lines)


def _regular_files(top: Path, place: str) -> Iterator[tuple[Path, str]]:
    for directory, _, names in sorted(os.walk(top)):
        for name in sorted(names):
            file = Path(directory, name)
            path = place + str(file.relative_to(top))
            if stat.S_ISREG(file.lstat().st_mode) and not path.startswith(VOLATILE):
                yield file, path


def _digest_line(file: Path, name: str) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if "\\" in name:  # systemd escapes unit names so; sha256sum then marks the line
        return f"\\{digest}  {name.replace(chr(92), 2 * chr(92))}\n"
    return f"{digest}  {name}\n"


# -- the disks ----------------------------------------------------------------------------------


def _make_first_disk(image: Path, root: Path, boot: Path, work: Path) -> None:
    _make_table(image, DISK_SIZES[0], DISK_ID, (
        (1, BOOT, "83", True), (2, SWAP, "82", False), (3, EXTENDED, "5", False),
        (5, ROOT, "83", False),
    ))  # fmt: skip
    _make_ext(image, BOOT, boot, ("-t", "ext3", "-I", "128", "-U", BOOT_UUID))
    _make_ext(image, ROOT, root, ("-t", "ext4", "-U", ROOT_UUID))
    swap = work / "swap"
    swap.write_bytes(b"")
    os.truncate(swap, SWAP.size * SECTOR)
    call("mkswap", "-U", SWAP_UUID, swap)
    _put(image, SWAP.start * SECTOR, swap)
    swap.unlink()
    _install_grub(image, work)


def _make_data_disk(image: Path, data: Path, work: Path) -> None:
    _make_table(image, DISK_SIZES[1], DATA_DISK_ID, ((1, DATA, "83", False),))
    prototype = work / "prototype"
    prototype.write_text("\n".join(_prototype(data)) + "\n")
    partition = work / "data.img"
    partition.write_bytes(b"")
    os.truncate(partition, DATA.size * SECTOR)
    call("mkfs.xfs", "-q", "-m", f"uuid={DATA_UUID}", "-p", prototype, partition)
    _put(image, DATA.start * SECTOR, partition)
    partition.unlink()
    prototype.unlink()


def _pull_the_plug(image: Path, work: Path) -> None:
    """Leave /boot as a server leaves it that loses its power: needing its journal."""
    tree, crashed = work / "crashed", work / "crashed.img"
    tree.mkdir()
    window = (f"--offset={BOOT.start * SECTOR}", f"--sizelimit={BOOT.size * SECTOR}")
    loop = call("losetup", "--find", "--show", *window, image).strip()
    try:
        # No checkpoint: what is synced is in the journal, and in its place only after a replay.
        call("mount", "-t", "ext4", "-o", "commit=600", loop, tree)
        try:
            name, text = LAST_WORDS
            (tree / Path(name).name).write_text(text)
            call("sync", "--file-system", tree)
            call("dd", f"if={loop}", f"of={crashed}", "bs=1M", "iflag=direct", "status=none")
        finally:
            call("umount", tree)
    finally:
        call("losetup", "--detach", loop)
    # Not sparse: zeros must replace what the unmounting wrote.
    call("dd", f"if={crashed}", f"of={image}", f"seek={BOOT.start * SECTOR}", "oflag=seek_bytes",
         "bs=1M", "conv=notrunc", "status=none")  # fmt: skip
    tree.rmdir()
    crashed.unlink()


def _make_table(
    image: Path, size: int, label_id: str, partitions: Iterable[tuple[int, Range, str, bool]]
) -> None:
    image.write_bytes(b"")
    os.truncate(image, size)
    lines = ["label: dos", f"label-id: {label_id}", "unit: sectors"]
    for number, place, kind, active in partitions:
        lines.append(f"{image}{number} : start={place.start}, size={place.size}, type={kind}"
                     + (", bootable" if active else ""))  # fmt: skip
    subprocess.run(["sfdisk", "--quiet", str(image)], input="\n".join(lines), text=True, check=True)


def _make_ext(image: Path, place: Range, content: Path, options: Iterable[str]) -> None:
    call("mke2fs", "-q", "-F", *options, "-E", f"offset={place.start * SECTOR}",
         "-d", content, image, f"{place.size * SECTOR // 1024}k")  # fmt: skip


def _put(image: Path, offset: int, part: Path) -> None:
    call("dd", f"if={part}", f"of={image}", f"seek={offset}", "oflag=seek_bytes",
         "bs=1M", "conv=notrunc,sparse", "status=none")  # fmt: skip


def _prototype(top: Path) -> Iterator[str]:
    """What mkfs.xfs is to put into the file system, in its own old language."""
    yield "/none\n0 0\nd--755 0 0"
    yield from _prototype_entries(top)
    yield "$"


def _prototype_entries(directory: Path) -> Iterator[str]:
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            yield f"{path.name} d--755 0 0"
            yield from _prototype_entries(path)
            yield "$"
        else:
            yield f"{path.name} ---644 0 0 {path}"


def _install_grub(image: Path, work: Path) -> None:
    """What grub-install does on a live disk, on an image: boot.img and core.img by hand."""
    modules = work / "root/usr/lib/grub/i386-pc"
    configuration = work / "grub-core.cfg"
    configuration.write_text(
        f"search.fs_uuid {BOOT_UUID} root hd0,msdos1\nset prefix=($root)/grub\n"
    )
    core = work / "core.img"
    call("grub-mkimage", "-O", "i386-pc", "-d", modules, "-o", core, "-c", configuration,
         "-p", "/grub", "biosdisk", "part_msdos", "ext2", "search_fs_uuid")  # fmt: skip
    if core.stat().st_size > (BOOT.start - 1) * SECTOR:
        raise RuntimeError("GRUB does not fit into the gap before the first partition.")
    boot = bytearray((modules / "boot.img").read_bytes())
    # As grub-bios-setup does for a hard disk: core.img is at sector 1, and some firmware hands
    # over a wrong drive number, so the jump over the check of it is taken out.
    struct.pack_into("<Q", boot, 0x5C, 1)
    boot[0x66:0x68] = b"\x90\x90"
    with image.open("r+b") as stream:
        stream.write(boot[:440])
        stream.seek(SECTOR)
        stream.write(core.read_bytes())
    core.unlink()
    configuration.unlink()


if __name__ == "__main__":
    server = build(Path("build/cache"))
    print(*server.disks, f"{server.files} files", sep="\n")
