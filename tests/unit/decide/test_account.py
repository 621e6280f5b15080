"""Every byte of a source disk has one treatment, and "verified" means all that was to be copied."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.account import make_accounts, settle_accounts
from payload.decide.layout import TABLES, contradictions
from payload.decide.planning import describe
from payload.model.account import SettledAccount, Treatment
from payload.model.disk import MIB, Disk, FileSystem
from payload.model.errors import PeerError, PlanError
from payload.model.gap import GAP_END, GAP_LIMIT, backup_size, find_gaps, table_end
from payload.model.message import Chunk, Encoding, MapAnswer
from payload.model.plan import CHUNK_SIZE, SWAP_HEADER, CopyMode, Method, Plan, Region
from payload.model.runs import Run, behind, cut, ends
from payload.replicate.ledger import Ledger, State
from tests.support.drawn_disks import DrawnDisk, divided_disks, whole_disks
from tests.support.machines import machine
from tests.support.sized_machines import (
    GB,
    SECTOR,
    partition,
    plan,
    server_table,
    sized_disk,
    sized_server,
)

DIGEST = b"d" * 32
disks = divided_disks() | whole_disks()
seconds = st.integers(0, 3)


def plan_of(drawn: DrawnDisk, mode: CopyMode) -> Plan:
    """Of a server with that second disk."""
    x, y = sized_disk("X", 8 * GB, None), sized_disk("Y", drawn.target_size, None, 2)
    return plan(sized_server(drawn.disk), machine("7a", x, y), mode)


def promised_chunks(region: Region) -> list[Run]:
    """What an honest source answers, with next to nothing in use where a map is read."""
    if region.method is Method.HEADER:
        return list(cut(ends(region.size, SWAP_HEADER), SECTOR))
    if region.method is Method.USED:
        room = behind(region.size - region.behind, region.size)
        return list(cut(sorted([*ends(region.size, CHUNK_SIZE), *room]), SECTOR))
    return list(cut([(0, region.size)], SECTOR))


@dataclass
class Lie:
    """What goes wrong in one region: a chunk is not in the map, or is not compared."""

    region: int = -1
    chunk: int = 0
    unmapped: bool = False


def fetch(region: Region, lie: Lie) -> tuple[Ledger, list[Run]]:
    """The ledger of a copied region, and the runs of the disk that were compared. Raises
    PeerError."""
    chunks = promised_chunks(region)
    here = lie.region == region.index
    if here and lie.unmapped:
        chunks.pop(lie.chunk % len(chunks))
    ledger = Ledger(region, SECTOR)
    numbers = tuple(number for chunk in chunks for number in chunk)
    ledger.add(MapAnswer(region.index, numbers, last=True))
    compared = []
    items = [item for head in (True, False) for item in ledger.items(State.MISSING, head=head)]
    for item in items:
        place = (region.index, item.offset, item.length)
        ledger.record(item, Chunk(*place, DIGEST, Encoding.RAW))
        if here and not lie.unmapped and item.index == lie.chunk % len(items):
            continue
        ledger.prove(item)
        compared.append((region.start + item.offset, item.length))
    return ledger, compared


def copy(made: Plan, lie: Lie) -> tuple[tuple[SettledAccount, ...], list[Run]]:
    """The settled accounts, and the runs of the second disk that were compared. Raises
    PeerError."""
    reports, compared = [], []
    for region in made.regions:
        ledger, runs = fetch(region, lie)
        reports.append(ledger.report("target"))
        if region.pair == 1:
            compared += runs
    return settle_accounts(made, reports), compared


def differences(size: int, compared: Iterable[Run]) -> Iterator[Run]:
    """Where the target holds something else, if nothing but what was compared is equal."""
    position = 0
    for start, length in sorted(compared):
        if start > position:
            yield position, start - position
        position = max(position, start + length)
    if position < size:
        yield position, size - position


def allowed_to_differ(drawn: DrawnDisk, mode: CopyMode) -> list[Run]:
    """Free, not carried, not looked at, or of a GPT: from the disk itself, not from the plan."""
    content, size = drawn.disk.content, drawn.disk.hardware.size
    assert content is not None
    table = content.table
    if table is None or not table.partitions:
        kind = content.file_system.kind if content.file_system else ""
        room = content.file_system.behind if content.file_system else 0
        lies = {*content.signatures} - {*TABLES, kind}
        return list(
            _within(0, size, kind, room, mode if not lies or _is_member(kind) else CopyMode.EXACT)
        )
    runs: list[Run] = []
    backup = backup_size(table, SECTOR)
    if table.label == "gpt":
        runs += [(440, table_end(table, SECTOR) - 440), (size - backup, backup)]
    limit = min(size - backup, drawn.target_size - backup)
    runs.append((limit, size - limit) if limit < size else (0, 0))
    if contradictions(drawn.disk):
        mode = CopyMode.EXACT
    for part in table.partitions:
        if not part.is_extended:
            kind = part.file_system.kind if part.file_system else ""
            room = part.file_system.behind if part.file_system else 0
            runs += _within(part.start, part.size, kind, room, mode)
    remnants = {remnant.start for remnant in content.remnants}
    for gap in find_gaps(table, size, SECTOR):
        if gap.size > GAP_LIMIT and mode is CopyMode.USED and gap.start not in remnants:
            runs.append((gap.start + GAP_END, min(gap.end, limit) - gap.start - 2 * GAP_END))
    return runs


def _is_member(kind: str) -> bool:
    return kind in ("LVM2_member", "linux_raid_member")


def _within(start: int, size: int, kind: str, room: int, mode: CopyMode) -> Iterator[Run]:
    """What need not be equal of content of that kind that ends `room` bytes before its place."""
    if mode is CopyMode.EXACT:
        return
    if kind == "swap":
        yield start + SWAP_HEADER, size - 2 * SWAP_HEADER
    elif kind in ("ext4", "xfs") or _is_member(kind):
        yield start + CHUNK_SIZE, size - CHUNK_SIZE - room  # by its map free


def is_covered(run: Run, others: Sequence[Run]) -> bool:
    """Whether every byte of a run is in one of the others."""
    position, end = run[0], run[0] + run[1]
    for start, length in sorted(other for other in others if other[1] > 0):
        if start <= position:
            position = max(position, start + length)
    return position >= end


@given(
    disks, st.sampled_from(CopyMode), st.builds(Lie, st.integers(-1, 30), seconds, st.booleans())
)
def test_nothing_is_proven_while_what_was_to_be_copied_differs(
    drawn: DrawnDisk, mode: CopyMode, lie: Lie
) -> None:
    made = plan_of(drawn, mode)
    try:
        settled, compared = copy(made, lie)
    except PeerError:
        assert lie.unmapped
        return
    allowed = allowed_to_differ(drawn, mode)
    differing = list(differences(drawn.disk.hardware.size, compared))
    is_equal = all(is_covered(run, allowed) for run in differing)
    if all(account.proven for account in settled):
        assert is_equal, differing
    else:
        assert lie.region in range(len(made.regions)), "an honest copy is proven"


def test_a_map_that_leaves_out_room_behind_its_file_system_is_refused() -> None:
    region = Region(0, 0, 1, MIB, 9 * MIB, Method.USED, "ext4", behind=3 * MIB)
    chunks = promised_chunks(region)
    assert [start for start, _ in chunks] == [0, 6 * MIB, 7 * MIB, 8 * MIB]
    fetch(region, Lie())
    for chunk in (1, 2, 3):
        with pytest.raises(PeerError, match="leaves out what is to be copied"):
            fetch(region, Lie(0, chunk, unmapped=True))


@given(disks, st.sampled_from(CopyMode))
def test_the_sums_of_an_honest_copy_make_up_the_disk(drawn: DrawnDisk, mode: CopyMode) -> None:
    made = plan_of(drawn, mode)
    settled, compared = copy(made, Lie())
    account = settled[1]
    assert account.complete and account.proven and account.missing == 0
    assert account.size == drawn.disk.hardware.size
    table = drawn.disk.content.table if drawn.disk.content else None
    made_anew = 0
    if table and table.partitions and table.label == "gpt":
        made_anew = table_end(table, SECTOR) - 440
    assert account.copied == sum(length for _, length in compared) - made_anew
    assert made.accounts[1].total(Treatment.TABLE) == account.table
    if mode is CopyMode.EXACT:
        assert account.copied + account.table + account.cut == account.size, "every sector"


@given(disks, st.sampled_from(CopyMode), st.data())
def test_a_plan_that_leaves_something_out_is_none(
    drawn: DrawnDisk, mode: CopyMode, data: st.DataObject
) -> None:
    made = plan_of(drawn, mode)
    regions = list(made.regions)
    index = data.draw(st.integers(0, len(regions) - 1))
    region = regions[index]
    changed = data.draw(st.sampled_from(["left out", "twice", "shorter"]))
    if changed == "left out":
        regions.pop(index)
    elif changed == "twice":
        regions.append(region)
    else:
        regions[index] = replace(region, size=region.size - SECTOR)
    with pytest.raises(PlanError, match="is not clear"):
        make_accounts(made.disks, regions, mode)


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_boot_code_that_ends_with_the_table_cannot_be_left_out(label: str) -> None:
    """Where the first partition begins right behind the table, the boot code has a region, too."""
    first = partition(1, 0, 2 * GB, "ext4")
    table = replace(server_table(), label=label, partitions=(first,))
    first = replace(first, start=table_end(table, SECTOR))
    data = sized_disk("B", 3 * GB, replace(table, partitions=(first,)))
    made = plan_of(DrawnDisk(data, 3 * GB), CopyMode.USED)
    boot = next(region for region in made.regions if region.pair == 1)
    assert (boot.method, boot.size) == (Method.BOOT, table_end(table, SECTOR))
    others = [region for region in made.regions if region is not boot]
    with pytest.raises(PlanError, match="is not clear"):
        make_accounts(made.disks, others, CopyMode.USED)


def test_the_account_is_part_of_the_digest_and_shown() -> None:
    made = plan(sized_server(), machine("7a", sized_disk("X", 8 * GB, None)))
    assert replace(made, accounts=()).digest != made.digest
    (line,) = [line for line in describe(made) if line.startswith("  all ")]
    assert line == (
        "  all 6.0 GB: 104.9 MB by ext3's map, 4.0 GB by ext4's map, 218.2 MB whole, "
        "524.2 MB of swap, not carried, 1.2 GB that no partition holds, not looked at"
    )


def test_a_smaller_target_leaves_room_behind_its_end_and_says_so() -> None:
    table = server_table()
    made = plan(
        replace(sized_server(), disks=(sized_disk("A", 6 * GB, table),)),
        machine("7a", sized_disk("X", table.end + 2 * MIB, None)),
    )
    (account,) = made.accounts
    assert account.stretches[-1].treatment is Treatment.CUT
    assert account.stretches[-1].size == 6 * GB - table.end - 2 * MIB
    last = made.regions[-1]
    assert (last.method, last.start + last.size) == (Method.GAP, table.end + 2 * MIB)
    assert "behind the end of the target's disk" in "\n".join(describe(made))


def test_a_disk_that_shows_another_content_beside_its_partitions_is_copied_whole() -> None:
    odd = sized_disk("A", 6 * GB, server_table())
    assert odd.content
    odd = Disk(odd.hardware, replace(odd.content, signatures=("dos", "LVM2_member")))
    made = plan(replace(sized_server(), disks=(odd,)), machine("7a", sized_disk("X", 8 * GB, None)))
    assert made.accounts[0].total(Treatment.COPIED) == 6 * GB
    assert "shows LVM2_member on the whole disk" in " ".join(made.warnings)


def test_a_whole_disk_with_two_kinds_of_content_is_copied_by_no_map() -> None:
    whole = sized_disk("B", 2 * GB, None, 2)
    assert whole.content
    for signatures, treatment in (
        (("vfat", "dos"), Treatment.MAPPED),
        (("vfat", "zfs_member"), Treatment.COPIED),
    ):
        seen = replace(
            whole.content, blank=False, file_system=FileSystem("vfat"), signatures=signatures
        )
        targets = (sized_disk("X", 8 * GB, None), sized_disk("Y", 2 * GB, None, 2))
        made = plan(sized_server(Disk(whole.hardware, seen)), machine("7a", *targets))
        assert [one.treatment for one in made.accounts[1].stretches] == [treatment]
