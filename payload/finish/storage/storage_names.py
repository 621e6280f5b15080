"""Names of disks in the files of the copied system: which of them have to change, and to what.

Each kind of file has a function of text and `DiskMap` to text; what it does not change is the same
to the byte. `plan_storage_names` takes the files as they are and gives those that differ. Done
twice it changes nothing more, but for bare names of disks that trade places.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from payload.finish.storage.disk_map import CopiedDisk, DiskMap
from payload.formats.boot.menu_files import LILO_CONF
from payload.formats.disk.lvm_patterns import LONGEST, PatternError, matches
from payload.system.edits import remove_file, replace_file
from payload.system.files import names_inside, read_inside

_TEMPLATES = "/etc/univention/templates/files"
_GRUB = ("/boot/grub", "/boot/grub2", "/boot/boot/grub")
_SPEC = r"/dev/[A-Za-z0-9_/.:@%+-]+"
_KERNEL_WORD = re.compile(rf"(?<![\w/-])((?:root|resume|real_root)=)({_SPEC})")
_SETTING = re.compile(rf"^([ \t]*(?:RESUME|ROOT)=[\"']?)({_SPEC})", re.MULTILINE)
_DEVICE_MAP = re.compile(rf"^([ \t]*\(hd\d+\)[ \t]+)({_SPEC})", re.MULTILINE)
_REGISTRY = re.compile(r"^(grub/[^:\n]+: )(.*)$", re.MULTILINE)
_ARRAY_DEVICES = re.compile(r"[ \t]+devices=\S+")
_FILTER = re.compile(r"^[ \t]*(?:global_)?filter[ \t]*=[ \t]*\[", re.MULTILINE)
_MOST_FILTERS = 4  # that are looked into; LVM knows two, and each takes time
_PATTERN = re.compile(r"\"([ar])(.)(.*?)\2\"")
# Lists of devices by name or serial number that programs make anew when they are gone.
_CACHES = (
    "/etc/blkid.tab", "/etc/blkid.tab.old", "/etc/blkid/blkid.tab", "/etc/lvm/.cache",
    "/etc/lvm/cache/.cache",
)  # fmt: skip
DEVICES_FILE = "/etc/lvm/devices/system.devices"
# The initramfs has copies of these.
_IN_INITRAMFS = re.compile(
    r"/etc/(?:initramfs-tools/.*|crypttab|lvm/.*|mdadm/mdadm\.conf|mdadm\.conf)"
)

Rewrite = Callable[[str, DiskMap], str]


@dataclass(frozen=True)
class StorageEdit:
    """New content of one file (None: the file goes); `path` is from the copy's root."""

    path: str
    content: bytes | None
    what: str

    @property
    def is_in_initramfs(self) -> bool:
        return _IN_INITRAMFS.fullmatch(self.path) is not None


# --- one function for each kind of file


def rewrite_fstab(text: str, disks: DiskMap) -> str:
    """The first word of each line."""
    return _each_line(text, rf"(\s*)({_SPEC})(?=\s)", disks.by_uuid)


def rewrite_crypttab(text: str, disks: DiskMap) -> str:
    """The second word. The path of a link, since the oldest scripts know no UUID=."""

    def renamed(spec: str) -> str:
        new = disks.by_uuid(spec)
        return new.replace("UUID=", "/dev/disk/by-uuid/") if new.startswith("UUID=") else new

    return _each_line(text, rf"(\s*[^\s#]\S*\s+)({_SPEC})", renamed)


def rewrite_kernel_words(text: str, disks: DiskMap) -> str:
    """root= and resume= wherever they stand: boot menus, their defaults in comments, settings."""
    return _KERNEL_WORD.sub(lambda found: found[1] + disks.by_uuid(found[2]), text)


def rewrite_bare_kernel_words(text: str, disks: DiskMap) -> str:
    """The same for a kernel without initramfs, which knows names alone."""
    return _KERNEL_WORD.sub(lambda found: found[1] + disks.by_name(found[2]), text)


def rewrite_settings(text: str, disks: DiskMap) -> str:
    """RESUME= and ROOT= of initramfs-tools."""
    return _SETTING.sub(lambda found: found[1] + disks.by_uuid(found[2]), text)


