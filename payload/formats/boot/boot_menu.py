"""Boot menus, as far as a check needs them: which kernel, initrds and root an entry starts.

Every loader's menu becomes the same list of entries, the one that starts by itself first.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass
class Entry:
    """One way to start the system.

    `number` is the partition (from 1) its paths are on, of the disk the loader is on or of another
    one (`elsewhere`), None when it is not told; `uuid`, `label` or `device` ("lvm/vg-root") the
    file system that is searched for it. `place` are the menus it lies in and itself, outermost
    first, by every name a default may call them.
    """

    title: str
    uuid: str = ""
    label: str = ""
    device: str = ""
    number: int | None = None
    elsewhere: bool = False
    kernel: str = ""
    initrds: list[str] = field(default_factory=list)
    root: str = ""  # the value of root= on the kernel's command line
    place: tuple[frozenset[str], ...] = ()

    def paths_on(self, device: str) -> None:
        """Take its paths from `device` as GRUB calls it: "hd0,msdos1", "hd1,0", "lvm/vg-root"."""
        self.uuid = self.label = self.device = ""
        found = re.fullmatch(r"(?:hd(\d{1,3}))?(?:,(?:msdos|gpt)?(\d{1,3})\b.*)?", device)
        self.number = int(found[2]) if found and found[2] else None
        self.elsewhere = bool(found and found[1] and int(found[1]) > 0)
        if "/" in device:
            self.device = device

    def take_root(self, words: Iterable[str]) -> None:
        """The root file system, if it is among the words of a kernel's command line."""
        for word in words:
            if word.startswith("root=") and not self.root:
                self.root = word.removeprefix("root=")


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quote that goes on in the next line
        return line.split()


def _searched(options: Sequence[str]) -> str:
    """What `search` looks for: the last word, but for what belongs to an option before it."""
    words = [
        word
        for before, word in zip(("", *options), options, strict=False)
        if not word.startswith("-") and not before.startswith(("--hint", "--set"))
    ]
    return (words or options)[-1]


def _take_path(entry: Entry, word: str) -> str:
    """The path of "(hd0,1)/vmlinuz" or "($root)/vmlinuz"; the entry's place if it tells one."""
    found = re.fullmatch(r"\(([^)]*)\)(.*)", word)
    if found is None:
        return word
    if not found[1].startswith("$"):
        entry.paths_on(found[1])
    return found[2]


def _default_first(entries: list[Entry], default: Sequence[str]) -> list[Entry]:
    """Those that start a kernel, the default one first; the first one when it is not known."""
    for number, entry in enumerate(entries):
        reach = zip(default, entry.place, strict=False)
        deep_enough = default and entry.kernel and len(default) <= len(entry.place)
        if deep_enough and all(word in names for word, names in reach):
            entries = [entry, *entries[:number], *entries[number + 1 :]]
            break
    return [entry for entry in entries if entry.kernel]


# --- GRUB 2


