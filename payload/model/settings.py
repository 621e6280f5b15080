"""Every tunable, with its default. `site.toml` and `failover.*` kernel parameters set them.

Both spell a setting alike: `failover.after.source=stay` on the kernel line is

    [after]
    source = "stay"

in `site.toml`. The kernel line wins, and on it what was typed at this machine's boot menu over what
the menu says by itself, which both machines read. An unknown key is an error that names it, since a
misspelled safety setting that is silently ignored is worse than none.
"""

import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher, get_close_matches
from enum import Enum, StrEnum
from ipaddress import ip_address, ip_interface
from typing import Any

from payload.model.errors import SettingsError
from payload.model.plan import CopyMode
from payload.model.role import Role

PREFIX = "failover."  # of our words on the kernel line
THIS_MACHINE = "failover.this-machine"  # on the kernel line, behind what the boot menu says
PLACES = ("path:", "/dev/disk/by-path/")  # begin of names that tell where a disk is plugged in
_SEPARATORS = re.compile(r"[.:/_-]+")
_ALIKE = 0.8  # of 1.0: two words that differ in a letter or two


class After(StrEnum):
    """What a machine does when the run ended well."""

    POWEROFF = "poweroff"
    REBOOT = "reboot"
    STAY = "stay"


@dataclass(frozen=True)
class Settings:
    """The settings of one run. Durations are seconds."""

    role: Role | None = None  # None: decide from what is found
    overwrite: tuple[str, ...] = ()  # serials or ids of disks a person named
    peer: str = ""  # address of the source, for routed sites
    ip: str = ""  # own address with prefix length
    gateway: str = ""
    interface: str = ""  # only this card, "" for all
    port: int = 10000
    countdown: int = 30
    copy: CopyMode = CopyMode.USED
    verify: bool = True
    connections: int = 4
    reconnect: int = 3600  # how long a broken link is waited for
    dry_run: bool = False
    boot_proof: bool = True
    after_source: After = After.POWEROFF
    after_target: After = After.POWEROFF