def rewrite_device_map(text: str, disks: DiskMap) -> str:
    """(hd0) /dev/sda"""
    return _DEVICE_MAP.sub(lambda found: found[1] + disks.by_name(found[2]), text)


def rewrite_mdadm_conf(text: str, disks: DiskMap) -> str:
    """Arrays are known by their UUID: all partitions may be members, and none is named."""
    lines = []
    for line in text.split("\n"):
        words = line.split()
        stale = any(disks.is_stale(word) for word in re.split(r"[\s,=]+", line))
        if stale and words[:1] == ["DEVICE"]:
            lines.append("DEVICE partitions")
        elif stale and words[:1] == ["ARRAY"] and "uuid=" in line.lower():
            lines.append(_ARRAY_DEVICES.sub("", line))
        else:
            lines.append(line)
    return "\n".join(lines)


def rewrite_lvm_conf(text: str, disks: DiskMap) -> str:
    """Filters that take a disk by its old name take it by its new one, before anything else."""
    pieces, at = [], 0
    for _ in range(_MOST_FILTERS):
        found = _FILTER.search(text, at)
        end = text.find("]", found.end()) if found else -1
        if found is None or end < 0:
            break
        patterns = text[found.end() : end]
        lost = [name for disk in disks.disks for name in _lost_names(disk, patterns)]
        new = [f' "a|^/dev/{name}|",' for name in dict.fromkeys(lost)]
        pieces += [text[at : found.end()], *new, patterns]
        at = end
    return "".join((*pieces, text[at:]))


def _lost_names(disk: CopiedDisk, patterns: str) -> Iterator[str]:
    """The names it may have here by which it is not taken as it was by the old one."""
    if len(patterns) > LONGEST:
        return
    before = disk.names(disk.before)
    for name in disk.new_names:
        names = zip(before, disk.names(name), strict=True)
        if any(_accepts(patterns, old) and not _accepts(patterns, new) for old, new in names):
            yield name


def _accepts(patterns: str, name: str) -> bool:
    """As LVM decides: the first pattern that matches, and what none matches is taken."""
    for kind, _, pattern in _PATTERN.findall(patterns):
        try:
            if matches(pattern, name):
                return bool(kind == "a")
        except PatternError:
            return True
    return True


def rewrite_registry(text: str, disks: DiskMap) -> str:
    """Univention's registry: the keys by which it writes the boot menu."""

    def value(found: re.Match[str]) -> str:
        words = rewrite_kernel_words(found[2], disks)
        return found[1] + (disks.by_uuid(words) if re.fullmatch(_SPEC, words) else words)

    return _REGISTRY.sub(value, text)


def _each_line(text: str, pattern: str, rename: Callable[[str], str]) -> str:
    compiled = re.compile(pattern)

    def line(old: str) -> str:
        found = compiled.match(old)
        return old if not found else found[1] + rename(found[2]) + old[found.end() :]

    return "\n".join(line(old) for old in text.split("\n"))


# --- all files


_MENUS = ("grub.cfg", "menu.lst", "grub.conf")
_FILES: Mapping[str, Rewrite] = {
    "/etc/fstab": rewrite_fstab,
    "/etc/crypttab": rewrite_crypttab,
    **{f"{place}/{name}": rewrite_kernel_words for place in _GRUB for name in _MENUS},
    **{f"{place}/device.map": rewrite_device_map for place in _GRUB},
    "/etc/default/grub": rewrite_kernel_words,
    "/etc/sysconfig/bootloader": rewrite_kernel_words,
    "/etc/kernel/cmdline": rewrite_kernel_words,
    "/etc/grub.d/40_custom": rewrite_kernel_words,
    **{f"/boot/{name}/{name}.{end}": rewrite_kernel_words
       for name in ("extlinux", "syslinux") for end in ("conf", "cfg")},
    "/etc/mdadm/mdadm.conf": rewrite_mdadm_conf,
    "/etc/mdadm.conf": rewrite_mdadm_conf,
    "/etc/lvm/lvm.conf": rewrite_lvm_conf,
    "/etc/univention/base.conf": rewrite_registry,
    "/etc/univention/base-forced.conf": rewrite_registry,
    "/etc/univention/base-ldap.conf": rewrite_registry,
}  # fmt: skip
_DIRECTORIES: Mapping[str, Rewrite] = {
    "/etc/initramfs-tools/conf.d": rewrite_settings,
    "/etc/default/grub.d": rewrite_kernel_words,
    "/boot/loader/entries": rewrite_kernel_words,
}