class _GrubCfg:
    """Reads grub.cfg line by line, keeping in mind which menus it is in."""

    def __init__(self) -> None:
        self.outside = Entry("")  # what is searched for before an entry holds in it
        self.entries = [self.outside]
        self.default = ""
        self.asks_environment = False
        self._open: list[tuple[Entry | None, tuple[frozenset[str], ...]]] = []
        self._counts = [0]  # items seen so far in each open menu

    def read(self, line: str) -> None:
        words = _words(line)
        if not words:
            return
        if words[0] in ("menuentry", "submenu"):
            self._begin(words)
        elif words[0] == "function":
            self._open.append((None, ()))
        elif words[0] == "}":
            self._end()
        else:
            self._command(self._entry, words)

    @property
    def _entry(self) -> Entry:
        return next((entry for entry, _ in reversed(self._open) if entry), self.outside)

    def _begin(self, words: list[str]) -> None:
        menus = self._open[-1][1] if self._open else ()
        title = words[1] if len(words) > 1 else ""
        names = {str(self._counts[-1]), title}
        for option in ("--id", "$menuentry_id_option"):
            if option in words[:-1]:
                names.add(words[words.index(option) + 1])
        self._counts[-1] += 1
        place = (*menus, frozenset(names))
        entry = None
        if words[0] == "menuentry":
            told = self.outside
            entry = Entry(title, told.uuid, told.label, told.device, told.number, told.elsewhere)
            entry.place = place
            self.entries.append(entry)
        self._open.append((entry, place))
        self._counts.append(0)
        if "{" in words[:-1]:
            self._body(words[words.index("{") + 1 :])

    def _body(self, words: list[str]) -> None:
        """Commands in the line of the brace that begins them."""
        command: list[str] = []
        for word in words:
            if word != "}":
                command.append(word.rstrip(";"))
            if word.endswith((";", "}")) and any(command):
                self._command(self._entry, command)
                command = []
        if any(command):
            self._command(self._entry, command)
        if words[-1] == "}":
            self._end()

    def _end(self) -> None:
        if self._open:
            self._open.pop()
            if len(self._counts) > 1:
                self._counts.pop()

    def _command(self, entry: Entry, words: list[str]) -> None:
        command, options = words[0], words[1:]
        if command == "search" and "--file" not in words and "-f" not in words and options:
            entry.paths_on("")
            if {"--label", "-l"} & set(words):
                entry.label = _searched(options)
            else:
                entry.uuid = _searched(options)
        elif command == "set" and options:
            self._set(entry, *options[0].partition("=")[::2])
        elif re.fullmatch(r"linux(16|efi)?|multiboot2?", command) and options and not entry.kernel:
            entry.kernel = _take_path(entry, options[0])
            entry.take_root(options[1:])
        elif re.fullmatch(r"(initrd(16|efi)?)", command):
            entry.initrds += [_take_path(entry, word) for word in options]
        elif re.fullmatch(r"module2?", command):  # Xen's: the kernel, then its initrd
            paths = [word for word in options if not word.startswith("--")]
            entry.initrds += [_take_path(entry, word) for word in paths[:1]]
            entry.take_root(paths[1:])

    def _set(self, entry: Entry, name: str, value: str) -> None:
        if name == "root" and "$" not in value:
            entry.paths_on(value.strip("()"))
        elif name == "default" and "$" not in value:
            self.default = value
        elif name == "default" and "saved_entry" in value:
            self.asks_environment = True


