"""What two machines have in common: never less than there may be where a disk could be lost.

The decisions that follow from it are tried in test_role_pair.py.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from payload.decide.shared import shared_disks, words_for_both
from payload.model.disk import Disk
from tests.support.drawn_machines import inventories
from tests.support.machines import BLANK, DATA, copy, disk, machine, server, with_table

WWN = "0x600508b1"
FAR: dict[str, Any] = {"ineligible": "it is a network disk (Fibre Channel)"}


def is_shared(mine: Disk, theirs: Disk) -> bool:
    found = shared_disks(machine("A", mine), machine("B", theirs))
    assert found in ((), ((mine.hardware, theirs.hardware),))
    return bool(found)


@pytest.mark.parametrize(
    ("mine", "theirs", "shared"),
    [
        (disk("", DATA, wwn=WWN), disk("", BLANK, wwn=WWN), True),
        (disk("S", DATA, wwn=WWN), disk("S", DATA, wwn="0x5"), False),
        (disk("S", DATA, wwn=WWN, size=1), disk("T", DATA, wwn=WWN), True),
        (disk("S", with_table(), wwn=WWN), disk("S", with_table()), True),
        (disk("S", with_table()), disk("S", with_table()), True),
        (disk("S", with_table()), disk("S", with_table("0x2")), False),
        (disk("S", with_table()), disk("T", with_table()), False),
        (disk("S", with_table()), disk("S", with_table(), size=10**9), False),
        (disk("", with_table()), disk("", with_table()), False),
        (disk("S", BLANK), disk("S", BLANK), False),
        (disk("S", DATA), disk("S", None, **FAR), True),
        (disk("S", None, **FAR), disk("S", None, **FAR), False),
        (disk("S", DATA), disk("S", None, **FAR, bystander=True), False),
        (disk("S", DATA), disk("S", None, **FAR, removable=True), False),
        (disk("S", None, **FAR, wwn=WWN), disk("S", None, **FAR, wwn=WWN), True),
    ],
)
def test_a_disk_of_both_is_known_by_its_wwn_or_by_serial_size_and_content(
    mine: Disk, theirs: Disk, shared: bool
) -> None:
    assert is_shared(mine, theirs) is shared


def test_every_pair_is_told_in_the_order_of_our_disks() -> None:
    ours = [disk("S", DATA, wwn=f"0x{number}") for number in (1, 2, 3)]
    theirs = [disk("T", DATA, wwn=f"0x{number}") for number in (3, 4, 1)]
    found = shared_disks(machine("A", *ours), machine("B", *theirs))
    assert found == (
        (ours[0].hardware, theirs[2].hardware),
        (ours[2].hardware, theirs[0].hardware),
    )


def test_a_marker_tells_a_copy_from_its_original_only_on_the_machine_it_was_made_for() -> None:
    original = machine("A", disk("SB", with_table()))
    made = copy("B")
    assert shared_disks(original, made) == ()
    assert shared_disks(made, original) == ()
    elsewhere = replace(made, machine=replace(made.machine, id="C"))
    assert shared_disks(original, elsewhere) == (
        (original.disks[0].hardware, elsewhere.disks[0].hardware),
    )


@given(inventories(), inventories())
def test_both_machines_find_the_same_disks(one: Any, other: Any) -> None:
    there = {(mine, theirs) for theirs, mine in shared_disks(other, one)}
    assert set(shared_disks(one, other)) == there


def test_a_word_that_means_a_disk_of_either_machine_is_told_in_its_order() -> None:
    own = server("A", disk("T", DATA, path="ata-1"))
    peer = machine("B", disk("SB"), disk("T", DATA, path="ata-1"))
    words = ("path:ata-1", "SA", "SB", "T", "sd-T", "", "path:ata-2")
    assert words_for_both(own, peer, words) == ("path:ata-1", "T")
    assert words_for_both(own, peer, ()) == ()
