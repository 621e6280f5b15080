"""Which disk sda is, though the live system may have found the disks in any order."""

from dataclasses import replace

import pytest

from payload.finish.storage.disk_order import order_at_source, order_at_target
from payload.finish.volumes import Mount, find_volumes, mounted_at, root_of
from payload.model.inventory import Inventory
from payload.model.plan import Plan
from tests.support.machines import machine
from tests.support.sized_machines import GB, data_disk, plan, sized_disk, sized_server

ROOT, DATA = "serial:A", "serial:B"


def pair_of_machines(*, data_first: bool) -> tuple[Plan, Inventory, Inventory]:
    """A server whose root is in partition 6 of disk A, and data in partition 1 of disk B."""
    source = sized_server(data_disk("B", 2 * GB, place=0 if data_first else 2))
    target = machine("7a", sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 8 * GB, None, 2))
    return plan(source, target), source, target


@pytest.mark.parametrize(
    ("fstab", "data_first", "order"),
    [
        ([], False, (ROOT, DATA)),
        ([], True, (DATA, ROOT)),
        (["UUID=1 / ext4"], True, (DATA, ROOT)),
        # The root's line is true in one order only.
        (["/dev/sda6 / ext4"], True, (ROOT, DATA)),
        (["/dev/sdb6 / ext4"], False, (DATA, ROOT)),
        # So are lines of another kind of file system.
        (["UUID=1 / ext4", "/dev/sda1 /boot ext3"], True, (ROOT, DATA)),
        (["UUID=1 / ext4", "/dev/sda1 /boot ext4"], True, (ROOT, DATA)),
        (["UUID=1 / ext4", "/dev/sdb1 /boot ext3"], False, (DATA, ROOT)),
        (["UUID=1 / ext4", "/dev/sda5 none swap sw"], True, (ROOT, DATA)),
        (["UUID=1 / ext4", "#/dev/sda5 none swap sw"], True, (DATA, ROOT)),
        (["UUID=1 / ext4", "/dev/sda1 /srv auto"], True, (DATA, ROOT)),
        # One wrong line weighs less than the root's.
        (["/dev/sda6 / ext4", "/dev/sda1 /srv xfs", "/dev/sdb1 /x ext3"], True, (ROOT, DATA)),
        # Disks that were not copied tell nothing.
        (["/dev/sdc6 / ext4", "/dev/sdd1 /srv xfs"], True, (DATA, ROOT)),
    ],
)
def test_what_the_fstab_says_counts_more_than_the_cables(
    fstab: list[str], data_first: bool, order: tuple[str, str]
) -> None:
    made, source, _ = pair_of_machines(data_first=data_first)
    assert order_at_source(made, source, "\n".join(fstab)) == order


@pytest.mark.parametrize("data_first", [False, True])
def test_the_names_of_the_live_system_tell_nothing(data_first: bool) -> None:
    made, source, target = pair_of_machines(data_first=data_first)
    turned_source = replace(source, disks=source.disks[::-1])
    turned_target = replace(target, disks=target.disks[::-1])
    assert order_at_source(made, turned_source, "") == order_at_source(made, source, "")
    assert order_at_target(made, turned_target) == order_at_target(made, target)


@pytest.mark.parametrize(
    ("fstab", "order"),
    [
        ("/dev/hda6 / ext4\n/dev/hdd1 /srv xfs", (ROOT, "", "", DATA)),
        ("/dev/hda6 / ext4\n/dev/hdb1 /srv xfs", (ROOT, DATA)),
        ("/dev/sda6 / ext4\n/dev/sdb1 /srv xfs", (ROOT, DATA)),
        ("/dev/sda6 / ext4\n/dev/sdd1 /stick xfs", (ROOT, DATA)),
    ],
)
def test_the_letter_of_an_ide_disk_is_its_place_at_the_cables(
    fstab: str, order: tuple[str, ...]
) -> None:
    cables = ("pci-0000:00:07.1-ata-1.0", "pci-0000:00:07.1-ata-2.1")
    disks = sized_server(data_disk("B", 2 * GB)).disks
    laid = (
        replace(one, hardware=replace(one.hardware, path=path))
        for one, path in zip(disks, cables, strict=True)
    )
    source = replace(sized_server(), disks=tuple(laid))
    target = machine("7a", sized_disk("X", 8 * GB, None, 1), sized_disk("Y", 8 * GB, None, 2))
    assert order_at_source(plan(source, target), source, fstab) == order


def test_disks_of_the_target_that_are_not_of_the_copy_count_too() -> None:
    made, _, target = pair_of_machines(data_first=False)
    more = replace(target, disks=(sized_disk("Z", GB, None, 0), *target.disks))
    order = order_at_target(made, more)
    assert order == ("", ROOT, DATA)
    volumes = find_volumes(made, order)
    assert mounted_at(volumes, [Mount("/dev/sdb6", "/", "ext4")], "/") == root_of(made, volumes)


def test_a_disk_of_another_family_moves_no_name() -> None:
    made, _, target = pair_of_machines(data_first=False)
    nvme = sized_disk("N", GB, None)
    place = replace(nvme.hardware, name="nvme0n1", path="pci-0000:00:01.0-nvme-1")
    more = replace(target, disks=(replace(nvme, hardware=place), *target.disks))
    assert more.counted_disks[0].id == nvme.id
    assert order_at_target(made, more) == (ROOT, DATA, "")


def test_pci_slots_are_counted_in_hex_and_ports_in_decimals() -> None:
    paths = ["pci-0000:00:02.0-ata-2", "pci-0000:00:02.0-ata-10", "pci-0000:00:1f.2-ata-1"]
    disks = [replace(sized_disk("A", GB, None).hardware, path=path) for path in paths]
    disks.reverse()
    assert [one.path for one in sorted(disks, key=lambda one: one.position)] == paths


def test_many_disks_are_counted_by_their_cables() -> None:
    source = sized_server(*(data_disk(f"{place}", GB, place) for place in range(2, 9)))
    target = machine("7a", *(sized_disk(f"X{place}", 8 * GB, None, place) for place in range(1, 9)))
    order = order_at_source(plan(source, target), source, "/dev/sdb6 / ext4")
    assert order == (ROOT, *(f"serial:{place}" for place in range(2, 9)))
