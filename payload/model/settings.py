"""Every tunable, with its default. `site.toml` and `failover.*` kernel parameters set them.

Both spell a setting alike: `failover.after.source=stay` on the kernel line is

    [after]
    source = "stay"

in `site.toml`. The kernel line wins. An unknown key is an error that names it, since a
misspelled safety setting that is silently ignored is worse than none.
"""

import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from ipaddress import ip_address, ip_interface
from typing import Any

from payload.model.errors import SettingsError
from payload.model.plan import CopyMode
from payload.model.role import Role


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
        "Disks of the target that may be overwritten whatever lies on them.",
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
        "Copy the blocks in use, or every block.",
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
            known = ", ".join(sorted(KEYS))
            raise SettingsError(f"{where}: there is no setting {key!r}. Known are: {known}.")
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
    """Apply a `site.toml`. Raises SettingsError naming the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where} is not valid TOML: {error}.") from error
    return _apply(settings, where, _flatten(table))


def read_kernel_line(settings: Settings, line: str) -> Settings:
    """Apply the `failover.*` words of a kernel line, which wins. Raises SettingsError."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    values: dict[str, Any] = {}
    for word in words:
        if word.startswith("failover."):
            key, _, value = word.removeprefix("failover.").partition("=")
            values[key] = value
    return _apply(settings, "kernel line", values)
