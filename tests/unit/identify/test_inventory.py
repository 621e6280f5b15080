"""Telling disks apart: what counts when serials are empty, shared or the whole disk is."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from payload.identify.inventory import tell_apart
from payload.model.disk import Hardware

DISK = Hardware("sda", "/dev/sda", 10**9, serial="S1", path="pci-1")
OTHER = Hardware("sdb", "/dev/sdb", 10**9, serial="S2", path="pci-2")


def test_disks_with_serials_of_their_own_stay_as_they_are() -> None:
    assert tell_apart((DISK, OTHER)) == ((DISK, OTHER), ())


def test_the_same_serial_on_two_disks_counts_for_none() -> None:
    disks, warnings = tell_apart((DISK, replace(OTHER, serial="S1")))
    assert [disk.id for disk in disks] == ["path:pci-1", "path:pci-2"]
    assert all(not disk.ineligible for disk in disks)
    assert "sda S1 1.0 GB: another disk has the same serial" in warnings[0]
    assert "known only by where it is plugged in (pci-2)" in warnings[-1]


def test_an_empty_serial_falls_back_to_the_path_and_says_so() -> None:
    (disk,), warnings = tell_apart((replace(DISK, serial=""),))
    assert disk.id == "path:pci-1"
    assert len(warnings) == 1


def test_a_shared_serial_with_wwns_of_their_own_is_no_harm() -> None:
    disks, _ = tell_apart((replace(DISK, wwn="w1"), replace(OTHER, serial="S1", wwn="w2")))
    assert [disk.id for disk in disks] == ["wwn:w1", "wwn:w2"]
    assert all(not disk.ineligible for disk in disks)


def test_the_same_wwn_twice_is_one_disk_on_two_paths() -> None:
    disks, warnings = tell_apart((replace(DISK, wwn="w"), replace(OTHER, wwn="w")))
    assert all("the same disk seen twice" in disk.ineligible for disk in disks)
    assert len(warnings) == 2


def test_two_disks_without_any_name_are_left_alone() -> None:
    disks, _ = tell_apart((replace(DISK, path=""), replace(OTHER, path="", serial="S1")))
    assert all(disk.ineligible for disk in disks)


words = st.sampled_from(["", "x", "y"])


@given(st.lists(st.tuples(words, words, words, st.booleans()), max_size=5))
def test_no_two_eligible_disks_ever_have_one_id(found: list[tuple[str, str, str, bool]]) -> None:
    hardware = [
        Hardware(f"sd{number}", f"/dev/sd{number}", 1, serial=serial, wwn=wwn, path=path)
        for number, (serial, wwn, path, _) in enumerate(found)
    ]
    hardware = [
        replace(disk, ineligible="it is removable" if one[3] else "")
        for disk, one in zip(hardware, found, strict=True)
    ]
    disks, _ = tell_apart(hardware)
    ids = [disk.id for disk in disks if not disk.ineligible]
    assert len(ids) == len(set(ids))
    assert [disk.node for disk in disks] == [disk.node for disk in hardware]
