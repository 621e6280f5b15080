"""A disk with bad places: everything but them, and a list of them."""

import errno
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.model.disk import Hardware
from payload.model.errors import SourceDiskError
from payload.model.report import Hole
from payload.replicate import sick_disk
from payload.replicate.sick_disk import Patience

SECTOR = 512


class Platter:
    """A disk of which some bytes cannot be read."""

    def __init__(self, content: bytes, bad: list[tuple[int, int]], code: int) -> None:
        self.content, self.bad, self.code, self.reads = content, bad, code, 0

    def read(self, _: int, buffer: memoryview, offset: int) -> None:
        self.reads += 1
        end = offset + len(buffer)
        if any(first < end and offset < last for first, last in self.bad):
            raise OSError(self.code, os.strerror(self.code))
        if end > len(self.content):
            raise EOFError
        buffer[:] = self.content[offset:end]


DISK = Hardware("sda", "/dev/sda", 64 * SECTOR, serial="S1")


def read_around(
    monkeypatch: pytest.MonkeyPatch,
    platter: Platter,
    start: int,
    size: int,
    patience: Patience | None = None,
) -> tuple[bytes, list[Hole]]:
    monkeypatch.setattr(sick_disk, "read_exactly", platter.read)
    buffer = memoryview(bytearray(b"\xaa" * size))
    holes = sick_disk.read_around(DISK, 3, buffer, start, patience or Patience())
    return bytes(buffer), holes


