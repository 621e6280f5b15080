"""What a copied system says of the server's network cards where nothing is adapted.

A line that sets a MAC address, a script of ifupdown, a word for a rule's program: only people know
what is meant by it. So it stays, and is told with its file and line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from payload.formats.network.interface import (
    MENTIONED_MAC,
    Assignment,
    Edit,
    System,
    lines_of,
    with_colons,
)
from payload.formats.network.registry import SYSTEMS, UCR, files_of
from payload.system.files import read_inside, real_path, size_inside

_FILES = 20  # that are told one by one: a hostile system may have any number
_LINES = 5
_LARGEST = 4 << 20  # bytes
# Files that tie no name, but where a card may be named.
_BESIDE = System(
    "beside",
    ("/etc/network/if-*.d/*", "/etc/default/grub", "/etc/rc.local"),
    lambda content, path: (),
)


@dataclass(frozen=True)
class _Mention:
    """The lines of a file that name one card of the server."""

    path: str
    mac: str
    lines: tuple[int, ...]


def mentions_left(root: Path, edits: Sequence[Edit], assignment: Assignment) -> Iterator[str]:
    """A sentence for each file and card of the server that the file names and that is not here,
    when `edits` are done. Raises OSError."""
    here = {card.mac for card in assignment.cards}
    server = {*assignment.macs, *assignment.source} - here
    contents = {edit.path: edit.content for edit in edits}
    gone = {edit.before for edit in edits}
    paths = [path for path in _paths(root) if path not in gone]
    large = dict.fromkeys(path for path in paths if size_inside(root, path) > _LARGEST)
    for path in islice(large, _FILES):
        yield (
            f"{path} is larger than any script or setting, and was not looked into for network"
            " cards of the server."
        )
    looked = (path for path in paths if path not in large)
    found = (_mentions(root, path, contents, server) for path in looked)
    mentions = chain.from_iterable(found)
    for mention in islice(mentions, _FILES):
        yield _sentence(mention, assignment)
    if more := len({mention.path for mention in mentions}):
        yield f"{more} more files of the copy name network cards of the server that were left so."


def _paths(root: Path) -> list[str]:
    """Without links, none twice. The registry has a warning of its own."""
    systems = [*SYSTEMS, _BESIDE]
    paths = (real_path(root, path) for system in systems for path in files_of(root, system))
    return [path for path in dict.fromkeys(paths) if path != UCR]


def _mentions(
    root: Path, path: str, contents: Mapping[str, bytes], server: set[str]
) -> Iterator[_Mention]:
    content = contents[path] if path in contents else read_inside(root, path) or b""
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(lines_of(content), 1):
        if not line.lstrip().startswith(("#", ";")):
            for mac in sorted(macs_in(line) & server):
                lines.setdefault(mac, []).append(number)
    for mac, numbers in lines.items():
        yield _Mention(path, mac, tuple(numbers))


def macs_in(text: str) -> set[str]:
    return set(map(with_colons, MENTIONED_MAC.findall(text)))


def _sentence(mention: _Mention, assignment: Assignment) -> str:
    here = assignment.mac_for("", mention.mac)
    role = f"the card that has its role in the copy is {here}" if here else ""
    return (
        f"{mention.path}, {told_lines(mention.lines)}, names the network card {mention.mac} of the"
        f" server, and was left so: {role or 'no card has its role in the copy'}."
    )


def told_lines(numbers: Sequence[int]) -> str:
    """ "line 3", "lines 3, 5", "lines 1, 2, 3, 4, 5 and 45 more"."""
    told = ", ".join(map(str, numbers[:_LINES]))
    more = f" and {len(numbers) - _LINES} more" if len(numbers) > _LINES else ""
    return f"{'line' if len(numbers) == 1 else 'lines'} {told}{more}"
