"""The document that makes a copy recognisable: whole and of this format, or no copy of ours."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.codec import DocumentError, to_json, to_pretty_json
from payload.model.marker import MARKER_FORMAT, Change, CopyMarker, DiskMapping, decode_marker
from tests.support.machines import marker

MARKER = replace(
    marker("A", "B", DiskMapping("serial:SA", "serial:SB", "f00d")),
    changes=(Change("/etc/fstab", "names of disks"),),
    version="1.0",
)
DOCUMENT = to_json(MARKER)


@pytest.mark.parametrize("encode", [to_json, to_pretty_json])
def test_a_marker_comes_back_as_it_was_written(encode: Callable[[CopyMarker], bytes]) -> None:
    assert decode_marker(encode(MARKER)) == MARKER


def test_a_marker_without_what_has_a_default_is_one() -> None:
    """As an older version wrote it."""
    values = msgspec.json.decode(DOCUMENT)
    for name in ("changes", "used", "version", "format"):
        del values[name]
    old = decode_marker(msgspec.json.encode(values))
    assert old == replace(MARKER, changes=(), version="")


@pytest.mark.parametrize("number", [0, MARKER_FORMAT + 1, -1, 1 << 62])
def test_a_marker_of_another_format_is_refused_by_its_number(number: int) -> None:
    with pytest.raises(DocumentError, match=f"has format {number}, known is {MARKER_FORMAT}"):
        decode_marker(to_json(replace(MARKER, format=number)))


@pytest.mark.parametrize("name", ["copy_id", "source", "target", "disks", "finished_at", "usage"])
def test_a_marker_that_lacks_what_it_needs_is_refused(name: str) -> None:
    values = msgspec.json.decode(DOCUMENT)
    del values[name]
    with pytest.raises(DocumentError, match=name):
        decode_marker(msgspec.json.encode(values))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("used", 0),
            ("used", "false"),
            ("used", None),
            ("finished_at", "1"),
            ("finished_at", 1.5),
        ),
        *(("disks", {}), ("disks", [["a", "b"]]), ("usage", "ext4"), ("usage", {"kind": 1})),
        ("target", "B"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    values = {**msgspec.json.decode(DOCUMENT), name: value}
    with pytest.raises(DocumentError):
        decode_marker(msgspec.json.encode(values))


@pytest.mark.parametrize("length", range(0, len(DOCUMENT), 40))
def test_a_marker_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(DocumentError):
        decode_marker(DOCUMENT[:length])


@given(st.binary(max_size=300), st.integers(0, len(DOCUMENT)), st.integers(0, 30))
def test_any_document_is_a_marker_of_this_format_or_refused(
    noise: bytes, place: int, cut: int
) -> None:
    for document in (noise, DOCUMENT[:place] + noise + DOCUMENT[place + cut :]):
        try:
            found = decode_marker(document)
        except DocumentError:
            continue
        assert isinstance(found, CopyMarker)
        assert found.format == MARKER_FORMAT


def test_a_document_of_deep_nesting_is_refused() -> None:
    with pytest.raises(DocumentError):
        decode_marker(b'{"copy_id":' + b"[" * 100_000)