@pytest.mark.parametrize("code", sorted(sick_disk.BAD_PLACE))
def test_one_bad_sector_costs_one_sector(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    content = os.urandom(64 * SECTOR)
    platter = Platter(content, [(9 * SECTOR, 9 * SECTOR + 1)], code)
    got, holes = read_around(monkeypatch, platter, 4 * SECTOR, 32 * SECTOR)
    assert holes == [Hole(9 * SECTOR, SECTOR)]
    wanted = content[: 9 * SECTOR] + bytes(SECTOR) + content[10 * SECTOR :]
    assert got == wanted[4 * SECTOR : 36 * SECTOR]
    assert platter.reads < 16


def test_neighbouring_holes_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [(7 * SECTOR, 10 * SECTOR), (20 * SECTOR, 21 * SECTOR)]
    platter = Platter(bytes(64 * SECTOR), bad, errno.EIO)
    _, holes = read_around(monkeypatch, platter, 0, 64 * SECTOR)
    assert holes == [Hole(7 * SECTOR, 3 * SECTOR), Hole(20 * SECTOR, SECTOR)]


def test_a_very_sick_place_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(bytes(64 * SECTOR), [(0, 64 * SECTOR)], errno.EIO)
    patience = Patience(lambda: platter.reads * sick_disk.PATIENCE / 8)
    _, holes = read_around(monkeypatch, platter, 0, 64 * SECTOR, patience)
    assert holes == [Hole(0, 64 * SECTOR)]
    assert 8 < platter.reads < 20


def test_a_very_sick_disk_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read takes ten seconds. After an hour of bad places a chunk costs one read, and what
    can be read still is."""
    platter = Platter(os.urandom(64 * SECTOR), [(0, 32 * SECTOR)], errno.EIO)
    patience = Patience(lambda: platter.reads * 10.0)
    for _ in range(400):
        read_around(monkeypatch, platter, 0, 8 * SECTOR, patience)
    assert platter.reads < 360 + 400 + 20
    got, holes = read_around(monkeypatch, platter, 32 * SECTOR, 8 * SECTOR, patience)
    assert (got, holes) == (platter.content[32 * SECTOR : 40 * SECTOR], [])


def test_a_place_is_read_at_once_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(os.urandom(64 * SECTOR), [(9 * SECTOR, 10 * SECTOR)], errno.EIO)
    monkeypatch.setattr(sick_disk, "read_exactly", platter.read)
    buffer = memoryview(bytearray(8 * SECTOR))
    assert not sick_disk.read_at_once(DISK, 3, buffer, 8 * SECTOR)
    assert platter.reads == 1
    assert sick_disk.read_at_once(DISK, 3, buffer, 16 * SECTOR)
    assert buffer == platter.content[16 * SECTOR : 24 * SECTOR]


@pytest.mark.parametrize("code", [errno.ENODEV, errno.ENXIO, errno.EBADF])
def test_a_disk_that_is_gone_is_no_hole(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    platter = Platter(bytes(64 * SECTOR), [(SECTOR, 2 * SECTOR)], code)
    with pytest.raises(SourceDiskError, match="S1"):
        read_around(monkeypatch, platter, 0, 8 * SECTOR)


def test_a_disk_that_became_shorter_is_no_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceDiskError, match="it ends there"):
        read_around(monkeypatch, Platter(bytes(SECTOR), [], errno.EIO), 0, 2 * SECTOR)


def test_a_hole_is_never_smaller_than_a_sector_of_that_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platter = Platter(os.urandom(16 * 4096), [(9 * SECTOR, 10 * SECTOR)], errno.EIO)
    monkeypatch.setattr(sick_disk, "read_exactly", platter.read)
    large = Hardware("sdb", "/dev/sdb", 16 * 4096, sector_size=4096)
    buffer = memoryview(bytearray(16 * 4096))
    assert sick_disk.read_around(large, 3, buffer, 0, Patience()) == [Hole(4096, 4096)]
    assert buffer == platter.content[:4096] + bytes(4096) + platter.content[8192:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 40)), st.integers(0, 20), st.integers(1, 21))
def test_holes_are_the_bad_sectors_and_all_else_is_read(
    monkeypatch: pytest.MonkeyPatch, bad: set[int], first: int, count: int
) -> None:
    content = os.urandom(41 * SECTOR)
    platter = Platter(content, [(n * SECTOR, n * SECTOR + 1) for n in bad], errno.EIO)
    got, holes = read_around(monkeypatch, platter, first * SECTOR, count * SECTOR)
    sectors = {
        place // SECTOR
        for hole in holes
        for place in range(hole.offset, hole.offset + hole.length, SECTOR)
    }
    assert sectors == bad & set(range(first, first + count))
    ends = [hole.offset + hole.length for hole in holes[:-1]]
    assert all(end < hole.offset for end, hole in zip(ends, holes[1:], strict=True))
    for n in range(count):
        here = content[(first + n) * SECTOR :][:SECTOR]
        wanted = bytes(SECTOR) if first + n in bad else here
        assert got[n * SECTOR : (n + 1) * SECTOR] == wanted


def test_a_disk_that_goes_away_between_its_bad_places_is_no_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Leaving(Platter):
        def read(self, descriptor: int, buffer: memoryview, offset: int) -> None:
            if self.reads == 3:
                self.code, self.bad = errno.ENODEV, [(0, len(self.content))]
            super().read(descriptor, buffer, offset)

    platter = Leaving(bytes(64 * SECTOR), [(9 * SECTOR, 10 * SECTOR)], errno.EIO)
    with pytest.raises(SourceDiskError, match="Check the disk and its cable"):
        read_around(monkeypatch, platter, 0, 64 * SECTOR)


def test_the_time_of_all_chunks_is_taken_from_the_same_hour() -> None:
    now = [0.0]
    patience = Patience(lambda: now[0])
    with patience.for_one_chunk() as patient:
        assert patient()
        now[0] += sick_disk.PATIENCE
        assert not patient()
    now[0] += 10 * sick_disk.PATIENCE_IN_ALL  # between chunks nothing is spent
    with patience.for_one_chunk() as patient:
        assert patient()
        now[0] += sick_disk.PATIENCE_IN_ALL
    with patience.for_one_chunk() as patient:
        assert not patient()
