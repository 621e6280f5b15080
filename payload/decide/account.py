"""The account of each source disk: what becomes of each byte, and in the end what was done.

Written without the code that cuts the regions: what no region copies has to be explained here by a
rule of its own, else there is no plan.
"""

from collections.abc import Iterator, Sequence

from payload.model.account import Account, SettledAccount, Stretch, Treatment
from payload.model.disk import BOOT_CODE_SIZE
from payload.model.errors import PlanError
from payload.model.gap import GAP_END, GAP_LIMIT, backup_size, find_gaps, table_end
from payload.model.plan import SWAP_HEADER, CopyMode, DiskPair, Method, Plan, Region
from payload.model.report import RegionReport


def make_accounts(
    pairs: Sequence[DiskPair], regions: Sequence[Region], mode: CopyMode
) -> tuple[Account, ...]:
    """One for each pair of disks. Raises PlanError when a byte has no treatment, or two."""
    return tuple(
        _make_account(pair, [one for one in regions if one.pair == index], mode)
        for index, pair in enumerate(pairs)
    )


def _make_account(pair: DiskPair, regions: Sequence[Region], mode: CopyMode) -> Account:
    stretches: list[Stretch] = []
    position = 0
    for region in sorted(regions, key=lambda one: one.start):
        stretches += _between(pair, position, region.start, mode)
        stretches += _inside(pair, region)
        position = region.start + region.size
    stretches += _between(pair, position, pair.source.size, mode)
    _check(pair, stretches)
    return Account(pair.source.size, tuple(stretches))


def _check(pair: DiskPair, stretches: Sequence[Stretch]) -> None:
    position = 0
    for stretch in stretches:
        if stretch.start != position or stretch.size <= 0:
            raise _no_account(pair, min(position, stretch.start))
        position += stretch.size
    if position != pair.source.size:
        raise _no_account(pair, position)


def _no_account(pair: DiskPair, position: int) -> PlanError:
    return PlanError(
        f"What becomes of byte {position} of source disk {pair.source.label} is not clear, so a "
        "copy would not be whole. Report this with `python3 -m payload inventory --json` of both "
        "machines."
    )


def _inside(pair: DiskPair, region: Region) -> Iterator[Stretch]:
    """The stretches of a region, in its order."""
    start, end = region.start, region.start + region.size
    if region.method is Method.USED:
        told = region.size - region.behind
        yield Stretch(start, told, Treatment.MAPPED, region.index, region.file_system)
        if region.behind:
            yield Stretch(start + told, region.behind, Treatment.COPIED, region.index)
    elif region.method is Method.HEADER and region.size > 2 * SWAP_HEADER:
        yield Stretch(start, SWAP_HEADER, Treatment.COPIED, region.index)
        yield Stretch(start + SWAP_HEADER, region.size - 2 * SWAP_HEADER, Treatment.SWAP)
        yield Stretch(end - SWAP_HEADER, SWAP_HEADER, Treatment.COPIED, region.index)
    elif region.method is Method.BOOT and pair.table and pair.table.label == "gpt":
        behind = min(table_end(pair.table, pair.source.sector_size), end)
        yield Stretch(start, BOOT_CODE_SIZE, Treatment.COPIED, region.index)
        yield Stretch(BOOT_CODE_SIZE, behind - BOOT_CODE_SIZE, Treatment.TABLE)
        if behind < end:
            yield Stretch(behind, end - behind, Treatment.COPIED, region.index)
    else:
        yield Stretch(start, region.size, Treatment.COPIED, region.index)


def _between(pair: DiskPair, start: int, end: int, mode: CopyMode) -> Iterator[Stretch]:
    """What no region copies, explained. Raises PlanError."""
    if start >= end:
        return  # an overlap is told by `_check`
    if pair.table is None:
        raise _no_account(pair, start)
    sector = pair.source.sector_size
    backup = backup_size(pair.table, sector)
    limits = (  # in front of it all is the table's own, and a region's
        (min(pair.source.size, pair.target.size) - backup, Treatment.UNREAD),
        (pair.source.size - backup, Treatment.CUT),
        (pair.source.size, Treatment.TABLE),
    )
    for limit, treatment in limits:
        stop = min(end, limit)
        if start < stop:
            if treatment is Treatment.UNREAD and not _may_be_unread(pair, start, stop, mode):
                raise _no_account(pair, start)
            yield Stretch(start, stop - start, treatment)
            start = stop


def _may_be_unread(pair: DiskPair, start: int, end: int, mode: CopyMode) -> bool:
    """Only the middle of a gap that is too large to be looked at, in no partition."""
    assert pair.table is not None
    sector = pair.source.sector_size
    size = min(pair.source.size, pair.target.size - backup_size(pair.table, sector))
    return mode is not CopyMode.EXACT and any(
        gap.size > GAP_LIMIT
        and gap.start + GAP_END <= start
        and end <= min(gap.end, size) - GAP_END
        for gap in find_gaps(pair.table, pair.source.size, sector)
    )


# --- what was done


def settle_accounts(plan: Plan, reports: Sequence[RegionReport]) -> tuple[SettledAccount, ...]:
    """What the reports of all regions, in the order of the plan, make of each disk's account."""
    return tuple(
        _settle(plan, account, index, reports) for index, account in enumerate(plan.accounts)
    )


def _settle(
    plan: Plan, account: Account, pair: int, reports: Sequence[RegionReport]
) -> SettledAccount:
    copied = compared = missing = extra = 0
    free: dict[str, int] = {}
    done = [(one, reports[one.index]) for one in plan.regions if one.pair == pair]
    for region, report in done:
        promised = sum(one.size for one in account.stretches if one.region == region.index)
        made_anew = region.size - promised if region.method is Method.BOOT else 0
        here = report.used - made_anew
        if region.method is Method.USED:
            free[region.file_system] = free.get(region.file_system, 0) + region.size - here
        else:
            missing += max(promised - here, 0)
            extra += max(here - promised, 0)  # chunks are not cut finer than they are sent
        copied += here
        compared += here if report.verified else 0
    return SettledAccount(
        disk=plan.disks[pair].source.label,
        size=account.size,
        copied=copied,
        compared=compared,
        unreadable=sum(hole.length for _, report in done for hole in report.holes),
        free=free,
        swap=account.total(Treatment.SWAP) - extra,
        table=account.total(Treatment.TABLE),
        unread=account.total(Treatment.UNREAD),
        cut=account.total(Treatment.CUT),
        missing=missing,
    )
