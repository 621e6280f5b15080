"""Which disk goes onto which, where several could: never two onto one, never onto another's."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from payload.decide.matching import match_disks, permitted_disks
from payload.model.disk import Disk
from payload.model.errors import PlanError
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.marker import CopyMarker, DiskMapping, MachineReference, Usage
from payload.model.role import Decision, Ground, Permission, Role
from tests.support.machines import machine
from tests.support.sized_machines import GB, data_disk, sized_disk

A, B = data_disk("A", 5 * GB, 1), data_disk("B", 7 * GB, 2)
SOURCE = machine("5ce", A, B)


def free(serial: str, size: int, place: int) -> Disk:
    return sized_disk(serial, size * GB, None, place)


def copied(*mappings: tuple[str, str], source: str = "5ce") -> InstalledSystem:
    marker = CopyMarker(
        "c",
        MachineReference(source),
        MachineReference("7a"),
        tuple(DiskMapping(f"serial:{one}", f"serial:{other}") for one, other in mappings),
        1,
        Usage("ext4"),
    )
    return InstalledSystem("serial:X", 1, "ext4", marker=marker)


def match(
    disks: Sequence[Disk], *targets: Disk, systems: Sequence[InstalledSystem] = ()
) -> dict[str, str]:
    """Serial of the source disk -> serial of the target disk."""
    target = machine("7a", *targets, systems=tuple(systems))
    matched = match_disks(SOURCE, target, disks, targets)
    return {name.removeprefix("serial:"): disk.hardware.serial for name, disk in matched.items()}


def permit(target: Inventory, *permissions: Permission) -> list[str]:
    decision = Decision(Role.TARGET, "", (), permissions)
    return [disk.hardware.serial for disk in permitted_disks(SOURCE, target, decision)]


def test_only_what_this_source_may_overwrite_is_permitted() -> None:
    disks = [free(name, 8, place) for place, name in enumerate("ZYXWV")]
    stick = replace(disks[4], hardware=replace(disks[4].hardware, ineligible="it is removable"))
    target = machine("7a", *reversed(disks[:4]), stick)
    assert permit(
        target,
        Permission("serial:V", Ground.NAMED, ""),
        Permission("serial:W", Ground.NAMED, "", source_id="another"),
        Permission("serial:X", Ground.OUR_COPY, "", source_id=SOURCE.machine.id),
        Permission("serial:Y", Ground.OUR_COPY, "", source_id="another"),
    ) == ["X", "W"]
    with pytest.raises(PlanError, match="may be overwritten"):
        permit(target, Permission("serial:Y", Ground.OUR_COPY, "", source_id="another"))


def test_the_order_of_the_disks_is_kept() -> None:
    assert match([A, B], free("X", 80, 1), free("Y", 8, 2)) == {"A": "X", "B": "Y"}


def test_what_went_somewhere_last_time_goes_there_and_nothing_else_does() -> None:
    targets = free("X", 80, 1), free("Y", 8, 2), free("Z", 9, 3)
    assert match([A, B], *targets, systems=[copied(("B", "X"))]) == {"A": "Y", "B": "X"}
    assert match([A, B], *targets, systems=[copied(("A", "Z"), ("B", "Y"))]) == {
        "A": "Z",
        "B": "Y",
    }


def test_of_two_earlier_copies_the_first_that_still_holds_counts() -> None:
    targets = free("X", 80, 1), free("Y", 8, 2), free("Z", 9, 3)
    earlier = copied(("A", "Z")), copied(("A", "Y"), ("B", "Z"))
    assert match([A, B], *targets, systems=earlier) == {"A": "Z", "B": "X"}


@pytest.mark.parametrize(
    "earlier",
    [
        copied(("GONE", "Y")),
        copied(("A", "GONE")),
        copied(("B", "X")),  # by now it is too small
        copied(("A", "Y"), source="another"),
        replace(copied(), marker=None),
    ],
)
def test_an_earlier_copy_that_holds_no_more_says_nothing(earlier: InstalledSystem) -> None:
    targets = free("X", 6, 1), free("Y", 8, 2), free("Z", 9, 3)
    assert match([A, B], *targets, systems=[earlier]) == {"A": "X", "B": "Y"}


def test_an_earlier_copy_is_given_up_where_it_leaves_no_room() -> None:
    in_order = free("X", 6, 1), free("Y", 8, 2), free("Z", 5, 3)
    earlier = [copied(("A", "Y"))]
    assert match([A, B], *in_order, systems=earlier) == {"A": "X", "B": "Y"}
    by_size = free("Y", 8, 1), free("X", 6, 2)
    assert match([A, B], *by_size, systems=earlier) == {"A": "X", "B": "Y"}


def test_disks_with_other_sectors_and_smaller_ones_are_left_out() -> None:
    other = free("X", 80, 1)
    other = replace(other, hardware=replace(other.hardware, sector_size=4096))
    assert match([A], other, free("Y", 4, 2), free("Z", 6, 3)) == {"A": "Z"}


def test_never_are_two_disks_written_to_one() -> None:
    for targets in ((free("X", 80, 1), free("Y", 4, 2)), (free("Y", 4, 1), free("X", 80, 2))):
        with pytest.raises(PlanError, match="do not all fit at once"):
            match([A, B], *targets)
    with pytest.raises(PlanError, match="has 2 disks in use, but only 1"):
        match([A, B], free("X", 80, 1))
    with pytest.raises(PlanError, match=r"ACME B .* does not fit"):
        match([A, B], free("X", 6, 1), free("Y", 6, 2))
