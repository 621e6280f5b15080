"""Values to JSON and back, at the edge. Inside the program there are only typed values.

msgspec checks every type while it decodes, so a hostile or damaged document never becomes a
half-right value.
"""

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class DocumentError(ValueError):
    """The bytes are no document of the wanted type; the text names the place."""


def to_json(value: Any) -> bytes:
    """Encode in field order, without blanks: equal values give equal bytes."""
    return msgspec.json.encode(value)


def to_pretty_json(value: Any) -> bytes:
    """Encode for people to read, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def from_json(kind: type[T], document: bytes | str) -> T:
    """Decode and check every type. Raises DocumentError, never anything else."""
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DocumentError(f"not a valid {kind.__name__} document: {error}") from error
