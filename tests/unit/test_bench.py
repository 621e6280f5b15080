"""The bench's own arithmetic: a wrong ratio would be believed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.figures import (
    GOALS,
    LINE,
    Row,
    add_rows,
    best_rows,
    find_bend,
    find_ratios,
    name_busiest,
    name_limiter,
)
from tests.bench.measure import _fields
from tests.bench.report import document, render_markdown
from tests.bench.work import BLOCK, MIB, check_copy, choose_files, make_target, spoil

GIB = 1 << 30


def row(key: str, seconds: float, *, used: int = 4 * GIB, sent: int = 0, peak: int = 0) -> Row:
    return Row(key, key, seconds, used, sent, 1.0, 1.0, 0.0, {"wire": 0.9}, {"x": peak}, {}, sent)


def test_the_quickest_of_repeated_rows_counts() -> None:
    best = best_rows([row("a", 3.0), row("b", 1.0), row("a", 2.0), row("a", 4.0)])
    assert {key: one.seconds for key, one in best.items()} == {"a": 2.0, "b": 1.0}


def test_ratios_of_the_rows_there_are() -> None:
    rows = [
        row("dd_64k_1g", 60.0),
        row("partclone_zstd_1g", 30.0),
        row("ours_1g", 15.0, sent=int(118e6 * 12), peak=100 << 20),
        row("ours_refresh_1g", 5.0, peak=120 << 20),
        row("partclone_nolimit", 20.0, peak=500 << 20),
    ]
    assert find_ratios(best_rows(rows)) == {
        "first_1g_dd": 4.0,
        "first_1g_partclone_zstd": 2.0,
        "refresh_1g_dd": 12.0,
        "first_1g_floor": 1.25,
        "rss_mib": 120.0,
    }


def test_the_share_of_a_flood_is_taken_off() -> None:
    """Half of the processors went to strangers: twice the time is the undisturbed rate."""
    rows = [row("ours_quiet", 10.0), replace(row("ours_attacked", 20.0), flood=0.5)]
    assert find_ratios(best_rows(rows))["attacked"] == 1.0


def test_every_goal_has_its_ratio() -> None:
    keys = ("dd_64k_1g", "partclone_zstd_1g", "dd_1m_nolimit", "partclone_nolimit")
    own = ("ours_1g", "ours_refresh_1g", "ours_nolimit")
    rows = [row(key, 10.0, sent=1000) for key in (*keys, *own)]
    links = ("ours_one_link", "ours_two_links", "ours_nolimit_unverified")
    disks = ("ours_disks_at_once", "ours_disks_in_turn")
    rows += [row(key, 10.0) for key in (*links, *disks)]
    rows += [row(key, 10.0) for key in ("ours_quiet", "ours_attacked")]
    rows += [row(f"{LINE}{size}g", 1.0 + size, used=size * GIB) for size in (1, 2, 4)]
    assert set(find_ratios(best_rows(rows))) == {goal.key for goal in GOALS}


def test_a_line_with_a_constant_part_has_no_bend() -> None:
    assert find_bend([(size * GIB, 3.0 + 2.0 * size) for size in (1, 2, 4)]) < 1e-9


@pytest.mark.parametrize(("last", "straight"), [(9.0, True), (14.0, False)])
def test_what_grows_faster_than_the_bytes_bends(last: float, straight: bool) -> None:
    goal = next(goal for goal in GOALS if goal.key == "linearity")
    assert goal.met(find_bend([(GIB, 2.0), (2 * GIB, 4.0), (4 * GIB, last)])) is straight


def test_what_does_not_grow_at_all_is_no_line() -> None:
    assert find_bend([(GIB, 4.0), (2 * GIB, 4.0), (4 * GIB, 3.0)]) == float("inf")


def test_limiters_are_named_busiest_first() -> None:
    assert name_limiter({"wire": 0.86, "processor": 0.97, "disk": 0.5}) == "processor, wire"
    assert name_limiter({"wire": 0.84}) == ""
    assert name_busiest({"wire": 0.84, "disk": 0.3}) == "wire 84%"
    assert replace(row("a", 1.0), shares={"wire": 0.3}).limiter == "wire 30%"


def test_rows_in_turn_are_one_row() -> None:
    both = add_rows("both", "both", [row("a", 1.0, peak=5), row("b", 3.0, peak=4)])
    assert (both.seconds, both.used, both.source_cpu) == (4.0, 8 * GIB, 2.0)
    assert both.shares == {"wire": pytest.approx(0.9)} and both.memory == {"x": 5}


def test_goals_of_both_directions() -> None:
    by_key = {goal.key: goal for goal in GOALS}
    assert by_key["first_1g_dd"].met(3.3) and not by_key["first_1g_dd"].met(3.29)
    assert by_key["rss_mib"].met(300) and not by_key["rss_mib"].met(301)


def test_names_of_processes_may_hold_anything() -> None:
    name, fields = _fields("12 (a) b (c) S 1 2 3")
    assert (name, fields) == ("a) b (c", ["S", "1", "2", "3"])
    assert _fields("") == ("", [])


def test_the_document_has_what_programs_read() -> None:
    told = document([row("ours_1g", 2.0, sent=118_000_000)], {"kernel": "6"}, {"digest": 0.2}, True)
    assert told["ratios"]["first_1g_floor"] == 2.0
    assert told["seconds"] == {"ours_1g": 2.0}
    assert told["limiters"] == {"ours_1g": "wire"}
    assert told["rows"][0]["used"] == 4 * GIB


def test_tables_for_the_documentation() -> None:
    rows = [row("ours_one_link", 4.0), row("ours_two_links", 2.0), row("ours_1g", 2.0, sent=10**9)]
    lines = render_markdown([replace(rows[0], title="dd | nc"), *rows[1:]]).splitlines()
    assert lines[2].startswith("| dd \\| nc | 4.0 | 0.00 GB | 0.23 + 0.23 | 0.00 | wire |")
    assert "| `links_two` | 2.00 |  |  |" in lines
    assert "| `first_1g_floor` | 0.24 | at most 1.25 | met |" in lines


def test_files_are_chosen_up_to_a_size(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).write_bytes(bytes(BLOCK))
    (tmp_path / "0").symlink_to("nowhere")
    chosen = list(choose_files([tmp_path], 3 * BLOCK))
    assert [path.name for path in chosen] == ["0", "a", "b"]


def test_a_target_has_all_its_blocks_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "target"
    with path.open("wb") as disk:
        disk.write(b"content".ljust(64 << 10, b"\0"))
        disk.seek(128 << 10)  # and a hole between
        disk.write(bytes(3 * MIB - (128 << 10)))
        disk.truncate(4 * MIB)  # and one at the end
    assert path.stat().st_blocks * 512 < 4 * MIB
    make_target(path, 4 * MIB)
    os.sync()
    assert path.stat().st_blocks * 512 >= path.stat().st_size == 4 * MIB
    assert path.read_bytes() == b"content".ljust(4 * MIB, b"\0")


def test_a_way_that_copied_nothing_is_found_out(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source, target):
        path.write_bytes(bytes(16 * BLOCK))
    chunks = [(number * BLOCK, BLOCK) for number in range(16)]
    chosen = spoil(target, chunks, 3)
    assert len(chosen) == 3
    with pytest.raises(SystemExit, match="differs"):
        check_copy(source, target, chosen)
    target.write_bytes(source.read_bytes())
    check_copy(source, target, chosen)
