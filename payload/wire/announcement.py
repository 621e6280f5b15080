"""Announcements as bytes, and how a site knows that one of its machines said them.

Whoever reads the site's medium holds the site's key; so each announcement bears a keyed digest of
all that it says, with the addresses. A stranger can repeat such words later or elsewhere, and that
is all: they then lead to where a machine of the site once was. What is not ours is never called.

The words are a DNS TXT record (RFC 6763, 6): strings of at most 255 bytes, each KEY=VALUE.
"""

import contextlib
import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from blake3 import blake3

from payload.model.announcement import Announcement, Claim

TEXT_LIMIT = 100  # characters of a word that may reach a screen
ADDRESSES_LIMIT = 8  # 16 bytes each, in one string
_DIGEST = "digest"
_WORDS = ("id", "role", "name", "protocol", "port", "addresses")
_PURPOSE = "UGS-Failover 2026 announcement of a machine"


def announcement_key(site_secret: bytes) -> bytes:
    """The key of all announcements of a site."""
    return blake3(site_secret, derive_key_context=_PURPOSE).digest()


def pack_announcement(
    announcement: Announcement, addresses: Sequence[str], key: bytes
) -> dict[str, bytes]:
    """The strings of the TXT record; addresses beyond ADDRESSES_LIMIT are left out."""
    words = {
        "id": announcement.machine_id.encode(),
        "role": announcement.role.encode(),
        "name": announcement.name[:TEXT_LIMIT].encode()[: 2 * TEXT_LIMIT],
        "protocol": b"%d" % announcement.protocol,
        "port": b"%d" % announcement.port,
        "addresses": b"".join(map(_pack_address, addresses[:ADDRESSES_LIMIT])),
    }
    return {**words, _DIGEST: _digest(words.values(), key)}


def unpack_announcement(text: bytes, key: bytes) -> Claim | None:
    """None for whatever no machine of our site has said."""
    strings = split_strings(text)
    words = [strings.get(word.encode()) for word in _WORDS]
    digest = strings.get(_DIGEST.encode(), b"")
    if any(word is None for word in words):
        return None
    values = [word or b"" for word in words]
    if not secrets.compare_digest(_digest(values, key), digest):
        return None
    machine_id, role, name, protocol, port, addresses = values
    with contextlib.suppress(ValueError):  # of another version of this program
        announcement = Announcement(
            printable(machine_id), printable(role), printable(name), int(port), int(protocol)
        )
        return Claim(announcement, _unpack_addresses(addresses))
    return None


def split_strings(text: bytes) -> Mapping[bytes, bytes]:
    """The strings of a TXT record by their keys, of which the first counts; RFC 6763, 6.4."""
    strings: dict[bytes, bytes] = {}
    while text:
        length = text[0]
        key, _, value = text[1 : 1 + length].partition(b"=")
        strings.setdefault(key, value)
        text = text[1 + length :]
    return strings


def printable(word: bytes) -> str:
    """Printable characters only: nothing that could repaint a console."""
    text = word[: 4 * TEXT_LIMIT].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable())[:TEXT_LIMIT]


def _digest(words: Iterable[bytes], key: bytes) -> bytes:
    """Of all words, each with its length, so that none can borrow from its neighbour."""
    return blake3(b"".join(struct.pack("!H", len(word)) + word for word in words), key=key).digest()


def _pack_address(address: str) -> bytes:
    parsed = ip_address(address)
    mapped = parsed if parsed.version == 6 else IPv6Address(f"::ffff:{parsed}")  # RFC 4291, 2.5.5.2
    return mapped.packed


def _unpack_addresses(packed: bytes) -> tuple[str, ...]:
    parsed = [IPv6Address(packed[at : at + 16]) for at in range(0, len(packed), 16)]
    return tuple(str(address.ipv4_mapped or address) for address in parsed)
