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
    """Encode in field order, without blanks: equal values give equal bytes.

    Bytes that were no UTF-8 (in a tool's message, a label) come as surrogates, which JSON cannot
    carry; they are written as they look in Python, "\\udce4".
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(one) for one in value]
    return value


def to_pretty_json(value: Any) -> bytes:
    """Encode for people to read, with a final newline."""
    return msgspec.json.format(to_json(value), indent=2) + b"\n"


def from_json(kind: type[T], document: bytes | str) -> T:
    """Decode and check every type. Raises DocumentError, never anything else."""
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DocumentError(f"not a valid {kind.__name__} document: {error}") from error