def parse_grub_cfg(text: str, environment: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries that start a Linux kernel, those of submenus too. `environment` is what grubenv
    keeps, for a menu whose default is the entry that was started last."""
    reader = _GrubCfg()
    for line in text.split("\n"):
        reader.read(line)
    default = reader.default
    if reader.asks_environment and environment:
        default = environment.get("saved_entry", "") or default
    return _default_first(reader.entries, default.split(">") if default else ())


def parse_environment(text: str) -> dict[str, str]:
    """grubenv: NAME=VALUE in each line."""
    lines = (line.partition("=") for line in text.split("\n") if not line.startswith("#"))
    return {name: value for name, mark, value in lines if mark}


def parse_snippets(
    files: Mapping[str, str], text: str, environment: Mapping[str, str]
) -> list[Entry]:
    """The entries that grub.cfg (`text`) leaves to files of their own, as Fedora and RHEL do from
    their release 8 on: `files` are those of /loader/entries, by name."""
    outside = _GrubCfg()
    for line in text.split("\n"):
        outside.read(line)
    told = outside.outside
    entries: list[Entry] = []
    for name in sorted(files, key=_version, reverse=True):
        keys = _keys(files[name])
        entry = Entry(
            keys.get("title", [name])[0], told.uuid, told.label, told.device, told.number,
            told.elsewhere, keys.get("linux", [""])[0],
        )  # fmt: skip
        entry.initrds = [
            word
            for line in keys.get("initrd", [])
            for word in line.split()
            if not word.startswith("$")
        ]
        entry.place = (frozenset({name.removesuffix(".conf"), entry.title, str(len(entries))}),)
        options = " ".join(keys.get("options", []))
        options = _VARIABLE.sub(lambda found: environment.get(found[1], found[0]), options)
        entry.take_root(options.split())
        entries.append(entry)
    saved = environment.get("saved_entry", "")
    return _default_first(entries, (saved,) if saved else ())


def _keys(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        words = line.strip().split(maxsplit=1)
        if len(words) == 2 and not words[0].startswith("#"):
            found.setdefault(words[0], []).append(words[1])
    return found


def _version(name: str) -> list[tuple[int, str]]:
    """Sorts 5.14.0-70 before 5.14.0-162; a rescue kernel, named by letters, before numbers."""
    rescue = (0, "") if "-rescue" in name else (1, "")
    parts = re.findall(r"\d+|[a-z]+", name.partition("-")[2] or name)
    return [rescue, *((int(part), "") if part.isdigit() else (-1, part) for part in parts)]


# --- GRUB legacy


def parse_menu_lst(text: str, saved: str = "0") -> list[Entry]:
    """The entries that start a Linux kernel. Partitions count from 1. `saved` is the entry that
    was started last, for a menu whose default it is."""
    entries: list[Entry] = []
    default = "0"
    for line in text.split("\n"):
        words = line.replace("=", " ", 1).split() if line.startswith("default") else line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "default" and len(words) > 1:
            default = words[1] if words[1].isdecimal() else saved
        elif words[0] == "title":
            place = (frozenset({str(len(entries))}),)
            entries.append(Entry(line.strip()[5:].strip(), place=place))
        elif entries:
            _legacy_line(entries[-1], words)
    return _default_first(entries, (default,))


def _legacy_line(entry: Entry, words: list[str]) -> None:
    command, paths = words[0], [word for word in words[1:] if not word.startswith("--")]
    if not paths:
        return
    if command in ("root", "rootnoverify"):
        _legacy_path(entry, paths[0])
    elif command == "uuid":
        entry.paths_on("")
        entry.uuid = paths[0]
    elif command == "kernel":
        entry.kernel = _legacy_path(entry, paths[0])
        entry.take_root(paths[1:])
    elif command == "initrd":
        entry.initrds.append(_legacy_path(entry, paths[0]))
    elif command == "module":  # Xen's: the kernel, then its initrd
        entry.initrds.append(_legacy_path(entry, paths[0]))
        entry.take_root(paths[1:])


def _legacy_path(entry: Entry, word: str) -> str:
    """The path of "(hd0,0)/vmlinuz"; GRUB legacy counts partitions from 0, entries from 1."""
    found = re.fullmatch(r"\(hd(\d{1,3}),(\d{1,3})[^)]*\)(.*)", word)
    if found is None:
        return word
    entry.paths_on(f"hd{found[1]},{int(found[2]) + 1}")
    return found[3]


# --- LILO and extlinux


def parse_lilo_conf(text: str) -> list[Entry]:
    """The entries of lilo.conf. Its paths are those of the running system, not of one partition."""
    entries: list[Entry] = []
    common: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = (word.strip() for word in line.partition("#")[0].partition("="))
        value = value.strip('"')
        if name == "image":
            entries.append(Entry(value, kernel=value, initrds=_filled(common.get("initrd"))))
            entries[-1].root = common.get("root", "")
            entries[-1].place = (frozenset({value}),)
        elif name and not entries:
            common[name] = value
        elif name == "initrd":
            entries[-1].initrds = _filled(value)
        elif name == "root":
            entries[-1].root = value
        elif name == "label":
            entries[-1].title = value
            entries[-1].place = (frozenset({value}),)
        elif name in ("append", "addappend"):
            entries[-1].take_root(value.split())
    default = common.get("default", "")
    return _default_first(entries, (default,) if default else ())


def _filled(path: str | None) -> list[str]:
    return [path] if path else []


def parse_syslinux_cfg(text: str) -> list[Entry]:
    """The entries of extlinux.conf or syslinux.cfg that start a Linux kernel."""
    entries: list[Entry] = []
    default = ""
    for line in text.split("\n"):
        words = line.split()
        key, values = (words[0].lower(), words[1:]) if len(words) > 1 else ("", [])
        if key in ("default", "ontimeout"):
            default = values[0]
        elif key == "label":
            entries.append(Entry(values[0], place=(frozenset({values[0]}),)))
        elif entries and key in ("kernel", "linux") and not values[0].endswith((".c32", ".bin")):
            entries[-1].kernel = values[0]
        elif entries and key == "initrd":
            entries[-1].initrds += values[0].split(",")
        elif entries and key == "append":
            entries[-1].take_root(values)
            for word in values:
                if word.startswith("initrd="):
                    entries[-1].initrds += word.removeprefix("initrd=").split(",")
    return _default_first(entries, (default,) if default else ())
