"""/etc/iftab (ifrename) and /etc/mactab (nameif): a line for each card, before there was udev."""

import re
from collections.abc import Iterator

from payload.formats.network.interface import (
    ETHERNET_MAC,
    Assignment,
    Interface,
    is_mac,
    like,
    lines_of,
    to_bytes,
)

_SELECTOR = re.compile(r"(?<!\s)\s+(?:driver|businfo|bus-info|firmware|baseaddress|irq)\s+\S+")


def read_tab(content: bytes, _path: str = "") -> list[Interface]:
    """Lines "eth0 mac 00:.." (iftab) and "eth0 00:.." (mactab)."""
    return list(_entries(lines_of(content)))


def _entries(lines: list[str]) -> Iterator[Interface]:
    for line in lines:
        words = line.split("#")[0].split()
        mac = next((word for word in words[1:] if is_mac(word)), "")
        if words and "*" not in words[0]:
            yield Interface(words[0], mac=mac.lower())


def rewrite_tab(content: bytes, path: str, assignment: Assignment) -> bytes:
    """Each named line gets the card here; a name that has no line yet gets one at the end."""
    lines = lines_of(content)
    told = [entry.name for entry in _entries(lines)]
    if not told:
        return content
    lines = [_rewritten(line, assignment) for line in lines]
    missing = [name for name in sorted(assignment.interfaces) if name not in told]
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    if missing and not lines[-1].endswith("\n"):
        lines[-1] += end
    word = " mac" if path.endswith("iftab") else ""
    lines += [f"{name}{word} {assignment.names[name]}{end}" for name in missing]
    return to_bytes(lines)


def _rewritten(line: str, assignment: Assignment) -> str:
    """Other selectors go: what they say of the old card must not keep the new one out."""
    code, sign, comment = line.partition("#")
    entry = next(_entries([code]), None)
    new = assignment.mac_for(entry.name, entry.mac) if entry else ""
    if not entry or not new:
        return line
    code = ETHERNET_MAC.sub(lambda found: like(found[0], new), code)
    code = _SELECTOR.sub("" if entry.mac else f" mac {new}", code, count=1)
    return f"{_SELECTOR.sub('', code)}{sign}{comment}"
