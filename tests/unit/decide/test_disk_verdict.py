"""The facts about each disk: what may be overwritten has a proof, and all else has its name.

The roles that follow from them are tried in test_role.py.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.disk_verdict import (
    GROUNDS,
    Finding,
    Verdict,
    describe_copy,
    describe_system,
    disks_named,
    is_blank,
    judge,
    signs_of_use,
    when,
)
from payload.model.disk import Content, Disk, FileSystem, PartitionTable
from payload.model.disk import Unfinished as Mark
from payload.model.inventory import Inventory
from payload.model.marker import MachineReference, Usage
from tests.support.drawn_machines import inventories
from tests.support.machines import (
    BLANK,
    DATA,
    FINISHED_AT,
    LVM,
    UNTOUCHED,
    blank,
    copy,
    disk,
    machine,
    marker,
    server,
    system,
    table,
    unfinished,
    with_table,
)

NAMES = frozenset({"serial:SB"})


def finding(inventory: Inventory, number: int = 0) -> Finding:
    return judge(inventory, frozenset())[number].finding


def only(content: Content | None) -> Inventory:
    return machine("B", disk("SB", content))


# --- each finding


def test_each_kind_of_disk_has_its_finding() -> None:
    assert finding(server()) is Finding.SYSTEM
    assert finding(blank()) is Finding.BLANK
    assert finding(only(DATA)) is Finding.FOREIGN
    assert finding(only(LVM)) is Finding.HIDDEN
    assert [finding(copy(), number) for number in (0, 1)] == [Finding.UNUSED_COPY] * 2
    assert finding(copy(used=True)) is Finding.USED_COPY
    assert finding(copy(target="C")) is Finding.COPY_ELSEWHERE
    assert finding(unfinished()) is Finding.UNFINISHED
    assert finding(unfinished(target="C")) is Finding.UNFINISHED_ELSEWHERE
    both = replace(copy(), systems=(*copy().systems, replace(system("SB"), partition=2)))
    assert finding(both) is Finding.MIXED


def test_a_disk_that_was_not_looked_at_is_never_blank() -> None:
    (verdict,) = judge(only(None), frozenset())
    assert (verdict.finding, verdict.words) == (Finding.FOREIGN, "not looked at")


def test_only_named_blank_and_our_own_permit_overwriting() -> None:
    assert set(GROUNDS) == {
        Finding.NAMED,
        Finding.BLANK,
        Finding.UNUSED_COPY,
        Finding.UNFINISHED,
    }


@pytest.mark.parametrize("inventory", [server("B"), only(DATA), copy(used=True), only(None)])
def test_a_persons_word_is_told_beside_what_is_on_the_disk(inventory: Inventory) -> None:
    plain, named = judge(inventory, frozenset())[0], judge(inventory, NAMES)[0]
    assert named.finding is Finding.NAMED
    assert named.words == f"named by a person; on it is {plain.words}"
    assert named.sentence == f"{inventory.disks[0].hardware.label}: {named.words}."


def test_a_disk_that_is_not_eligible_has_no_verdict_even_if_named() -> None:
    far = machine("B", disk("SB", None, ineligible="it is removable"), disk("T"))
    (verdict,) = judge(far, NAMES)
    assert verdict.disk.id == "serial:T"


# --- blank


@pytest.mark.parametrize(
    "more",
    [
        {"blank": False},
        {"table": table()},
        {"table": PartitionTable("dos", "0x1", ())},
        {"file_system": FileSystem("ext4")},
        {"signatures": ("ext4",)},
        {"unfinished": Mark("c", "A", "B", "serial:SB", 1)},
        {"hidden": ("LVM",)},
    ],
)
def test_blank_is_what_was_proven_and_nothing_speaks_against(more: dict[str, object]) -> None:
    assert is_blank(BLANK)
    seen = replace(BLANK, **more)  # type: ignore[arg-type]
    assert not is_blank(seen)
    assert finding(only(seen)) is not Finding.BLANK


# --- copies


def test_the_verdict_on_a_copy_names_source_and_time() -> None:
    first, _ = judge(copy(), frozenset())
    assert (first.source_id, first.finished_at) == ("A", FINISHED_AT)
    assert first.words == "our copy of groupware of 2026-03-01 10:00 UTC, unused"
    (broken,) = judge(unfinished(), frozenset())
    assert (broken.source_id, broken.finished_at) == ("A", 0)
    assert broken.words == "our unfinished copy of machine A, begun 2026-03-01 10:00 UTC"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"table": table()}, "a partition table that was made after our copy to it broke off"),
        ({"file_system": FileSystem("xfs")}, "xfs that was made after our copy to it broke off"),
    ],
)
def test_what_was_made_of_a_marked_disk_since_is_nobodys_to_overwrite(
    content: dict[str, object], words: str
) -> None:
    (broken,) = unfinished().disks
    assert broken.content
    reused = replace(broken.content, **content)  # type: ignore[arg-type]
    (verdict,) = judge(only(reused), frozenset())
    assert (verdict.finding, verdict.words) == (Finding.FOREIGN, words)
    (verdict,) = judge(only(replace(reused, hidden=("LVM",))), frozenset())
    assert (verdict.finding, verdict.words) == (Finding.HIDDEN, f"{words}, LVM")


def test_a_member_of_an_array_at_its_end_does_not_take_a_mark_away() -> None:
    (broken,) = unfinished().disks
    assert broken.content
    member = replace(broken.content, file_system=FileSystem("linux_raid_member"))
    assert finding(only(member)) is Finding.UNFINISHED


def test_a_mark_for_another_disk_of_this_machine_is_not_ours_to_overwrite() -> None:
    (broken,) = unfinished().disks
    moved = machine("B", Disk(replace(broken.hardware, serial="X"), broken.content))
    (verdict,) = judge(moved, frozenset())
    assert verdict.finding is Finding.UNFINISHED_ELSEWHERE
    assert verdict.words.endswith("made for another disk")


# --- signs of use

MARKER = marker("A", "B")


def signs(now: Usage | None, started_at: int = 0, *, used: bool = False) -> list[str]:
    return list(signs_of_use(replace(MARKER, used=used), now, started_at))


def test_an_untouched_copy_shows_no_sign_of_use() -> None:
    assert signs(UNTOUCHED) == []


def test_every_sign_of_use_is_told() -> None:
    later = Usage("ext4", 9, FINISHED_AT + 60)
    assert signs(later, FINISHED_AT, used=True) == [
        "its own mark says so",
        "it was started first on 2026-03-01 10:00 UTC",
        "the counter of its root file system went from 7 to 9",
        "it was mounted last on 2026-03-01 10:01 UTC",
    ]


@given(
    st.none()
    | st.builds(
        Usage, st.sampled_from(["ext4", "xfs"]), st.integers(-1, 9), st.integers(0, FINISHED_AT)
    ),
    st.integers(0, 1),
    st.booleans(),
)
def test_whatever_differs_from_the_moment_it_was_finished_is_a_sign(
    now: Usage | None, started_at: int, used: bool
) -> None:
    is_untouched = now == UNTOUCHED and not started_at and not used
    assert bool(signs(now, started_at, used=used)) is not is_untouched


def test_a_file_system_that_counts_nothing_never_proves_that_it_was_not_used() -> None:
    silent = replace(MARKER, usage=Usage("xfs"))
    assert list(signs_of_use(silent, Usage("xfs"), 0))


# --- words


@pytest.mark.parametrize("seconds", [1 << 62, -(1 << 62), 1 << 80, -1 << 70])
def test_a_clock_that_was_wrong_is_no_error(seconds: int) -> None:
    assert when(seconds) == "an impossible time"


def test_times_are_told_in_utc() -> None:
    assert when(0) == "1970-01-01 00:00 UTC"
    assert when(FINISHED_AT) == "2026-03-01 10:00 UTC"


def test_a_copy_and_a_system_are_described_by_what_is_known_of_them() -> None:
    found = system("S")
    assert describe_system(found) == "the system groupware (Debian 12) on partition 1"
    bare = replace(found, host_name="", os_name="", partition=0)
    assert describe_system(bare) == "the system without host name on the whole disk"
    for source, name in (
        (MachineReference("0123456789", "Box 1", "groupware"), "groupware"),
        (MachineReference("0123456789", "Box 1"), "Box 1"),
        (MachineReference("0123456789"), "machine 01234567"),
    ):
        made = replace(found, marker=replace(MARKER, source=source))
        assert describe_copy(made) == f"our copy of {name} of 2026-03-01 10:00 UTC"


# --- names of disks

NAMED = disk("S1", DATA, wwn="0x5", path="ata-1", aliases=("ata-ACME_S1",), name="sda")
BESIDE = disk("S2", DATA, path="ata-2", name="sdb")


@pytest.mark.parametrize(
    "word",
    [
        *("S1", "0x5", "wwn-0x5", "wwn:0x5", "path:ata-1", "ata-ACME_S1"),
        *("/dev/disk/by-id/wwn-0x5", "/dev/disk/by-id/ata-ACME_S1", "/dev/disk/by-path/ata-1"),
    ],
)
def test_a_disk_is_named_by_what_stays_with_it(word: str) -> None:
    assert disks_named(machine("B", NAMED, BESIDE), word) == (NAMED.hardware,)


@pytest.mark.parametrize("word", ["", "sda", "/dev/sda", "/dev/sd-S1", "S", "s1", "ata-1", "path:"])
def test_names_of_this_boot_and_parts_of_names_mean_no_disk(word: str) -> None:
    nameless = disk("", DATA, name="sdc")
    assert disks_named(machine("B", NAMED, BESIDE, nameless), word) == ()


def test_a_serial_that_two_disks_have_means_both() -> None:
    twins = machine("B", disk("S", DATA, path="ata-1"), disk("S", DATA, path="ata-2"))
    assert len(disks_named(twins, "S")) == 2


# --- whatever a machine holds


@given(inventories(), st.sets(st.sampled_from(["serial:S1", "serial:S2", "serial:S9"])))
def test_every_eligible_disk_has_one_verdict_and_overwriting_a_ground(
    inventory: Inventory, names: set[str]
) -> None:
    verdicts = judge(inventory, frozenset(names))
    assert [one.disk for one in verdicts] == list(inventory.eligible_disks)
    for verdict in verdicts:
        assert verdict.words
        assert_has_proof(verdict, inventory, names)


def assert_has_proof(verdict: Verdict, inventory: Inventory, names: set[str]) -> None:
    content = verdict.disk.content
    if verdict.disk.id in names:
        assert verdict.finding is Finding.NAMED
    elif verdict.finding is Finding.BLANK:
        assert content and content.blank and content.table is None and not content.hidden
    elif verdict.finding is Finding.UNFINISHED:
        assert content and content.unfinished
        assert content.unfinished.target_id == inventory.machine.id
        assert content.unfinished.disk_id == verdict.disk.id
    elif verdict.finding is Finding.UNUSED_COPY:
        markers = [one.marker for one in inventory.systems if one.marker]
        assert any(
            one.target.id == inventory.machine.id
            and not one.used
            and one.source.id == verdict.source_id
            and verdict.disk.id in [mapping.target for mapping in one.disks]
            for one in markers
        )
    else:
        assert verdict.finding not in GROUNDS


def test_a_wwn_that_is_not_told_is_no_name() -> None:
    plain = machine("B", disk("S", with_table()))
    assert disks_named(plain, "wwn-") == disks_named(plain, "wwn:") == ()
