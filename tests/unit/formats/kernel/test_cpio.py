"""Members of a cpio archive: what was put in comes out, and no number in it is believed."""

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.kernel.cpio import CpioError, Member, read_members
from tests.support.cpio_archives import archive, member


def members_of(content: bytes, *kept: str) -> list[Member]:
    return list(read_members(io.BytesIO(content), lambda path: path in kept))


def test_a_member_that_lies_about_its_size_is_not_believed() -> None:
    lying = bytearray(member("a", b"content"))
    lying[54:62] = b"FFFFFFFF"
    with pytest.raises(CpioError, match="ends in the middle"):
        list(read_members(io.BytesIO(bytes(lying)), lambda path: True))


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40)


@given(st.dictionaries(PATHS.filter(lambda path: path != "." * len(path)), st.binary(max_size=99)))
def test_what_was_put_in_comes_out(files: dict[str, bytes]) -> None:
    files = {path: content for path, content in files.items() if path != "TRAILER!!!"}
    stream = io.BytesIO(archive(files))
    members = list(read_members(stream, lambda path: True))
    assert {one.path: one.content for one in members} == files
    assert all(one.is_file for one in members)


@given(st.binary(max_size=300), st.integers(0, 500), st.integers(0, 255))
def test_damage_is_an_error_or_still_an_archive(data: bytes, place: int, value: int) -> None:
    damaged = bytearray(archive({"init": data, "bin/sh": b"x"}))
    damaged[place % len(damaged)] = value
    try:
        found = list(read_members(io.BytesIO(bytes(damaged)), lambda path: True))
    except CpioError:
        return
    assert all(isinstance(one, Member) and len(one.content) <= len(damaged) for one in found)


def test_only_what_is_asked_for_is_kept() -> None:
    found = members_of(archive({"a": b"12345", "b": b"678", "c": b""}), "b", "c")
    assert [(one.path, one.size, one.content) for one in found] == [
        ("a", 5, b""),
        ("b", 3, b"678"),
        ("c", 0, b""),
    ]


def test_links_and_directories_are_no_files() -> None:
    content = member("d", b"", 0o040755) + member("l", b"a", 0o120777) + member("f", b"")
    found = members_of(content + archive({}))
    assert [(one.path, one.is_file) for one in found] == [("d", False), ("l", False), ("f", True)]


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a/b", "a/b"), ("/a", "a"), ("///a", "a"), (".//a", "a"), (".", "."), ("", "")],
)
def test_paths_are_told_from_the_archives_root(name: str, path: str) -> None:
    (only,) = members_of(member(name, b"x") + archive({}), path)
    assert (only.path, only.content) == (path, b"x")


def test_a_name_of_other_bytes_than_utf_8_is_kept_as_it_is() -> None:
    (only,) = members_of(archive({b"\xff\xe4".decode("utf-8", "surrogateescape"): b""}))
    assert only.path.encode("utf-8", "surrogateescape") == b"\xff\xe4"


def test_the_stream_stands_right_behind_the_name_of_the_last_member() -> None:
    """Another archive, padded or not, may follow."""
    stream = io.BytesIO(archive({"a": b"x"}) + b"next")
    assert len(list(read_members(stream, lambda path: True))) == 1
    assert stream.read().lstrip(b"\0") == b"next"


def test_an_archive_with_checksums_is_read_like_one_without() -> None:
    content = archive({"a": b"x"}).replace(b"070701", b"070702")
    assert members_of(content, "a")[0].content == b"x"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends in the middle"),
        (b"070701" + b"0" * 103, "ends in the middle"),
        (b"070707" + archive({"a": b""})[6:], "no member where one should begin"),
        (archive({"a": b""}).replace(b"070701", b"07070x", 1), "no member"),
        (b"070701" + b"+" * 104, "no member"),
        (b"070701" + b"0" * 104, "a name of 0 bytes"),
        (member("a" * 4097, b""), "a name of 4098 bytes"),
        (member("a", b"xx"), "ends in the middle"),  # it has no last member
        (member("a", b"12345")[:-4], "ends in the middle"),
    ],
)
def test_damage_has_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(CpioError, match=reason):
        members_of(content, "a")


@pytest.mark.parametrize("field", [b"-0000001", b"0x000001", b" 0000001", b"0_000001"])
def test_a_number_is_eight_hex_digits_and_nothing_else(field: bytes) -> None:
    content = bytearray(archive({"a": b"x"}))
    content[54:62] = field
    with pytest.raises(CpioError, match="no member"):
        members_of(bytes(content))


class Endless:
    """A stream of zeros behind one header."""

    def __init__(self, head: bytes) -> None:
        self.head = io.BytesIO(head)
        self.largest = 0

    def read(self, size: int, /) -> bytes:
        self.largest = max(self.largest, size)
        return self.head.read(size) or bytes(size)


def test_a_member_larger_than_any_that_is_wanted_is_passed_over_in_steps() -> None:
    head = bytearray(member("a", b""))
    head[54:62] = b"%08X" % (64 << 20)
    stream = Endless(bytes(head))
    found = read_members(stream, lambda path: True)
    tracemalloc.start()
    try:
        assert next(found) == Member("a", 0o100644, 64 << 20)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8 << 20
    assert stream.largest <= 1 << 20
    with pytest.raises(CpioError):  # zeros are no member
        next(found)


@given(st.binary(max_size=400))
def test_any_bytes_are_members_or_an_error(content: bytes) -> None:
    for whole in (content, b"070701" + content, archive({"a": b"x"})[:-9] + content):
        try:
            found = members_of(whole)
        except CpioError:
            continue
        assert all(isinstance(one, Member) for one in found)
