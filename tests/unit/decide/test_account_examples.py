"""The account of a disk by examples: what becomes of which range, and what the sums say of it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.decide.account import make_accounts, settle_accounts
from payload.model.account import Account, SettledAccount, Stretch, Treatment
from payload.model.disk import MIB, FileSystem, Partition, PartitionTable
from payload.model.errors import PlanError
from payload.model.gap import GAP_END, GAP_LIMIT
from payload.model.plan import SWAP_HEADER, CopyMode, DiskPair, Method, PlannedDisk, Region

GIB = 1 << 30
HALF = 64 * 1024  # bytes of each end of a swap area
TABLE_END, BACKUP = 17408, 16896  # of a GPT of 128 entries and sectors of 512 bytes
SIZE, TARGET = 6 * GIB, 4 * GIB
LIMIT = TARGET - BACKUP  # where the target's room ends
BEHIND = 164 * MIB + 2 * GIB  # the large gap


def part(number: int, start: int, size: int, kind: str) -> Partition:
    return Partition(number, start, size, "0fc6", file_system=FileSystem(kind))


PARTS = (
    part(1, MIB, 99 * MIB, "ext4"),
    part(2, 100 * MIB, 64 * MIB, "swap"),
    part(3, BEHIND, 10 * MIB, "zfs_member"),
)


def pair(source: int, target: int, table: PartitionTable | None) -> DiskPair:
    ends = PlannedDisk("A", "A", source, 512), PlannedDisk("B", "B", target, 512)
    return DiskPair(*ends, "nothing", table)


DISK = pair(SIZE, TARGET, PartitionTable("gpt", "GUID", PARTS, 34))
REGIONS = (
    Region(0, 0, 0, 0, MIB, Method.BOOT),
    Region(1, 0, 1, MIB, 99 * MIB, Method.USED, "ext4"),
    Region(2, 0, 2, 100 * MIB, 64 * MIB, Method.HEADER, "swap"),
    Region(3, 0, 1, 164 * MIB, GAP_END, Method.GAP),
    Region(4, 0, 2, BEHIND - GAP_END, GAP_END, Method.GAP),
    Region(5, 0, 3, BEHIND, 10 * MIB, Method.ALL),
    Region(6, 0, 3, BEHIND + 10 * MIB, GAP_END, Method.GAP),
    Region(7, 0, 4, LIMIT - GAP_END, GAP_END, Method.GAP),
)
ACCOUNT = Account(
    SIZE,
    (
        Stretch(0, 440, Treatment.COPIED, 0),
        Stretch(440, TABLE_END - 440, Treatment.TABLE),
        Stretch(TABLE_END, MIB - TABLE_END, Treatment.COPIED, 0),
        Stretch(MIB, 99 * MIB, Treatment.MAPPED, 1, "ext4"),
        Stretch(100 * MIB, HALF, Treatment.COPIED, 2),
        Stretch(100 * MIB + HALF, 64 * MIB - 2 * HALF, Treatment.SWAP),
        Stretch(164 * MIB - HALF, HALF, Treatment.COPIED, 2),
        Stretch(164 * MIB, GAP_END, Treatment.COPIED, 3),
        Stretch(168 * MIB, 2 * GIB - 2 * GAP_END, Treatment.UNREAD),
        Stretch(BEHIND - GAP_END, GAP_END, Treatment.COPIED, 4),
        Stretch(BEHIND, 10 * MIB, Treatment.COPIED, 5),
        Stretch(BEHIND + 10 * MIB, GAP_END, Treatment.COPIED, 6),
        Stretch(BEHIND + 14 * MIB, LIMIT - BEHIND - 18 * MIB, Treatment.UNREAD),
        Stretch(LIMIT - GAP_END, GAP_END, Treatment.COPIED, 7),
        Stretch(LIMIT, SIZE - BACKUP - LIMIT, Treatment.CUT),
        Stretch(SIZE - BACKUP, BACKUP, Treatment.TABLE),
    ),
)
WHOLE = pair(10 * MIB, 10 * MIB, None)


def accounts(*regions: Region, disk: DiskPair = DISK, mode: CopyMode = CopyMode.USED) -> Any:
    return make_accounts((disk,), regions, mode)


def with_region(index: int, **changes: int) -> tuple[Region, ...]:
    changed = cast(Any, replace)(REGIONS[index], **changes)
    return (*REGIONS[:index], changed, *REGIONS[index + 1 :])


def test_every_kind_of_range_of_a_disk_with_a_gpt() -> None:
    assert accounts(*reversed(REGIONS)) == (ACCOUNT,)


def test_each_disk_has_the_regions_of_its_own() -> None:
    region = Region(8, 1, 0, 0, 10 * MIB, Method.ALL)
    both = make_accounts((DISK, WHOLE), (region, *REGIONS), CopyMode.USED)
    assert both == (ACCOUNT, Account(10 * MIB, (Stretch(0, 10 * MIB, Treatment.COPIED, 8),)))


@pytest.mark.parametrize(
    ("label", "method", "size"),
    [
        ("dos", Method.BOOT, MIB),
        ("", Method.BOOT, MIB),
        ("gpt", Method.HEADER, 2 * SWAP_HEADER),
        ("gpt", Method.ALL, 3 * SWAP_HEADER),
        ("gpt", Method.GAP, MIB),
    ],
)
def test_all_of_a_region_is_copied_unless_a_rule_says_what_is_not(
    label: str, method: Method, size: int
) -> None:
    table = PartitionTable(label, "", (part(1, MIB, MIB, "ext4"),)) if label else None
    stretches = accounts(Region(0, 0, 0, 0, size, method), disk=pair(size, size, table))
    assert stretches == (Account(size, (Stretch(0, size, Treatment.COPIED, 0),)),)


def test_a_boot_area_that_is_the_table_alone() -> None:
    (account,) = accounts(
        Region(0, 0, 0, 0, TABLE_END, Method.BOOT),
        Region(1, 0, 1, TABLE_END, MIB, Method.ALL),
        disk=pair(
            TABLE_END + MIB + BACKUP,
            TABLE_END + MIB + BACKUP,
            PartitionTable("gpt", "", (part(1, TABLE_END, MIB, "ext4"),), 34),
        ),
    )
    assert [one.treatment for one in account.stretches] == [
        Treatment.COPIED,
        Treatment.TABLE,
        Treatment.COPIED,
        Treatment.TABLE,
    ]


@pytest.mark.parametrize("index", range(len(REGIONS)))
def test_a_region_that_is_left_out_or_taken_twice_is_no_account(index: int) -> None:
    for regions in (REGIONS[:index] + REGIONS[index + 1 :], (*REGIONS, REGIONS[index])):
        with pytest.raises(PlanError, match="is not clear"):
            accounts(*regions)


@pytest.mark.parametrize(
    ("index", "changes"),
    [
        (0, {"size": MIB + 512}),  # some of the partition twice
        (5, {"size": 10 * MIB + 512}),
        (1, {"size": 0}),  # nothing of the partition
        (1, {"size": 99 * MIB - 512}),
        (3, {"size": GAP_END - 512}),  # less of the begin of the gap
        (4, {"start": BEHIND - GAP_END + 512, "size": GAP_END - 512}),  # and of its end
        (6, {"size": GAP_END - 512}),
        (7, {"size": GAP_END - 512}),
        (7, {"start": LIMIT - GAP_END + 512, "size": GAP_END - 512}),
    ],
)
def test_a_region_of_another_size_is_no_account(index: int, changes: dict[str, int]) -> None:
    with pytest.raises(PlanError, match="is not clear"):
        accounts(*with_region(index, **changes))


@pytest.mark.parametrize(
    ("regions", "byte"),
    [
        (with_region(0, size=MIB + 512), MIB),  # where the second begins
        (REGIONS[1:], 0),  # the boot code, though the table behind it is made anew
        (REGIONS[:-1], BEHIND + 14 * MIB),
    ],
)
def test_the_first_byte_without_a_treatment_is_told(regions: tuple[Region, ...], byte: int) -> None:
    with pytest.raises(PlanError, match=f"byte {byte} of source disk A is not clear"):
        accounts(*regions)


def test_an_exact_copy_leaves_nothing_unread() -> None:
    with pytest.raises(PlanError, match=f"byte {168 * MIB} of source disk A"):
        accounts(*REGIONS, mode=CopyMode.EXACT)


@pytest.mark.parametrize(("size", "is_clear"), [(GAP_LIMIT, False), (GAP_LIMIT + 512, True)])
def test_a_gap_that_is_not_large_is_read(size: int, is_clear: bool) -> None:
    end = 2 * MIB + size
    parts = part(1, MIB, MIB, "ext4"), part(2, end, MIB, "ext4")
    disk = pair(end + MIB, end + MIB, PartitionTable("dos", "", parts))
    regions = (
        Region(0, 0, 0, 0, MIB, Method.BOOT),
        Region(1, 0, 1, MIB, MIB, Method.ALL),
        Region(2, 0, 1, 2 * MIB, GAP_END, Method.GAP),
        Region(3, 0, 2, end - GAP_END, GAP_END, Method.GAP),
        Region(4, 0, 2, end, MIB, Method.ALL),
    )
    if is_clear:
        assert accounts(*regions, disk=disk)[0].total(Treatment.UNREAD) == size - 2 * GAP_END
    else:
        with pytest.raises(PlanError, match="is not clear"):
            accounts(*regions, disk=disk)


@pytest.mark.parametrize(
    ("start", "size"), [(0, 9 * MIB), (512, 10 * MIB - 512), (0, 10 * MIB + 512)]
)
def test_a_disk_without_a_table_is_one_region(start: int, size: int) -> None:
    with pytest.raises(PlanError, match="is not clear"):
        accounts(Region(0, 0, 0, start, size, Method.ALL), disk=WHOLE)


@pytest.mark.parametrize("size", [0, -512])
def test_a_region_of_no_size_is_no_account(size: int) -> None:
    regions = (
        Region(0, 0, 0, 0, 10 * MIB, Method.ALL),
        Region(1, 0, 0, 10 * MIB, size, Method.ALL),
    )
    with pytest.raises(PlanError, match="is not clear"):
        accounts(*regions, disk=WHOLE)


def test_totals_are_of_one_treatment_and_maps_of_their_kind() -> None:
    assert ACCOUNT.total(Treatment.SWAP) == 64 * MIB - 2 * HALF
    assert ACCOUNT.total(Treatment.TABLE) == TABLE_END - 440 + BACKUP
    more = Stretch(0, 7, Treatment.MAPPED, 9, "ext4"), Stretch(0, 5, Treatment.MAPPED, 9, "xfs")
    assert Account(0, (*ACCOUNT.stretches, *more)).mapped == {"ext4": 99 * MIB + 7, "xfs": 5}


# --- what was done


def report(used: int, *, verified: bool = True, unreadable: int = 0) -> Any:
    holes = (SimpleNamespace(length=unreadable),) if unreadable else ()
    return SimpleNamespace(used=used, verified=verified, holes=holes)


def settle(*reports: Any) -> tuple[SettledAccount, ...]:
    whole = Account(10 * MIB, (Stretch(0, 10 * MIB, Treatment.COPIED, 8),))
    plan = SimpleNamespace(
        disks=(DISK, WHOLE),
        accounts=(ACCOUNT, whole),
        regions=(*REGIONS, Region(8, 1, 0, 0, 10 * MIB, Method.ALL)),
    )
    return settle_accounts(cast(Any, plan), (*reports, report(10 * MIB)))


HONEST = (
    report(MIB),
    report(10 * MIB),
    report(2 * HALF),
    *(report(region.size) for region in REGIONS[3:]),
)
COPIED = MIB - TABLE_END + 440 + 10 * MIB + 2 * HALF + 4 * GAP_END + 10 * MIB


def test_an_honest_copy_is_proven_disk_by_disk() -> None:
    first, second = settle(*HONEST)
    assert first == SettledAccount(
        disk="A",
        size=SIZE,
        copied=COPIED,
        compared=COPIED,
        free={"ext4": 89 * MIB},
        swap=64 * MIB - 2 * HALF,
        table=ACCOUNT.total(Treatment.TABLE),
        unread=ACCOUNT.total(Treatment.UNREAD),
        cut=ACCOUNT.total(Treatment.CUT),
    )
    assert second == SettledAccount("A", 10 * MIB, 10 * MIB, 10 * MIB)
    assert first.proven and second.proven


def test_what_was_not_compared_is_not_proven() -> None:
    reports = (*HONEST[:5], report(10 * MIB, verified=False, unreadable=512), *HONEST[6:])
    settled = settle(*reports)[0]
    assert (settled.compared, settled.unreadable) == (COPIED - 10 * MIB, 512)
    assert settled.complete and not settled.proven


def test_what_is_missing_is_made_up_for_by_nothing() -> None:
    """Neither by more of another region."""
    reports = (*HONEST[:2], report(3 * HALF), *HONEST[3:5], report(10 * MIB - HALF), *HONEST[6:])
    settled = settle(*reports)[0]
    assert (settled.missing, settled.copied) == (HALF, COPIED)
    assert settled.swap == 64 * MIB - 3 * HALF
    assert not settled.complete and not settled.proven


def test_a_boot_area_of_an_mbr_is_promised_whole() -> None:
    account = Account(MIB, (Stretch(0, MIB, Treatment.COPIED, 0),))
    plan = SimpleNamespace(
        disks=(DISK,), accounts=(account,), regions=(Region(0, 0, 0, 0, MIB, Method.BOOT),)
    )
    (settled,) = settle_accounts(cast(Any, plan), (report(MIB - 512),))
    assert (settled.missing, settled.copied) == (512, MIB - 512)


SUMS = SettledAccount("A", 63, 1, 1, 0, {"ext4": 2}, 4, 8, 16, 32)


@pytest.mark.parametrize(
    ("settled", "complete", "proven"),
    [
        (SUMS, True, True),
        (replace(SUMS, compared=0), True, False),
        (replace(SUMS, size=64), False, False),
        (replace(SUMS, size=62), False, False),
        (replace(SUMS, missing=1), False, False),
        (replace(SUMS, size=64, missing=1), False, False),
    ],
)
def test_complete_is_what_makes_up_the_disk_and_proven_what_was_compared(
    settled: SettledAccount, complete: bool, proven: bool
) -> None:
    assert (settled.complete, settled.proven) == (complete, proven)