def read_storage_files(root: Path) -> dict[str, bytes]:
    """The files of the system at `root` that may name disks, by path. Raises OSError."""
    paths = [*_FILES, *_CACHES, DEVICES_FILE, LILO_CONF]
    for directory in _DIRECTORIES:
        paths += [f"{directory}/{name}" for name in names_inside(root, directory)]
    paths += [f"{_TEMPLATES}{path}" for path in paths]
    found = ((path, read_inside(root, path)) for path in paths)
    return {path: content for path, content in found if content}


def plan_storage_names(
    files: Mapping[str, bytes], disks: DiskMap, *, bare: bool = False
) -> tuple[StorageEdit, ...]:
    """What to change in these files; `bare`: the kernel starts without an initramfs."""
    edits = [edit for path, content in files.items() if (edit := _edit(path, content, disks, bare))]
    if any(disk.renamed for disk in disks.disks):
        edits += [
            StorageEdit(path, None, "removed: a list of the server's disks, made anew when missing")
            for path in _CACHES
            if path in files
        ]
    if DEVICES_FILE in files and _lists_devices(files[DEVICES_FILE], disks):
        what = "removed: it names the server's disks; without it LVM takes all"
        edits.append(StorageEdit(DEVICES_FILE, None, what))
    return tuple(edits)


def _edit(path: str, content: bytes, disks: DiskMap, bare: bool) -> StorageEdit | None:
    own = path.removeprefix(_TEMPLATES)
    rewrite = _FILES.get(own) or _DIRECTORIES.get(own.rpartition("/")[0])
    if rewrite is None:
        return None
    if bare and rewrite is rewrite_kernel_words:
        rewrite = rewrite_bare_kernel_words
    old = content.decode("latin-1")
    new = rewrite(old, disks)
    if new == old:
        return None
    return StorageEdit(path, new.encode("latin-1"), f"names of disks: {_difference(old, new)}")


def _difference(old: str, new: str) -> str:
    """The names that went and what came, for people."""
    before, after = (
        dict.fromkeys(re.findall(rf"UUID=[\w-]+|{_SPEC}|DEVICE partitions", text))
        for text in (old, new)
    )
    gone = [spec for spec in before if spec not in after]
    come = [spec for spec in after if spec not in before]
    return f"{', '.join(gone) or 'some'} became {', '.join(come) or 'others of these'}"


def _lists_devices(content: bytes, disks: DiskMap) -> bool:
    """Whether it ties LVM to disks by what another disk never has, or by a name that changes."""
    text = content.decode("latin-1")
    if re.search(r"IDTYPE=(?:sys_|mpath|loop|nvme|scsi)", text):
        return True
    return any(disks.is_stale(name) for name in re.findall(rf"IDNAME=({_SPEC})", text))


def find_unsolved(files: Mapping[str, bytes], disks: DiskMap) -> Iterator[str]:
    """What a person has to put right: a disk that was not copied is mounted by a name that another
    one has on this machine; LILO tells the kernel its root by a name it was installed with."""
    if not any(f"{place}/{name}" in files for place in _GRUB for name in _MENUS):
        lilo = files.get(LILO_CONF, b"").decode("latin-1")
        for spec in re.findall(rf"^\s*root\s*=\s*\"?({_SPEC})", lilo, re.MULTILINE):
            if disks.is_stale(spec):
                yield (
                    f"LILO gives the kernel {spec} as its root file system, which is"
                    f" {disks.by_name(spec)} here. Add root={disks.by_name(spec)} at LILO's"
                    " prompt, then correct /etc/lilo.conf of the copy and run lilo there."
                )
    for line in files.get("/etc/fstab", b"").decode("latin-1").split("\n"):
        words = line.split()
        if len(words) > 1 and disks.is_foreign(words[0]):
            yield (
                f"The copy mounts {words[0]} at {words[1]}, a disk of the server that was not"
                " copied; here another disk has that name. Correct /etc/fstab of the copy before"
                " it is used."
            )


def apply_edit(root: Path, edit: StorageEdit) -> None:
    """Raises OSError."""
    if edit.content is not None:
        replace_file(root, edit.path, edit.content)
    else:
        remove_file(root, edit.path)
