"""netplan (Ubuntu): YAML files that match a card by MAC and may give it a name.

Read by a YAML parser that knows where each word stands, changed word by word: comments, quotes and
order stay. A file that is no YAML is left as it is, as netplan itself would refuse it.
"""

import re
from collections.abc import Iterator

import yaml

from payload.formats.network.interface import (
    ANYWHERE,
    INTERFACE_NAME,
    MAC,
    Assignment,
    Interface,
    is_mac,
    like,
)

_DEFAULT_ROUTE = ("default", "0.0.0.0/0", "::/0")
_UPPER = {"bonds": "interfaces", "bridges": "interfaces", "vlans": "link"}


def _parse(content: bytes) -> yaml.Node | None:
    """The `network:` mapping, None when there is none or it cannot be read."""
    try:
        document = yaml.compose(content.decode(), yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):  # PyYAML lets them through
        return None
    return _get(document, "network")


def _items(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield str(key.value), value


def _get(node: yaml.Node | None, key: str) -> yaml.Node | None:
    return next((value for name, value in _items(node) if name == key), None)


def _word(node: yaml.Node | None) -> str:
    return str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""


def _words(node: yaml.Node | None) -> tuple[str, ...]:
    """The words of a list, or the only one. An address may be a mapping from it to its options.
    Lists in lists mean nothing, and by aliases could be endless."""
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    words = [[_word(item), *(key for key, _ in _items(item))] for item in items]
    return tuple(word for each in words for word in each if word)


def _name(key: str, card: yaml.Node) -> str:
    """What a card is called: netplan's key is a name only where nothing else is told."""
    match = _get(card, "match")
    for name in (_word(_get(card, "set-name")), _word(_get(match, "name"))):
        if INTERFACE_NAME.fullmatch(name):
            return name
    return "" if match is not None else key


def read_netplan(content: bytes, _path: str = "") -> list[Interface]:
    """What a netplan file says."""
    network = _parse(content)
    found = []
    for key, card in _items(_get(network, "ethernets")):
        mac = _word(_get(_get(card, "match"), "macaddress")).lower()
        found.append(_interface(_name(key, card), key, card, mac if is_mac(mac) else ""))
    for kind, lower in _UPPER.items():
        for key, upper in _items(_get(network, kind)):
            vlan = _word(_get(upper, "id"))
            found.append(
                _interface(
                    key,
                    key,
                    upper,
                    lower=_words(_get(upper, lower)),
                    vlan=int(vlan) if re.fullmatch(r"\d{1,4}", vlan) else 0,
                )
            )
    return found


def _interface(
    name: str,
    key: str,
    node: yaml.Node,
    mac: str = "",
    lower: tuple[str, ...] = (),
    vlan: int = 0,
) -> Interface:
    dynamic = (
        _word(_get(node, one)).lower() in ("true", "yes", "on") for one in ("dhcp4", "dhcp6")
    )
    return Interface(
        name,
        mac=mac,
        addresses=_words(_get(node, "addresses")),
        dynamic=any(dynamic),
        gateways=tuple(_gateways(node)),
        lower=lower,
        vlan=vlan,
        key=key,
    )


def _gateways(node: yaml.Node) -> Iterator[str]:
    for key in ("gateway4", "gateway6"):
        yield from _words(_get(node, key))
    routes = _get(node, "routes")
    for route in routes.value if isinstance(routes, yaml.SequenceNode) else ():
        if _word(_get(route, "to")) in _DEFAULT_ROUTE:
            yield _word(_get(route, "via")) or ANYWHERE


def rewrite_netplan(content: bytes, _path: str, assignment: Assignment) -> bytes:
    """Each `match: macaddress:` becomes that of the card here. A `macaddress` outside of `match`,
    which sets one, stays."""
    edits = []
    for key, card in _items(_get(_parse(content), "ethernets")):
        node = _get(_get(card, "match"), "macaddress")
        old = _word(node)
        new = assignment.mac_for(_name(key, card), old.lower()) if is_mac(old) else ""
        if node is not None and new:
            edits.append((node.start_mark.index, node.end_mark.index, like(old, new)))
    if not edits:
        return content
    text = content.decode()
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + re.sub(MAC.pattern, new, text[start:end], flags=re.I) + text[end:]
    return text.encode()
