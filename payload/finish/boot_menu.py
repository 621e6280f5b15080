"""Boot menus: grub.cfg of GRUB 2 and menu.lst of GRUB legacy, as far as a check needs them."""

import re
import shlex
from dataclasses import dataclass, field


@dataclass
class Entry:
    """One way to start the system. `number` is the partition (from 1) its paths are on, None
    when it is not told; `uuid` the file system that is searched for it."""

    title: str
    uuid: str = ""
    number: int | None = None
    kernel: str = ""
    initrds: list[str] = field(default_factory=list)
    root: str = ""  # the value of root= on the kernel's command line


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quote that goes on in the next line
        return line.split()


def _grub_path(word: str) -> tuple[int | None, str]:
    """(partition number as written, path) of "(hd0,1)/vmlinuz" or "($root)/vmlinuz"."""
    found = re.fullmatch(r"\((?:[^,)]*,)?(?:msdos|gpt)?(\d+)?[^)]*\)(.*)", word)
    if found is None:
        return None, word
    return (int(found[1]) if found[1] else None), found[2]


def _take_root(entry: Entry, words: list[str]) -> None:
    for word in words:
        if word.startswith("root=") and not entry.root:
            entry.root = word.removeprefix("root=")


def parse_grub_cfg(text: str) -> list[Entry]:
    """The entries that start a Linux kernel, in their order, those of submenus too."""
    current = Entry("")
    entries = [current]
    top = Entry("")  # what was searched for before the first entry holds until told otherwise
    for line in text.split("\n"):
        words = _words(line)
        if not words:
            continue
        if words[0] == "menuentry":
            current = Entry(words[1] if len(words) > 1 else "", top.uuid, top.number)
            entries.append(current)
        elif words[0] == "search" and "--label" not in words and "--file" not in words:
            current.uuid, current.number = words[-1], None
        elif words[:1] == ["set"] and len(words) > 1 and words[1].startswith("root="):
            current.uuid = ""
            current.number = _grub_path(f"({words[1][5:].strip('()')})")[0]
        elif re.fullmatch(r"linux(16|efi)?", words[0]) and len(words) > 1 and not current.kernel:
            number, current.kernel = _grub_path(words[1])
            current.number = current.number if number is None else number
            _take_root(current, words[2:])
        elif re.fullmatch(r"initrd(16|efi)?", words[0]):
            current.initrds += [_grub_path(word)[1] for word in words[1:]]
        if current is entries[0]:
            top = current
    return [entry for entry in entries if entry.kernel]


def parse_menu_lst(text: str) -> list[Entry]:
    """The entries that start a Linux kernel; the default one first. Partitions count from 1."""
    entries: list[Entry] = []
    default = 0
    for line in text.split("\n"):
        words = line.replace("=", " ", 1).split() if line.startswith("default") else line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "default" and len(words) > 1 and words[1].isdigit():
            default = int(words[1])
        elif words[0] == "title":
            entries.append(Entry(line.strip()[5:].strip()))
        elif entries:
            _legacy_line(entries[-1], words)
    if 0 < default < len(entries):
        entries.insert(0, entries.pop(default))
    return [entry for entry in entries if entry.kernel]


def _legacy_line(entry: Entry, words: list[str]) -> None:
    command, paths = words[0], [word for word in words[1:] if not word.startswith("--")]
    if not paths:
        return
    number, path = _grub_path(paths[0])
    if command in ("root", "rootnoverify"):
        entry.number = None if number is None else number + 1
    elif command == "uuid":
        entry.uuid = paths[0]
    elif command == "kernel":
        entry.kernel = path
        entry.number = entry.number if number is None else number + 1
        _take_root(entry, paths[1:])
    elif command == "initrd":
        entry.initrds.append(path)