def _number(low: int, high: int) -> Callable[[str, Any], int]:
    def parse(key: str, value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = low - 1
        if isinstance(value, bool) or not low <= number <= high:
            raise SettingsError(
                f"{key} must be a whole number from {low} to {high}, not {value!r}."
            )
        return number

    return parse


def _choice(kind: type[Enum]) -> Callable[[str, Any], Any]:
    def parse(key: str, value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in kind)
            raise SettingsError(f"{key} must be one of {words}, not {value!r}.") from None

    return parse


def _role(key: str, value: Any) -> Role | None:
    if value in ("source", "target"):
        return Role(value)
    if value == "auto":
        return None
    raise SettingsError(f"{key} must be one of auto, source, target, not {value!r}.")


def _flag(key: str, value: Any) -> bool:
    if value in (True, "1", "yes", "true", "on", ""):
        return True
    if value in (False, "0", "no", "false", "off"):
        return False
    raise SettingsError(f"{key} must be yes or no, not {value!r}.")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{key} must be text, not {value!r}.")
    return value


def _names(key: str, value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{key} must be a list of disk serials or ids, not {value!r}.")
    stripped = tuple(name.strip() for name in names if name.strip())
    if "all" in stripped:
        raise SettingsError(f"{key}=all does not exist: name each disk by its serial or id.")
    return stripped


def _address(key: str, value: Any) -> str:
    try:
        if value:
            ip_address(str(value))
    except ValueError:
        raise SettingsError(f"{key} must be an IP address, not {value!r}.") from None
    return str(value)


def _interface_address(key: str, value: Any) -> str:
    try:
        if value and ("/" not in str(value) or not ip_interface(str(value))):
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"{key} must be an address with its prefix length, as 192.0.2.7/24, not {value!r}."
        ) from None
    return str(value)


@dataclass(frozen=True)
class Key:
    """A setting as people write it. `docs/settings.md` is printed from these."""

    field: str
    parse: Callable[[str, Any], Any]
    values: str
    meaning: str


KEYS: Mapping[str, Key] = {
    "role": Key(
        "role",
        _role,
        "auto, source, target",
        "What this machine is. A target still overwrites only what it may overwrite anyway.",
    ),
    "overwrite": Key(
        "overwrite",
        _names,
        "serials or ids, with commas between",
        "Disks of the target that may be overwritten whatever lies on them. A name that means a"
        " disk of both machines counts only beside `role`; `site.toml` and `kernel-parameters`,"
        " which both read, take no `path:` and no `/dev/disk/by-path/`.",
    ),
    "peer": Key(
        "peer",
        _address,
        "IP address",
        "Where the source is, when it cannot be found on the local network.",
    ),
    "ip": Key(
        "ip",
        _interface_address,
        "address/prefix length",
        "Own address, when no DHCP server gives a useful one.",
    ),
    "gateway": Key("gateway", _address, "IP address", "Router towards a peer in another network."),
    "interface": Key("interface", _text, "name of a card", "Use this card only; empty means all."),
    "port": Key("port", _number(1, 65535), "1 to 65535", "TCP port the source listens on."),
    "countdown": Key(
        "countdown",
        _number(0, 86400),
        "0 to 86400 seconds",
        "Time between showing the plan and the first write.",
    ),
    "copy": Key(
        "copy",
        _choice(CopyMode),
        "used, exact",
        "Copy the blocks in use, or every sector of the disks.",
    ),
    "verify": Key(
        "verify",
        _flag,
        "yes, no (or on, off)",
        "Read back and compare all that was written. Off only when both machines are told so;"
        " boot areas and the first MiB of each partition are always read back.",
    ),
    "connections": Key(
        "connections",
        _number(1, 16),
        "1 to 16",
        "Number of data connections over each link between the two.",
    ),
    "reconnect": Key(
        "reconnect",
        _number(0, 7 * 86400),
        "0 to 604800 seconds",
        "How long a broken link is waited for before the run ends.",
    ),
    "dry-run": Key(
        "dry_run", _flag, "yes, no", "Look only: do everything up to the countdown, write nothing."
    ),
    "boot-proof": Key(
        "boot_proof",
        _flag,
        "yes, no",
        "Start the finished copy once, in a machine inside the target that cannot write to its"
        " disks. Skipped where the processor has no virtualization.",
    ),
    "after.source": Key(
        "after_source",
        _choice(After),
        "poweroff, reboot, stay",
        "What the source does when the run ended well.",
    ),
    "after.target": Key(
        "after_target",
        _choice(After),
        "poweroff, reboot, stay",
        "What the target does when the run ended well.",
    ),
}


def _apply(settings: Settings, where: str, values: Mapping[str, Any]) -> Settings:
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in KEYS:
            known, likely = ", ".join(sorted(KEYS)), _likely_key(key)
            guess = f" Is {likely} meant?" if likely else ""
            raise SettingsError(f"{where}: there is no setting {key!r}.{guess} Known are: {known}.")
        setting = KEYS[key]
        changes[setting.field] = setting.parse(f"{where}: {key}", value)
    return replace(settings, **changes)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def read_site_toml(settings: Settings, text: str, where: str = "site.toml") -> Settings:
    """Apply a `site.toml`, which holds for both machines. Raises SettingsError naming the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where} is not valid TOML: {error}.") from error
    told = _apply(settings, where, _flatten(table))
    _refuse_places(told, where)
    return told


def read_menu_parameters(settings: Settings, words: Sequence[str], where: str) -> Settings:
    """Apply the kernel parameters of a boot menu, which hold for both machines.

    Raises SettingsError, also for a word that is nearly one of ours: it was meant for us.
    """
    told = _apply(settings, where, _values(words, where))
    _refuse_places(told, where)
    return told


def read_kernel_line(settings: Settings, line: str) -> Settings:
    """Apply the `failover.*` words of a kernel line, which wins. Raises SettingsError.

    A line without `failover.this-machine` is not our menu's: all of it is this machine's own.
    """
    words = _split(line)
    if THIS_MACHINE in words:
        end = words.index(THIS_MACHINE)
        settings = read_menu_parameters(settings, words[:end], "boot menu")
        words = words[end + 1 :]
    return _apply(settings, "kernel line", _values(words, "kernel line"))


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _values(words: Sequence[str], where: str) -> dict[str, str]:
    """The settings among the words of a kernel line."""
    values: dict[str, str] = {}
    for word in words:
        if word.startswith(PREFIX):
            key, _, value = word.removeprefix(PREFIX).partition("=")
            values[key] = value
        elif _is_misspelt(word):
            raise SettingsError(
                f"{where}: {word!r} looks like a setting but does not begin with "
                f"{PREFIX!r}. Write {_corrected(word)}."
            )
    return values


def _refuse_places(settings: Settings, where: str) -> None:
    """Refuse disks named by where they are, in what both machines read."""
    for word in settings.overwrite:
        if word.startswith(PLACES):
            raise SettingsError(
                f"{where}: overwrite: {word!r} is where a disk is plugged in. Both machines read"
                " this, and the other may have a disk there, too. Name the disk by its serial or"
                " id, or type the word at the boot menu of the target alone (key e, behind `live`)."
            )


def _is_misspelt(word: str) -> bool:
    """Is the name of a kernel parameter nearly ours, as `Failover.role` or `failover-dry-run`?

    Neither a value, as a path with our name in it, nor the kernel's own module net_failover counts.
    """
    name = word.partition("=")[0].lower()
    head = _SEPARATORS.split(name.strip("-"))[0]
    return (
        _SEPARATORS.sub("", name).startswith(("failover", "ugsfailover"))
        or SequenceMatcher(None, head, PREFIX[:-1]).ratio() >= _ALIKE
    )


def _corrected(word: str) -> str:
    """The word as it should be written, as far as it can be told."""
    name, equals, value = word.partition("=")
    # What stands before the key: everything up to "over", in whatever spelling, else one word.
    rest = re.sub(r"^.*?over|^[^.:/_-]*", "", name.lower(), count=1)
    return f"{PREFIX}{_likely_key(rest) or 'KEY'}{equals or '='}{value or 'VALUE'}"


def _likely_key(text: str) -> str:
    """The key that is most like a misspelt one, "" if none is."""
    plain = {_SEPARATORS.sub("", key): key for key in KEYS}
    near = get_close_matches(_SEPARATORS.sub("", text.lower()), plain, n=1, cutoff=_ALIKE)
    return plain[near[0]] if near else ""
